"""Chains of steps: the steps taken one by one are the oracle for the Network they become."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.interop import chain
from sheafcli.interop.chain import Affine, Chain, Ending, Relu, Scale, batch_norm, to_network


def evaluate(steps, X):
    """What the steps say, literally, in their order."""
    for step in steps:
        match step:
            case Affine():
                X = X @ step.W.T + step.b
            case Scale():
                X = X * step.scale + step.shift
            case Relu():
                X = np.maximum(X, 0.0)
    return X


@st.composite
def chains(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    width = draw(st.integers(1, 4))
    steps = []
    for i, kind in enumerate(draw(st.lists(st.sampled_from("ASR"), min_size=1, max_size=9))):
        if kind == "A":
            n = draw(st.integers(1, 4))
            steps.append(Affine(f"A{i}", rng.normal(size=(n, width)), rng.normal(size=n)))
            width = n
        elif kind == "S":
            steps.append(Scale(f"S{i}", rng.normal(size=width), rng.normal(size=width)))
        else:
            steps.append(Relu())
    if not any(isinstance(step, Affine) for step in steps):
        steps.append(Affine("last", rng.normal(size=(2, width)), rng.normal(size=2)))
    first = next(step for step in steps if not isinstance(step, Relu))
    n_inputs = first.W.shape[1] if isinstance(first, Affine) else first.scale.size
    return steps, rng.normal(size=(20, n_inputs))


@given(case=chains())
def test_any_chain_becomes_a_network_of_the_same_values(case):
    steps, X = case
    network, _ = to_network(steps, "identity")
    np.testing.assert_allclose(network.logits(X), evaluate(steps, X), rtol=1e-9, atol=1e-9)


@given(case=chains())
def test_there_are_as_few_layers_as_stretches_between_relus(case):
    steps, _ = case
    inner = "".join(type(step).__name__[0] for step in steps)  # A, S, R; a run of R is one ReLU
    network, _ = to_network(steps, "identity")
    stretches = [part for part in inner.split("R") if part]
    expected = len(stretches) + inner.startswith("R") + inner.endswith("R")
    assert len(network.weights) == expected


def test_affine_maps_in_a_row_are_multiplied():
    first = Affine("one", np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, -1.0]))
    second = Affine("two", np.array([[1.0, 1.0]]), np.array([10.0]))
    network, notes = to_network([first, second], "identity")
    assert network.weights[0].tolist() == [[4.0, 6.0]]
    assert network.biases[0].tolist() == [10.0]
    assert notes == ("nothing stands between one and two: they are one layer here",)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("ASRA", ["S1 is folded into A0, the layer before it"]),
        ("ARSA", ["S2 is folded into A3, the layer after it"]),
        ("SARA", ["S0 is folded into A1, the layer after it"]),
        ("ARS", ["S2 is made a diagonal layer: between it and the end is no layer to fold it into"]),
        ("ARSRA", ["S2 is made a diagonal layer: between it and a ReLU is no layer to fold it into"]),
        ("RA", ["the network begins with a ReLU: an identity layer is put before it"]),
        ("AR", ["the network ends with a ReLU: an identity layer is put behind it"]),
        ("ARRA", []),
        ("ARSSA", ["S2 is folded into A4, the layer after it", "S3 is folded into A4, the layer after it"]),
    ],
)
def test_notes_say_what_was_done(order, words):
    make = {
        "A": lambda name: Affine(name, np.eye(2), np.zeros(2)),
        "S": lambda name: Scale(name, np.ones(2), np.zeros(2)),
        "R": lambda _: Relu(),
    }
    _, notes = to_network([make[kind](f"{kind}{i}") for i, kind in enumerate(order)], "identity")
    assert list(notes) == words


def test_batch_norm_is_its_definition():
    gamma, beta, mean, variance = (
        np.array([2.0, -1.0]),
        np.array([0.5, 3.0]),
        np.array([1.0, 2.0]),
        np.ones(2) * 3,
    )
    step = batch_norm("norm", gamma, beta, mean, variance, 1.0)
    X = np.array([[1.0, 4.0], [3.0, 2.0]])
    np.testing.assert_allclose(X * step.scale + step.shift, gamma * (X - mean) / 2.0 + beta, rtol=1e-15)


GOOD = Affine("good", np.ones((2, 3)), np.zeros(2))


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([GOOD, Relu(), Affine("next", np.ones((1, 3)), np.zeros(1))], "next takes 3 inputs"),
        ([GOOD, Affine("next", np.ones((1, 3)), np.zeros(1))], "next takes 3 inputs, good gives 2"),
        ([GOOD, Scale("norm", np.ones(3), np.ones(3))], "norm takes 3 inputs, good gives 2"),
        ([Affine("flat", np.ones(3), np.zeros(3))], "flat must have a matrix"),
        ([Affine("biased", np.ones((2, 3)), np.zeros(3))], "biased must have a matrix"),
        ([Affine("empty", np.ones((0, 3)), np.zeros(0))], "empty must have a matrix"),
        ([GOOD, Scale("norm", np.ones(2), np.ones(1))], "norm must have one scale"),
        ([Affine("bad", np.full((2, 3), np.nan), np.zeros(2))], "bad holds NaN or infinite"),
        ([GOOD, Scale("norm", np.ones(2), np.array([0, np.inf]))], "norm holds NaN or infinite"),
        ([GOOD, Affine("huge", np.full((1, 2), 1e308), np.zeros(1))], "must be finite"),
    ],
)
def test_what_does_not_fit_is_named(steps, words):
    with pytest.raises(ValueError, match=words):
        to_network(steps, "identity")


def test_products_and_identities_that_no_file_holds_are_bounded(monkeypatch):
    monkeypatch.setattr(chain, "MAX_ENTRIES", 24)
    wide, narrow = (
        Affine("wide", np.ones((5, 1)), np.zeros(5)),
        Affine("narrow", np.ones((1, 5)), np.zeros(1)),
    )
    with pytest.raises(ValueError, match="matrix of 5 x 5"):
        to_network([narrow, wide], "identity")
    with pytest.raises(ValueError, match="matrix of 5 x 5"):
        to_network([wide, Relu()], "identity")
    to_network([wide, narrow], "identity")


def test_an_output_function_stands_at_the_end_only():
    assert Chain((GOOD, Ending("Sigmoid 1", "sigmoid"))).says == "sigmoid"
    assert Chain((GOOD,)).says is None
    assert Chain((GOOD,), output="softmax").says == "softmax"
    with pytest.raises(ValueError, match="Sigmoid 1 stands before other layers"):
        Chain((GOOD, Ending("Sigmoid 1", "sigmoid"), GOOD))
    with pytest.raises(ValueError, match="no linear layer"):
        Chain((Relu(), Ending("Sigmoid 1", "sigmoid")))


@pytest.mark.parametrize("variance", [-1.0, np.nan])
def test_a_variance_that_is_none_is_refused(variance):
    one = np.ones(2)
    with pytest.raises(ValueError, match="norm has a running variance"):
        batch_norm("norm", one, one, one, np.array([1.0, variance]), 1e-5)
    with pytest.raises(ValueError, match="differ in shape"):
        batch_norm("norm", one, np.ones(1), one, one, 1e-5)
