"""What to keep of another run: against networks put together by hand, and all choices of a small one."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheafcli.core.difference import difference, mended, values_of
from sheafcli.core.graph import Graph
from sheafcli.core.network import network_of
from sheafcli.core.operations import Dense, Tanh
from sheafcli.core.outputs import Identity
from sheafcli.core.sweep import output
from sheafcli.diagnostics.difference import compare
from sheafcli.diagnostics.mixed_precision import advise

NAMES = ("first", "second", "third", "last")


def graph(weights):
    path = {}
    for name in NAMES:
        path |= {name: Dense(weights[name]), f"{name}_tanh": Tanh()}
    return Graph.path((6,), path)


def pair(seed, sizes=(1e-2, 3e-2, 3e-3, 1e-1)):
    """Weights of a network, and of a copy in which every layer has moved by its size."""
    rng = np.random.default_rng(seed)
    own = {name: rng.normal(size=(6, 6)) / 2.0 for name in NAMES}
    other = {
        name: own[name] + size * rng.normal(size=(6, 6)) for name, size in zip(NAMES, sizes, strict=True)
    }
    return own, other, rng.normal(size=(40, 6))


def gone(own, other, X, kept):
    """1 - |f_A - f_K|^2 / |f_A - f_B|^2 of the network with these layers kept."""
    f_A, f_B = output(graph(own), X), output(graph(other), X)
    f_K = output(graph({name: (own if name in kept else other)[name] for name in NAMES}), X)
    return 1.0 - np.sum((f_A - f_K) ** 2) / np.sum((f_A - f_B) ** 2)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=30, deadline=None)
def test_what_is_kept_reaches_what_is_asked_and_one_fewer_does_not(seed, asked):
    own, other, X = pair(seed)
    here, there = (network_of(graph(weights), Identity()) for weights in (own, other))
    comparison = compare(here, X, values_of(there.graph, X), other=there)
    advice = advise(here, X, comparison, asked, there)
    names = advice.kept["operation"].tolist()
    for i, reached in enumerate(advice.kept["reached"], start=1):
        assert reached == pytest.approx(gone(own, other, X, names[:i]), abs=1e-9)
    assert all(reached < asked for reached in advice.kept["reached"][:-1])
    assert advice.reached >= asked or len(names) == np.sum(comparison.operations["share"] > 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_where_one_layer_is_most_of_it_no_other_choice_of_as_many_does_better(seed):
    own, other, X = pair(seed, sizes=(1e-4, 1e-4, 3e-2, 1e-4))
    here, there = (network_of(graph(weights), Identity()) for weights in (own, other))
    advice = advise(here, X, compare(here, X, values_of(there.graph, X), other=there), 0.99, there)
    assert advice.kept["operation"].tolist() == ["third"]
    assert advice.reached == max(gone(own, other, X, kept) for kept in combinations(NAMES, 1))
    assert advice.sentence.startswith("keep 1 of 8 operations: ")


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_recorded_values_err_as_they_did(seed):
    """With none kept it is the other run's output, with all kept it is the network's."""
    own, other, X = pair(seed)
    recorded = values_of(graph(other), X)
    there = difference(graph(own), X, recorded)
    assert mended(graph(own), X, there, ()) == pytest.approx(recorded["last_tanh"], abs=1e-12)
    assert mended(graph(own), X, there, set(recorded)) == pytest.approx(output(graph(own), X), abs=1e-12)


def test_recorded_values_tell_as_much_where_differences_are_small():
    own, other, X = pair(0, sizes=(1e-4, 3e-4, 1e-5, 1e-4))
    here, there = (network_of(graph(weights), Identity()) for weights in (own, other))
    values = values_of(there.graph, X)
    exact = advise(here, X, compare(here, X, values, other=there), 0.99, there)
    told = advise(here, X, compare(here, X, values), 0.99)
    assert told.kept["operation"].tolist() == exact.kept["operation"].tolist()
    assert told.kept["reached"].tolist() == pytest.approx(exact.kept["reached"].tolist(), abs=1e-2)


def test_where_nothing_differs_nothing_is_kept():
    own, _, X = pair(0)
    here = network_of(graph(own), Identity())
    advice = advise(here, X, compare(here, X, values_of(here.graph, X)), 0.99)
    assert len(advice.kept) == 0
    assert advice.sentence == "nothing to keep: the outputs do not differ"
