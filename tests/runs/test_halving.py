"""Successive halving against rungs worked out by hand from runs that were trained alone to their ends."""

import statistics

import pytest
from sweeps import Here, Noted, begun, check_networks, rows_of, sweep_in

from sheafcli.runs.halving import loss_at, survivors
from sheafcli.runs.job import Outcome
from sheafcli.runs.sweep import conduct_sweep

SEARCH = """\
name: searched
base:
  task: {kind: paraboloid, n_train: 20, n_test: 10}
  network: {hidden: [4]}
  training: {method: backprop, steps: 90, log_every: 5}
cross: {training.learning_rate: [0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 100]}
seeds: 2
"""
HALVING = SEARCH + "search: {method: halving}\n"
SHARES = {10: 1 / 9, 30: 1 / 3, 90: 1.0}


def conduct(sweep, directory, workers=None, observer=None):
    return conduct_sweep(sweep, sweep.runs(), directory, workers or Here(), observer or Noted()).count()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same runs, all of them trained to their ends: their test loss by step."""
    folder = tmp_path_factory.mktemp("whole")
    sweep = sweep_in(folder, SEARCH)
    directory = begun(folder, sweep)
    conduct(sweep, directory)
    return {
        run.number: {
            int(row["step"]): float(row["test_loss"])
            for row in rows_of(directory.run(run.number) / "history.csv")
        }
        for run in sweep.runs()
    }


def by_hand(whole):
    """Return the runs of each rung by its last step: pairs of runs, by their median, a third each time."""
    left = [tuple(sorted(whole)[i : i + 2]) for i in range(0, 14, 2)]
    rungs = {}
    for step in SHARES:
        rungs[step] = [number for pair in left for number in pair]
        losses = {pair: statistics.median(whole[n].get(step, float("inf")) for n in pair) for pair in left}
        best = sorted(left, key=losses.get)[: -(-len(left) // 3)]
        left = [pair for pair in left if pair in best]
    return rungs


class TestRungs:
    def test_each_trains_the_best_third_of_the_one_before_and_its_runs_go_on_bit_for_bit(
        self, tmp_path, whole
    ):
        sweep = sweep_in(tmp_path, HALVING)
        directory, observer = begun(tmp_path, sweep), Noted()
        counts = conduct(sweep, directory, observer=observer)
        rungs = by_hand(whole)
        assert {step: observer.rungs[share] for step, share in SHARES.items()} == rungs
        assert [len(runs) for runs in rungs.values()] == [14, 6, 2]
        assert counts == {"stopped": 10, "finished": 2, "diverged": 2}
        last = {number: step for step, runs in rungs.items() for number in runs}
        for row in rows_of(directory.path / "sweep.csv")[:12]:
            assert int(row["step"]) == last[row["run"]]
            history = rows_of(directory.run(row["run"]) / "history.csv")
            assert {int(r["step"]): float(r["test_loss"]) for r in history} == {
                step: loss for step, loss in whole[row["run"]].items() if step <= last[row["run"]]
            }
            assert float(row["first_loss"]) == whole[row["run"]][10]

    def test_a_second_call_has_nothing_to_do(self, tmp_path):
        sweep = sweep_in(tmp_path, HALVING)
        directory = begun(tmp_path, sweep)
        counts, again = conduct(sweep, directory), Noted()
        assert conduct(sweep, directory, observer=again) == counts
        assert list(again.rungs.values()) == [[], [], []]

    @pytest.mark.parametrize("ended", [3, 14, 15, 19, 21])
    def test_one_that_was_stopped_anywhere_comes_to_the_same(self, tmp_path, whole, ended):
        sweep = sweep_in(tmp_path, HALVING)
        directory = begun(tmp_path, sweep)
        left = [ended]

        def stop(outcome: Outcome) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            conduct(sweep, directory, observer=Noted(stop))
        assert conduct(sweep, directory) == {"stopped": 10, "finished": 2, "diverged": 2}
        rungs = by_hand(whole)
        assert [
            row["run"] for row in rows_of(directory.path / "sweep.csv") if row["status"] == "finished"
        ] == rungs[90]

    def test_a_loser_that_was_killed_as_it_stopped_is_stopped_again_and_no_further(self, tmp_path):
        sweep = sweep_in(tmp_path, HALVING)
        directory = begun(tmp_path, sweep)
        counts = conduct(sweep, directory)
        (number, *_) = [
            row["run"] for row in rows_of(directory.path / "sweep.csv") if row["status"] == "stopped"
        ]
        run = directory.run(number)
        before = (run / "history.csv").read_bytes()
        run.write_manifest(run.manifest() | {"status": "running"})
        again = Noted()
        assert conduct(sweep, directory, observer=again) == counts
        assert again.rungs[1 / 9] == [number]
        assert (run / "history.csv").read_bytes() == before

    def test_the_winners_have_the_networks_that_they_have_alone(self, tmp_path):
        text = HALVING.replace("[0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 100]", "[0.01]").replace(
            "seeds: 2\n", ""
        )
        sweep = sweep_in(tmp_path, text)
        directory = begun(tmp_path, sweep)
        assert conduct(sweep, directory) == {"finished": 1}
        check_networks(sweep, directory)

    def test_a_training_that_ends_early_counts_with_its_last_loss(self, tmp_path):
        text = HALVING.replace("log_every: 5", "log_every: 5, stop_when: {train_loss: 1.0e+9}")
        sweep = sweep_in(tmp_path, text)
        directory = begun(tmp_path, sweep)
        counts = conduct(sweep, directory)
        assert counts == {"finished": 14}
        run = sweep.runs()[0]
        assert loss_at(directory.run("001"), run.config.training, 1.0) is not None


class TestSurvivors:
    def runs(self, tmp_path, n, seeds=1):
        rates = f"{{from: 0.01, to: 0.1, count: {n}}}"
        text = f"{SEARCH.partition('cross')[0]}cross: {{training.learning_rate: {rates}}}\n"
        return sweep_in(tmp_path, f"{text}seeds: {seeds}\n").runs()

    @pytest.mark.parametrize(("n", "factor", "kept"), [(9, 3, 3), (10, 3, 4), (2, 3, 1), (9, 2, 5)])
    def test_so_many_go_on(self, tmp_path, n, factor, kept):
        runs = self.runs(tmp_path, n)
        losses = {run.number: float(n - place) for place, run in enumerate(runs)}
        assert survivors(runs, losses, factor) == runs[-kept:]

    def test_the_median_over_the_seeds_decides(self, tmp_path):
        runs = self.runs(tmp_path, 2, seeds=3)
        losses = dict(zip((run.number for run in runs), (0.0, 9.0, 9.0, 5.0, 5.0, 5.0), strict=True))
        assert survivors(runs, losses, 3) == runs[3:]

    def test_none_without_a_finite_loss_goes_on(self, tmp_path):
        runs = self.runs(tmp_path, 6)
        values = (None, float("nan"), 2.0, float("inf"), None, None)
        losses = dict(zip((run.number for run in runs), values, strict=True))
        assert survivors(runs, losses, 2) == [runs[2]]
        assert survivors(runs, dict.fromkeys(losses), 3) == []
