"""The layer at fault, as a finding: silent on healthy networks, right where noise was planted."""

from dataclasses import replace

import numpy as np
import pytest
from planted import HEALTHY, healthy

import sheafcli as sc
from sheafcli.diagnostics.fault import fault_table
from sheafcli.diagnostics.findings import examine


def with_fault(case):
    """Return what the rules look at, with the evidence for every layer on the training samples."""
    examined = case.examined("test")
    return replace(examined, fault=fault_table(case.network, *examined.other))


@pytest.mark.parametrize("name", HEALTHY)
def test_no_layer_of_a_healthy_network_is_at_fault(name):
    assert [finding for finding in examine(with_fault(healthy(name))) if finding.severity != "info"] == []


def noisy(case, layer):
    """Add noise of the norm of a layer's weights to them."""
    weights = list(case.network.weights)
    W = weights[layer - 1]
    noise = np.random.default_rng(layer).standard_normal(W.shape)
    weights[layer - 1] = W + np.linalg.norm(W) * noise / np.linalg.norm(noise)
    return replace(case, network=sc.Network(tuple(weights), case.network.biases, case.network.output))


# Not of every layer: noise in the first is often told as the second's, which could undo it as well.
@pytest.mark.parametrize(
    ("name", "layer"),
    [("saddle, three layers", 3), ("digits, two layers", 3)],
)
def test_noise_in_a_layer_is_found_there(name, layer):
    found = [f for f in examine(with_fault(noisy(healthy(name), layer))) if f.rule == "layer-at-fault"]
    assert [(finding.severity, finding.layer) for finding in found] == [("warning", layer)]


def test_noise_that_other_layers_could_nearly_mend_is_likeliest_where_it_is():
    # Evidence leads by seven nats, which healthy networks reach as well: nothing else is said.
    found = with_fault(noisy(healthy("digits, two layers"), 2))
    assert found.fault.set_index("layer")["blame"].idxmax() == 2
    told = [finding for finding in examine(found) if finding.rule == "layer-at-fault"]
    assert {finding.layer for finding in told} <= {2}


def test_where_two_layers_explain_the_error_alike_neither_is_blamed_alone():
    # What noise in the second does, the first can undo as well: their evidence differs by a percent.
    found = with_fault(noisy(healthy("saddle, three layers"), 2))
    blame = found.fault.set_index("layer")["blame"]
    assert blame[1] + blame[2] > 0.9
    assert blame[2] > 0.1
    told = [finding for finding in examine(found) if finding.rule == "layer-at-fault"]
    assert 2 in [finding.layer for finding in told]


@pytest.mark.parametrize(
    ("blame", "kind_blame", "said", "unsaid"),
    [
        ([0.01, 0.97, 0.01], 0.98, ["Layer 2 is at fault (97.0%): its weights look transposed"], ["cannot"]),
        (
            [0.01, 0.92, 0.01],
            0.9,
            ["Layer 2 is at fault", "of what kind the fault is cannot be told"],
            ["transp"],
        ),
        (
            [0.38, 0.55, 0.01],
            1.0,
            ["which one cannot be told", "layer 2 (55.0%), layer 1 (38.0%)"],
            ["transp"],
        ),
    ],
)
def test_what_is_sure_is_said_and_no_more(blame, kind_blame, said, unsaid):
    found = with_fault(noisy(healthy("digits, two layers"), 2))
    fault = found.fault.assign(blame=blame, kind="transposed", kind_blame=kind_blame)
    (told,) = [one for one in examine(replace(found, fault=fault)) if one.rule == "layer-at-fault"]
    assert told.layer == 2
    assert all(words in told.evidence for words in said)
    assert not any(words in told.evidence for words in unsaid)


NAMES = (*"abcdefghijklmnopqrst", *(f"x{i}" for i in range(20, 64)))


@pytest.mark.parametrize(
    ("kind", "order", "said"),
    [
        ("permuted_inputs", "0 3 2 1 4", "It fits best if b and d change places."),
        ("permuted_inputs", "2 0 1 3", "It fits best in the order c, a, b, d."),
        (
            "permuted_inputs",
            " ".join(map(str, [*range(1, 20), 0])),
            "b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q and 4 more.",
        ),
        ("permuted_outputs", "1 0 2", "It fits best if setosa and versicolor change places."),
        ("permuted_outputs", None, "the outputs seem to stand in another order than in training. Repaired"),
        ("shuffled", "1 0 2", "the weights out of one input look permuted. Repaired"),
    ],
)
def test_what_stands_where_another_belongs_is_told_by_its_name(kind, order, said):
    found = with_fault(noisy(healthy("digits, two layers"), 2))
    fault = found.fault.assign(blame=[0.98, 0.01, 0.0], kind=kind, kind_blame=0.98, order=order).assign(
        evidence=[90.0, 0.0, 0.0]
    )
    named = replace(found, fault=fault, features=NAMES, classes=("setosa", "versicolor", "virginica"))
    (told,) = [one for one in examine(named) if one.rule == "layer-at-fault"]
    assert said in told.evidence
    assert ("what the classes or columns of the targets are called" in told.advice) == (
        kind == "permuted_outputs"
    )
    unsure = replace(named, fault=fault.assign(kind_blame=0.9))
    (told,) = [one for one in examine(unsure) if one.rule == "layer-at-fault"]
    assert "fits best" not in told.evidence


@pytest.mark.parametrize(("what", "order"), [("inputs", (0, 3, 2, 1, 4)), ("outputs", (2, 0, 1))])
def test_the_order_that_is_told_is_the_one_that_mends(what, order):
    """With the data so arranged, the network is as good as it was."""
    truth, X, y = taught()
    if what == "inputs":
        spoilt = sc.Network((truth.weights[0][:, order], *truth.weights[1:]), truth.biases, truth.output)
        layer = 1
    else:
        ends = [(*one[:-1], one[-1][list(order)]) for one in (truth.weights, truth.biases)]
        spoilt, layer = sc.Network(*ends, truth.output), truth.depth + 1
    row = fault_table(spoilt, X, y).set_index("layer").loc[layer]
    assert (row["part"], row["order"]) == (f"{what} shuffled", " ".join(map(str, order)))
    told = [int(one) for one in row["order"].split()]
    mended = spoilt.logits(X[:, told]) if what == "inputs" else spoilt.logits(X)[:, np.argsort(told)]
    np.testing.assert_allclose(mended, truth.logits(X), rtol=0, atol=1e-12)
    assert row["kind"] == f"permuted_{what}"
    assert row["kind_blame"] > 0.9


def taught():
    """Return a network with samples of which it is the truth."""
    rng = np.random.default_rng(5)
    truth = sc.Network.he((5, 8, 3), "softmax", rng)
    truth = sc.Network(tuple(2.0 * W for W in truth.weights), truth.biases, truth.output)
    X = rng.normal(size=(150, 5))
    return truth, X, np.array([rng.multinomial(1, p) for p in truth.predict(X)], dtype=float)


def test_where_no_fault_is_as_likely_nothing_is_said():
    found = with_fault(noisy(healthy("digits, two layers"), 2))
    fault = found.fault.assign(blame=[0.05, 0.8, 0.04])
    assert not [one for one in examine(replace(found, fault=fault)) if one.rule == "layer-at-fault"]


def test_without_evidence_nothing_is_said():
    findings = examine(healthy("paraboloid, two layers").examined("test"))
    assert not any(finding.rule == "layer-at-fault" for finding in findings)
