"""The reference of the configuration: complete, and the same in the documentation."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from sheafcli.config import load_config
from sheafcli.config.layers import LAYERS, PLAIN
from sheafcli.config.reference import reference
from sheafcli.config.schema import Config, DiagnosticsSpec, NetworkSpec
from sheafcli.config.training import (
    BackpropSpec,
    BaselineSpec,
    EquilibriumSpec,
    HeatSpec,
    ImplicitSpec,
    StopSpec,
)
from sheafcli.tasks import TASKS

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
TRAININGS = [HeatSpec, EquilibriumSpec, ImplicitSpec, BackpropSpec]
MODELS = [Config, NetworkSpec, *TRAININGS, StopSpec, DiagnosticsSpec, BaselineSpec]


def test_the_documentation_holds_the_reference_of_this_version():
    text = DOCUMENT.read_text(encoding="utf-8")
    _, marker, generated = text.partition("sheafcli.config.reference. -->\n\n")
    assert marker
    assert generated == reference(), "replace what follows the marker by reference()"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_examples_of_the_documentation_are_valid(tmp_path, number):
    text = DOCUMENT.read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    path = tmp_path / "example.yaml"
    path.write_text(examples[number], encoding="utf-8")
    assert load_config(path).task.kind == "paraboloid"


@pytest.mark.parametrize("model", [*MODELS, *TASKS.values()])
def test_every_key_is_described_in_a_sentence(model: type[BaseModel]):
    for key, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{key} needs a description"
        assert field.description.endswith("."), f"{model.__name__}.{key}: end the sentence"
        assert "|" not in field.description, "it stands in a table"


def test_a_row_says_key_type_default_and_reason():
    rows = reference().splitlines()
    assert (
        "| `hidden` | a list of at most 64 items, each item an integer from 1 to 65536, or null | `null` "
        f"| {NetworkSpec.model_fields['hidden'].description} |"
    ) in rows
    assert any(row.startswith("| `beta` | a finite number above 0, or auto | `auto` |") for row in rows)
    assert any(row.startswith("| `every` | an integer of at least 1, or null | `null` |") for row in rows)
    default = "| `{train_loss: null, seconds: null, patience: null}` |"
    assert sum(row.startswith("| `stop_when` | a mapping of") and default in row for row in rows) == 4
    assert all(row.count("|") == 5 for row in rows if row.startswith("|"))


@pytest.mark.parametrize("model", TRAININGS)
def test_every_key_of_a_way_to_train_has_a_row_of_its_own(model: type[BaseModel]):
    method = model.model_fields["method"].default
    section = reference().split(f"### `method: {method}`\n")[1].partition("\n#")[0]
    rows = [line.split("|")[1].strip(" `") for line in section.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(set(model.model_fields) - {"method"})


def test_every_section_and_variant_has_its_heading():
    headings = [line for line in reference().splitlines() if line.startswith("#")]
    assert headings == [
        "## Top level",
        "## `task`",
        *(f"### `kind: {kind}`" for kind in TASKS),
        "## `network`",
        "### `network.layers`",
        *(f"#### `{name}`" for name in LAYERS if name not in PLAIN),
        "## `training`",
        "### `method: heat`",
        "### `method: equilibrium`",
        "### `method: implicit`",
        "### `method: backprop`",
        "## `diagnostics`",
        "## `baseline`",
    ]
