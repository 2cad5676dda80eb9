"""The picture of a sweep, against its index."""

import numpy as np
import pandas as pd

from sheafcli.render.sweep_figure import MOST_LINES, sweep_figure

KEYS = ["training.beta", "task.n_train", "seed"]


def index(betas=(0.01, 0.1, 1.0), sizes=(100, 300), seeds=(0, 1, 2)):
    """Return an index whose test loss is beta + n_train / 1000 + 10 seed, so that the median is seed 1's."""
    rows = [
        {"training.beta": beta, "task.n_train": n, "seed": seed, "test_loss": beta + n / 1000 + 10 * seed}
        for beta in betas
        for n in sizes
        for seed in seeds
    ]
    return pd.DataFrame(rows).assign(status="finished", train_loss=1.0)


def lines(figure):
    """Return the lines with a label of their own: name, x, y."""
    drawn = figure.axes[0].lines
    return {
        line.get_label(): (line.get_xdata(), line.get_ydata())
        for line in drawn
        if line.get_linestyle() != "None"
    }


def test_lines_go_through_the_medians_over_the_seeds():
    found = lines(sweep_figure(index(), KEYS, "beta"))
    assert list(found) == ["n_train 100", "n_train 300"]
    for n, (x, y) in zip((100, 300), found.values(), strict=True):
        np.testing.assert_allclose(x, [0.01, 0.1, 1.0])
        np.testing.assert_allclose(y, np.array([0.01, 0.1, 1.0]) + n / 1000 + 10)


def test_what_has_not_finished_is_not_drawn():
    frame = index(seeds=(0,))
    frame.loc[frame["training.beta"] == 1.0, ["status", "test_loss"]] = ["diverged", 1e9]
    frame = pd.concat([frame, index(betas=(0.5,), seeds=(0,))])
    (x, _), _ = lines(sweep_figure(frame, KEYS, "beta")).values()
    np.testing.assert_allclose(x, [0.01, 0.1, 0.5])


def test_wide_ranges_have_log_scales_and_narrow_ones_do_not():
    axes = sweep_figure(index(), KEYS, "beta").axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    axes = sweep_figure(index(betas=(1.0, 2.0, 3.0), seeds=(0,)), KEYS, "beta").axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")


def test_there_is_no_picture_without_a_number_that_takes_three_values():
    assert sweep_figure(index(betas=(0.1, 0.2), sizes=(100,)), KEYS, "beta") is None
    hidden = index().assign(**{"network.hidden": "[30]"})
    assert sweep_figure(hidden, ["network.hidden", "seed"], "hidden") is None


def test_of_too_many_lines_those_of_least_loss_are_drawn():
    sizes = tuple(range(100, 100 * (MOST_LINES + 4), 100))
    frame = index(betas=tuple(np.linspace(0.1, 1.0, 20)), sizes=sizes, seeds=(0,))
    figure = sweep_figure(frame, KEYS, "beta")
    assert list(lines(figure)) == [f"n_train {n}" for n in sizes[:MOST_LINES]]
    assert f"the best {MOST_LINES} of {len(sizes)}" in figure.get_suptitle()
