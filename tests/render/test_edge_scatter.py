"""Predicted against actual values: the points read back from the panels, against maps computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from matplotlib.lines import AxLine

from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.render import edge_scatter
from sheafcli.render.edge_scatter import MOST_POINTS, STATES, edges_figure
from sheafcli.render.panels import thinned
from sheafcli.render.style import save_figure

OUTPUT = "output neuron"


def settled(widths, output="identity", *, samples=30, seed=0):
    rng = np.random.default_rng(seed)
    network = Network.he(widths, output, seed=seed)
    X = rng.normal(size=(samples, widths[0]))
    codes = rng.integers(widths[-1], size=samples)
    y = 3.0 * rng.normal(size=(samples, widths[-1])) if output == "identity" else np.eye(widths[-1])[codes]
    if output == "sigmoid":
        y = (rng.random((samples, widths[-1])) < 0.5).astype(float)
    return network, X, extend(network, X, target=y)


def panels(figure):
    """Return the upper panels and the lower ones, each by edge or in the same order."""
    above = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    below = [axes for axes in figure.axes if not axes.get_title()]
    return above, below


def points(axes):
    """Return the points of a panel by state, in the order samples x neurons."""
    dots = [line for line in axes.lines if line.get_marker() == "."]
    return {line.get_label(): np.column_stack(line.get_data()) for line in dots}


def by_state(predicted, actual, states):
    """Return points by state; states is None where a neuron has none."""
    if states is None:
        return {OUTPUT: np.column_stack([predicted.ravel(), actual.ravel()])}
    return {
        name: np.column_stack([predicted[states == code], actual[states == code]])
        for code, name in enumerate(STATES)
        if (states == code).any()
    }


def expected(network, X, extension):
    """Compute the points of every edge from the stalks, map by map."""
    cochain, found, a = extension.cochain, {}, X
    for layer in range(1, network.depth + 2):
        hidden = layer <= network.depth
        states = extension.states[layer - 1] if hidden else None
        z = cochain.z[layer]
        h = np.einsum("ij,sj->si", network.weights[layer - 1], a) + network.biases[layer - 1]
        found[f"affine_{layer}"] = by_state(h, z, states)
        if hidden:
            a = cochain.a[layer]
            found[f"activation_{layer}"] = by_state(np.where(z >= 0, z, 0.0), a, states)
    if cochain.y is not None:
        found["output"] = by_state(network.output.value(z), cochain.y, None)
    return found


def saved(figure, tmp_path):
    """Write a figure, which draws everything; any warning is an error here."""
    save_figure(figure, tmp_path / "figure.png")
    return imread(tmp_path / "figure.png")


@pytest.mark.parametrize(
    ("widths", "output"),
    [
        ([2, 30, 1], "identity"),
        ([2, 10, 8, 1], "identity"),
        ([2, 6, 5, 4], "softmax"),
        ([3, 5, 2], "sigmoid"),
        ([2, 1], "identity"),
        ([2, *[5] * 6, 1], "sigmoid"),
    ],
)
def test_points_are_the_maps_against_the_stalks(widths, output, tmp_path):
    network, X, extension = settled(widths, output)
    figure = edges_figure(network, X, extension, "a $title$ with $ signs")
    above, below = panels(figure)
    wanted = expected(network, X, extension)
    assert list(above) == list(wanted)
    for (name, axes), lower in zip(above.items(), below, strict=True):
        drawn = points(axes)
        assert drawn.keys() == wanted[name].keys() == points(lower).keys()
        for state, xy in wanted[name].items():
            np.testing.assert_allclose(drawn[state], xy, rtol=1e-12, atol=1e-12)
    for axes, lower in zip(above.values(), below, strict=True):
        lines = zip(axes.lines, lower.lines, strict=True)
        dots = [(up, down) for up, down in lines if up.get_marker() == "."]
        for up, down in dots:
            np.testing.assert_array_equal(down.get_xdata(), up.get_xdata())
            np.testing.assert_array_equal(down.get_ydata(), up.get_xdata() - up.get_ydata())
            assert up.get_color() == down.get_color() == edge_scatter.STATE_COLOURS[up.get_label()]
    assert saved(figure, tmp_path).std() > 0


def test_a_neuron_at_the_kink_is_told_apart():
    network = Network(
        (np.array([[1.0]]), np.array([[1.0]])), (np.zeros(1), np.zeros(1)), Network.he([1, 1]).output
    )
    X = np.array([[0.1], [1.0], [-1.0]])
    extension = extend(network, X, target=np.array([[-1.0], [1.0], [0.0]]))
    assert extension.states[0].ravel().tolist() == [2, 1, 0]
    figure = edges_figure(network, X, extension, "t")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [*STATES, OUTPUT, "no discord"]
    held = points(panels(figure)[0]["affine_1"])["held at the kink"]
    np.testing.assert_allclose(held, [[0.1, 0.0]], atol=1e-9)


def test_agreement_is_the_diagonal_above_and_zero_below():
    figure = edges_figure(*settled([2, 10, 1]), "t")
    above, below = panels(figure)
    for axes, lower in zip(above.values(), below, strict=True):
        assert axes.get_xlim() == axes.get_ylim() == lower.get_xlim()
        (diagonal,) = [line for line in axes.lines if isinstance(line, AxLine)]
        assert (diagonal.get_xy1(), diagonal.get_slope()) == ((0.0, 0.0), 1.0)
        assert lower.lines[-1].get_ydata() == [0.0, 0.0]
        for state in points(axes).values():
            assert state.min() >= axes.get_xlim()[0]
            assert state.max() <= axes.get_xlim()[1]


def test_of_many_points_evenly_spaced_ranks_of_the_residual_are_drawn(tmp_path):
    network, X, extension = settled([2, 40, 1], samples=500)
    figure = edges_figure(network, X, extension, "t")
    drawn = points(panels(figure)[0]["affine_1"])
    wanted = expected(network, X, extension)["affine_1"]
    for state, xy in drawn.items():
        assert len(xy) == min(MOST_POINTS, len(wanted[state]))
        residual, of_all = (np.sort(p[:, 0] - p[:, 1]) for p in (xy, wanted[state]))
        ranks = np.linspace(0.0, 1.0, 11)
        tolerance = 2e-3 * np.ptp(of_all) + 1e-12
        np.testing.assert_allclose(np.quantile(residual, ranks), np.quantile(of_all, ranks), atol=tolerance)
        assert (residual[0], residual[-1]) == pytest.approx((of_all[0], of_all[-1]))
    assert len(wanted["active"]) > MOST_POINTS
    saved(figure, tmp_path)


def test_equal_residuals_are_not_thinned_to_a_few_neurons():
    """Were ties left in the order samples x neurons, every tenth of ten neurons would be the same one."""
    neurons = np.tile(np.arange(10.0), 4 * MOST_POINTS // 4)
    x, y = edge_scatter._thinned(neurons, neurons)
    np.testing.assert_array_equal(x, y)
    counts = np.bincount(x.astype(int), minlength=10)
    assert counts.min() >= 0.9 * counts.max()


def test_of_many_edges_those_with_most_discord_are_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(edge_scatter, "MOST_EDGES", 3)
    network, X, extension = settled([2, 10, 8, 1])
    figure = edges_figure(network, X, extension, "t")
    wanted = expected(network, X, extension)
    discord = {
        name: sum(((xy[:, 0] - xy[:, 1]) ** 2).sum() for xy in states.values())
        for name, states in wanted.items()
    }
    largest = sorted(discord, key=discord.get)[-3:]
    assert list(panels(figure)[0]) == [name for name in wanted if name in largest]
    assert "3 of 5 edges" in figure.get_suptitle()
    saved(figure, tmp_path)


@pytest.mark.parametrize("widths", [[2, 1], [2, 4, 1], [2, 4, 4, 1]])
@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_agreement_everywhere_and_constant_predictions_draw(widths, samples, scale, tmp_path):
    """With zero weights all stalks are zeros; with the network's own output nothing disagrees."""
    he = Network.he(widths)
    network = Network(tuple(scale * W for W in he.weights), he.biases, he.output)
    X = np.random.default_rng(0).normal(size=(samples, 2))
    figure = edges_figure(network, X, extend(network, X, target=network.predict(X)), "t")
    for lower in panels(figure)[1]:
        assert all(np.abs(line.get_ydata()).max() < 1e-12 for line in lower.lines)
        assert lower.get_ylim()[1] >= 1e-12
    saved(figure, tmp_path)


@given(n=st.integers(1, 3000), most=st.integers(2, 500))
def test_thinning_is_even_and_keeps_both_ends(n, most):
    kept = thinned(n, most)
    assert len(kept) == min(n, most)
    assert (kept[0], kept[-1]) == (0, n - 1)
    if n > 1:
        gaps = np.diff(kept)
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1
