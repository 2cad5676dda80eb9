"""The configuration to start from: valid, complete and explained, for every kind of task."""

import pytest
import yaml

from sheafcli.config import dump_config, load_config
from sheafcli.config.template import template
from sheafcli.errors import InputError
from sheafcli.tasks import TASKS


@pytest.mark.parametrize("kind", TASKS)
def test_the_template_is_valid_once_its_file_exists(tmp_path, kind):
    path = tmp_path / "start.yaml"
    path.write_text(template(kind), encoding="utf-8")
    if kind in ("csv", "npz"):
        with pytest.raises(InputError, match=f"no file .*data.{kind}") as caught:
            load_config(path)
        place = caught.value.line
        assert path.read_text(encoding="utf-8").splitlines()[place - 1] == f"  path: data.{kind}"
        (tmp_path / f"data.{kind}").touch()
    config = load_config(path)
    assert config.task.kind == kind
    assert config.name == "start"


@pytest.mark.parametrize("kind", TASKS)
def test_the_template_holds_every_key_with_its_default(tmp_path, kind):
    (tmp_path / f"data.{kind}").touch()
    path = tmp_path / "start.yaml"
    path.write_text(template(kind), encoding="utf-8")
    whole = yaml.safe_load(dump_config(load_config(path)))
    written = yaml.safe_load(template(kind))
    del whole["name"]
    assert whole.pop("baseline") is None  # a comment shows it
    if "path" in written["task"]:
        whole["task"]["path"] = f"data.{kind}"
    assert written == whole


@pytest.mark.parametrize("kind", TASKS)
def test_every_key_of_the_template_is_explained(kind):
    lines = template(kind).splitlines()
    keys = [n for n, line in enumerate(lines) if line and not line.lstrip().startswith("#")]
    assert all(lines[n - 1].lstrip().startswith("# ") for n in keys)
    assert max(map(len, lines)) <= 100


def test_an_unknown_kind_is_an_error_that_lists_the_known():
    with pytest.raises(InputError, match=r"no task blob; .*saddle.*; did you mean blobs\?"):
        template("blob")
