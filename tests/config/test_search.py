"""Searches: what is drawn against the ranges it is drawn from, and every way to write one wrongly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.config import load_sweep
from sheafcli.config.ranges import Span
from sheafcli.config.search import Search
from sheafcli.errors import InputError

BASE = """\
base:
  task: {kind: paraboloid, n_train: 20, n_test: 10}
  network: {hidden: [4]}
  training: {method: backprop, steps: 90, log_every: 10}
"""
DRAWN = """\
cross:
  training.learning_rate: {from: 1.0e-4, to: 0.1, scale: log}
  task.n_train: {from: 20, to: 30}
  training.optimizer: [sgd, adam]
"""


@pytest.fixture
def sweep_of(tmp_path):
    def sweep_of(text, *overrides):
        (tmp_path / "many.yaml").write_text(BASE + text)
        return load_sweep(tmp_path / "many.yaml", overrides)

    return sweep_of


@pytest.fixture
def problem_of(sweep_of, tmp_path):
    def problem_of(text, *overrides):
        with pytest.raises(InputError) as caught:
            sweep_of(text, *overrides).runs()
        return str(caught.value).replace(f"{tmp_path}/", "")

    return problem_of


class TestDrawn:
    def test_as_many_as_asked_for_each_with_all_seeds_and_within_the_ranges(self, sweep_of):
        sweep = sweep_of(DRAWN + "seeds: [3, 1]\nsearch: {method: random, runs: 40}\n")
        runs = sweep.runs()
        assert sweep.count == len(runs) == 40
        assert [run.parameters["seed"] for run in runs] == [3, 1] * 20
        own = [{k: v for k, v in run.parameters.items() if k != "seed"} for run in runs]
        assert own[::2] == own[1::2]
        assert len({repr(one) for one in own}) == 20
        rates = np.array([one["training.learning_rate"] for one in own])
        assert ((rates >= 1e-4) & (rates <= 0.1)).all()
        # Of 20 draws even in their logarithm a half below the geometric middle is as good as certain.
        assert 5 <= (rates[::2] < 10**-2.5).sum() <= 15
        assert {type(one["task.n_train"]) for one in own} == {int}
        assert all(20 <= one["task.n_train"] <= 30 for one in own)
        assert {one["training.optimizer"] for one in own} == {"sgd", "adam"}
        assert all(
            run.config.training.learning_rate == run.parameters["training.learning_rate"] for run in runs
        )

    def test_the_same_seed_draws_the_same_and_another_others(self, sweep_of):
        text = DRAWN + "search: {method: random, runs: 10}\n"
        first, again = (sweep_of(text).runs() for _ in range(2))
        assert first == again
        other = sweep_of(text, "seed=1").runs()
        assert [run.parameters for run in other] != [run.parameters for run in first]

    def test_from_lists_alone_without_repetition_down_to_the_last(self, sweep_of):
        text = "cross: {training.learning_rate: [0.1, 0.2, 0.3], training.optimizer: [sgd, adam]}\n"
        for n in (1, 4, 6):
            runs = sweep_of(f"{text}search: {{method: random, runs: {n}}}\n").runs()
            assert len({repr(run.parameters) for run in runs}) == n

    def test_what_is_zipped_stays_together(self, sweep_of):
        text = "zip: {training.learning_rate: [0.1, 0.2, 0.3], network.hidden: [[1], [2], [3]]}\n"
        runs = sweep_of(text + "search: {method: random, runs: 3}\n").runs()
        pairs = {(run.parameters["training.learning_rate"], run.config.network.hidden) for run in runs}
        assert pairs == {(0.1, (1,)), (0.2, (2,)), (0.3, (3,))}

    def test_halving_without_a_number_takes_all_combinations(self, sweep_of):
        text = "cross: {training.learning_rate: [0.1, 0.2, 0.3]}\n"
        halved = sweep_of(text + "search: {method: halving}\n")
        assert [r.parameters for r in halved.runs()] == [r.parameters for r in sweep_of(text).runs()]
        assert halved.text != sweep_of(text).text

    @given(st.integers(-50, 50), st.integers(0, 100), st.integers(0, 2**32))
    def test_integers_reach_both_ends_and_no_further(self, low, reach, seed):
        span, rng = Span(low, low + reach, "linear"), np.random.default_rng(seed)
        values = [span.draw(rng) for _ in range(20)]
        assert all(isinstance(value, int) and low <= value <= low + reach for value in values)
        logarithmic = Span(1, 1 + reach, "log")
        assert all(1 <= logarithmic.draw(rng) <= 1 + reach for _ in range(20))

    def test_every_integer_is_drawn(self):
        rng = np.random.default_rng(0)
        assert {Span(3, 6, "linear").draw(rng) for _ in range(200)} == {3, 4, 5, 6}
        assert {Span(1, 4, "log").draw(rng) for _ in range(200)} == {1, 2, 3, 4}


def test_rungs_end_at_powers_of_the_factor():
    assert Search("halving").shares == pytest.approx((1 / 9, 1 / 3, 1))
    assert Search("halving", factor=2, rungs=4).shares == (0.125, 0.25, 0.5, 1.0)
    assert Search("random", runs=3).shares == (1.0,)


ONE = "cross: {training.learning_rate: [0.1, 0.2, 0.3]}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            ONE + "search: halving\n",
            "6: search: given halving; must be how to search, such as {method: halving}",
        ),
        (ONE + "search: {runs: 3}\n", "6: search: method: missing; must be random, halving or tpe"),
        (
            ONE + "search: {method: halvin}\n",
            "6: search.method: given halvin; must be random, halving or tpe; did",
        ),
        (ONE + "search: {method: random}\n", "6: search: runs: missing; must be how many runs to draw"),
        (
            ONE + "search: {method: random, runs: 0}\n",
            "6: search.runs: given 0; must be an integer from 1 to",
        ),
        (ONE + "search: {method: random, runs: 2, rungs: 3}\n", "6: search.rungs: unknown key"),
        (
            ONE + "search: {method: halving, factor: 1}\n",
            "6: search.factor: given 1; must be an integer from 2",
        ),
        (
            ONE + "search: {method: halving, factors: 2}\n",
            "6: search.factors: unknown key; did you mean factor",
        ),
        (ONE + "search: {method: tpe}\n", "6: search: runs: missing; must be how many runs to draw"),
        (ONE + "search: {method: random, runs: 2, batch: 2}\n", "6: search.batch: unknown key"),
        (
            ONE + "search: {method: tpe, runs: 2, rungs: 2}\n",
            "6: search.rungs: unknown key; did you mean runs",
        ),
        (
            ONE + "search: {method: tpe, runs: 2, batch: 0}\n",
            "6: search.batch: given 0; must be an integer from 1 to 1000",
        ),
        # Whatever will be proposed: nothing is begun before every value is known to be good.
        (
            "cross: {training.optimizer: [sgd, adm], training.learning_rate: {from: 0.1, to: 1}}\n"
            "search: {method: tpe, runs: 1}\n",
            "5: training.optimizer: given adm; must be",
        ),
        (
            "cross: {training.learning_rate: {from: 0, to: 1}}\nsearch: {method: tpe, runs: 1}\n",
            "5: training.learning_rate: given 0",
        ),
        (ONE.replace("0.3", "1e-1") + "search: {method: tpe, runs: 1}\n", "the same value as 0.1"),
        (ONE + "search: {method: random, runs: 4}\n", "6: search.runs: given 4; must be at most 3, all runs"),
        (
            ONE + "seeds: 2\nsearch: {method: random, runs: 5}\n",
            "7: search.runs: given 5; each combination is run 2 times, for all seeds; must be a multiple of "
            "that, such "
            "as 4 or 6",
        ),
        (
            "seeds: 3\nsearch: {method: halving}\n",
            "6: search: nothing but seeds and folds varies: there is nothing to",
        ),
        (
            "cross: {task.n_train: {from: 20, to: 21}}\nsearch: {method: random, runs: 3}\n",
            "search.runs: given 3; there are only 2 different combinations to draw",
        ),
        (
            "cross: {task.n_train: {from: 0, to: 2, scale: log}}\nsearch: {method: random, runs: 3}\n",
            "5: cross.task.n_train: from and to must be above 0 on a log scale",
        ),
        (ONE + "search: {method: halving, rungs: 4}\n", "4: training.log_every: the first row of history"),
    ],
)
def test_a_search_that_is_wrong_is_refused_with_its_line(problem_of, text, words):
    assert f"many.yaml:{words}" in problem_of(text) or words in problem_of(text)


def test_a_range_without_a_count_is_refused_where_nothing_is_drawn(problem_of):
    assert "count must be an integer" in problem_of("cross: {training.learning_rate: {from: 0.1, to: 1}}\n")
    text = "cross: {training.learning_rate: {from: 0.1, to: 1}}\nsearch: {method: halving}\n"
    assert "count must be an integer" in problem_of(text)


@pytest.mark.parametrize(
    ("training", "fits"),
    [
        ("{method: implicit, steps: 540}", True),
        ("{method: implicit, steps: 480}", False),
        ("{method: backprop, epochs: 9, batch_size: 5}", True),
        ("{method: backprop, epochs: 8, batch_size: 5}", False),
        ("{method: backprop, epochs: 9000}", True),
        ("{method: backprop, epochs: 8000}", False),
        ("{method: heat, time: 45, dt: 0.005}", True),
        ("{method: heat, time: 40, dt: 0.005}", False),
        ("{method: heat, time: 1, dt: auto}", True),  # only the data tells
    ],
)
def test_a_first_rung_without_a_row_of_history_is_refused(sweep_of, training, fits):
    varied = f"cross:\n  training: [{training}]\n  seed: [1, 2]\n  task.n_train: [20, 21]\n"
    text = f"{varied}search: {{method: halving}}\n"
    sweep = sweep_of(text)
    if fits:
        assert len(sweep.runs()) == 4
    else:
        with pytest.raises(
            InputError, match=r"training\.log_every: the first row of history is written after"
        ):
            sweep.runs()


def test_each_combination_that_is_drawn_has_all_folds(sweep_of):
    text = (
        "cross: {training.learning_rate: {from: 0.001, to: 0.1, scale: log}}\n"
        "folds: 3\nsearch: {method: random, runs: 6}\n"
    )
    runs = sweep_of(text, "task={kind: diabetes}").runs()
    assert [run.parameters["task.fold"] for run in runs] == ["1/3", "2/3", "3/3"] * 2
    assert len({run.parameters["training.learning_rate"] for run in runs}) == 2


class TestProposed:
    """A search whose runs are settled on the way."""

    def test_there_are_no_runs_beforehand_though_it_is_known_how_many_there_will_be(self, sweep_of):
        sweep = sweep_of(DRAWN + "seeds: 2\nsearch: {method: tpe, runs: 12}\n")
        assert sweep.runs() == []
        assert (sweep.count, sweep.n_searched) == (12, 6)

    def test_optuna_is_asked_for_where_it_is_missing(self, problem_of, monkeypatch):
        monkeypatch.setattr("sheafcli.config.sweep_file.find_spec", lambda name: None)
        problem = problem_of(ONE + "search: {method: tpe, runs: 2}\n")
        assert "many.yaml:6: search.method: " in problem
        assert "pip install 'sheafcli[search]'" in problem
