"""How sure blame may be: the arithmetic of forests and features by hand, and what comes with the package."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sheafcli.diagnostics.calibration import (
    FAR,
    FILE,
    KINDS,
    PARTS,
    PLAIN,
    Circumstances,
    Forest,
    calibration,
    margins,
    order_undone,
    standardised,
)

REPAIRS = [f"{what}_{part}" for what in ("evidence", "loss") for part in PARTS]
SCORES = [*PLAIN, *REPAIRS, "fitted", "explainable", "discord"]
number = st.floats(-50.0, 50.0)
tables = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(len(SCORES))), elements=number)


def test_a_forest_is_the_sum_of_the_leaves_that_a_row_comes_to():
    # Of class 0: x_1 <= 0.5 ? 1 : (x_0 <= 2 ? 10 : 100); of class 1 a leaf alone.
    forest = Forest(
        feature=np.array([1, 0, 0, 0, 0, 0]),
        threshold=np.array([0.5, 0.0, 2.0, 0.0, 0.0, 0.0]),
        left=np.array([1, -1, 3, -1, -1, -1]),
        right=np.array([2, -1, 4, -1, -1, -1]),
        value=np.array([0.0, 1.0, 0.0, 10.0, 100.0, 7.0]),
        roots=np.array([0, 5]),
        classes=np.array([0, 1]),
        start=np.array([0.25, -0.5]),
    )
    X = np.array([[9.0, 0.5], [2.0, 0.6], [2.1, 0.6]])
    assert forest(X).tolist() == [[1.25, 6.5], [10.25, 6.5], [100.25, 6.5]]


def test_a_forest_is_what_scikit_learn_makes_of_it():
    ensemble = pytest.importorskip("sklearn.ensemble")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    y = (X[:, 0] * X[:, 1] > 0.1).astype(int) + (X[:, 2] > 1.0)
    model = ensemble.HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=6).fit(X, y)
    trees = [(one, tree.nodes) for stage in model._predictors for one, tree in enumerate(stage)]
    first = np.cumsum([0, *(len(nodes) for _, nodes in trees)])
    joined = np.concatenate([nodes for _, nodes in trees])
    offset = np.repeat(first[:-1], np.diff(first))
    leaf = joined["is_leaf"] == 1
    forest = Forest(
        joined["feature_idx"].astype(int) * ~leaf,
        joined["num_threshold"],
        np.where(leaf, -1, joined["left"].astype(int) + offset),
        np.where(leaf, -1, joined["right"].astype(int) + offset),
        joined["value"],
        first[:-1],
        np.array([one for one, _ in trees]),
        np.ravel(model._baseline_prediction),
    )
    np.testing.assert_allclose(forest(X), model.decision_function(X), rtol=1e-12, atol=1e-12)


@given(scores=arrays(np.float64, st.tuples(st.integers(2, 6), st.just(2)), elements=number))
def test_a_margin_is_over_the_best_of_all_others(scores):
    found = margins(scores)
    for layer, row in enumerate(scores):
        others = np.array([other for m, other in enumerate(scores) if m != layer])
        np.testing.assert_array_equal(found[layer], np.clip(row - others.max(axis=0), -FAR, FAR))


@given(scores=arrays(np.float64, st.tuples(st.integers(1, 6), st.just(2)), elements=number), shift=number)
def test_standardised_scores_know_no_origin(scores, shift):
    np.testing.assert_allclose(standardised(scores + shift), standardised(scores), rtol=0, atol=1e-8)


@given(
    table=tables,
    first=st.integers(0, len(KINDS)),
    loss=st.floats(0.0, 1e9),
    output=st.sampled_from(["identity", "sigmoid", "softmax"]),
)
def test_blame_is_a_distribution_whatever_the_scores_are(table, first, loss, output):
    scores = [
        dict(zip(SCORES, row, strict=True), order=float(i % (len(KINDS) + 1) - 1))
        for i, row in enumerate(table.tolist(), start=first)
    ]
    blame = calibration()(scores, Circumstances(output, loss))
    assert (blame.layers >= 0.0).all()
    assert blame.layers.sum() + blame.none == pytest.approx(1.0)
    np.testing.assert_allclose(blame.kinds.sum(axis=1), 1.0)


def test_more_evidence_for_a_layer_is_never_less_blame():
    scores = [dict.fromkeys(SCORES, 0.0) | {"order": -1.0} for _ in range(4)]
    before = calibration()(scores, Circumstances("softmax", 1.0)).layers
    scores[2] = scores[2] | {"evidence_layer": 50.0, "loss_layer": -3.0}
    after = calibration()(scores, Circumstances("softmax", 1.0)).layers
    assert np.delete(after, 2).sum() / after[2] < np.delete(before, 2).sum() / before[2]


def test_an_order_that_leads_by_ten_nats_says_the_kind_and_others_keep_their_odds():
    transposed = order_undone("transposed")
    scores = [dict.fromkeys(SCORES, 0.0) | {"order": transposed} for _ in range(3)]
    scores[0] |= {"evidence_rearranged": 9.0}
    scores[1] |= {"evidence_rearranged": 31.0, "evidence_neuron": 20.5}
    scores[2] |= {"evidence_rearranged": 31.0, "evidence_neuron": 20.5, "order": order_undone("weight 3,5")}
    plain, about = calibration(), Circumstances("softmax", 1.0)
    leads = [dict(one) for one in scores]
    leads[0] |= {"evidence_rearranged": 10.0}
    leads[1] |= {"evidence_neuron": 21.5}
    before, after = plain(scores, about).kinds, plain(leads, about).kinds
    at = int(transposed)
    assert before[1, at] == after[0, at] == plain.order > 0.9
    np.testing.assert_array_equal(before[2], after[2])
    others = np.arange(len(KINDS)) != at
    for told, untold in ((before[1], after[1]), (after[0], before[0])):
        assert untold[at] < 0.9
        np.testing.assert_allclose(told[others] / untold[others], (1.0 - plain.order) / (1.0 - untold[at]))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("transposed", "transposed"),
        ("inputs shuffled", "permuted_inputs"),
        ("outputs shuffled", "permuted_outputs"),
        ("sign flipped", "permuted_outputs"),
        ("input 12 shuffled", "shuffled"),
    ],
)
def test_an_order_put_right_undoes_a_kind(change, kind):
    assert list(KINDS)[int(order_undone(change))] == kind


def test_the_file_says_where_it_comes_from():
    with np.load(FILE, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        assert tuple(file["kinds"].tolist()) == tuple(KINDS)
    assert {"made_by", "fitted_on", "tasks", "scikit_learn", "held_out"} <= set(about)
    assert not {"iris", "penguins", "cars", "circles", "hastie", "friedman2"} & set(about["tasks"])
