"""Tables, read back from what they print."""

import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from sheafcli.core.training.fit import Record
from sheafcli.render.numbers import percent
from sheafcli.render.tables import (
    ResultRow,
    discord_tables,
    json_records,
    neurons_table,
    result_table,
    show_frame,
)


def printed(table, encoding="utf-8", colours=None):
    """Return the lines of a table at 80 columns."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    console = Console(file=stream, width=80, color_system=colours, force_terminal=colours is not None)
    console.print(table)
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines()


def discord_frame(n_layers, statistics=False):
    rng = np.random.default_rng(n_layers)
    pairs = [(layer, name) for layer in range(1, n_layers) for name in ("affine", "activation")]
    pairs += [(n_layers, "affine"), (n_layers, "output")]
    frame = pd.DataFrame(pairs, columns=["layer", "operation"])
    names = [f"{name}_{layer}" if name != "output" else name for layer, name in pairs]
    frame["edge"] = names
    frame["discord"] = rng.exponential(size=len(frame)) * 10.0 ** rng.integers(-9, 3, len(frame))
    frame["share"] = frame["discord"] / frame["discord"].sum()
    if statistics:
        for name in ("std", "median", "max"):
            frame[name] = frame["discord"] * rng.random(len(frame))
    return frame


def record(train_loss, test_loss=0.2, train_accuracy=None, test_accuracy=None, step=200_000):
    return Record(step, 1.0, train_loss, test_loss, 0.1, train_accuracy, test_accuracy)


def test_result_rows_hold_their_numbers():
    rows = [
        ResultRow("sheaf (heat)", record(0.0756123456, 0.0884), 18.6),
        ResultRow("[sgd]", record(0.003012345, None), 1234.5),
    ]
    lines = printed(result_table(rows))
    sheaf, baseline = (re.split(r"  +", line.strip()) for line in lines[-2:])
    assert sheaf == ["sheaf (heat)", "0.0756123", "0.0884000", "200,000", "18.60"]
    assert baseline == [
        "[sgd]",
        "0.00301234" if "0.00301234" in lines[-1] else "0.00301235",
        "-",
        "200,000",
        "1,234.50",
    ]
    assert not any("accuracy" in line for line in lines)


def test_the_best_of_each_column_is_bold_and_ties_are_not():
    rows = [
        ResultRow("sheaf", record(0.5, 0.2, 0.9, 0.8), 3.0),
        ResultRow("baseline", record(0.25, 0.2, 0.8, 0.9), 2.0),
    ]
    lines = printed(result_table(rows), colours="standard")
    bold = [re.findall(r"\x1b\[1m\s*([^\x1b]*?)\s*\x1b", line) for line in lines[-2:]]
    assert bold == [["90.00%"], ["0.250000", "90.00%", "2.00"]]


def test_a_validation_loss_has_a_column_and_room():
    figures = replace(record(1.386, 1.4, 0.26, 1.0, step=900), validation_loss=0.0123456)
    lines = printed(result_table([ResultRow("sheaf (equilibrium)", figures, 16.5)]))
    assert max(cell_len(line.rstrip()) for line in lines) <= 80
    assert {"validation", "0.01235", "1.386", "16.50"} <= set(" ".join(lines).split())


def test_the_widest_result_fits_80_columns():
    rows = [
        ResultRow("sheaf (equilibrium)", record(1.386, 1.4, 0.26, 1.0), 12345.6),
        ResultRow("baseline (adam)", record(3.2e-7, math.nan, 1.0, 0.5), 1.0),
    ]
    lines = printed(result_table(rows))
    assert max(cell_len(line.rstrip()) for line in lines) <= 80
    assert "12,345.60" in "".join(lines)
    assert "3.20000e-07" in "".join(lines)
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("n_layers", [1, 2, 31])
@pytest.mark.parametrize("statistics", [False, True])
def test_discord_tables_fit_80_columns_and_lose_nothing(n_layers, statistics, encoding):
    frame = discord_frame(n_layers, statistics)
    by_edge, by_layer, by_operation = (printed(t, encoding) for t in discord_tables(frame))
    for lines in (by_edge, by_layer, by_operation):
        assert max(cell_len(line) for line in lines) <= 80
        assert "…" not in "".join(lines)
    rows = [line.replace("|", " ").split() for line in by_edge[3:]]
    assert [row[0] for row in rows] == frame["edge"].tolist()
    np.testing.assert_allclose([float(row[1]) for row in rows], frame["discord"], rtol=1e-5)
    if statistics:
        np.testing.assert_allclose([float(row[3]) for row in rows], frame["median"], rtol=1e-3)


def test_layers_and_operations_are_sums_in_path_order():
    frame = discord_frame(3)
    _, by_layer, by_operation = (printed(t) for t in discord_tables(frame))
    layers = {line.split()[0]: float(line.split()[1]) for line in by_layer[3:]}
    operations = {line.split()[0]: float(line.split()[1]) for line in by_operation[3:]}
    assert list(layers) == ["1", "2", "3"]
    assert list(operations) == ["affine", "activation", "output"]
    for name, total in operations.items():
        assert total == pytest.approx(frame.loc[frame["operation"] == name, "discord"].sum(), rel=1e-5)
    for layer, total in layers.items():
        assert total == pytest.approx(frame.loc[frame["layer"] == int(layer), "discord"].sum(), rel=1e-5)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("n_layers", [1, 2, 31])
def test_by_layer_the_share_of_the_resistance_stands_beside_the_discord(n_layers, encoding):
    frame = discord_frame(n_layers, statistics=True)
    resistance = np.random.default_rng(0).exponential(size=len(frame))
    frame["resistance"] = resistance / resistance.sum()
    by_edge, by_layer, by_operation = (printed(t, encoding) for t in discord_tables(frame))
    for lines in (by_edge, by_layer, by_operation):
        assert max(cell_len(line) for line in lines) <= 80
        assert "…" not in "".join(lines)
    assert by_layer[1].replace("|", " ").split()[:5] == ["layer", "discord", "share", "resistance", "excess"]
    assert "resistance" not in "".join([*by_edge, *by_operation])
    sums = frame.groupby("layer")[["share", "resistance"]].sum()
    rows = [line.replace("|", " ").split() for line in by_layer[3:]]
    assert [row[3] for row in rows] == [percent(share) for share in sums["resistance"]]
    excess = [float(row[4]) for row in rows]
    np.testing.assert_allclose(excess, sums["share"] / sums["resistance"], rtol=5e-3)


def test_a_layer_without_resistance_has_a_dash_for_its_excess():
    frame = discord_frame(2).assign(resistance=[0.0, 0.0, 0.5, 0.5])
    frame.loc[:1, ["discord", "share"]] = 0.0
    _, by_layer, _ = (printed(t) for t in discord_tables(frame))
    assert by_layer[3].split()[3:5] == ["0.0%", "-"]


def test_records_hold_none_for_what_is_missing_or_no_finite_number():
    frame = pd.DataFrame({"layer": pd.array([1, None], dtype="Int64"), "share": [math.inf, 0.5]})
    assert json_records(frame) == [{"layer": 1, "share": None}, {"layer": None, "share": 0.5}]
    assert json_records(frame.head(0)) == []
    json.dumps(json_records(frame), allow_nan=False)


def test_each_operation_has_its_colour():
    lines = printed(discord_tables(discord_frame(2))[0], colours="truecolor")
    codes = {
        name: set(re.findall(r"38;2;[\d;]+", line))
        for line in lines[3:]
        for name in re.findall(r"affine_1|affine_2|activation|output", line)
    }
    assert all(len(found) == 1 for found in codes.values())
    assert codes["affine_1"] == codes["affine_2"]
    assert len(set.union(*codes.values())) == 3


def test_a_network_without_discord_has_dashes_and_no_bars():
    frame = discord_frame(2).assign(discord=0.0, share=math.nan)
    for table in discord_tables(frame):
        for line in printed(table)[3:]:
            assert line.split()[1:] == ["0", "-"]


def test_neurons_come_by_discord_and_no_more_than_asked_for():
    frame = pd.DataFrame(
        {
            "layer": [1, 1, 2],
            "operation": ["affine", "activation", "output"],
            "edge": ["affine_1", "activation_1", "output"],
            "neuron": [7, 8, 0],
            "discord": [0.1, 0.7, 0.2],
            "share": [0.1, 0.7, 0.2],
            "active": [0.25, 1.0, math.nan],
        }
    )
    lines = printed(neurons_table(frame, 2))
    assert "2 of 3" in lines[0]
    assert [line.split()[:6] for line in lines[3:]] == [
        ["1", "8", "activation", "100.0%", "0.700000", "70.0%"],
        ["2", "0", "output", "-", "0.200000", "20.0%"],
    ]
    assert max(cell_len(line) for line in lines) <= 80


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.lists(st.tuples(st.integers(0, 10**9), finite), min_size=1))
def test_csv_reads_back_exactly(values):
    frame = pd.DataFrame(values, columns=["step", "loss"])
    text = shown(frame, "csv")
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["step", "loss"]
    assert [(int(step), float(loss)) for step, loss in rows] == values


def shown(frame, form):
    """Return what `show_frame` writes to standard output."""
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", stream)
        show_frame(frame, form)
    return stream.getvalue()


def test_json_is_valid_and_exact_with_null_for_what_is_no_number():
    frame = pd.DataFrame(
        {
            "step": np.array([1, 2]),
            "loss": [0.1 + 0.2, math.nan],
            "other": [math.inf, 1e-300],
            "name": ["a[b]", None],
        }
    )

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(shown(frame, "json"), parse_constant=refuse) == [
        {"step": 1, "loss": 0.1 + 0.2, "other": None, "name": "a[b]"},
        {"step": 2, "loss": None, "other": 1e-300, "name": None},
    ]
    assert json.loads(shown(frame.head(0), "json")) == []


def test_a_wide_frame_goes_on_below_with_its_first_column_repeated():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(2, 12)), columns=[f"column_{i}" for i in range(12)])
    frame.insert(0, "run", ["first", "[second]"])
    text = shown(frame, "table")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.count("[second]") >= 2
    numbers = [
        float(word) for line in text.splitlines() if line.startswith("first") for word in line.split()[1:]
    ]
    np.testing.assert_allclose(numbers, frame.iloc[0, 1:].astype(float), rtol=1e-5)
    assert "\x1b" not in text


def test_a_frame_of_the_history_shows_missing_values_as_dashes():
    frame = pd.DataFrame({"step": [0, 1000], "test_loss": [math.nan, 0.25], "accuracy": [None, None]})
    rows = [line.split() for line in shown(frame, "table").splitlines()[-2:]]
    assert rows == [["0", "-", "-"], ["1000", "0.250000", "-"]]
