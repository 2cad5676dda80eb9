"""The report on a sweep: what it tells against the losses that it was made of, laid out by hand."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_report_page import Page

from sheafcli.records.sweep import SweepRecord
from sheafcli.render.report import sweep_page
from sheafcli.render.report.sweep import parallel_coordinates

RATES, WIDTHS = (0.001, 0.01, 0.1), ("[4]", "<b>[30]</b>")


@pytest.fixture
def sweep() -> SweepRecord:
    rows = itertools.product(RATES, WIDTHS, (0, 1))
    index = pd.DataFrame(rows, columns=["training.learning_rate", "network.hidden", "seed"])
    index.insert(0, "run", [f"{i:03d}" for i in range(1, 13)])
    losses = np.arange(12.0, 0.0, -1.0)
    index = index.assign(
        status="finished", step=60, train_loss=losses / 2, test_loss=losses, test_accuracy=np.nan
    )
    index.loc[0, ["status", "test_loss", "train_loss"]] = ["diverged", np.nan, np.nan]
    return SweepRecord("a <sweep>", Path("results/a"), index)


def test_the_best_is_told_with_its_spread_and_its_runs(sweep):
    text = sweep_page(sweep)
    Page(text)
    assert "<b>[30]</b>" not in text
    assert "a &lt;sweep&gt;" in text
    for told in (
        "1.5",
        "1 to 2 over 2 seeds",
        "&lt;b&gt;[30]&lt;/b&gt;",
        "011, 012",
        "1 diverged",
        "11 finished",
    ):
        assert told in text, told
    assert str(sweep.path) not in text


def test_every_combination_is_a_line_through_its_values_the_best_last_and_strongest(sweep):
    figure = parallel_coordinates(sweep)
    assert len(figure.data) == 6
    best = figure.data[-1]
    # The highest rate of three even in their logarithm, the second of two widths, and the least loss.
    assert best["y"] == [1.0, 1.0, 0.0]
    assert best["opacity"] == 1.0
    assert figure.data[0]["y"] == [0.0, 0.0, 1.0]
    assert len({trace["line"]["width"] for trace in figure.data[:-1]}) == 1
    told = [note["text"] for note in figure.layout["annotations"]]
    assert told[:5] == ["0.001", "0.01", "0.1", "[4]", "&lt;b&gt;[30]&lt;/b&gt;"]
    json.dumps([figure.data, figure.layout], allow_nan=False)


def test_nothing_finished_or_no_parameter_but_the_seed_is_told(sweep):
    failed = sweep.index.assign(status="failed", train_loss=np.nan, test_loss=np.nan)
    assert "No run of this sweep has finished." in sweep_page(SweepRecord("b", sweep.path, failed))
    seeds = sweep.index.drop(columns=["training.learning_rate", "network.hidden"])
    assert "Importance" in sweep_page(SweepRecord("c", sweep.path, seeds))


def test_many_values_are_named_with_room_between_them():
    rates = np.geomspace(1e-4, 0.1, 60)
    index = pd.DataFrame({"run": [f"{i:03d}" for i in range(60)], "training.learning_rate": rates})
    index = index.assign(status="finished", step=1, train_loss=rates, test_loss=rates, test_accuracy=np.nan)
    figure = parallel_coordinates(SweepRecord("s", Path("s"), index))
    heights = [note["y"] for note in figure.layout["annotations"] if note["x"] == 0]
    assert heights[0] == 0.0
    assert heights[-1] == 1.0
    assert min(np.diff(heights)) > 0.05
