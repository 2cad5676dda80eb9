"""A diffusion as it is shown: live, in its table, in its pictures; and how thinly it is recorded."""

import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.image import imread
from rich.console import Console

from sheafcli.core import trace as trace_module
from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import HeatEquation
from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import diffuse
from sheafcli.core.integrators import Euler
from sheafcli.core.trace import Recorder
from sheafcli.diagnostics.diffusion import crossings_table, trace_table
from sheafcli.render import diffusion as view_module
from sheafcli.render.diffusion import LiveTrace, diffusion_figures, diffusion_table
from sheafcli.render.style import save_figure


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def recorded(widths=(2, 4, 3, 2), *, samples=2, steps=400, watch=(("z1", 0), ("z1", 1)), **options):
    """Diffuse on a small network; return the flow, the recorder and the equilibrium."""
    network = Network.he(widths, seed=1)
    X = np.random.default_rng(0).normal(size=(samples, widths[0]))
    goal = Cochain.forward(network, X)
    recorder = Recorder(reference=goal, watch=watch)
    flow = diffuse(network, X, recorder=recorder, steps=steps, **{"integrator": Euler(0.05)} | options)
    return flow, recorder, goal


def lines_of(renderable, width=80):
    stream = io.StringIO()
    Console(file=stream, width=width).print(renderable)
    return stream.getvalue().splitlines()


def rows_of(table):
    """Return the rows of a table of names and values."""
    return dict(re.split(r"  +", line.strip(), maxsplit=1) for line in lines_of(table)[1:])


def drawn(widths=(2, 4, 3, 2), **options):
    _, recorder, goal = recorded(widths, **options)
    trace, crossings = trace_table(recorder), crossings_table(recorder)
    return trace, crossings, goal, diffusion_figures(trace, crossings, goal, "a $title$ with $ signs")


def saved(figures, tmp_path):
    """Write figures, which draws everything; any warning is an error here."""
    for name, figure in figures.items():
        save_figure(figure, tmp_path / f"{name}.png")
        assert imread(tmp_path / f"{name}.png").std() > 0


class TestRecorder:
    def test_sightings_grow_rarer_and_the_last_is_kept(self):
        flow, recorder, _ = recorded(steps=20_000, tolerance=1e-300)
        steps = [seen.step for seen in recorder.sightings]
        assert steps[:400] == list(range(400))
        assert len(steps) < 1300
        assert steps[-1] == flow.steps == 20_000
        assert (np.diff(steps) <= 1 + 0.005 * np.array(steps[:-1])).all()

    def test_crossings_are_counted_beyond_what_is_kept(self, monkeypatch):
        monkeypatch.setattr(trace_module, "MOST_CROSSINGS", 5)
        network = Network.he([2, 3, 1])
        cochain = Cochain(network.widths, 1)
        recorder, equation = Recorder(), HeatEquation(network, np.zeros((1, 2)), cochain)
        for step in range(10):
            cochain.z[1][:] = (-1.0) ** step
            recorder.observe(equation, step, 0.5 * step)
        assert recorder.crossed == 27
        assert [(c.step, c.neuron, c.active) for c in recorder.crossings] == [
            (1, 0, False),
            (1, 1, False),
            (1, 2, False),
            (2, 0, True),
            (2, 1, True),
        ]
        assert sorted(map(tuple, recorder.met_patterns().tolist())) == [(False,) * 3, (True,) * 3]

    def test_patterns_are_of_neurons_in_path_order_the_last_first(self):
        network = Network.he([2, 2, 1, 1])
        cochain = Cochain(network.widths, 1)
        recorder, equation = Recorder(), HeatEquation(network, np.zeros((1, 2)), cochain)
        for step, (z1, z2) in enumerate((([1, -1], [-1]), ([1, -1], [1]), ([-1, -1], [1]))):
            cochain.z[1][0], cochain.z[2][0] = z1, z2
            recorder.observe(equation, step, step)
        assert recorder.met_patterns().tolist() == [
            [False, False, True],
            [True, False, False],
            [True, False, True],
        ]
        assert [(c.layer, c.neuron, c.active) for c in recorder.crossings] == [(2, 0, True), (1, 0, False)]

    def test_the_rate_is_the_slope_of_the_logarithm(self):
        network = Network.he([2, 3, 1])
        goal = Cochain.forward(network, np.ones((2, 2)))
        moving = goal.copy()
        recorder, equation = Recorder(reference=goal), HeatEquation(network, np.ones((2, 2)), moving)
        for step in range(200):
            moving.z[2][:, 0] = goal.z[2][:, 0] + np.exp(-np.array([0.3, 0.2]) * 0.5 * step)
            recorder.observe(equation, step, 0.5 * step)
        assert recorder.decay_rate() == pytest.approx(0.2, rel=1e-6)

    @pytest.mark.parametrize("after", [0.0, 1.0, np.nan, np.inf])
    def test_what_does_not_decay_has_no_rate(self, after):
        network = Network.he([2, 3, 1])
        goal = Cochain.forward(network, np.ones((1, 2)))
        moving = goal.copy()
        recorder, equation = Recorder(reference=goal), HeatEquation(network, np.ones((1, 2)), moving)
        for step in range(50):
            recorder.observe(equation, step, 0.5 * step)
            moving.z[2][:, 0] = goal.z[2][:, 0] + after
        assert recorder.decay_rate() is None
        assert Recorder().decay_rate() is None


class TestLive:
    @pytest.fixture
    def terminal(self, monkeypatch):
        stream = FakeTerminal()
        console = Console(file=stream, width=80, _environ={"TERM": "xterm"}, highlight=False)
        monkeypatch.setattr(view_module, "stderr", lambda: console)
        return stream

    def test_entering_gives_the_recorder(self):
        recorder = Recorder()
        with LiveTrace(recorder, quiet=True) as observer:
            assert observer is recorder

    def test_nothing_is_written_where_nobody_looks(self, capsys, monkeypatch):
        monkeypatch.setattr(view_module, "APPEARS_AFTER_SECONDS", 0.0)
        monkeypatch.setenv("FORCE_COLOR", "1")
        with LiveTrace(recorded()[1], quiet=False):
            pass
        assert capsys.readouterr() == ("", "")

    def test_nothing_is_written_if_quiet(self, terminal, monkeypatch):
        monkeypatch.setattr(view_module, "APPEARS_AFTER_SECONDS", 0.0)
        with LiveTrace(recorded()[1], quiet=True):
            pass
        assert terminal.getvalue() == ""

    def test_the_last_sighting_is_shown_and_taken_away(self, terminal, monkeypatch):
        monkeypatch.setattr(view_module, "APPEARS_AFTER_SECONDS", 0.0)
        _, recorder, _ = recorded(steps=123)
        with pytest.raises(KeyboardInterrupt), LiveTrace(recorder, quiet=False):
            raise KeyboardInterrupt
        written = terminal.getvalue()
        assert " 123 " in written
        assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
        assert "\x1b[2K" in written[written.rindex("123") :]

    def test_it_appears_only_after_a_while(self, monkeypatch):
        _, recorder, _ = recorded(steps=123)
        live = LiveTrace(recorder, quiet=True)
        assert lines_of(live.view()) == []
        monkeypatch.setattr(view_module, "APPEARS_AFTER_SECONDS", 0.0)
        (values,) = lines_of(live.view())[3:]
        seen = recorder.sightings[-1]
        edge = max(seen.discord, key=seen.discord.get)
        assert values.split()[:3] == ["123", "6.15", f"{seen.evaluations}"]
        assert [float(word) for word in values.split()[3:5]] == pytest.approx(
            [seen.energy, seen.distance.max()], rel=1e-2
        )
        assert values.split()[5] == edge.name

    def test_a_million_steps_fit_80_columns(self, monkeypatch):
        monkeypatch.setattr(view_module, "APPEARS_AFTER_SECONDS", 0.0)
        _, recorder, _ = recorded(steps=3)
        last = replace(recorder.sightings[-1], step=1_000_000, evaluations=1_234_567, time=123456.0)
        recorder.sightings.append(last)
        lines = lines_of(LiveTrace(recorder, quiet=True).view(), width=80)
        assert "1,000,000" in lines[-1]
        assert "…" not in "".join(lines)


class TestTable:
    def test_rows_hold_their_numbers(self):
        flow, recorder, _ = recorded(steps=100_000)
        table = diffusion_table(flow, recorder, 0.5 * recorder.decay_rate())
        rows = rows_of(table)
        first, last = recorder.sightings[0], recorder.sightings[-1]
        assert rows["steps"] == f"{flow.steps:,}"
        assert rows["samples at rest"] == "2 of 2"
        assert float(rows["integration time"]) == pytest.approx(0.05 * flow.steps)
        assert float(rows["energy at start"]) == pytest.approx(first.energy, rel=1e-5)
        assert float(rows["energy at end"]) == pytest.approx(last.energy, rel=1e-5)
        assert float(rows["distance from equilibrium at end"]) == pytest.approx(last.distance.max(), rel=1e-5)
        assert rows["crossings"] == str(len(recorder.crossings))
        assert rows["patterns met"] == str(len(recorder.met_patterns()))
        assert rows["measured / bound"] == "2"
        assert max(map(len, lines_of(table))) <= 80

    def test_what_is_below_the_bound_or_not_at_rest_is_red(self):
        flow, recorder, _ = recorded(steps=300)
        stream = io.StringIO()
        console = Console(file=stream, width=80, color_system="standard", force_terminal=True)
        console.print(diffusion_table(flow, recorder, 2.0 * recorder.decay_rate()))
        red = re.findall(r"\x1b\[1;31m([^\x1b]*)", stream.getvalue())
        assert [text.strip() for text in red] == ["0 of 2", "0.5"]

    def test_without_decay_there_is_a_dash_and_what_was_left_out_is_said(self):
        flow, recorder, _ = recorded(start="forward")
        recorder.crossed = 1_234_567
        rows = rows_of(diffusion_table(flow, recorder, 0.1))
        assert rows["decay rate, measured"] == rows["measured / bound"] == "-"
        assert rows["crossings"] == "1,234,567 (the first 0 kept)"


class TestFigures:
    def test_energy_and_distance_over_log_time_and_time(self, tmp_path):
        trace, crossings, _, figures = drawn()
        early, late = figures["energy"].axes
        assert (early.get_xscale(), late.get_xscale()) == ("log", "linear")
        for axes in (early, late):
            energy, distance = axes.lines
            assert axes.get_yscale() == "log"
            np.testing.assert_array_equal(energy.get_xdata(), trace["time"])
            np.testing.assert_array_equal(energy.get_ydata(), trace["energy"])
            np.testing.assert_array_equal(distance.get_ydata(), trace["distance"])
            assert axes.get_ylim()[0] < trace[["energy", "distance"]].min().min()
        (ticks,) = early.collections
        assert isinstance(ticks, LineCollection)
        times = [path.vertices[0, 0] for path in ticks.get_paths()]
        np.testing.assert_allclose(times, crossings["time"])
        assert len(times) > 0
        saved(figures, tmp_path)

    def test_many_crossings_are_a_strip_of_their_density(self, tmp_path):
        trace, _, goal, _ = drawn()
        times = np.geomspace(0.05, 20.0, 1000)
        figures = diffusion_figures(trace, pd.DataFrame({"time": times}), goal, "t")
        (strip,) = figures["energy"].axes[0].collections
        assert isinstance(strip, QuadMesh)
        assert strip.get_array().sum() == 1000
        saved(figures, tmp_path)

    def test_outputs_go_to_their_dashed_equilibrium(self, tmp_path):
        trace, _, goal, figures = drawn()
        (axes,) = figures["output"].axes
        first, level, second, second_level = axes.lines
        np.testing.assert_array_equal(first.get_ydata(), trace["output_0"])
        np.testing.assert_array_equal(second.get_ydata(), trace["output_1"])
        assert [*level.get_ydata(), *second_level.get_ydata()] == [goal.z[3][0, 0]] * 2 + [
            goal.z[3][0, 1]
        ] * 2
        assert level.get_linestyle() == second_level.get_linestyle() == "--"
        assert first.get_color() == level.get_color() != second.get_color()
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        assert names == ["z3[0]", "z3[1]", "equilibrium"]

    def test_the_phase_plane_runs_from_start_to_equilibrium(self, tmp_path):
        trace, _, goal, figures = drawn(watch=(("z1", 2), ("a2", 1)))
        axes = figures["phase"].axes[0]
        path = axes.collections[0]
        np.testing.assert_array_equal(path.get_array(), trace["time"][1:])
        np.testing.assert_array_equal(path.get_segments()[7], trace[["z1[2]", "a2[1]"]].to_numpy()[7:9])
        start, rest = axes.lines[:2]
        assert (*start.get_xdata(), *start.get_ydata()) == tuple(trace[["z1[2]", "a2[1]"]].iloc[0])
        assert (*rest.get_xdata(), *rest.get_ydata()) == (goal.z[1][0, 2], goal.a[2][0, 1])
        assert (start.get_marker(), rest.get_marker()) == ("o", "x")
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("z1[2]", "a2[1]")
        saved(figures, tmp_path)

    def test_without_watched_coordinates_there_is_no_phase_plane(self, tmp_path):
        _, _, _, figures = drawn((2, 1), watch=())
        assert set(figures) == {"energy", "output"}
        saved(figures, tmp_path)

    @pytest.mark.parametrize("options", [{"start": "forward"}, {"steps": 1}, {"steps": 20_000}])
    def test_at_rest_from_the_start_one_step_and_down_to_rounding(self, options, tmp_path):
        *_, figures = drawn(**options)
        saved(figures, tmp_path)

    def test_many_outputs_name_the_first_ten(self, tmp_path):
        *_, figures = drawn((2, 4, 12))
        names = [text.get_text() for text in figures["output"].axes[0].get_legend().get_texts()]
        assert names == [*(f"z2[{i}]" for i in range(10)), "equilibrium"]
        saved(figures, tmp_path)
