"""The diagnosis of a pinned equilibrium: where the resistance says that errors settle, and plain sums."""

import numpy as np
import pandas as pd
import pytest
from closed_form import effective_resistance
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.diagnostics import pinned
from sheafcli.diagnostics.pinned import class_codes, diagnose, resistance_shares


def drawn(widths, output, seed):
    rng = np.random.default_rng(seed)
    network = Network.he(widths, output, rng)
    return Network(
        network.weights, tuple(0.3 * rng.normal(size=b.shape) for b in network.biases), network.output
    )


@st.composite
def problems(draw):
    """Draw a network of any output, with samples and targets of it."""
    output = draw(st.sampled_from(["identity", "sigmoid", "softmax"]))
    widths = [draw(st.integers(1, 4)) for _ in range(draw(st.integers(1, 4)))]
    widths.append(draw(st.integers(2 if output == "softmax" else 1, 3)))
    seed, samples = draw(st.integers(0, 10_000)), draw(st.integers(1, 8))
    rng = np.random.default_rng(seed)
    y = {
        "identity": lambda: rng.normal(size=(samples, widths[-1])),
        "sigmoid": lambda: rng.integers(0, 2, size=(samples, widths[-1])).astype(float),
        "softmax": lambda: np.eye(widths[-1])[rng.integers(0, widths[-1], size=samples)],
    }[output]()
    return drawn(widths, output, seed), rng.normal(size=(samples, widths[0])), y


def test_without_resistance_no_rounding_error_is_in_excess():
    table = pd.DataFrame({"share": [1e-30, 0.0, 1.0]})
    assert pinned._with_excess(table, [0.0, 0.0, 0.5])["excess"].tolist()[2] == 2.0
    assert pinned._with_excess(table, [0.0, 0.0, 0.5])["excess"].isna().tolist() == [True, True, False]


# Resistance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["identity", "sigmoid"])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5), (4, 4, 4)])
def test_a_pull_without_direction_settles_where_the_resistance_is(output, hidden):
    """E lambda^T A lambda = sigma^2 tr A for any A: over many pulls shares tend to shares, excess to 1."""
    network = drawn([3, *hidden, 2], output, 1)
    rng = np.random.default_rng(2)
    X = np.tile(rng.normal(size=(20, 3)), (300, 1))
    hidden_z, f = network.pre_activations(X)[:-1], network.logits(X)
    S = effective_resistance(network, [pattern_of(z) for z in hidden_z], len(X))
    pull = 1e-7 * rng.normal(size=f.shape)  # so weak that no pattern changes
    z = f + np.einsum("iop,ip->io", S, pull)
    y = z if output == "identity" else network.output.value(z) + pull
    diagnosis = diagnose(network, X, y)
    assert diagnosis.unsettled == []
    edges = diagnosis.edges
    # By the central limit theorem, with the deviation that the table tells.
    share_error = 5.0 * edges["std"] / np.sqrt(len(X)) / edges["discord"].sum()
    assert (share_error < 0.1).all()
    assert (np.abs(edges["share"] - edges["resistance"]) < share_error).all()
    assert (np.abs(edges["excess"] - 1.0) < share_error / edges["resistance"]).all()
    assert (np.abs(diagnosis.layers["excess"] - 1.0) < 0.2).all()


@given(problem=problems())
def test_shares_of_the_resistance_are_of_one_whole(problem):
    network, X, y = problem
    diagnosis = diagnose(network, X, y)
    for table in (diagnosis.edges, diagnosis.layers):
        assert table["resistance"].sum() == pytest.approx(1.0)
        assert (table["resistance"] >= 0.0).all()
        proper = table["resistance"] > 0.0
        np.testing.assert_allclose((table["excess"] * table["resistance"])[proper], table["share"][proper])
    by_layer = diagnosis.edges.groupby("layer")["resistance"].sum()
    np.testing.assert_allclose(diagnosis.layers["resistance"], by_layer, rtol=1e-12)


def test_samples_are_taken_in_blocks_without_a_difference(monkeypatch):
    network, X = drawn([3, 5, 4, 2], "softmax", 0), np.random.default_rng(0).normal(size=(11, 3))
    whole = resistance_shares(network, X)
    three = lambda n, entries: (slice(i, i + 3) for i in range(0, n, 3))  # noqa: E731
    monkeypatch.setattr("sheafcli.core.resistance.blocks", three)
    assert resistance_shares(network, X) == pytest.approx(whole, rel=1e-12)


# Sums -----------------------------------------------------------------------------------------


@given(problem=problems())
def test_the_discord_is_the_same_however_it_is_sorted(problem):
    network, X, y = problem
    diagnosis = diagnose(network, X, y)
    total = diagnosis.edges["discord"].sum()
    tables = [diagnosis.layers, diagnosis.operations, diagnosis.neurons]
    assert [table["discord"].sum() for table in tables] == pytest.approx([total] * 3)
    assert diagnosis.samples["discord"].mean() == pytest.approx(total)
    assert np.isclose(
        diagnosis.samples.filter(like="discord_").sum(axis=1), diagnosis.samples["discord"]
    ).all()
    for table in [*tables, diagnosis.edges, diagnosis.samples]:
        assert table["share"].sum() == pytest.approx(1.0)
    if diagnosis.classes is not None:
        classes = diagnosis.classes.dropna()
        assert classes["samples"].sum() == len(X)
        assert np.average(classes["discord"], weights=classes["samples"]) == pytest.approx(total)
        assert diagnosis.classes["share"].sum() == pytest.approx(1.0)


@given(problem=problems())
def test_loss_and_accuracy_are_those_of_the_network(problem):
    network, X, y = problem
    diagnosis, z = diagnose(network, X, y), network.logits(X)
    samples, classes = diagnosis.samples, diagnosis.classes
    assert samples["loss"].mean() == pytest.approx(network.output.loss(z, y), rel=1e-12)
    if classes is None:
        assert network.output.name == "identity" or network.widths[-1] > 1
        return
    assert (samples["target"] == samples["predicted"]).mean() == pytest.approx(network.output.accuracy(z, y))
    filled = classes[classes["samples"] > 0]
    for column, whole in (("loss", network.output.loss(z, y)), ("accuracy", network.output.accuracy(z, y))):
        assert np.average(filled[column], weights=filled["samples"]) == pytest.approx(whole)


@given(problem=problems())
def test_classes_are_groups_of_samples(problem):
    network, X, y = problem
    names = tuple(f"[{code}]" for code in range(max(2, y.shape[1])))
    diagnosis = diagnose(network, X, y, names)
    if diagnosis.classes is None:
        return
    groups = diagnosis.samples.assign(right=lambda t: t["target"] == t["predicted"]).groupby("target")
    expected = pd.DataFrame(
        {
            "samples": groups.size(),
            "discord": groups["discord"].mean(),
            "std": groups["discord"].std(ddof=0),
            "median": groups["discord"].median(),
            "max": groups["discord"].max(),
            "share": groups["discord"].sum() / diagnosis.samples["discord"].sum(),
            "loss": groups["loss"].mean(),
            "accuracy": groups["right"].mean(),
        }
    ).reindex(names)
    expected = expected.fillna({"samples": 0, "share": 0.0})
    found = diagnosis.classes.set_index("class")
    assert tuple(found.index) == names
    pd.testing.assert_frame_equal(
        found.astype(float), expected.astype(float), check_names=False, rtol=1e-9, atol=1e-15
    )


# What the columns say ---------------------------------------------------------------------------


def test_a_sample_tells_its_target_and_prediction():
    network = Network((np.eye(3),), (np.zeros(3),), drawn([1, 2], "softmax", 0).output)
    X = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]])
    y = np.eye(3)[[0, 2, 2]]
    samples = diagnose(network, X, y, ("red", "green", "blue")).samples
    assert samples["target"].tolist() == ["red", "blue", "blue"]
    assert samples["predicted"].tolist() == ["red", "green", "blue"]
    assert samples["discord"].idxmax() == 1
    assert samples["worst_edge"].isin(["affine_1", "output"]).all()
    assert list(samples) == [
        *("sample", "discord", "share", "worst_edge", "loss", "target", "predicted"),
        *("discord_affine_1", "discord_output"),
    ]
    assert diagnose(network, X, y).samples["predicted"].tolist() == ["0", "1", "2"]


def test_a_regression_of_one_output_tells_numbers_and_of_more_none():
    network, X = drawn([2, 3, 1], "identity", 0), np.random.default_rng(0).normal(size=(5, 2))
    y = np.arange(5.0)[:, None]
    samples = diagnose(network, X, y).samples
    np.testing.assert_array_equal(samples["target"], y[:, 0])
    np.testing.assert_allclose(samples["predicted"], network.predict(X)[:, 0])
    network = drawn([2, 3, 2], "identity", 0)
    diagnosis = diagnose(network, X, np.hstack([y, y]))
    assert "target" not in diagnosis.samples
    assert diagnosis.classes is None


def test_classes_are_coded_as_their_targets_say():
    one, three = drawn([1, 1], "sigmoid", 0), drawn([1, 3], "softmax", 0)
    assert class_codes(one, np.array([[0.0], [1.0], [0.5], [0.4]])).tolist() == [0, 1, 1, 0]
    assert class_codes(three, np.array([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])).tolist() == [1, 2]
    assert class_codes(drawn([1, 3], "sigmoid", 0), np.eye(3)) is None
    assert class_codes(drawn([1, 3], "identity", 0), np.eye(3)) is None


def test_a_perfect_network_has_no_discord_to_share():
    network = Network(
        (np.array([[2.0]]), np.array([[1.0]])),
        (np.zeros(1), np.zeros(1)),
        drawn([1, 1], "identity", 0).output,
    )
    diagnosis = diagnose(network, np.array([[1.0], [2.0]]), np.array([[2.0], [4.0]]))
    for table in (diagnosis.edges, diagnosis.layers):
        assert (table[["discord", "share", "excess"]] == 0.0).all(axis=None)


def test_a_layer_that_nothing_passes_has_no_resistance_and_no_excess():
    """The last weights are zero: no edge before them counts."""
    network = drawn([2, 3, 1], "identity", 0)
    cut = Network((network.weights[0], np.zeros((1, 3))), network.biases, network.output)
    diagnosis = diagnose(cut, np.random.default_rng(0).normal(size=(5, 2)), np.ones((5, 1)))
    assert diagnosis.edges["resistance"].tolist() == [0.0, 0.0, 1.0]
    assert diagnosis.edges["excess"].isna().tolist() == [True, True, False]
