"""The heat map of a training, read back from its artists and compared with the table it is drawn from."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, to_hex
from matplotlib.image import imread

from sheafcli.core.edge import edges
from sheafcli.render.figures import ROUNDING
from sheafcli.render.heat_map import MOST_ROWS, MOST_STEPS, ZERO, heat_map_figure
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.style import save_figure


def table(depth, steps, value=None, *, output=True):
    """Return discord.csv of a network, its values drawn at random over six decades or given by a function."""
    rng = np.random.default_rng(0)
    draw = value or (lambda step, edge: 10.0 ** rng.uniform(-6.0, 0.0))
    rows = [
        (step, edge.layer, edge.operation, edge.name, draw(step, edge), 0.1)
        for step in steps
        for edge in edges(depth, output=output)
    ]
    return pd.DataFrame(rows, columns=["step", "layer", "operation", "edge", "discord", "share"])


def meshes(figure):
    return [artist for artist in figure.axes[0].collections if isinstance(artist, QuadMesh)]


def row_names(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def legend(figure):
    return [text.get_text() for found in figure.legends for text in found.get_texts()]


def saved(figure, tmp_path):
    """Write a figure, which draws everything; any warning is an error here."""
    save_figure(figure, tmp_path / "figure.png")
    return imread(tmp_path / "figure.png")


def test_cells_hold_the_table_grouped_by_operation(tmp_path):
    discord = table(3, [0, 100, 200, 300])
    figure = heat_map_figure(discord, "a $title$ with $ signs")
    names = ["affine_1", "affine_2", "affine_3", "affine_4"]
    names += ["activation_1", "activation_2", "activation_3", "output"]
    assert row_names(figure) == names
    (mesh,) = meshes(figure)
    assert isinstance(mesh.norm, LogNorm)
    cells = mesh.get_array()
    assert not cells.mask.any()
    for row, name in enumerate(names):
        np.testing.assert_array_equal(cells[row], discord.loc[discord["edge"] == name, "discord"])
    assert (mesh.norm.vmin, mesh.norm.vmax) == (discord["discord"].min(), discord["discord"].max())
    low, high = figure.axes[0].get_ylim()
    assert low > high  # the first row is on top
    assert legend(figure) == []
    colours = [label.get_color() for label in figure.axes[0].get_yticklabels()]
    assert colours == [OPERATION_COLOURS[name.partition("_")[0]] for name in names]
    saved(figure, tmp_path)


def test_order_of_the_rows_of_the_table_does_not_matter():
    discord = table(2, [0, 10, 30])
    shuffled = discord.sample(frac=1.0, random_state=1)
    one, other = (meshes(heat_map_figure(frame, "t"))[0].get_array() for frame in (discord, shuffled))
    np.testing.assert_array_equal(one, other)


def test_columns_are_true_to_scale():
    (mesh,) = meshes(heat_map_figure(table(1, [0, 10, 50, 60]), "t"))
    np.testing.assert_array_equal(mesh.get_coordinates()[0, :, 0], [0, 5, 30, 55, 60])


def test_zeros_and_what_is_not_finite_are_told_apart(tmp_path):
    special = {0: 0.0, 1: 1e-31, 2: np.nan, 3: np.inf}
    discord = table(1, range(5), lambda step, edge: special.get(step, 1.0 + edge.layer))
    figure = heat_map_figure(discord, "t")
    mesh, unknown = meshes(figure)
    assert 1e-31 < ROUNDING < 1e-20
    assert mesh.get_array().mask.tolist() == [[True, True, True, True, False]] * 4
    assert unknown.get_array().mask.tolist() == [[True, True, False, False, True]] * 4
    assert to_hex(figure.axes[0].get_facecolor()) == ZERO
    assert legend(figure) == ["zero", "not finite"]
    saved(figure, tmp_path)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_without_a_number_to_show_there_is_no_colour_bar(value, tmp_path):
    figure = heat_map_figure(table(1, [0, 10], lambda step, edge: value), "t")
    assert len(figure.axes) == 1
    assert legend(figure) == ["zero" if value == 0.0 else "not finite"]
    saved(figure, tmp_path)


def test_equal_values_have_a_scale_around_them(tmp_path):
    figure = heat_map_figure(table(1, [0, 10], lambda step, edge: 0.25), "t")
    (mesh,) = meshes(figure)
    assert mesh.norm.vmax / mesh.norm.vmin == pytest.approx(3.0)
    assert np.sqrt(mesh.norm.vmin * mesh.norm.vmax) == pytest.approx(0.25)
    saved(figure, tmp_path)


def test_of_many_steps_some_are_drawn_the_first_and_the_last_always(tmp_path):
    discord = table(1, range(0, 20_000, 10), lambda step, edge: 1.0 + step)
    figure = heat_map_figure(discord, "t")
    cells = meshes(figure)[0].get_array()
    assert cells.shape == (4, MOST_STEPS)
    drawn = cells[0] - 1.0
    assert (drawn[0], drawn[-1]) == (0, 19_990)
    assert set(np.diff(drawn)) <= {30, 40}
    saved(figure, tmp_path)


def test_of_many_rows_some_are_named_the_first_of_an_operation_always(tmp_path):
    figure = heat_map_figure(table(60, [0, 10]), "t")
    names = row_names(figure)
    assert meshes(figure)[0].get_array().shape == (122, 2)
    assert {"affine_1", "activation_1", "output"} <= set(names)
    assert len(names) <= MOST_ROWS
    assert np.diff(figure.axes[0].get_yticks()).min() >= 122 // MOST_ROWS
    saved(figure, tmp_path)


@pytest.mark.parametrize(("depth", "steps", "output"), [(0, [0], True), (0, [7], False), (1, [5, 6], False)])
def test_small_trainings_draw(depth, steps, output, tmp_path):
    figure = heat_map_figure(table(depth, steps, output=output), "t")
    assert meshes(figure)[0].get_array().shape == (2 * depth + 1 + output, len(steps))
    assert saved(figure, tmp_path).std() > 0
