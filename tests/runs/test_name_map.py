"""Files that say which recorded value is of which vertex."""

import pytest

from sheafcli.errors import InputError
from sheafcli.runs.name_map import read_name_map

ARRAYS, NAMES = ("/a/Conv_output_0", "/b/Gemm_output_0", "0"), ("conv", "dense", "x")


@pytest.fixture
def told(tmp_path):
    """Write a file and read it."""

    def told(text, name="map.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_name_map(tmp_path / name, ARRAYS, NAMES)

    return told


@pytest.mark.parametrize("name", ["map.yaml", "map.yml"])
def test_yaml_has_a_line_for_each(told, name):
    text = "# a comment\n/a/Conv_output_0: conv\n'0': dense\n"
    assert told(text, name) == {"/a/Conv_output_0": "conv", "0": "dense"}


@pytest.mark.parametrize(
    "text", ["/a/Conv_output_0,conv\n0,dense\n", '\ufeff"/a/Conv_output_0", conv\n\n0,dense']
)
def test_csv_has_a_row_for_each(told, text):
    assert told(text, "map.csv") == {"/a/Conv_output_0": "conv", "0": "dense"}


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("/a/Conv_output_0: conv\n/b/Gem_output_0: dense\n", "did you mean /b/Gemm_output_0", 2),
        ("/a/Conv_output_0: cnv\n", "no vertex 'cnv'; did you mean conv", 1),
        ("conv: /a/Conv_output_0\n", "an array stands before its vertex", 1),
        ("/a/Conv_output_0: conv\n/b/Gemm_output_0: conv\n", "'conv' comes twice", 2),
        ("/a/Conv_output_0: [conv, dense]\n", "the name of one vertex", 1),
        ("/a/Conv_output_0: true\n", "the name of one vertex", 1),
        ("/a/Conv_output_0: conv\n/a/Conv_output_0: dense\n", "Conv_output_0", 2),
        ("", "is empty", 1),
        ("- conv\n", "keys with values", 1),
        ("a: &b c\n", "anchor", 1),
    ],
)
def test_what_is_wrong_in_yaml_is_named_with_its_line(told, text, words, line):
    with pytest.raises(InputError, match=words) as caught:
        told(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/a/Conv_output_0,conv,1\n", "this row has 3 cells"),
        ("/a/Conv_output_0\n", "this row has 1 cells"),
        ("array,vertex\n", "no value 'array'"),
        ("/a/Conv_output_0,conv\n/a/Conv_output_0,dense\n", "comes twice"),
        ('"/a\n', "not CSV"),
        ("\n", "lists nothing"),
    ],
)
def test_what_is_wrong_in_csv_is_named(told, text, words):
    with pytest.raises(InputError, match=words):
        told(text, "map.csv")


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "map.csv").write_bytes(b"\xff\xfe,conv\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_name_map(tmp_path / "map.csv", ARRAYS, NAMES)
    with pytest.raises(InputError, match="no such file"):
        read_name_map(tmp_path / "none.csv", ARRAYS, NAMES)
