"""The progress view, watched on streams that are terminals or are not."""

import io
import re

import pytest
from rich.console import Console

from sheafcli.core.training.fit import Record
from sheafcli.render import progress
from sheafcli.render.progress import ProgressView, working
from sheafcli.runs.observer import Observer


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def record(step):
    return Record(step, 1.0, 0.0756123456, None, 0.1, None, None)


def play(view, *, step=0, total=1000, stop_at=1000):
    """Play a phase to a step of its total."""
    observer: Observer = view
    observer.phase_started("training", step, total)
    observer.recorded(record(step))
    observer.progressed(stop_at, stop_at / 1000)
    observer.recorded(record(stop_at))
    observer.phase_ended()


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns in the place of standard error."""
    stream = FakeTerminal()
    monkeypatch.setattr(
        progress,
        "stderr",
        lambda: Console(file=stream, width=80, _environ={"TERM": "xterm"}, highlight=False),
    )
    return stream


def last_line(stream):
    """Return the line that stays, without the escape codes of the bar before it."""
    return re.sub(r"\r|\x1b\[[?\d;]*[a-zA-Z]", "", stream.getvalue().splitlines()[-1])


def test_nothing_is_written_where_nobody_looks(capsys):
    with ProgressView() as view:
        play(view)
    assert capsys.readouterr() == ("", "")


def test_nothing_is_written_if_quiet(terminal):
    with ProgressView(quiet=True) as view:
        play(view)
    assert terminal.getvalue() == ""


def test_forced_colours_do_not_make_a_pipe_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with ProgressView() as view:
        play(view)
    assert capsys.readouterr() == ("", "")


def test_a_finished_phase_leaves_one_line(terminal):
    with ProgressView() as view:
        play(view)
    line = last_line(terminal)
    assert line.startswith("training  1,000 steps  ")
    assert line.endswith("  train loss 0.0756123")
    assert "steps/s" in line
    assert terminal.getvalue().count("training") == 1, "too short a phase for a bar"


def test_a_stopped_phase_says_where(terminal):
    with ProgressView() as view:
        play(view, stop_at=432)
    assert last_line(terminal).startswith("training  stopped at step 432 of 1,000  ")


def test_an_error_ends_the_phase_and_shows_the_cursor_again(terminal):
    def interrupted():
        with ProgressView() as view:
            view.phase_started("training", 0, None)
            view.progressed(7, 0.5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert last_line(terminal).startswith("training  stopped at step 7  ")
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")


def test_standard_output_stays_its_own(terminal, capsys):
    with ProgressView() as view:
        view.phase_started("training", 0, 10)
        print("a result")
        view.phase_ended()
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in terminal.getvalue()


class TestBar:
    """The bar of a phase at given times."""

    @pytest.fixture
    def clock(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
        return now

    @staticmethod
    def drawn(phase, width=80):
        stream = io.StringIO()
        Console(file=stream, width=width).print(phase.bar())
        return stream.getvalue().rstrip("\n")

    def test_a_time_beyond_all_clocks_is_no_error(self, clock):
        phase = progress._Phase("training", None, 0, 0.0, began=0.0)
        clock[0] = 10.0
        for share in (1e-300, 5e-324, 1e-9):
            phase.progressed(100, share)
            assert phase.time_left() == "over a year left"

    def test_it_appears_only_after_a_while(self, clock):
        phase = progress._Phase("training", 100, 0, 0.0, began=0.0)
        clock[0] = 0.1
        assert self.drawn(phase) == ""
        clock[0] = 1.0
        assert self.drawn(phase).startswith("training")

    def test_it_tells_share_steps_speed_loss_and_time_left(self, clock):
        phase = progress._Phase("training", 100_000, 0, 0.0, began=0.0)
        phase.record = record(0)
        clock[0] = 10.0
        phase.progressed(20_000, 0.2)
        line = self.drawn(phase)
        assert len(line) == 80
        assert line.endswith("  20%  20,000/100,000  2,000 steps/s  loss 0.07561  0:40 left")

    def test_a_resumed_phase_counts_only_its_own_steps(self, clock):
        phase = progress._Phase("training", 1000, 500, 0.5, began=0.0)
        clock[0] = 5.0
        phase.progressed(750, 0.75)
        assert "50 steps/s  0:05 left" in self.drawn(phase)

    def test_a_resumed_phase_of_unknown_length_learns_where_it_stands(self, clock):
        phase = progress._Phase("training", None, 500, None, began=0.0)
        clock[0] = 5.0
        phase.progressed(600, 0.6)
        clock[0] = 7.0
        phase.progressed(700, 0.8)
        assert self.drawn(phase).endswith(" 80%  700  50 steps/s  0:02 left")

    def test_hours_are_hours(self, clock):
        phase = progress._Phase("training", 1000, 0, 0.0, began=0.0)
        clock[0] = 100.0
        phase.progressed(10, 0.01)
        assert self.drawn(phase).endswith("2 h 45 left")


class TestWorking:
    """The bar of a work in parts."""

    PARTS = ("solving", "repairs", "pictures")

    @staticmethod
    def shown(stream):
        return re.sub(r"\r|\x1b\[[?\d;]*[a-zA-Z]", "", stream.getvalue())

    @pytest.mark.parametrize("forced", [False, True])
    def test_nothing_is_written_where_nobody_looks(self, capsys, monkeypatch, forced):
        if forced:
            monkeypatch.setenv("FORCE_COLOR", "1")
        with working(3) as advance:
            for part in self.PARTS:
                advance(part)
        assert capsys.readouterr() == ("", "")

    def test_a_terminal_sees_what_is_done_and_nothing_stays(self, terminal):
        with working(3) as advance:
            advance("pictures")
        assert "pictures" in self.shown(terminal)
        assert terminal.getvalue().endswith("\x1b[2K")  # the line is cleared
        assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")

    def test_a_part_that_has_only_begun_is_not_done(self, terminal, monkeypatch):
        told = []
        update = progress.Progress.update

        def noting(bar, task, **fields):
            told.append((fields["description"], fields["completed"]))
            update(bar, task, **fields)

        monkeypatch.setattr(progress.Progress, "update", noting)
        with working(3) as advance:
            for part in self.PARTS:
                advance(part)
        assert told == [("solving", 0), ("repairs", 1), ("pictures", 2)]

    def test_an_error_takes_the_bar_away_and_shows_the_cursor_again(self, terminal):
        def failing():
            with working(3) as advance:
                advance("solving")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            failing()
        assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")


@pytest.mark.parametrize(
    ("step", "total", "told"), [(0, 150, "cycle 1/3"), (60, 150, "cycle 2/3"), (150, 150, "cycle 3/3")]
)
def test_the_bar_tells_the_cycle(terminal, monkeypatch, step, total, told):
    monkeypatch.setattr(progress, "APPEARS_AFTER_SECONDS", 0.0)
    with ProgressView(cycle=60) as view:
        view.phase_started("training", 0, total)
        view.progressed(step, step / total)
        view.phase_ended()
        assert told in terminal.getvalue()
        view.phase_started("baseline", 0, total)
        view.phase_ended()
    assert "cycle" not in terminal.getvalue().rpartition("training")[2]
