"""The reference of the configuration: complete, and the same in the documentation."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from sheafcli.config import load_config
from sheafcli.config.reference import reference
from sheafcli.config.schema import (
    BackpropSpec,
    BaselineSpec,
    Config,
    DiagnosticsSpec,
    HeatSpec,
    NetworkSpec,
)
from sheafcli.tasks import TASKS

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
MODELS = [Config, NetworkSpec, HeatSpec, BackpropSpec, DiagnosticsSpec, BaselineSpec]


def test_the_documentation_holds_the_reference_of_this_version():
    text = DOCUMENT.read_text(encoding="utf-8")
    _, marker, generated = text.partition("sheafcli.config.reference. -->\n\n")
    assert marker
    assert generated == reference(), "replace what follows the marker by reference()"


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_documentation_are_valid(tmp_path, number):
    text = DOCUMENT.read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
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
        "| `hidden` | a list of at most 64 items, each item an integer from 1 to 65536 | required "
        f"| {NetworkSpec.model_fields['hidden'].description} |"
    ) in rows
    assert any(row.startswith("| `beta` | a finite number above 0, or auto | `auto` |") for row in rows)
    assert any(row.startswith("| `every` | an integer of at least 1, or null | `null` |") for row in rows)
    assert all(row.count("|") == 5 for row in rows if row.startswith("|"))


def test_every_section_and_variant_has_its_heading():
    headings = [line for line in reference().splitlines() if line.startswith("#")]
    assert headings == [
        "## Top level",
        "## `task`",
        *(f"### `kind: {kind}`" for kind in TASKS),
        "## `network`",
        "## `training`",
        "### `method: heat`",
        "### `method: backprop`",
        "## `diagnostics`",
        "## `baseline`",
    ]
