"""Pictures, asked for what is in their axes: lines, scales, colours, names."""

import errno

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.image import imread

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import output_named
from sheafcli.render.axes import happens_early
from sheafcli.render.figures import discord_figure, loss_figure, save_figure
from sheafcli.render.learned import learned_figure
from sheafcli.render.palette import CLASS_COLOURS, OPERATION_COLOURS
from sheafcli.tasks.data import TaskData


def history(losses, accuracies=None, test=True):
    steps = np.arange(len(losses)) * 100
    table = {
        "step": steps,
        "seconds": steps * 1e-4,
        "time": steps * 0.01,
        "train_loss": losses,
        "test_loss": np.array(losses) * 1.5 if test else np.nan,
        "energy": losses,
    }
    if accuracies is not None:
        table |= {"train_accuracy": accuracies, "test_accuracy": accuracies if test else np.nan}
    return pd.DataFrame(table)


def discord(values):
    """Return discord.csv of a network from values by step, each with one number an edge in path order."""
    n_layers = len(values[0]) // 2
    edges = [(layer, name) for layer in range(1, n_layers) for name in ("affine", "activation")]
    edges += [(n_layers, "affine"), (n_layers, "output")]
    rows = [
        (100 * t, layer, name, name if name == "output" else f"{name}_{layer}", value, 0.1)
        for t, row in enumerate(values)
        for (layer, name), value in zip(edges, row, strict=True)
    ]
    return pd.DataFrame(rows, columns=["step", "layer", "operation", "edge", "discord", "share"])


def task(output, *, n=40, n_classes=3, features=("x1", "x2"), X=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, len(features))) if X is None else X
    codes = np.arange(len(X)) % n_classes
    if output == "identity":
        y, targets, classes = X[:, :1] ** 2, ("y ($ of $)",), ()
    elif output == "sigmoid":
        y, targets, classes = (codes % 2)[:, None].astype(float), ("label",), ("no", "a_$x^{$")
    else:
        y, targets, classes = np.eye(n_classes)[codes], ("label",), tuple(f"c{i}" for i in range(n_classes))
    return TaskData(X, y, X[:10], y[:10], output, features, targets, classes)


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def saved(figure, tmp_path):
    """Write a figure, which draws everything; any warning is an error here."""
    save_figure(figure, tmp_path / "figure.png")
    return imread(tmp_path / "figure.png")


class TestLoss:
    def test_lines_hold_the_columns_and_the_baseline_is_dashed(self, tmp_path):
        run, baseline = history([1.0, 0.1, 0.01]), history([2.0, 0.3])
        figure = loss_figure(run, baseline, "a $title$ with $ signs")
        (axes,) = figure.axes
        train, test, *dashed = axes.lines
        np.testing.assert_array_equal(train.get_xdata(), run["step"])
        np.testing.assert_array_equal(train.get_ydata(), run["train_loss"])
        np.testing.assert_array_equal(test.get_ydata(), run["test_loss"])
        np.testing.assert_array_equal(dashed[0].get_ydata(), baseline["train_loss"])
        assert {line.get_linestyle() for line in (train, test)} == {"-"}
        assert {line.get_linestyle() for line in dashed} == {"--"}
        assert train.get_color() == dashed[0].get_color() != test.get_color()
        assert labels(axes) == ["train", "test", "baseline train", "baseline test"]
        assert axes.get_yscale() == "log"
        assert saved(figure, tmp_path).shape[1] == int(7.2 * 144)

    def test_a_validation_part_has_a_line_of_its_own(self, tmp_path):
        run = history([1.0, 0.1]).assign(validation_loss=[1.2, 0.3])
        figure = loss_figure(run, history([2.0, 0.3]), "t")
        (axes,) = figure.axes
        assert labels(axes) == ["train", "validation", "test", "baseline train", "baseline test"]
        np.testing.assert_array_equal(axes.lines[1].get_ydata(), run["validation_loss"])
        assert len({line.get_color() for line in axes.lines[:3]}) == 3
        saved(figure, tmp_path)

    def test_classes_have_a_panel_of_accuracies(self, tmp_path):
        figure = loss_figure(history([1.0, 0.1], [0.5, 1.0]), None, "t")
        loss, accuracy = figure.axes
        np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), [0.5, 1.0])
        assert accuracy.get_ylim()[0] < 0.5
        assert accuracy.get_ylim()[1] >= 1.0
        assert loss.get_ylabel() == "loss"
        saved(figure, tmp_path)

    def test_without_test_data_there_are_no_lines_for_it(self, tmp_path):
        figure = loss_figure(history([1.0, 0.1], [0.5, 0.7], test=False), None, "t")
        assert [len(axes.lines) for axes in figure.axes] == [1, 1]
        assert labels(figure.axes[0]) == ["train"]
        saved(figure, tmp_path)

    def test_one_step_is_a_dot(self, tmp_path):
        figure = loss_figure(history([0.5]), None, "t")
        assert {line.get_marker() for line in figure.axes[0].lines} == {"o"}
        low, high = figure.axes[0].get_ylim()
        assert low < 0.5
        assert high > 0.75
        saved(figure, tmp_path)
        assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["-1", "0", "1"]

    @pytest.mark.parametrize("losses", [[0.0, 0.0], [0.5, 0.5 + 1e-12], [0.5, 0.4]])
    def test_losses_that_hardly_vary_are_linear_and_inside(self, losses, tmp_path):
        figure = loss_figure(history(losses, test=False), None, "t")
        (axes,) = figure.axes
        low, high = axes.get_ylim()
        assert axes.get_yscale() == "linear"
        assert low < min(losses) <= max(losses) < high
        assert high - low >= 0.01 * abs(losses[0])
        saved(figure, tmp_path)
        assert axes.yaxis.get_offset_text().get_text() == ""

    def test_zero_and_what_is_not_finite_are_left_out(self, tmp_path):
        figure = loss_figure(history([1.0, np.inf, 1e-3, 0.0, np.nan], test=False), None, "t")
        (axes,) = figure.axes
        assert axes.get_yscale() == "log"
        assert 1e-4 < axes.get_ylim()[0] < 1e-3
        saved(figure, tmp_path)

    def test_a_run_that_was_never_finite_draws_no_line(self, tmp_path):
        saved(loss_figure(history([np.nan, np.inf]), None, "t"), tmp_path)


class TestDiscord:
    def test_edges_have_their_operations_colours_and_layers_their_shades(self, tmp_path):
        frame = discord(np.geomspace(1, 1e-6, 18).reshape(3, 6).tolist())
        figure = discord_figure(frame, "t")
        (axes,) = figure.axes
        lines = {line.get_label(): line for line in axes.lines}
        assert labels(axes) == ["affine_1", "activation_1", "affine_2", "activation_2", "affine_3", "output"]
        assert to_hex(lines["affine_2"].get_color()) == OPERATION_COLOURS["affine"]
        assert to_hex(lines["output"].get_color()) == OPERATION_COLOURS["output"]
        brightness = [sum(to_rgb(lines[f"affine_{layer}"].get_color())) for layer in (1, 2, 3)]
        assert brightness == sorted(brightness)
        assert len(set(brightness)) == 3
        expected = frame.loc[frame["edge"] == "activation_2", "discord"]
        np.testing.assert_array_equal(lines["activation_2"].get_ydata(), expected)
        assert axes.get_yscale() == "log"
        saved(figure, tmp_path)

    def test_zeros_and_their_rounding_errors_are_masked(self, tmp_path):
        figure = discord_figure(discord([[0.0, 0.0, 1e-32, 1.0], [0.0, 1e-3, 1e-2, 0.5]]), "t")
        (axes,) = figure.axes
        zero, activation, affine, _ = (line.get_ydata() for line in axes.lines)
        assert np.isnan(zero).all()
        np.testing.assert_array_equal(activation, [np.nan, 1e-3])
        np.testing.assert_array_equal(affine, [np.nan, 1e-2])
        assert labels(axes)[0] == "affine_1 (zero)"
        assert axes.get_ylim()[0] > 1e-4
        saved(figure, tmp_path)

    def test_many_layers_name_the_ends_only(self, tmp_path):
        figure = discord_figure(discord(np.full((2, 62), 0.5).tolist()), "t")
        (axes,) = figure.axes
        assert labels(axes) == ["affine_1", "activation_1", "activation_30", "affine_31", "output"]
        assert len(axes.lines) == 62
        saved(figure, tmp_path)

    @pytest.mark.parametrize("values", [[[0.3, 0.1]], [[0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    def test_a_linear_model_one_step_and_all_zeros(self, values, tmp_path):
        saved(discord_figure(discord(values), "t"), tmp_path)


class TestLearned:
    def test_a_regression_is_a_surface_beside_its_residuals(self, tmp_path):
        network, data = Network.he([2, 5, 1]), task("identity")
        figure = learned_figure(network, data, "t")
        surface, errors, *_ = figure.axes
        residual = network.predict(data.X_train) - data.y_train
        dots = errors.collections[0]
        np.testing.assert_array_equal(dots.get_offsets(), data.X_train)
        np.testing.assert_array_equal(dots.get_array(), residual[:, 0])
        assert (
            dots.norm.vmin
            == -dots.norm.vmax
            == -max(np.abs(residual).max(), np.abs(network.predict(data.X_test) - data.y_test).max())
        )
        filled, targets, _ = surface.collections
        assert (filled.norm.vmin, filled.norm.vmax) == (targets.norm.vmin, targets.norm.vmax)
        np.testing.assert_array_equal(targets.get_array(), data.y_train[:, 0])
        assert (surface.get_xlabel(), surface.get_ylabel()) == ("x1", "x2")
        saved(figure, tmp_path)

    def test_two_classes_meet_where_the_probability_is_a_half(self, tmp_path):
        network = Network((np.array([[2.0, 0.0]]),), (np.array([-1.0]),), output_named("sigmoid"))
        figure = learned_figure(network, task("sigmoid"), "t")
        (axes,) = figure.axes
        border = axes.collections[0].get_paths()[0].vertices
        np.testing.assert_allclose(border[:, 0], 0.5, atol=1e-3)
        assert labels(axes) == ["label = no", "label = a_$x^{$", "train", "test"]
        picture = axes.images[0].get_array()
        # Left is class 0, right class 1, each a tint of its colour.
        for place, code in ((0, 0), (-1, 1)):
            tint = picture[80, place]
            assert np.argmax(tint) == np.argmax(to_rgb(CLASS_COLOURS[code]))
        saved(figure, tmp_path)

    def test_every_pair_of_neighbouring_classes_has_a_border(self, tmp_path):
        angles = 2 * np.pi * np.arange(3) / 3
        weights = 5 * np.column_stack([np.cos(angles), np.sin(angles)])
        network = Network((weights,), (np.zeros(3),), output_named("softmax"))
        figure = learned_figure(network, task("softmax"), "t")
        (axes,) = figure.axes
        borders = np.vstack([path.vertices for path in axes.collections[0].get_paths()])
        borders = np.vstack([borders, *(path.vertices for path in axes.collections[1].get_paths())])
        far = borders[np.hypot(*borders.T) > 0.5]
        directions = np.unique(np.round(np.degrees(np.arctan2(far[:, 1], far[:, 0])) / 10) * 10 % 360)
        assert directions.tolist() == [60.0, 180.0, 300.0]
        saved(figure, tmp_path)

    def test_more_classes_than_colours(self, tmp_path):
        figure = learned_figure(Network.he([2, 4, 12], "softmax"), task("softmax", n_classes=12), "t")
        assert len(labels(figure.axes[0])) == 10 + 2
        saved(figure, tmp_path)

    @pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
    def test_a_constant_network_on_constant_inputs(self, output, tmp_path):
        n_outputs = 3 if output == "softmax" else 1
        network = Network((np.zeros((n_outputs, 2)),), (np.zeros(n_outputs),), output_named(output))
        saved(learned_figure(network, task(output, X=np.zeros((12, 2))), "t"), tmp_path)

    @pytest.mark.parametrize(
        ("n_inputs", "n_outputs", "output"), [(3, 1, "identity"), (2, 2, "identity"), (2, 2, "sigmoid")]
    )
    def test_what_is_no_picture_in_the_plane_is_none(self, n_inputs, n_outputs, output):
        features = ("x1", "x2", "x3")[:n_inputs]
        assert (
            learned_figure(
                Network.he([n_inputs, n_outputs], output), task("identity", features=features), "t"
            )
            is None
        )


class TestSave:
    def test_a_failed_write_keeps_the_old_picture_and_leaves_nothing_else(self, tmp_path, monkeypatch):
        path = tmp_path / "figure.png"
        path.write_bytes(b"old")
        figure = loss_figure(history([1.0, 0.1]), None, "t")

        def full_disk(file, **_):
            file.write(b"half a picture")
            raise OSError(errno.ENOSPC, "no space left on device")

        monkeypatch.setattr(figure, "savefig", full_disk)
        with pytest.raises(OSError, match="no space"):
            save_figure(figure, path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_no_state_of_matplotlib_is_touched(self, tmp_path):
        import matplotlib

        before = dict(matplotlib.rcParams)
        saved(loss_figure(history([1.0, 0.1]), None, "t"), tmp_path)
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("losses", "early"),
    [
        ([10.0, 0.2, *[0.1] * 38], True),  # half of the way, in logarithms, is 1.0: one step of 39
        ([10.0 * 0.9**i for i in range(40)], False),  # evenly spread
        ([1.0, *[0.9] * 39], False),  # nothing to show
        ([10.0, 0.2, 0.1], False),  # too few rows
        ([*[10.0] * 20, *[0.1] * 20], False),  # late
    ],
)
def test_steps_are_spread_where_half_of_the_loss_goes_in_the_first_twentieth(losses, early):
    steps = np.arange(len(losses)) * 100
    history = pd.DataFrame({"step": steps, "train_loss": losses, "test_loss": losses})
    assert happens_early(steps, np.array(losses)) is early
    (axes,) = loss_figure(history, None, "run").axes
    assert axes.get_xscale() == ("symlog" if early else "linear")
    if early:
        # Equal ratios are equally far from one another, and the start is in the picture.
        at = axes.transData.transform([(step, 1.0) for step in (0, 100, 1000, 2000)])[:, 0]
        assert at[0] < at[1]
        assert (at[3] - at[2]) / (at[2] - at[1]) == pytest.approx(np.log(2) / np.log(10), rel=1e-6)
