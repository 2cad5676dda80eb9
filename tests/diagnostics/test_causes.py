"""Causes that data and fit show: planted by hand, with what must come of them worked out beforehand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import healthy

from sheafcli.config.training import BackpropSpec
from sheafcli.core.chain.network import Network
from sheafcli.diagnostics.findings import examine
from sheafcli.diagnostics.findings.fit import no_better_than_constant, parts_apart, underfit
from sheafcli.diagnostics.findings.inputs import inputs_shifted
from sheafcli.diagnostics.findings.labels import estimated_noise, label_noise
from sheafcli.diagnostics.findings.layers import layer_at_fault
from sheafcli.diagnostics.findings.reference import missed, neighbours, reference, ridge
from sheafcli.diagnostics.findings.shift import critical_distance, distances, order_between, shift_between

DIGITS, TABLE, NUMBERS = "digits, two layers", "breast cancer, equilibrium", "diabetes, equilibrium"


def with_inputs(case, X):
    """Return a case with other inputs to be tested."""
    return replace(case, task=replace(case.task, X_test=X))


def leading(case, part="test"):
    return examine(case.examined(part))[0]


# --- the inputs of the parts


@pytest.mark.parametrize("name", [DIGITS, TABLE, NUMBERS])
@pytest.mark.parametrize(("factor", "told"), [(1 / 16, "1/16"), (255.0, " times")])
def test_inputs_of_another_scale_lead_and_their_factor_is_told(name, factor, told):
    case = healthy(name)
    found = leading(with_inputs(case, factor * case.task.X_test))
    assert found.rule == "inputs-shifted"
    assert found.severity in ("warning", "error")
    assert told in found.evidence
    assert "Put back" in found.evidence


def test_inputs_that_were_not_standardised_lead_column_by_column():
    case = healthy(TABLE)
    d = case.task.n_features
    scale, offset = np.geomspace(0.01, 1000.0, d), np.linspace(-5.0, 5.0, d)
    found = leading(with_inputs(case, case.task.X_test * scale + scale * offset))
    assert (found.rule, found.layer, found.operation) == ("inputs-shifted", 0, "input")
    assert found.neurons == tuple(range(d))


@pytest.mark.parametrize("name", [DIGITS, TABLE])
def test_columns_that_changed_places_are_named_though_they_are_standardised(name):
    case = healthy(name)
    X = case.task.X_test.copy()
    X[:, [7, 21]] = X[:, [21, 7]]
    order = order_between(case.task.X_train, X, (case.task.y_train, case.task.y_test))
    assert np.flatnonzero(order != np.arange(len(order))).tolist() == [7, 21]


def test_columns_in_disorder_lead():
    case = healthy(TABLE)
    X = case.task.X_test[:, np.random.default_rng(0).permutation(case.task.n_features)]
    found = leading(with_inputs(case, X))
    assert found.rule == "inputs-shifted"
    assert "in the place of" in found.evidence


def test_a_shift_that_costs_nothing_is_info():
    # The column is of no weight: what stands in it is the same to the network.
    case = healthy(TABLE)
    weights = [W.copy() for W in case.network.weights]
    weights[0][:, 3] = 0.0
    X = case.task.X_test.copy()
    X[:, 3] += 10.0
    still = replace(with_inputs(case, X), network=replace(case.network, weights=tuple(weights)))
    (found,) = inputs_shifted(still.examined("test"))
    assert (found.severity, found.neurons) == ("info", (3,))


def test_where_inputs_are_shifted_nobody_is_called_overfitted():
    case = healthy(DIGITS)
    examined = with_inputs(case, case.task.X_test / 16.0).examined("test")
    assert [*inputs_shifted(examined)]
    assert not [*parts_apart(examined)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["normal", "cauchy", "sparse", "steps", "constant"]))
def test_two_halves_of_one_table_are_told_apart_by_chance_alone(seed, kind):
    rng = np.random.default_rng([seed, 7])
    n, d = int(rng.integers(60, 400)), int(rng.integers(1, 12))
    X = {
        "normal": lambda: rng.standard_normal((n, d)) @ rng.standard_normal((d, d)),
        "cauchy": lambda: rng.standard_cauchy((n, d)),
        "sparse": lambda: (rng.random((n, d)) < 0.03) * rng.exponential(size=(n, d)),
        "steps": lambda: rng.integers(0, 3, (n, d)).astype(float),
        "constant": lambda: np.ones((n, d)),
    }[kind]()
    y = rng.standard_normal((n, 1))
    found = shift_between(X[: n // 2], X[n // 2 :], (y[: n // 2], y[n // 2 :]))
    # One table in a thousand is; then by no more than a little.
    assert found is None or (
        found.order is None and found.distance.max() < 1.3 * critical_distance(n // 2, n - n // 2, d)
    )


def test_the_distance_is_that_of_the_distribution_functions():
    x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[1.5], [1.5], [9.0], [9.0]])
    assert distances(x, y) == pytest.approx([0.5])
    assert distances(x, x) == pytest.approx([0.0])


# --- labels


def noisy(y, share, seed=0):
    """Return one-hot labels of which a share is replaced by others, and which."""
    rng, classes = np.random.default_rng(seed), y.shape[1]
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    y = y.copy()
    for i in rows:
        y[i] = np.roll(y[i], rng.integers(1, classes))
    return y, rows


@pytest.mark.parametrize("name", [DIGITS, "blobs, equilibrium"])
def test_a_fifth_of_wrong_labels_is_found_and_they_are_named(name):
    case = healthy(name)
    y, rows = noisy(case.task.y_train, 0.2)
    noise = estimated_noise(reference(case.task.X_train, y).predicted, y)
    # Three standard errors of a share of half of the samples.
    assert noise.share == pytest.approx(0.2, abs=3.0 * np.sqrt(0.16 / (len(y) / 2)))
    assert np.isin(noise.samples, rows).mean() > 0.75
    (found,) = label_noise(replace(case, task=replace(case.task, y_train=y)).examined("test"))
    assert found.severity == "warning"
    assert "of train look wrong" in found.evidence


@pytest.mark.parametrize("apart", [1.0, 2.0, 3.0])
def test_classes_that_overlap_have_no_wrong_labels(apart):
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 2, 600)
    X = rng.standard_normal((600, 2)) + apart * codes[:, None] * [1.0, 0.0]
    y = np.eye(2)[codes]
    assert estimated_noise(reference(X, y).predicted, y) is None


# --- what simple predictors make of it


def test_ridge_leaves_each_sample_out():
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((12, 3)), rng.standard_normal((12, 2))
    predicted = ridge(X, y)
    # The closed form is that of refitting, at the same scaling of the columns, for one of the parameters.
    A = np.clip((X - X.mean(axis=0)) / X.std(axis=0), -3.0, 3.0)
    A = np.hstack([A - A.mean(axis=0), np.ones((12, 1))])
    refits = []
    for parameter in 12 * 10.0 ** np.arange(-4.0, 2.0):
        penalty = parameter * np.diag([1.0, 1.0, 1.0, 0.0])
        rows = [np.flatnonzero(np.arange(12) != i) for i in range(12)]
        refits.append(
            [A[i] @ np.linalg.solve(A[r].T @ A[r] + penalty, A[r].T @ y[r]) for i, r in enumerate(rows)]
        )
    assert any(np.allclose(predicted, refit, rtol=1e-9) for refit in refits)


def test_a_sample_is_no_neighbour_of_its_own():
    X, y = np.arange(40.0)[:, None], (np.arange(40.0)[:, None] == 20.0).astype(float)
    assert neighbours(X, y)[20, 0] == 0.0
    assert neighbours(X, y, X)[20, 0] == pytest.approx(0.1)


def test_the_mean_misses_all_and_the_targets_nothing():
    y = np.random.default_rng(5).standard_normal((30, 2))
    assert missed(np.broadcast_to(y.mean(axis=0), y.shape), y) == pytest.approx(1.0)
    assert missed(y, y) == 0.0


# --- the fit


def told(case, **losses):
    """Return a case whose history tells the losses that it has, or others."""
    loss = case.examined("test").loss((case.task.X_train, case.task.y_train))
    first = losses.get("first", loss)
    return replace(
        case, history=pd.DataFrame({"step": [0, 1], "train_loss": [first, losses.get("last", loss)]})
    )


def fresh(case):
    widths, output = case.network.widths, case.network.output.name
    return replace(case, network=Network.he(widths, output, 99))


def test_a_network_that_no_training_has_touched_is_no_better_than_a_constant():
    case = replace(fresh(healthy(DIGITS)), history=None, status="imported")
    (found,) = no_better_than_constant(case.examined("test"))
    assert found.severity == "error"


@pytest.mark.parametrize("first", [0.1, 1.0])
def test_a_loss_that_rose_speaks_against_the_learning_rate(first):
    case = told(fresh(healthy(DIGITS)), first=first)
    (found,) = no_better_than_constant(
        replace(case, training=BackpropSpec(learning_rate=3.0)).examined("test")
    )
    assert "The learning rate, 3, is too high: the training loss rose" in found.evidence


def test_a_training_that_was_cut_short_is_underfit():
    case = fresh(healthy(TABLE))
    loss = case.examined("test").loss((case.task.X_train, case.task.y_train))
    found = leading(told(case, first=1.2 * loss))
    assert found.rule == "underfit"
    assert "still falling" in found.evidence


def test_a_network_that_was_better_is_not_called_underfit():
    case = told(fresh(healthy(TABLE)), first=1.0, last=0.01)
    assert not [*underfit(case.examined("test"))]


def test_a_network_that_meets_its_training_samples_to_the_last_digit_may_well_meet_new_ones():
    examined = healthy(DIGITS).examined("test")
    assert examined.discord.mean() > 4.0 * examined.other_discord.mean()
    assert all(finding.severity == "info" for finding in parts_apart(examined))


def test_layer_one_at_fault_names_what_feeds_it():
    case = healthy(TABLE)
    examined = case.examined("test")
    spoilt = replace(examined, network=fresh(case).network)
    fault = pd.DataFrame(
        {
            "layer": [1, 2],
            "blame": [0.99, 0.01],
            "kind": ["scaled_inputs", "noise"],
            "kind_blame": [0.95, 0.5],
            "evidence": [90.0, 5.0],
            "part": ["layer", "layer"],
            "order": [None, None],
            "loss": [1.0, 1.0],
            "repaired_loss": [0.1, 0.9],
        }
    )
    (found,) = layer_at_fault(replace(spoilt, fault=fault))
    assert "the inputs: their order, their units, their scaling" in found.advice
    assert "another unit" in found.evidence
