"""The packed layout of a cochain: views write through, homogeneous columns stay ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from strategies import networks, seeds, widths

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network


def expected_names(depth, output_vertex):
    names = [f"{kind}{layer}" for layer in range(1, depth + 1) for kind in "za"]
    return [*names, f"z{depth + 1}", *(["y"] if output_vertex else [])]


@given(widths, st.integers(1, 4), st.booleans())
@settings(max_examples=40)
def test_every_stalk_is_a_view_of_its_own(widths, samples, output_vertex):
    cochain = Cochain(widths, samples, output_vertex=output_vertex)
    stalks = cochain.stalks()
    depth = len(widths) - 2
    assert list(stalks) == expected_names(depth, output_vertex)
    for number, (name, view) in enumerate(stalks.items(), start=2):
        layer = depth + 1 if name == "y" else int(name[1:])
        assert view.shape == (samples, widths[layer])
        assert not view.any()
        view[:] = number
    # What is left are the ones: a column a hidden layer for its z and one for its a, never written to.
    assert np.count_nonzero(cochain.data == 1.0) == 2 * depth * samples
    assert cochain.data.size == 2 * depth * samples + sum(view.size for view in stalks.values())
    for number, (name, view) in enumerate(stalks.items(), start=2):
        assert (view == number).all(), name
        assert np.count_nonzero(cochain.data == number) == view.size
        assert view.flags.f_contiguous
    for kind, views in (("z", cochain.z), ("a", cochain.a)):
        for layer, view in views.items():
            assert np.shares_memory(view, stalks[f"{kind}{layer}"])
    assert (cochain.y is not None) == output_vertex


@given(networks(output="softmax"), st.booleans(), seeds)
@settings(max_examples=30)
def test_forward_holds_the_forward_pass(network, output_vertex, seed):
    X = np.random.default_rng(seed).normal(size=(3, network.widths[0]))
    stalks = Cochain.forward(network, X, output_vertex=output_vertex).stalks()
    for layer, z in enumerate(network.pre_activations(X), start=1):
        np.testing.assert_array_equal(stalks[f"z{layer}"], z)
        if layer <= network.depth:
            np.testing.assert_array_equal(stalks[f"a{layer}"], np.where(z > 0, z, 0.0))
    if output_vertex:
        np.testing.assert_array_equal(stalks["y"], network.predict(X))


def test_random_is_standard_normal_and_seeded():
    one = Cochain.random([2, 40, 30, 3], 100, 5, output_vertex=True)
    for name, stalk in one.stalks().items():
        assert kstest(stalk.ravel(), "norm").pvalue > 1e-3, name
    draws = np.concatenate([stalk.ravel() for stalk in one.stalks().values()])
    assert len(np.unique(draws)) == draws.size
    same = Cochain.random([2, 40, 30, 3], 100, np.random.SeedSequence(5), output_vertex=True)
    np.testing.assert_array_equal(one.data, same.data)
    assert not np.array_equal(one.data, Cochain.random([2, 40, 30, 3], 100, 6, output_vertex=True).data)


def test_from_stalks_round_trips():
    drawn = Cochain.random([2, 4, 3, 2], 5, 0, output_vertex=True)
    again = Cochain.from_stalks(drawn.widths, drawn.stalks(), output_vertex=True)
    np.testing.assert_array_equal(again.data, drawn.data)
    assert not np.shares_memory(again.data, drawn.data)


def test_a_copy_is_independent():
    drawn = Cochain.random([2, 4, 1], 5, 0, output_vertex=True)
    copy = drawn.copy()
    for name, stalk in drawn.stalks().items():
        np.testing.assert_array_equal(copy.stalks()[name], stalk)
    np.testing.assert_array_equal(copy.data, drawn.data)
    copy.z[1][:] = 7.0
    assert not (drawn.z[1] == 7.0).any()
    assert copy.output_vertex


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stalks: stalks.pop("z1"), "need z1, samples x 4"),
        (lambda stalks: stalks.update(z1=np.zeros(4)), "need z1, samples x 4"),
        (lambda stalks: stalks.pop("a1"), "must be z1, a1, z2; got z1, z2"),
        (lambda stalks: stalks.update(a2=np.zeros((5, 1))), "must be z1, a1, z2; got z1, a1, z2, a2"),
        (
            lambda stalks: stalks.update(a1=np.zeros((5, 3))),
            r"stalk a1 must have shape \(5, 4\), got \(5, 3\)",
        ),
        (
            lambda stalks: stalks.update(z2=np.zeros((6, 1))),
            r"stalk z2 must have shape \(5, 1\), got \(6, 1\)",
        ),
        (lambda stalks: stalks.update(z2=np.full((5, 1), np.nan)), "stalk z2 must be finite"),
        (lambda stalks: stalks.update(z2=np.zeros(1)), r"stalk z2 must have shape \(5, 1\), got \(1,\)"),
    ],
)
def test_stalks_that_do_not_fit_are_refused(change, message):
    network = Network.he([2, 4, 1])
    stalks = dict(Cochain(network.widths, 5).stalks())
    change(stalks)
    with pytest.raises(ValueError, match=message):
        Cochain.from_stalks(network.widths, stalks)
