"""Discord by sample, read back from the artists and compared with the table it is drawn from."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from sheafcli.core.chain.network import Network
from sheafcli.diagnostics.pinned import diagnose
from sheafcli.render import tension as view_module
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.style import save_figure
from sheafcli.render.tension import MOST_CLASSES, MOST_SAMPLES, RIGHT, WORST, WRONG, tension_figure


def samples_of(widths, output="identity", *, samples=40, classes=(), error=1.0, seed=0):
    """Return the samples of a diagnosis at random targets; with error 0 of the predictions themselves."""
    rng = np.random.default_rng(seed)
    network = Network.he(widths, output, seed=seed)
    X = rng.normal(size=(samples, widths[0]))
    if output == "identity":
        y = network.predict(X) + error * rng.normal(size=(samples, widths[-1]))
    elif output == "sigmoid":
        y = (rng.random((samples, widths[-1])) < 0.5).astype(float)
    else:
        y = np.eye(widths[-1])[rng.integers(widths[-1], size=samples)]
    return diagnose(network, X, y, classes).samples


def edges_of(samples):
    """Return the names of the edges that a table of samples has, each with its operation."""
    names = [name.removeprefix("discord_") for name in samples if name.startswith("discord_")]
    names = names or sorted(set(samples["worst_edge"]))
    return pd.DataFrame({"edge": names, "operation": [name.partition("_")[0] for name in names]})


def drawn(samples, title):
    return tension_figure(samples, edges_of(samples), title)


def saved(figure, tmp_path):
    """Write a figure, which draws everything; any warning is an error here."""
    save_figure(figure, tmp_path / "figure.png")
    return imread(tmp_path / "figure.png")


def ranks(axes):
    """Return the heights of the sorted panel by rank, and the operation that colours them."""
    points = sorted(
        (x, y, line.get_label()) for line in axes.lines for x, y in zip(*line.get_data(), strict=True)
    )
    return tuple(zip(*points, strict=True))


def rows(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


@pytest.mark.parametrize(
    ("widths", "output"),
    [([2, 30, 1], "identity"), ([2, 5, 4, 3], "softmax"), ([2, 1], "sigmoid"), ([3, 5, 2], "sigmoid")],
)
def test_every_sample_stands_at_its_rank(widths, output, tmp_path):
    samples = samples_of(widths, output)
    figure = drawn(samples, "a $title$ with $ signs")
    places, heights, operations = ranks(figure.axes[0])
    ranked = samples.sort_values("discord", ascending=False)
    assert places == tuple(range(1, 41))
    np.testing.assert_array_equal(heights, ranked["discord"])
    assert operations == tuple(edge.partition("_")[0] for edge in ranked["worst_edge"])
    share = ranked["discord"].iloc[:4].sum() / ranked["discord"].sum()
    assert figure.axes[0].get_title() == f"the worst 4 of 40 samples: {share:.1%} of the discord"
    assert saved(figure, tmp_path).std() > 0


@pytest.mark.parametrize(
    ("widths", "output"), [([2, 10, 8, 1], "identity"), ([2, 5, 4, 3], "softmax"), ([3, 5, 2], "identity")]
)
def test_the_worst_are_named_and_stacked_by_operation(widths, output):
    samples = samples_of(widths, output)
    axes = drawn(samples, "t").axes[1]
    worst = samples.nlargest(WORST, "discord")
    assert rows(axes) == [f"sample {sample}" for sample in worst["sample"]]
    left = np.zeros(WORST)
    for operation, colour in OPERATION_COLOURS.items():
        bars = [patch for patch in axes.patches if to_hex(patch.get_facecolor()) == colour]
        columns = [name for name in samples if name.startswith(f"discord_{operation}")]
        np.testing.assert_allclose([bar.get_x() for bar in bars], left)
        np.testing.assert_allclose([bar.get_width() for bar in bars], worst[columns].sum(axis=1))
        left += worst[columns].sum(axis=1).to_numpy()
    np.testing.assert_allclose(left, worst["discord"])
    assert len(axes.texts) == WORST


def test_the_worst_say_target_and_prediction_or_their_edge():
    one = samples_of([2, 5, 1])
    worst = one.loc[one["discord"].idxmax()]
    axes = drawn(one, "t").axes[1]
    assert axes.texts[0].get_text() == f"{worst['target']:.3g} → {worst['predicted']:.3g}"
    assert "target → prediction" in axes.get_title()
    two = samples_of([2, 5, 2])
    axes = drawn(two, "t").axes[1]
    assert axes.texts[0].get_text() == two.loc[two["discord"].idxmax(), "worst_edge"]
    assert "worst edge" in axes.get_title()


def test_classes_have_rows_the_worst_on_top_and_wrong_samples_are_told_apart(tmp_path):
    names = ("no $ yet", "a_$x^{$", "a name that is far too long to be read")
    samples = samples_of([2, 5, 3], "softmax", classes=names)
    figure = drawn(samples, "t")
    axes = figure.axes[2]
    means = samples.groupby("target")["discord"].mean().sort_values(ascending=False)
    assert rows(axes) == [name[:18] for name in means.index]
    wrong = samples["target"] != samples["predicted"]
    lines = {line.get_label(): line for line in axes.lines}
    for label, colour, here in (("right", RIGHT, ~wrong), ("wrong", WRONG, wrong)):
        line = lines[label]
        assert to_hex(line.get_color()) == colour
        np.testing.assert_array_equal(line.get_xdata(), samples.loc[here, "discord"])
        nearest = np.rint(line.get_ydata()).astype(int)
        assert [means.index[row] for row in nearest] == samples.loc[here, "target"].tolist()
    assert lines["right"].get_marker() != lines["wrong"].get_marker()
    np.testing.assert_allclose(lines["mean"].get_xdata(), means)
    assert [text.get_text() for text in figure.legends[0].get_texts()][-3:] == ["right", "wrong", "mean"]
    saved(figure, tmp_path)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_a_regression_and_several_yes_or_no_outputs_have_no_panel_of_classes(output):
    assert len(drawn(samples_of([2, 5, 1]), "t").axes) == 2
    assert len(drawn(samples_of([2, 5, 2], "sigmoid"), "t").axes) == 2
    n_outputs = 1 if output == "sigmoid" else 3
    assert len(drawn(samples_of([2, 5, n_outputs], output), "t").axes) == 3


def test_of_many_classes_the_worst_are_drawn(tmp_path):
    samples = samples_of([2, 5, 30], "softmax", samples=300)
    axes = drawn(samples, "t").axes[2]
    means = samples.groupby("target")["discord"].mean().sort_values(ascending=False)
    assert rows(axes) == means.index[:MOST_CLASSES].tolist()
    assert axes.get_title() == f"by class (the worst 20 of {len(means)})"
    saved(axes.figure, tmp_path)


def test_of_many_samples_some_are_drawn_the_worst_and_the_best_always(monkeypatch):
    assert MOST_SAMPLES >= 1000
    monkeypatch.setattr(view_module, "MOST_SAMPLES", 11)
    samples = samples_of([2, 5, 1], samples=101)
    places, heights, _ = ranks(drawn(samples, "t").axes[0])
    assert places == tuple(range(1, 102, 10))
    np.testing.assert_array_equal(heights, np.sort(samples["discord"])[::-10])


def test_rounding_errors_of_zeros_are_left_out(tmp_path):
    samples = samples_of([2, 5, 1])
    samples.loc[:1, "discord"] = [0.0, 1e-32]
    figure = drawn(samples, "t")
    heights = np.array(ranks(figure.axes[0])[1])
    assert np.isnan(heights).sum() == 2
    assert figure.axes[0].get_yscale() == "log"
    saved(figure, tmp_path)


@pytest.mark.parametrize(
    ("widths", "output"), [([2, 1], "identity"), ([2, 4, 1], "sigmoid"), ([2, 4, 3], "softmax")]
)
@pytest.mark.parametrize("samples", [1, 20])
@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_one_sample_and_no_discord_draw(widths, output, samples, factor, tmp_path):
    table = samples_of(widths, output, samples=samples)
    columns = [name for name in table if name.startswith("discord")]
    figure = drawn(table.assign(**{name: factor * table[name] for name in columns}), "t")
    assert len(rows(figure.axes[1])) == min(samples, WORST)
    saved(figure, tmp_path)


def test_no_error_at_all_draws(tmp_path):
    samples = samples_of([2, 5, 1], error=0.0)
    assert isinstance(samples, pd.DataFrame)
    saved(drawn(samples, "t"), tmp_path)
