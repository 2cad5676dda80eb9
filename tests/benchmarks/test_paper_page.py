"""docs/paper.md is what the record of the last `make paper` says, whole; and tables survive Markdown."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "paper"))
exhibit, page, run = (importlib.import_module(name) for name in ("exhibit", "page", "run"))

MADE = {
    "command": "make paper",
    "when": "2026-01-01",
    "runs": 3,
    "run_seconds": 120.0,
    "seconds": 60.0,
    "jobs": 2,
    "processors": 2,
    "sheafcli": "1",
    "python": "3",
    "numpy": "2",
    "scipy": "1",
}


def found(*holds):
    rows = [
        {"quantity": f"|det| of {i}", "published": "1", "ours": "1", "by": "exact", "holds": hold}
        for i, hold in enumerate(holds)
    ]
    one = {"key": "a", "title": "Determinants", "text": "One\ntwo.", "rows": rows, "figures": ["det"]}
    return {"made": MADE, "exhibits": [one]}


@pytest.fixture(scope="module")
def record():
    return json.loads(run.RECORD.read_text())


def test_the_page_is_what_the_record_says(record):
    assert (ROOT / "docs" / "paper.md").read_text() == page.page(record, run.PICTURES)


def test_the_record_is_of_every_exhibit_and_each_has_rows_that_are_filled(record):
    assert len(record["exhibits"]) == len(run.EXHIBITS)
    for one in record["exhibits"]:
        assert one["rows"], one["title"]
        assert all(str(cell).strip() for row in one["rows"] for cell in row.values()), one["title"]


def test_every_picture_of_the_page_is_there():
    text = (ROOT / "docs" / "paper.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert pictures
    assert all((ROOT / "docs" / picture).is_file() for picture in pictures)


def test_every_file_of_the_experiments_is_run_or_diffused():
    stems = {file.stem for file in run.EXPERIMENTS.glob("*.yaml")}
    assert set(run.DIFFUSED) <= stems
    shortened = {
        stem for name in run.EXHIBITS for stem in getattr(importlib.import_module(name), "QUICK", {})
    }
    assert shortened <= stems


def test_rows_are_counted_and_those_that_do_not_hold_are_named_at_the_top():
    text = page.page(found(True, False, True), ".")
    assert "**2 of 3 rows hold.** Those that do not:\n\n- Determinants: |det| of 1\n" in text
    assert "| [Determinants](#determinants) | 2 of 3 |" in text
    assert text.count("| **no** |") == 1
    assert "None fails." in page.page(found(True), ".")


def test_a_bar_in_a_cell_is_no_border():
    table = pd.DataFrame({"|det|": [1.23456, np.nan], "n": [12345, 2]})
    lines = exhibit.markdown(table).splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert [len(line) for line in cells] == [2] * 4
    assert [cell.strip() for cell in cells[2] + cells[3]] == ["1.235", "12,345", "-", "2"]


def test_an_exhibit_writes_each_figure_twice_and_each_table_twice(tmp_path):
    from sheafcli.render.style import new_figure

    figure, _ = new_figure("title", n_panels=1, size=(2, 2))
    table = pd.DataFrame({"x": [1 / 3]})
    exhibit.Exhibit("a", "A", "", [], {"picture": figure}, {"numbers": table}).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("picture.svg", "picture.png", "numbers.csv", "numbers.md")
    }
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "numbers.csv"), table, check_exact=True)
