"""Names that nobody gave: always such as a name may be, and near to what the file is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.config import load_config, load_sweep
from sheafcli.config.naming import NAME, name_from
from sheafcli.errors import InputError

CONFIG = "task: {kind: paraboloid}\nnetwork: {hidden: [3]}\n"
SWEEP = "base: {task: {kind: paraboloid}, network: {hidden: [3]}}\nseeds: 2\n"


@given(st.text(st.characters(codec=None), max_size=200), st.integers(1, 100))
def test_whatever_the_text_the_name_is_one_or_nothing(text, longest):
    name = name_from(text, longest)
    assert name == "" or (NAME.fullmatch(name) and len(name) <= longest)
    assert name_from(name, longest) == name


@given(st.from_regex(NAME, fullmatch=True).filter(lambda name: len(name) <= 100))
def test_a_name_stays_as_it_is(name):
    assert name_from(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("my model", "my-model"),
        ("epoch=3-val_loss=0.12", "epoch-3-val_loss-0.12"),
        ("model (1)", "model-1"),
        ("größe", "grosse"),
        ("gro\u0308ße", "grosse"),  # as some file systems write it
        (".hidden", "hidden"),
        ("a\x1b[31mb\udcff", "a-31mb"),
        ("猫", ""),
        (" () ", ""),
    ],
)
def test_the_name_is_near_to_the_text(text, name):
    assert name_from(text) == name


@pytest.mark.parametrize(("load", "content"), [(load_config, CONFIG), (load_sweep, SWEEP)])
def test_a_file_names_what_it_describes_whatever_it_is_called(tmp_path, load, content):
    file = tmp_path / "my größe (1).yaml"
    file.write_text(content)
    assert load(file).name == "my-grosse-1"
    file = file.rename(tmp_path / "猫.yaml")
    with pytest.raises(InputError, match=r"no name for the run can be made.*`name: run`"):
        load(file)
    file.write_text(f"name: cat\n{content}")
    assert load(file).name == "cat"
