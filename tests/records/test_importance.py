"""Importance against losses whose causes are known, and against SciPy's analysis of variance on ranks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway, rankdata

from sheafcli.records.importance import importance
from sheafcli.records.sweep import SweepRecord


def sweep_of(parameters, losses, **columns):
    n = len(losses)
    index = pd.DataFrame({"run": [f"{i:03d}" for i in range(n)], **parameters, "status": "finished"})
    return SweepRecord("s", Path("s"), index.assign(step=1, train_loss=losses, test_loss=losses, **columns))


def shares(sweep):
    return importance(sweep).set_index("parameter")["share"]


def grid():
    a, b, seed = np.meshgrid(range(4), range(3), range(5), indexing="ij")
    return {"a": a.ravel(), "b": b.ravel(), "seed": seed.ravel()}


def test_a_parameter_that_decides_alone_explains_nearly_all_and_chance_nothing():
    parameters = grid()
    found = shares(sweep_of(parameters, 10.0 ** parameters["a"]))
    assert found.index[0] == "a"
    assert found["a"] == pytest.approx(1.0, abs=0.06)
    assert found["b"] == found["seed"] == 0.0


def test_it_is_the_share_of_the_variance_of_ranks_between_groups_less_chance():
    parameters = grid()
    losses = np.random.default_rng(0).lognormal(parameters["a"] + 0.5 * parameters["b"], 1.0)
    ranks = rankdata(losses)
    for key, found in shares(sweep_of(parameters, losses)).items():
        groups = [ranks[parameters[key] == value] for value in np.unique(parameters[key])]
        n, k = len(ranks), len(groups)
        between = f_oneway(*groups).statistic * (k - 1) / (n - k)  # of the sum within
        H = (n - 1) * between / (1.0 + between)
        assert found == pytest.approx(max(0.0, (H - k + 1) / (n - k)), abs=1e-12)


def test_no_monotone_scale_of_the_loss_matters():
    parameters = grid()
    losses = np.random.default_rng(1).lognormal(parameters["a"], 1.0)
    pd.testing.assert_series_equal(
        shares(sweep_of(parameters, losses)), shares(sweep_of(parameters, np.log(losses)))
    )


def test_what_diverged_is_the_worst_and_what_failed_says_nothing():
    parameters = grid()
    losses = np.where(parameters["a"] == 3, np.nan, 1.0 + 0.01 * parameters["seed"])
    sweep = sweep_of(parameters, losses)
    diverged = sweep.index.assign(status=np.where(parameters["a"] == 3, "diverged", "finished"))
    assert shares(SweepRecord("s", Path("s"), diverged))["a"] > 0.4
    failed = sweep.index.assign(status=np.where(parameters["a"] == 3, "failed", "finished"))
    table = importance(SweepRecord("s", Path("s"), failed)).set_index("parameter")
    assert table.loc["a", "share"] == 0.0
    assert table.loc["a", "runs"] == 45


def test_a_number_drawn_at_random_is_put_into_groups():
    rng = np.random.default_rng(2)
    rate = 10.0 ** rng.uniform(-4, -1, 60)
    found = shares(sweep_of({"rate": rate, "noise": rng.random(60)}, np.log10(rate) ** 2))
    assert found["rate"] > 0.8
    assert found["noise"] < 0.25


def test_where_losers_were_stopped_the_losses_of_the_first_rung_are_compared():
    parameters = grid()
    sweep = sweep_of(parameters, np.full(60, np.nan), first_loss=parameters["b"].astype(float))
    assert shares(sweep).index[0] == "b"


def test_one_value_or_one_run_each_explain_nothing_that_can_be_told():
    assert shares(sweep_of({"a": [1, 1, 1], "b": [1, 2, 3]}, [1.0, 2.0, 3.0])).isna().all()
