"""A sweep as it is shown: its table against medians taken by hand, its progress on streams and clocks."""

import io
import itertools
import re
import statistics
import threading
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sheafcli.config import load_sweep
from sheafcli.errors import InputError
from sheafcli.records.sweep import SweepRecord, by_parameters, read_index
from sheafcli.render import sweep_progress
from sheafcli.render.sweep import best_words, sweep_table
from sheafcli.render.sweep_progress import SweepView
from sheafcli.runs.job import Outcome
from sheafcli.runs.sweep import SweepDirectory


def index_of(rows, **columns):
    """Return an index of rows of (parameters, status, train_loss, test_loss)."""
    table = [
        {"run": f"{i:03d}"}
        | parameters
        | {"status": status, "step": 60}
        | {"train_loss": train, "test_loss": test}
        for i, (parameters, status, train, test) in enumerate(rows, start=1)
    ]
    return pd.DataFrame(table).assign(**{"test_accuracy": float("nan")} | columns)


LOSSES = {
    (0.001, "[30]"): [(0.5, 0.9), (0.1, 0.3), (0.4, 0.35)],
    (0.001, "[10, 8]"): [(0.25, 0.75), (0.75, 0.25), (0.3, 0.2)],
    (0.01, "[30]"): [(0.2, 0.125), (0.3, 0.5), (0.1, 0.0625)],
}
KEYS = ["training.beta", "network.hidden", "seed"]


def seeded():
    return index_of(
        ({"training.beta": beta, "network.hidden": hidden, "seed": seed}, "finished", *losses)
        for (beta, hidden), runs in LOSSES.items()
        for seed, losses in enumerate(runs)
    )


def printed(index, keys, name="short", colours=None, width=80):
    sweep = SweepRecord(name, Path("results/short"), index)
    assert sweep.keys == keys
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=colours, force_terminal=colours is not None)
    console.print(sweep_table(sweep))
    return stream.getvalue().splitlines()


def words(line):
    return re.split(r"  +", line.strip())


class TestTable:
    def test_its_figures_are_medians_over_the_seeds(self):
        title, *headers, _, first, second, third = printed(seeded(), KEYS)
        assert title == "Sweep short: 9 finished; * best"
        assert words(headers[-1]) == ["beta", "hidden", "loss", "loss", "from", "to"]
        # The least median of the test losses first, which alone is starred.
        assert first.count("*") == 1
        assert "*" not in second + third
        first = first.replace("*", " ")
        ranked = sorted(LOSSES.items(), key=lambda item: statistics.median(test for _, test in item[1]))
        for line, ((beta, hidden), runs) in zip((first, second, third), ranked, strict=True):
            train, test = zip(*runs, strict=True)
            found = words(line)
            assert found[:2] == [f"{beta:g}", hidden]
            medians = [statistics.median(train), statistics.median(test), min(test), max(test)]
            assert [float(word) for word in found[2:]] == pytest.approx(medians, rel=1e-2)
            assert [float(word) for word in found[2:4]] == medians[:2]

    def test_combinations_of_any_parameters_against_a_loop(self):
        keys = ["a", "b", "seed"]
        draws = iter(range(1, 100))
        rows = [
            ({"a": a, "b": b, "seed": seed}, status, 1.0 / next(draws), 2.0 / next(draws))
            for a, b, (seed, status) in itertools.product(
                (1, 2), ("x", "y"), ((0, "finished"), (1, "diverged"), (5, "finished"), (6, "finished"))
            )
        ]
        table = by_parameters(index_of(rows), keys)
        assert sorted(table[["a", "b"]].to_numpy().tolist()) == [[1, "x"], [1, "y"], [2, "x"], [2, "y"]]
        assert table["test_loss"].is_monotonic_increasing
        for row in table.itertuples():
            own = [r for r in rows if (r[0]["a"], r[0]["b"]) == (row.a, row.b)]
            test = [r[3] for r in own if r[1] == "finished"]
            assert (row.runs, row.finished) == (4, 3)
            assert row.train_loss == statistics.median(r[2] for r in own if r[1] == "finished")
            assert (row.test_loss, row.test_least, row.test_largest) == (
                statistics.median(test),
                min(test),
                max(test),
            )

    def test_the_best_by_test_loss_is_bold(self):
        lines = printed(seeded(), KEYS, colours="standard")
        bold = [line for line in lines[1:] if "\x1b[1m" in line]
        assert len(bold) == 1
        assert re.sub(r"\x1b\[\d*m", "", bold[0]).startswith("0.01 ")

    def test_without_test_losses_the_training_loss_says_which(self):
        index = seeded().assign(test_loss=float("nan"))
        lines = printed(index, KEYS, colours="standard")
        (bold,) = [line for line in lines[1:] if "\x1b[1m" in line]
        medians = {key: statistics.median(train for train, _ in runs) for key, runs in LOSSES.items()}
        best = min(medians, key=medians.get)
        assert re.sub(r"\x1b\[\d*m", "", bold).startswith(f"{best[0]:g} ")

    def test_one_combination_is_not_the_best_of_any(self):
        index = index_of([({"seed": seed}, "finished", 0.5, 0.5) for seed in (0, 1)])
        lines = printed(index, ["seed"], colours="standard")
        assert not [line for line in lines[1:] if "\x1b[1m" in line]
        assert len(lines) == 5

    def test_what_did_not_finish_is_counted_and_left_out_of_the_figures(self):
        index = index_of(
            [
                ({"training.dt": 0.1, "seed": 0}, "finished", 0.5, 0.25),
                ({"training.dt": 0.1, "seed": 1}, "diverged", 1e9, 1e9),
                ({"training.dt": 0.2, "seed": 0}, "diverged", None, None),
                ({"training.dt": 0.2, "seed": 1}, "failed", None, None),
            ]
        )
        title, *_, one, none = printed(index, ["training.dt", "seed"])
        assert title == "Sweep short: 1 finished, 2 diverged, 1 failed; * best"
        assert words(one) == ["0.1", "1 of 2", "0.50000", "0.25000*", "0.250", "0.250"]
        assert words(none) == ["0.2", "0 of 2", "-", "-", "-", "-"]

    def test_where_nothing_finished_it_says_so(self):
        index = index_of([({"training.dt": dt}, "failed", None, None) for dt in (0.1, 0.2)])
        lines = printed(index, ["training.dt"])
        assert lines[0] == "Sweep short: 2 failed"
        assert [words(line) for line in lines[-2:]] == [["0.1", "0 of 1"], ["0.2", "0 of 1"]]

    def test_of_many_combinations_the_best_are_shown_the_best_first(self):
        losses = [(i * 7919 % 101) / 101 for i in range(40)]
        index = index_of([({"task.n_train": i}, "finished", 1.0, loss) for i, loss in enumerate(losses)])
        lines = printed(index, ["task.n_train"])
        assert lines[0] == "Sweep short: 40 finished; the best 24 of 40 combinations; * best"
        best = sorted(range(40), key=lambda i: losses[i])[:24]
        assert [int(words(line)[0]) for line in lines[-24:]] == best
        assert len(printed(index.head(24), ["task.n_train"])) == 24 + 4

    def test_many_combinations_of_which_none_finished(self):
        index = index_of([({"task.n_train": i}, "failed", None, None) for i in range(40)])
        assert len(printed(index, ["task.n_train"])) >= 24

    def test_what_was_stopped_early_comes_after_what_finished_those_that_came_furthest_first(self):
        index = index_of([({"a": a}, "stopped", 1.0, 1.0 - 0.1 * a) for a in range(3)]).assign(
            step=[100, 300, 100]
        )
        done = index_of([({"a": 3}, "finished", 2.0, 2.0), ({"a": 4}, "diverged", None, None)])
        lines = printed(pd.concat([index, done]), ["a"])
        assert lines[0] == "Sweep short: 1 finished, 3 stopped, 1 diverged; * best"
        assert [words(line)[:2] for line in lines[-5:]] == [
            ["3", "60"],
            ["1", "300"],
            ["2", "100"],
            ["0", "100"],
            ["4", "60"],
        ]

    def test_in_40_columns_it_drops_columns_and_no_number_is_cut(self):
        lines = printed(seeded(), KEYS, width=40)
        assert max(map(len, lines)) <= 40
        assert lines[-1].startswith("No room for: ")
        assert [words(line.replace("*", " "))[2:4] for line in lines if "[30]" in line] == [
            ["0.20000", "0.12500"],
            ["0.40000", "0.35000"],
        ]

    def test_paths_are_shortened_where_they_are_alike(self):
        starts = [f"../data/starts/paraboloid_{i}.npz" for i in range(3)]
        index = index_of([({"network.start": start}, "finished", 1.0, 1.0) for start in starts])
        lines = printed(index, ["network.start"])
        shown = [words(line)[0] for line in lines[-3:]]
        assert shown == [f"...aboloid_{i}.npz" for i in range(3)]
        assert all(start.endswith(text[3:]) for start, text in zip(starts, shown, strict=True))

    def test_keys_that_end_alike_are_shown_whole(self):
        keys = ["training.learning_rate", "baseline.learning_rate", "training.dt"]
        index = index_of([(dict.fromkeys(keys, 0.1), "finished", 1.0, 1.0)])
        lines = printed(index, keys)
        assert words(lines[1])[:2] == ["training.", "baseline."]
        assert words(lines[2])[:3] == ["learning_rate", "learning_rate", "dt"]

    @pytest.mark.parametrize("accuracy", [float("nan"), 0.5])
    def test_it_fits_80_columns_and_no_figure_is_cut(self, accuracy):
        text = "../some/where/a_long_name_of_a_file.npz"
        keys = ["training.learning_rate", "baseline.learning_rate", "diagnostics.spectrum", "seed"]
        runs = [
            (
                dict.fromkeys(keys[:2], text) | {"diagnostics.spectrum": bool(i), "seed": j},
                "finished",
                1e-9,
                2e3,
            )
            for i in range(2)
            for j in range(2)
        ]
        index = index_of(runs, test_accuracy=accuracy)
        index.loc[0, "status"] = "diverged"
        lines = printed(index, keys)
        assert max(map(len, lines)) <= 80
        assert not [line for line in lines if "…" in line]
        figures = ["1.0000e-09", "2000.0", "2.00e+03", "2.00e+03"] + ["50.0%"] * (accuracy == 0.5)
        assert [words(line.replace("*", " "))[-len(figures) :] for line in lines if "e-09" in line] == [
            figures
        ] * 2

    def test_values_are_spelt_as_in_yaml(self):
        values = [True, False, "null", "auto", 0.1234567, 10, "[10, 8]"]
        index = index_of([({"a": value}, "finished", 1.0, 1.0) for value in values])
        shown = [words(line)[0] for line in printed(index, ["a"])[-len(values) :]]
        assert shown == ["true", "false", "null", "auto", "0.123457", "10", "[10, 8]"]


class TestIndex:
    """sweep.csv, read again."""

    def read(self, folder, text):
        (folder / "sweep.csv").write_text(text)
        return read_index(SweepDirectory(folder))

    def test_values_are_as_they_were_written(self, tmp_path):
        index = self.read(
            tmp_path,
            "run,training.reset_every,diagnostics.spectrum,network.hidden,status,step,train_loss,test_loss,message\n"
            '001,null,true,"[10, 8]",finished,60,0.1000000000000000055511151231257827,,\n'
            "002,10,false,[],failed,,,,NA\n",
        )
        assert index["run"].tolist() == ["001", "002"]
        assert index["training.reset_every"].tolist() == ["null", "10"]
        assert index["diagnostics.spectrum"].tolist() == [True, False]
        assert index["network.hidden"].tolist() == ["[10, 8]", "[]"]
        assert index["step"].iloc[0] == 60
        assert index["step"].isna().tolist() == [False, True]
        assert index["train_loss"].iloc[0] == 0.1
        assert index["message"].iloc[1] == "NA"

    def test_a_missing_one_is_told(self, tmp_path):
        with pytest.raises(
            InputError, match=r"sweep\.csv: the index cannot be read .*; call the sweep again"
        ):
            read_index(SweepDirectory(tmp_path))
        with pytest.raises(InputError, match="the index cannot be read"):
            self.read(tmp_path, "")


# Progress -----------------------------------------------------------------------------------

SWEEP = """\
base: {task: {kind: paraboloid}, network: {hidden: [4]}, training: {steps: 1000}}
cross: {training.beta: [0.001, 0.123456789]}
seeds: 4
"""


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns in the place of standard error."""
    stream = FakeTerminal()
    console = Console(file=stream, width=80, _environ={"TERM": "xterm"}, highlight=False)
    monkeypatch.setattr(sweep_progress, "stderr", lambda: console)
    return stream


@pytest.fixture
def now(monkeypatch):
    """The time, in a list."""
    now = [100.0]
    monkeypatch.setattr(sweep_progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def directory(tmp_path):
    return SweepDirectory(tmp_path / "out")


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "many.yaml").write_text(SWEEP)
    return load_sweep(tmp_path / "many.yaml").runs()


def log(directory, number, step):
    """Write the history of a run up to a step."""
    path = directory.run(number).path
    path.mkdir(parents=True, exist_ok=True)
    (path / "history.csv").write_text(f"step,seconds,time\n{step},0.1,0.1\n")


def drawn(view, width=80):
    stream = io.StringIO()
    Console(file=stream, width=width).print(view.picture())
    return stream.getvalue().splitlines()


class TestProgress:
    def test_nothing_is_written_where_nobody_looks(self, capsys, directory, runs, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        with SweepView() as view:
            view.sweep_started(directory, runs, 8)
            view.run_ended(Outcome("001", "finished"))
        assert capsys.readouterr() == ("", "")

    def test_nothing_is_written_if_quiet_or_if_there_is_nothing_to_do(self, terminal, directory, runs):
        for quiet, waiting in ((True, runs), (False, [])):
            with SweepView(quiet=quiet) as view:
                view.sweep_started(directory, waiting, 8)
        assert terminal.getvalue() == ""

    def test_an_error_takes_it_away_and_shows_the_cursor_again(self, terminal, directory, runs):
        def interrupted():
            with SweepView() as view:
                view.sweep_started(directory, runs, 8)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")

    def test_standard_output_stays_its_own(self, terminal, directory, runs, capsys):
        with SweepView() as view:
            view.sweep_started(directory, runs, 8)
            print("a result")
        assert capsys.readouterr().out == "a result\n"
        assert "a result" not in terminal.getvalue()

    def test_it_appears_only_after_a_while(self, directory, runs, now):
        view = SweepView()
        view.sweep_started(directory, runs, 8)
        assert drawn(view) == []
        now[0] += sweep_progress.APPEARS_AFTER_SECONDS
        assert drawn(view)[0].startswith("sweep ")

    def test_it_tells_share_runs_time_left_and_what_went_wrong(self, directory, runs, now):
        view = SweepView()
        view.sweep_started(directory, runs, 8)
        for number, status in (("001", "finished"), ("002", "diverged"), ("003", "failed")):
            view.run_ended(Outcome(number, status))
        log(directory, "004", 250)
        log(directory, "005", 750)
        now[0] += 8.0
        # 3 runs and a quarter and three quarters of one are half of 8: the other half takes as long.
        whole, first, second = drawn(view)
        assert whole.startswith("sweep")
        assert whole.endswith(" 50%  3/8 runs  1 diverged  1 failed  0:08 left")
        assert first.startswith("004  seed 3, beta 0.001 ")
        assert first.rstrip().endswith(" 25%")
        assert second.startswith("005  seed 0, beta 0.1235 ")
        assert second.rstrip().endswith(" 75%")
        assert max(map(len, (whole, first, second))) <= 80

    def test_what_was_done_before_counts_as_done_but_not_for_the_time_left(self, directory, runs, now):
        view = SweepView()
        view.sweep_started(directory, runs[4:], 8)
        view.run_ended(Outcome("005", "finished"))
        now[0] += 10.0
        assert drawn(view)[0].endswith(" 62%  5/8 runs  0:30 left")

    def test_runs_are_looked_at_once_a_second_and_only_so_many_are_shown(self, tmp_path, now):
        (tmp_path / "many.yaml").write_text(SWEEP.replace("seeds: 4", "seeds: 50"))
        many = load_sweep(tmp_path / "many.yaml").runs()
        directory = SweepDirectory(tmp_path / "out")
        view = SweepView()
        view.sweep_started(directory, many, 100)
        for i in range(1, 21):
            log(directory, f"{i:03d}", 500)
        now[0] += 2.0
        assert len(drawn(view)) == 1 + sweep_progress.SHOWN
        log(directory, "001", 900)
        assert drawn(view)[1].rstrip().endswith(" 50%")
        now[0] += 1.1
        assert drawn(view)[1].rstrip().endswith(" 90%")

    def test_it_fits_narrow_terminals(self, directory, runs, now):
        view = SweepView()
        view.sweep_started(directory, runs, 8)
        log(directory, "001", 100)
        now[0] += 5.0
        for width in (40, 60, 100):
            assert max(map(len, drawn(view, width))) <= width

    def test_a_run_may_end_while_it_is_looked_at(self, directory, runs, now, monkeypatch):
        view = SweepView()
        view.sweep_started(directory, runs, 8)
        endings = []

        def share_done(run, config):
            if run.path.name == "001":
                endings.append(threading.Thread(target=view.run_ended, args=(Outcome("001", "finished"),)))
                endings[0].start()
                endings[0].join(0.2)
            return 0.5

        monkeypatch.setattr(sweep_progress, "share_done", share_done)
        now[0] += 5.0
        drawn(view)
        endings[0].join(5)
        whole, *others = drawn(view)
        assert "1/8 runs" in whole
        assert [line[:3] for line in others] == [f"{i:03d}" for i in range(2, 9)]


def test_the_best_is_told_with_its_own_values_and_its_runs():
    index = index_of(
        [
            ({"task.n_train": n, "seed": seed}, "finished", 1.0, n + 0.5 * seed)
            for n in (300, 100)
            for seed in (0, 1)
        ]
    )
    assert best_words(SweepRecord("short", Path("results/short"), index)) == [
        "Best: n_train 100",
        "Test loss 100.25, the median of 2 seeds (100 to 100)",
        "Its runs: results/short/003, 004",
    ]


def test_a_validation_part_chooses_where_there_is_one():
    rows = [({"a": a}, "finished", 1.0, test) for a, test in ((1, 0.1), (2, 0.2))]
    sweep = SweepRecord("short", Path("s"), index_of(rows, validation_loss=[0.4, 0.3]))
    assert sweep.loss == "validation_loss"
    assert sweep.best["a"] == 2
    assert best_words(sweep)[1] == "Validation loss 0.3"
