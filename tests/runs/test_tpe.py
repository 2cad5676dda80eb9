"""A search by TPE against what Optuna itself proposes, and against random search on a known function."""

import json
import math
import statistics

import numpy as np
import optuna
import pytest
from sweeps import Here, Noted, begun, files_of, rows_of, sweep_in

from sheafcli.errors import InputError
from sheafcli.runs.job import Outcome
from sheafcli.runs.sweep import conduct_sweep
from sheafcli.runs.tpe import PROPOSALS, propose, read_proposals

optuna.logging.set_verbosity(optuna.logging.WARNING)
BASE = """\
name: searched
base:
  seed: 5
  task: {kind: paraboloid, n_train: 20, n_test: 10}
  network: {hidden: [4]}
  training: {method: backprop, steps: 20, log_every: 10}
"""
SEARCH = (
    BASE
    + """\
cross:
  training.learning_rate: {from: 0.0001, to: 1.0e+3, scale: log}
  training.optimizer: [sgd, momentum, adam]
seeds: 2
search: {method: tpe, runs: 26, batch: 3}
"""
)
RATES, OPTIMIZERS = "training.learning_rate", "training.optimizer"
LISTED = ("sgd", "momentum", "adam")


def conduct(sweep, directory, observer=None):
    return conduct_sweep(sweep, sweep.runs(), directory, Here(), observer or Noted()).count()


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    sweep = sweep_in(folder, SEARCH)
    directory = begun(folder, sweep)
    counts = conduct(sweep, directory)
    assert sum(counts.values()) == 26
    assert counts["diverged"] > 0, "a rate of 1,000 is part of what is searched"
    return directory


def points_of(directory):
    return json.loads((directory.path / PROPOSALS).read_text())


class TestProposals:
    def test_are_what_optuna_proposes_by_the_same_losses(self, searched):
        rows = rows_of(searched.path / "sweep.csv")
        space = {
            RATES: optuna.distributions.FloatDistribution(1e-4, 1e3, log=True),
            OPTIMIZERS: optuna.distributions.CategoricalDistribution((0, 1, 2)),
        }
        losses = [float(row["test_loss"]) if row["status"] == "finished" else math.inf for row in rows]
        trials = [
            optuna.trial.create_trial(
                params={RATES: float(row[RATES]), OPTIMIZERS: LISTED.index(row[OPTIMIZERS])},
                distributions=space,
                value=(losses[2 * i] + losses[2 * i + 1]) / 2,
            )
            for i, row in enumerate(rows[::2])
        ]
        learnt = False
        for batch, start in enumerate(range(0, 13, 3)):
            seed = int(np.random.SeedSequence(5, spawn_key=(3, batch)).generate_state(1)[0])
            study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
            study.add_trials(trials[:start])
            for trial in trials[start : start + 3]:
                asked = study.ask(space).params
                assert trial.params[RATES] == pytest.approx(asked[RATES], rel=1e-3)
                assert trial.params[OPTIMIZERS] == asked[OPTIMIZERS]
                learnt |= start >= 10
        assert learnt, "the first ten are random"

    def test_are_run_with_all_seeds(self, searched):
        rows = rows_of(searched.path / "sweep.csv")
        assert [row["seed"] for row in rows] == ["0", "1"] * 13
        assert [[float(row[RATES]), LISTED.index(row[OPTIMIZERS])] for row in rows[::2]] == points_of(
            searched
        )

    def test_are_all_of_a_finite_number_once_if_all_are_asked_for(self, tmp_path):
        text = BASE + (
            "cross: {training.learning_rate: [0.01, 0.02], task.n_train: {from: 19, to: 21}}\n"
            "zip: {training.optimizer: [sgd, adam], network.hidden: [[2], [3]]}\n"
            "search: {method: tpe, runs: 12, batch: 5}\n"
        )
        sweep = sweep_in(tmp_path, text)
        directory = begun(tmp_path, sweep)
        observer = Noted()
        assert conduct(sweep, directory, observer) == {"finished": 12}
        pairs = {"sgd": "[2]", "adam": "[3]"}
        rows = rows_of(directory.path / "sweep.csv")
        assert all(pairs[row[OPTIMIZERS]] == row["network.hidden"] for row in rows)
        assert len({(row[RATES], row["task.n_train"], row[OPTIMIZERS]) for row in rows}) == 12

    @pytest.mark.parametrize("scale", ["linear", "log"])
    def test_come_nearer_to_the_least_of_a_function_than_random_ones(self, tmp_path, scale):
        text = BASE + (
            f"cross: {{training.learning_rate: {{from: 0.001, to: 1, scale: {scale}}}, "
            "training.weight_decay: {from: 0.0, to: 1.0}}\nsearch: {method: tpe, runs: 40}\n"
        )

        def height(point):
            rate, decay = point
            share = math.log10(rate) / 3 + 1 if scale == "log" else rate
            return (share - 0.3) ** 2 + (decay - 0.6) ** 2

        by_tpe, at_random = [], []
        for seed in range(5):
            sweep = sweep_in(tmp_path, text.replace("seed: 5", f"seed: {seed}"))
            settled = []
            for batch in range(10):
                new = propose(sweep, settled, 4, batch)
                settled += [(point, height(point)) for point in new]
            by_tpe.append(min(loss for _, loss in settled))
            at_random.append(
                min(height(point) for batch in range(10) for point in propose(sweep, [], 4, batch))
            )
        assert statistics.median(by_tpe) < statistics.median(at_random) / 2


class TestGoingOn:
    def test_a_second_call_has_nothing_to_do(self, searched, tmp_path):
        sweep = sweep_in(tmp_path, SEARCH)
        before, again = files_of(searched.path), Noted()
        counts = conduct(sweep, searched, again)
        assert again.waiting == again.outcomes == []
        assert sum(counts.values()) == 26
        changed = {name for name, file in files_of(searched.path).items() if before.get(name) != file}
        assert changed == {"sweep.csv"}

    @pytest.mark.parametrize("ended", [6, 23])
    def test_one_that_was_stopped_anywhere_comes_to_the_same(self, tmp_path, searched, ended):
        sweep = sweep_in(tmp_path, SEARCH)
        directory = begun(tmp_path, sweep)
        left = [ended]

        def stop(outcome: Outcome) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            conduct(sweep, directory, Noted(stop))
        conduct(sweep, directory)
        assert points_of(directory) == points_of(searched)
        for number in (row["run"] for row in rows_of(directory.path / "sweep.csv")):
            one, other = (place.run(number) / "network.npz" for place in (directory, searched))
            assert one.exists() == other.exists()
            assert not one.exists() or one.read_bytes() == other.read_bytes()

    def test_what_was_proposed_stays_though_a_run_is_done_again(self, tmp_path):
        sweep = sweep_in(tmp_path, SEARCH.replace("runs: 26", "runs: 18"))
        directory = begun(tmp_path, sweep)
        conduct(sweep, directory)
        before = points_of(directory)
        run = directory.run("001")
        run.write_manifest(run.manifest() | {"status": "failed", "message": "the disk was full"})
        again = Noted()
        conduct(sweep, directory, again)
        assert [outcome.number for outcome in again.outcomes] == ["001"]
        assert points_of(directory) == before

    def test_it_stops_where_nothing_can_be_learnt_since_all_runs_of_a_batch_fail(self, tmp_path):
        class Failing(Here):
            def outcomes(self, jobs):
                yield from (Outcome(job.number, "failed", "no worker") for job in jobs)

        sweep = sweep_in(tmp_path, SEARCH)
        directory = begun(tmp_path, sweep)
        index = conduct_sweep(sweep, [], directory, Failing(), Noted())
        assert index.count() == {"failed": 6}
        assert len(points_of(directory)) == 3

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "",
                "[[0.1]]",
                "[[0.1, 3]]",
                "[[0.1, -1]]",
                "[[1e9, 0]]",
                "[[NaN, 0]]",
                "[3]",
                "{",
                '[["a", 0]]',
            ),
            "[" * 100_000,
        ],
    )
    def test_proposals_that_are_damaged_are_refused(self, tmp_path, text):
        (tmp_path / PROPOSALS).write_text(text)
        with pytest.raises(InputError, match="the proposals of the search are damaged"):
            read_proposals(tmp_path, sweep_in(tmp_path, SEARCH))
