"""Which layer is at fault, as a table: against its parts, and with a fault that was planted."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.local_fit import local_fits
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.repair import repairs
from sheafcli.core.fault.evidence import UNCERTAIN, posterior
from sheafcli.diagnostics import fault
from sheafcli.diagnostics.calibration import KINDS
from sheafcli.diagnostics.fault import (
    FAULT_COLUMNS,
    fault_table,
    likeliest_of,
    samples_tried,
    suspected,
)


def teacher(output="identity", widths=(3, 6, 5, 2), samples=120):
    """Draw a network with samples of which it is the truth, but for a little noise."""
    rng = np.random.default_rng(4)
    network = Network.he(widths, output, rng)
    network = Network(tuple(1.5 * W for W in network.weights), network.biases, network.output)
    X = rng.normal(size=(samples, widths[0]))
    p = network.predict(X)
    y = p + 0.05 * rng.normal(size=p.shape) if output == "identity" else (p > 0.5).astype(float)
    return network, X, y


evidence = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=12).map(np.array)


@given(evidence=evidence)
def test_the_posterior_and_that_of_no_fault_are_one_whole(evidence):
    chances = posterior(evidence)
    none = posterior(np.append(evidence, 0.0))  # a twin of no fault: it has the same chance
    assert (chances >= 0.0).all()
    assert chances.sum() <= 1.0 + 1e-12
    # By twins: P(none) = P(twin) / (1 - P(twin)) of what is left for the others.
    assert (1.0 - chances.sum()) * (1.0 - none[-1]) == pytest.approx(none[-1], abs=1e-9)


@given(evidence=evidence, first=st.integers(0, 11), second=st.integers(0, 11))
def test_odds_are_the_exponentials_of_evidence_to_what_it_is_known(evidence, first, second):
    i, j = first % len(evidence), second % len(evidence)
    chances = posterior(evidence)
    if min(chances[i], chances[j]) > 1e-250:
        nats = (evidence[i] - evidence[j]) / max(1.0, UNCERTAIN * evidence.max())
        assert np.log(chances[i] / chances[j]) == pytest.approx(nats, abs=1e-7)


def test_of_no_evidence_every_layer_and_none_are_as_likely():
    assert posterior(np.zeros(3)).tolist() == pytest.approx([0.25] * 3)


@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_the_table_is_what_its_parts_say(output):
    network, X, y = teacher(output)
    y = y[::-1]
    calls = []
    table = fault_table(network, X, y, lambda: calls.append(len(calls)))
    assert list(table) == ["layer", *FAULT_COLUMNS]
    assert table["layer"].tolist() == [1, 2, 3]
    assert len(calls) == 3
    loss = network.output.loss(network.logits(X), y)
    settled = extend(network, X, target=y).cochain
    for row, tried, fit in zip(
        table.itertuples(), repairs(network, X, y), local_fits(network, X, y, settled), strict=True
    ):
        best = sorted(tried, key=lambda repair: repair.evidence)[-1]
        assert (row.evidence, row.part) == (best.evidence, best.part)
        assert (row.explainable, row.fitted_loss) == (fit.explainable, fit.loss)
        assert row.repaired_loss == pytest.approx(min(loss, tried[0].loss))
        assert (row.samples, row.loss) == (120, pytest.approx(loss))
    assert (table["blame"] >= 0.0).all()
    assert table["blame"].sum() <= 1.0 + 1e-12
    assert set(table["kind"]) <= set(KINDS)
    assert table["kind_blame"].between(1.0 / len(KINDS), 1.0).all()


def test_many_samples_are_thinned_evenly_from_first_to_last(monkeypatch):
    network, X, y = teacher(samples=50)
    monkeypatch.setattr(fault, "MOST_SAMPLES", 8)
    some = [0, 7, 14, 21, 28, 35, 42, 49]
    thinned, alone = fault_table(network, X, y), fault_table(network, X[some], y[some])
    assert thinned["samples"].tolist() == [8] * 3
    assert thinned.equals(alone)


@pytest.mark.parametrize(
    ("widths", "available", "tried"),
    [
        ([2, 30, 1], 40, 40),
        ([2, 30, 1], 10_000, 300),
        ([64, 512, 512, 10], 300, 90_000_000 // (10 * (512 * 512 + 2 * 512 * 10))),
        ([20, 50, 300], 300, 1_200_000 // (50 * (50 + 2 * 300))),
        ([1, *[100] * 64, 1000], 300, 30),
        ([1, *[100] * 64, 1000], 3, 3),
    ],
)
def test_of_a_large_network_fewer_samples_are_tried(widths, available, tried):
    assert samples_tried(Network.he(widths), available) == tried


def test_a_neuron_that_is_all_of_its_layer_is_told_as_the_layer():
    network, X, y = teacher(widths=(3, 6, 1))
    *_, tried = repairs(network, X, y[::-1])
    layer, neuron, *_ = tried
    assert neuron.evidence == pytest.approx(layer.evidence, abs=1e-3)
    assert likeliest_of([layer, replace(neuron, evidence=layer.evidence + 1e-6)]) is layer
    assert likeliest_of([layer, replace(neuron, evidence=layer.evidence + 1.0)]).kind == "neuron"


@pytest.mark.parametrize(("layer", "neuron"), [(1, 2), (2, 3), (3, 0)])
def test_a_planted_neuron_is_blamed(layer, neuron):
    network, X, y = teacher()
    weights = list(network.weights)
    weights[layer - 1] = weights[layer - 1].copy()
    weights[layer - 1][neuron] *= -1.0
    table = fault_table(Network(tuple(weights), network.biases, network.output), X, y).set_index("layer")
    assert table["blame"].idxmax() == layer
    assert table["blame"].max() > 0.9
    assert table.loc[layer, "part"] == f"neuron {neuron}"
    assert table.loc[layer, "repaired_loss"] < 0.2 * table.loc[layer, "loss"]


@pytest.mark.parametrize("samples", [1, 2, 5])
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_few_samples_have_a_table_without_warnings(samples, output):
    network, X, y = teacher(output, samples=samples)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = fault_table(network, X, y)
    finite = table.drop(columns=["kind", "part", "order", "explainable"])
    assert np.isfinite(finite.to_numpy(dtype=float)).all()
    assert (table["fitted_loss"] <= table["loss"]).all()
    assert (table["repaired_loss"] <= table["loss"]).all()


def test_where_evidence_clearly_says_another_layer_both_are_suspected():
    table = pd.DataFrame({"layer": [1, 2, 3], "blame": [0.02, 0.95, 0.01], "evidence": [5.0, 90.0, 85.0]})
    table = table.assign(loss=1.0, repaired_loss=0.1)
    assert suspected(table)["layer"].tolist() == [2]
    assert suspected(table.assign(evidence=[5.0, 90.0, 150.0]))["layer"].tolist() == [2, 3]
    assert suspected(table.assign(evidence=[5.0, 9e3, 9.05e3]))["layer"].tolist() == [2], "to a hundredth"
    assert suspected(table.assign(blame=[0.5, 0.35, 0.1]))["layer"].tolist() == [1, 2]
    assert suspected(table.assign(blame=[0.4, 0.3, 0.05])).empty
    both_say = table.assign(blame=[0.1, 0.6, 0.05], evidence=[5.0, 90.0, 70.0])
    assert suspected(both_say)["layer"].tolist() == [2]
    assert suspected(both_say.assign(repaired_loss=0.7)).empty
