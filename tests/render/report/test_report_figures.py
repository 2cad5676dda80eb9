"""What the figures draw: against the tables, the path's combinatorics, and plotly's own validation."""

import json
import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.core.edge import edges
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.report import Contents
from sheafcli.render.report.diagnosis import (
    MOST_NEURONS,
    MOST_SAMPLES,
    neuron_figure,
    resistance_figure,
    sample_figure,
)
from sheafcli.render.report.difference import difference_figure
from sheafcli.render.report.figure import (
    DIGITS,
    THEMES,
    Decades,
    axis,
    points_of_a_line,
    rounded,
    template,
)
from sheafcli.render.report.network import EDGES_A_ROW, path_figure, stalks_of
from sheafcli.render.report.sections import sections
from sheafcli.render.report.spectrum import eigenvector_figure
from sheafcli.render.report.training import MOST_COLUMNS, discord_figure, heat_map, loss_figure


def coloured(value, theme):
    """Put a theme's colours in, as the page's script does."""
    if isinstance(value, dict):
        return {key: coloured(part, theme) for key, part in value.items()}
    if isinstance(value, list):
        return [coloured(part, theme) for part in value]
    if isinstance(value, str) and value.startswith("@"):
        name, _, place = value[1:].partition(":")
        return theme[name][-1] if place else theme[name]
    return value


def path_table(depth: int, *, output: bool = True) -> pd.DataFrame:
    path = edges(depth, output=output)
    rows = [{"layer": edge.layer, "operation": edge.operation, "edge": edge.name} for edge in path]
    values = 10.0 ** -np.arange(len(path))
    return pd.DataFrame(rows).assign(
        discord=values, share=values / values.sum(), resistance=1 / len(path), excess=1.0
    )


def logged(n_steps: int, depth: int = 1) -> pd.DataFrame:
    table = path_table(depth)
    return pd.concat(
        table.assign(step=step, discord=table["discord"] / (1 + step)) for step in range(n_steps)
    )


def signs(figure):
    return [trace for trace in figure.data if "customdata" in trace]


def bands(figure):
    return [trace for trace in figure.data if trace.get("fill") == "toself"]


def place_of(band) -> float:
    return float(band["fillcolor"].removeprefix("@scale:"))


@pytest.mark.parametrize("theme", THEMES)
def test_every_figure_is_one_that_plotly_knows(run, theme):
    for section in sections(Contents.read(run)):
        for figure in section.figures:
            go.Figure(coloured({"data": figure.data, "layout": figure.layout}, THEMES[theme]))
    go.Layout(coloured(template(), THEMES[theme]))


def test_figures_are_json_and_have_keys_of_their_own(run):
    figures = [figure for section in sections(Contents.read(run)) for figure in section.figures]
    assert len({figure.key for figure in figures}) == len(figures) == 13
    for figure in figures:
        json.dumps([figure.data, figure.layout], allow_nan=False)


@given(st.floats(-1e300, 1e300))
def test_rounded_numbers_are_right_to_five_digits(value):
    (found,) = rounded([value])
    assert abs(found - value) <= 0.5 * 10.0 ** (1 - DIGITS) * abs(value) * (1 + 1e-9) + 5e-324


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.finfo(np.float64).max])
def test_what_json_cannot_hold_is_nothing(value):
    assert rounded([value]) == [None]


@given(st.lists(st.floats(1e-12, 1e6), min_size=1, max_size=8), st.floats(1e-12, 1e6), st.floats(1e-12, 1e6))
def test_more_discord_is_never_paler(values, one, other):
    scale = Decades.of(values)
    low, high = sorted((one, other))
    assert 0.0 <= scale.place(low) <= scale.place(high) <= 1.0


def test_the_colour_scale_is_logarithmic():
    scale = Decades.of([1e-4, 1.0])
    assert [scale.place(10.0**p) for p in (-5, -4, -3, -2, -1, 0, 1)] == pytest.approx(
        [0, 0, 0.25, 0.5, 0.75, 1, 1]
    )


@pytest.mark.parametrize("values", [[0.0, 0.0], [], [math.nan]])
def test_a_scale_of_zeros_alone_is_proper(values):
    scale = Decades.of(values)
    assert scale.low < scale.high
    assert scale.place(0.0) == 0.0


def test_an_axis_is_logarithmic_where_values_span_enough():
    assert axis("a", [1.0, 2.9]).get("type") is None
    assert axis("a", [1.0, 1000.0])["type"] == "log"
    assert axis("a", [0.0, math.nan]).get("type") is None


@pytest.mark.parametrize("output", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 5])
def test_the_path_has_a_stalk_more_than_edges(depth, output):
    widths = list(range(10, 10 + depth + 2))
    stalks = stalks_of(path_table(depth, output=output), widths, pinned=True)
    assert len(stalks) == len(edges(depth, output=output)) + 1
    # x, z_l and a_l of every hidden layer, z_{k+1}, and y.
    hidden = [width for layer in range(1, depth + 1) for width in (widths[layer],) * 2]
    assert [stalk.width for stalk in stalks] == [widths[0], *hidden, *[widths[-1]] * (2 if output else 1)]
    assert [stalk.pinned for stalk in stalks] == [True, *[False] * (len(stalks) - 2), True]


def test_training_without_an_output_edge_does_not_pin_the_end():
    assert not stalks_of(path_table(1, output=False), None, pinned=False)[-1].pinned


def test_the_path_shows_every_edge_with_its_figures():
    table = path_table(3)
    figure = path_figure(table, [2, 4, 4, 4, 3], pinned=True)
    assert len(bands(figure)) == len(table)
    shown = {
        text.split("</b>")[0].removeprefix("<b>"): text
        for trace in signs(figure)
        for text in trace["customdata"]
    }
    assert set(shown) == set(table["edge"])
    for row in table.itertuples():
        assert f"discord {row.discord:.4g}" in shown[row.edge]
        assert "share of resistance 12.5%" in shown[row.edge]
        assert "excess 1" in shown[row.edge]
    places = [place_of(band) for band in bands(figure)]
    assert places == sorted(places, reverse=True)
    assert (places[0], places[-1]) == (1.0, 0.0)


def test_signs_stand_in_the_middle_of_the_bands_of_their_operation():
    figure = path_figure(path_table(6), None, pinned=True)
    middles = {
        (np.mean(band["x"][:2]).round(9), round((band["y"][0] + band["y"][3]) / 2, 4))
        for band in bands(figure)
    }
    found = {(x, round(y, 4)) for trace in signs(figure) for x, y in zip(trace["x"], trace["y"], strict=True)}
    assert found == middles
    drawn = {trace["name"]: trace["marker"]["color"] for trace in signs(figure)}
    assert drawn == {name: OPERATION_COLOURS[name] for name in ("affine", "activation", "output")}


def test_a_long_path_goes_on_in_the_next_row():
    figure = path_figure(path_table(6), None, pinned=True)  # 14 edges
    by_row = pd.Series([y for trace in signs(figure) for y in trace["y"]]).value_counts()
    assert sorted(by_row, reverse=True) == [EDGES_A_ROW, 14 - EDGES_A_ROW]
    # The stalk between the rows is drawn at both ends.
    assert len(figure.layout["shapes"]) == 15 + 1


def test_a_path_without_resistance_says_nothing_of_it():
    table = path_table(1).drop(columns=["resistance", "excess"])
    text = signs(path_figure(table, None, pinned=False))[0]["customdata"][0]
    assert "resistance" not in text
    assert "excess" not in text


def test_losses_are_those_of_the_table(run):
    contents = Contents.read(run)
    history, baseline = contents.tables["history"], contents.tables["baseline"]
    drawn = {trace["name"]: trace for trace in loss_figure(history, baseline).data}
    assert set(drawn) == {"train", "test", "baseline train", "baseline test"}
    for name, table, column in (
        ("train", history, "train_loss"),
        ("test", history, "test_loss"),
        ("baseline train", baseline, "train_loss"),
    ):
        assert drawn[name]["x"] == table["step"].tolist()
        np.testing.assert_allclose(drawn[name]["y"], table[column], rtol=1e-4)
    assert {name: trace["line"]["dash"] for name, trace in drawn.items()} == {
        "train": "solid",
        "test": "solid",
        "baseline train": "dash",
        "baseline test": "dash",
    }


def test_large_steps_keep_all_their_digits():
    history = pd.DataFrame({"step": [0, 1_234_567], "train_loss": [1.0, 0.5]})
    assert loss_figure(history, None).data[0]["x"] == [0, 1_234_567]


def test_discord_over_time_is_that_of_the_table():
    table = logged(7)
    for trace in discord_figure(table).data:
        rows = table[table["edge"] == trace["name"]]
        np.testing.assert_allclose(trace["y"], rows["discord"], rtol=1e-4)
        assert trace["line"]["color"] == OPERATION_COLOURS[rows["operation"].iloc[0]]


def test_a_long_history_is_thinned_and_says_so():
    table = logged(3 * points_of_a_line(4))
    figure = discord_figure(table)
    assert all(len(trace["x"]) == points_of_a_line(4) for trace in figure.data)
    assert f"{points_of_a_line(4):,} of {3 * points_of_a_line(4):,} logged steps" in figure.caption


def test_the_heat_map_holds_logarithms_by_operation():
    table = logged(4, depth=2)
    (trace,) = heat_map(table).data
    names = [name.split("</span> ")[1] for name in trace["y"]]
    assert names == ["affine_1", "affine_2", "affine_3", "activation_1", "activation_2", "output"]
    for name, row in zip(names, trace["z"], strict=True):
        np.testing.assert_allclose(
            row, np.log10(table[table["edge"] == name]["discord"]), rtol=1e-4, atol=1e-9
        )


def test_the_heat_map_leaves_zeros_empty_and_its_columns_few():
    table = logged(MOST_COLUMNS + 50)
    table.loc[table["edge"] == "output", "discord"] = 0.0
    figure = heat_map(table)
    assert figure.data[0]["z"][-1] == [None] * MOST_COLUMNS
    assert f"{MOST_COLUMNS} of {MOST_COLUMNS + 50} logged steps" in figure.caption


def test_the_resistance_is_drawn_against_the_share(run):
    table = Contents.read(run).tables["diagnosis"]
    diagonal, *traces = resistance_figure(table).data
    assert diagonal["x"] == diagonal["y"]
    drawn = {
        edge: (x, y) for t in traces for (edge, _), x, y in zip(t["customdata"], t["x"], t["y"], strict=True)
    }
    for row in table.itertuples():
        np.testing.assert_allclose(drawn[row.edge], (row.resistance, row.share), rtol=1e-4)


@pytest.mark.parametrize("smallest", [0.05, 0.0001])
def test_edges_at_one_place_are_named_together_and_names_keep_off_the_left_side(smallest):
    shares = [0.4, 0.4, 0.2 - smallest, smallest]
    table = pd.DataFrame(
        {
            "edge": ["dense_1", "output", "relu_1", "conv_1"],
            "operation": ["affine", "output", "activation", "affine"],
            "share": shares,
            "resistance": shares,
            "excess": 1.0,
        }
    )
    _, *traces = resistance_figure(table).data
    names = {
        text: (x, position)
        for trace in traces
        for text, x, position in zip(trace["text"], trace["x"], trace["textposition"], strict=True)
        if text
    }
    assert set(names) == {"dense_1, output", "relu_1", "conv_1"}
    assert names["conv_1"][1] == "bottom right"
    assert names["dense_1, output"][1] == "top left"


def test_neurons_are_all_drawn_where_they_are_few(run):
    neurons = Contents.read(run).tables["neurons"]
    drawn = sum(sum(trace["y"]) for trace in neuron_figure(neurons).data)
    assert drawn == pytest.approx(neurons["discord"].sum(), rel=1e-4)


def test_of_many_neurons_those_that_carry_most_are_drawn():
    rng = np.random.default_rng(0)
    n = 3 * MOST_NEURONS
    neurons = pd.DataFrame(
        {
            "layer": rng.integers(1, 4, n),
            "operation": "affine",
            "neuron": range(n),
            "discord": rng.random(n),
            "share": 1 / n,
            "active": 0.5,
        }
    )
    figure = neuron_figure(neurons)
    (trace,) = figure.data
    brute = sorted(neurons["discord"], reverse=True)[:MOST_NEURONS]
    np.testing.assert_allclose(sorted(trace["y"], reverse=True), brute, rtol=1e-4)
    assert len(set(trace["x"])) == MOST_NEURONS  # no two at one place
    assert f"The {MOST_NEURONS} of {n:,} neurons" in figure.caption


def test_samples_fall_and_the_wrong_ones_are_marked(run):
    samples = Contents.read(run).tables["samples"]
    right, wrong = sample_figure(samples, classified=True).data
    assert len(wrong["x"]) == (samples["target"] != samples["predicted"]).sum()
    drawn = sorted(zip(right["x"] + wrong["x"], right["y"] + wrong["y"], strict=True))
    heights = [height for _, height in drawn]
    np.testing.assert_allclose(heights, sorted(samples["discord"], reverse=True), rtol=1e-4)


def test_the_samples_that_carry_half_are_counted():
    samples = pd.DataFrame(
        {"sample": range(4), "discord": [1.0, 2.0, 3.0, 4.0], "loss": 0.0, "worst_edge": "affine_1"}
    )
    assert "2 of 4 samples carry half" in sample_figure(samples, classified=False).caption  # 4 + 3 >= 5


def test_many_samples_are_thinned_and_say_so():
    n = 4 * MOST_SAMPLES
    samples = pd.DataFrame({"sample": range(n), "discord": np.arange(n), "loss": 0.0, "worst_edge": "output"})
    figure = sample_figure(samples, classified=False)
    assert len(figure.data[0]["x"]) == MOST_SAMPLES
    assert f"{MOST_SAMPLES:,} of {n:,} samples are drawn" in figure.caption


def test_the_energy_of_the_extreme_eigenvectors_sums_to_one(run):
    for trace in eigenvector_figure(Contents.read(run).tables["spectrum"]).data:
        assert sum(trace["y"]) == pytest.approx(1.0, abs=1e-4)


def test_the_difference_is_drawn_by_operation_filled_where_it_is_beyond_rounding(run):
    rows = pd.read_csv(run / "diff.csv")
    cumulative, within, beyond = difference_figure(rows).data
    drawn = [name for name, y in zip(beyond["text"], beyond["y"], strict=True) if y is not None]
    assert drawn == ["affine_3"]
    assert beyond["y"][-1] == pytest.approx(rows["mean_square"].iloc[-1] ** 0.5, rel=1e-4)
    assert within["y"][-1] is None
    assert [y is not None for y in cumulative["y"]] == (rows["cumulative"] > 0.0).tolist()
