"""Pictures of a diagnosis, read back from their artists and compared with the tables they are drawn from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.image import imread
from matplotlib.patches import StepPatch
from scipy.optimize import minimize

from sheafcli.core.chain.network import Network
from sheafcli.diagnostics.pinned import diagnose
from sheafcli.render import diagnosis as view_module
from sheafcli.render.diagnosis import (
    LABEL,
    MOST_LABELS,
    SLEEPING,
    _apart,
    neurons_figure,
    resistance_figure,
)
from sheafcli.render.numbers import percent
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.style import save_figure

SIZES = [
    ([2, 1], "identity"),
    ([2, 30, 1], "identity"),
    ([2, 10, 8, 1], "identity"),
    ([3, 5, 2], "sigmoid"),
    ([2, 6, 5, 4], "softmax"),
    ([4, 120, 3], "softmax"),
    ([2, *[6] * 10, 1], "identity"),
]


def diagnosed(widths, output="identity", *, samples=30, error=1.0, seed=0):
    """Diagnose a network at random targets; with error 0 the targets are its own predictions."""
    rng = np.random.default_rng(seed)
    network = Network.he(widths, output, seed=seed)
    X = rng.normal(size=(samples, widths[0]))
    if output == "identity":
        y = network.predict(X) + error * rng.normal(size=(samples, widths[-1]))
    elif output == "sigmoid":
        y = (rng.random((samples, widths[-1])) < 0.5).astype(float)
    else:
        y = np.eye(widths[-1])[rng.integers(widths[-1], size=samples)]
    return diagnose(network, X, y)


def saved(figure, tmp_path):
    """Write a figure, which draws everything; any warning is an error here."""
    save_figure(figure, tmp_path / "figure.png")
    return imread(tmp_path / "figure.png")


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def bars(axes):
    """Return the floors and tops of the bars of a panel by colour."""
    found = {}
    for patch in axes.patches:
        if isinstance(patch, StepPatch):
            tops, _, floors = patch.get_data()
            found[to_hex(patch.get_facecolor())] = floors[::2], tops[::2]
    return found


def dots(axes):
    (points,) = [artist for artist in axes.collections if len(artist.get_offsets())]
    return np.asarray(points.get_offsets())


class TestNeurons:
    @pytest.mark.parametrize(("widths", "output"), SIZES)
    def test_bars_are_stacked_from_the_table(self, widths, output, tmp_path):
        neurons = diagnosed(widths, output).neurons
        figure = neurons_figure(neurons, "a $title$ with $ signs")
        assert len(figure.axes) == len(widths) - 1
        for layer, axes in enumerate(figure.axes, start=1):
            floor = np.zeros(widths[layer])
            drawn = bars(axes)
            for operation, colour in OPERATION_COLOURS.items():
                here = (neurons["layer"] == layer) & (neurons["operation"] == operation)
                assert (colour in drawn) == here.any()
                if here.any():
                    floors, tops = drawn[colour]
                    np.testing.assert_array_equal(floors, floor)
                    np.testing.assert_allclose(tops - floors, neurons.loc[here, "discord"], rtol=1e-9)
                    floor = tops
            assert axes.get_ylim()[1] >= floor.max()
            share = neurons.loc[neurons["layer"] == layer, "share"].sum()
            assert axes.get_title(loc="left") == f"layer {layer}: {percent(share)} of the discord"
        assert saved(figure, tmp_path).std() > 0

    def test_a_bar_stands_above_its_number(self):
        figure = neurons_figure(diagnosed([2, 5, 1]).neurons, "t")
        patch = next(patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch))
        borders = patch.get_data().edges
        np.testing.assert_allclose((borders[::2] + borders[1::2]) / 2, range(5))
        assert figure.axes[0].get_xticks().tolist() == [0, 1, 2, 3, 4]

    def test_neurons_that_never_wake_stand_on_grey(self):
        neurons = diagnosed([2, 6, 5, 1]).neurons
        asleep = (neurons["layer"] == 2) & neurons["neuron"].isin([1, 4])
        neurons["active"] = np.where(asleep, 0.0, 0.5 * (neurons["layer"] <= 2)) + 0.0
        neurons.loc[neurons["layer"] == 3, "active"] = np.nan
        figure = neurons_figure(neurons, "t")
        grey = [
            [patch.get_x() + 0.5 for patch in axes.patches if to_hex(patch.get_facecolor()) == SLEEPING]
            for axes in figure.axes
        ]
        assert grey == [[], [1, 4], []]
        assert legend(figure) == ["affine", "activation", "active on no sample"]

    def test_of_many_layers_those_with_most_discord_are_drawn(self, monkeypatch):
        monkeypatch.setattr(view_module, "MOST_LAYERS", 3)
        neurons = diagnosed([2, *[4] * 6, 1]).neurons
        figure = neurons_figure(neurons, "t")
        shares = neurons.groupby("layer")["share"].sum()
        shown = [int(axes.get_title(loc="left").split()[1].rstrip(":")) for axes in figure.axes]
        assert shown == sorted(shares.sort_values().index[-3:])

    @pytest.mark.parametrize("widths", [[2, 1], [2, 4, 1], [2, 784, 1]])
    @pytest.mark.parametrize(("samples", "error"), [(1, 1.0), (1, 0.0), (20, 0.0)])
    def test_one_sample_and_no_discord_draw(self, widths, samples, error, tmp_path):
        saved(neurons_figure(diagnosed(widths, samples=samples, error=error).neurons, "t"), tmp_path)


class TestResistance:
    @pytest.mark.parametrize(("widths", "output"), SIZES)
    def test_points_and_labels_are_the_tables(self, widths, output, tmp_path):
        found = diagnosed(widths, output)
        figure = resistance_figure(found.edges, found.layers, "a $title$ with $ signs")
        for axes, table in zip(figure.axes, (found.edges, found.layers), strict=True):
            np.testing.assert_array_equal(dots(axes), table[["resistance", "share"]])
            assert axes.get_xlim() == axes.get_ylim()
            (low, high), both = axes.get_xlim(), table[["resistance", "share"]].to_numpy()
            assert low < both.min() <= both.max() < high
            assert len(axes.texts) == min(len(table), MOST_LABELS)
        for text in figure.axes[0].texts:
            name, ratio = text.get_text().split()
            row = found.edges.set_index("edge").loc[name]
            assert text.xy == (row["resistance"], row["share"])
            assert float(ratio.removeprefix("×")) == pytest.approx(row["excess"], rel=0.05)
            assert text.get_color() == OPERATION_COLOURS[row["operation"]]
        assert legend(figure)[-1] == "as the resistance has it"
        saved(figure, tmp_path)

    def test_no_two_labels_overlap(self):
        found = diagnosed([2, *[6] * 12, 1])
        figure = resistance_figure(found.edges, found.layers, "t")
        figure.draw_without_rendering()
        ends = [figure.axes[1].get_tightbbox().x0, figure.bbox.x1]
        for axes, end in zip(figure.axes, ends, strict=True):
            assert len(axes.texts) > 10
            heights = sorted(text.get_position()[1] for text in axes.texts)
            tall = max(text.get_size() for text in axes.texts) * figure.dpi / 72
            assert np.diff(heights).min() * axes.bbox.height > tall
            for text in axes.texts:
                assert text.get_window_extent().x1 < end

    def test_of_many_edges_those_whose_shares_differ_most_are_named(self):
        found = diagnosed([2, *[6] * 12, 1])
        figure = resistance_figure(found.edges, found.layers, "t")
        named = {text.get_text().split()[0] for text in figure.axes[0].texts}
        apart = (found.edges["share"] - found.edges["resistance"]).abs().sort_values()
        assert len(found.edges) > MOST_LABELS
        assert named == set(found.edges.loc[apart.index[-MOST_LABELS:], "edge"])

    @pytest.mark.parametrize("widths", [[2, 1], [2, 4, 1], [2, 4, 4, 4, 1]])
    @pytest.mark.parametrize("samples", [1, 20])
    def test_without_discord_the_shares_are_zero_on_a_linear_axis(self, widths, samples, tmp_path):
        found = diagnosed(widths, samples=samples)
        edges, layers = (table.assign(share=0.0, excess=0.0) for table in (found.edges, found.layers))
        figure = resistance_figure(edges, layers, "t")
        assert {axes.get_xscale() for axes in figure.axes} == {"linear"}
        np.testing.assert_array_equal(dots(figure.axes[0])[:, 1], 0.0)
        saved(figure, tmp_path)

    def test_an_edge_without_resistance_has_no_excess(self, tmp_path):
        """A layer that is asleep on every sample passes nothing on: its edges' resistance is 0."""
        network = Network(
            (-np.ones((3, 2)), np.ones((2, 3)), np.ones((1, 2))),
            (np.zeros(3), -np.ones(2), np.zeros(1)),
            Network.he([1, 1]).output,
        )
        found = diagnose(network, np.ones((4, 2)), np.ones((4, 1)))
        assert found.edges["excess"].isna().any()
        figure = resistance_figure(found.edges, found.layers, "t")
        texts = {text.get_text().split()[0]: text.get_text() for text in figure.axes[0].texts}
        for name in found.edges.loc[found.edges["excess"].isna(), "edge"]:
            assert texts[name] == name
        saved(figure, tmp_path)


class TestLabels:
    @given(st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=MOST_LABELS))
    def test_they_keep_their_order_their_distance_and_the_axes(self, heights):
        places = _apart(np.sort(heights))
        assert np.diff(places).min(initial=np.inf) >= LABEL - 1e-12
        assert places.min() >= -1e-12
        assert places.max() <= 1.0 + 1e-12

    @pytest.mark.parametrize("seed", range(5))
    def test_no_places_are_nearer(self, seed):
        """A general solver for the same constrained least squares agrees."""
        heights = np.sort(np.random.default_rng(seed).beta(0.3, 0.5, size=8))
        constraint = {"type": "ineq", "fun": lambda p: np.diff(p) - LABEL}
        found = minimize(
            lambda p: np.sum((p - heights) ** 2),
            np.linspace(0.1, 0.9, 8),
            bounds=[(0.0, 1.0)] * 8,
            constraints=[constraint],
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(_apart(heights), found.x, atol=1e-5)

    def test_what_is_apart_stays(self):
        np.testing.assert_allclose(_apart(np.array([0.1, 0.4, 0.9])), [0.1, 0.4, 0.9])
