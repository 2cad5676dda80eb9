"""The range of numbers: bounds against products by hand and in exact arithmetic, and what is refused."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import networks, seeds

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.reach import bound, check_reach, reach
from sheafcli.core.magnitude import LARGEST, beyond, check_magnitude
from sheafcli.core.outputs import output_named


def chain(*scales, bias=0.0):
    weights = tuple(np.full((1, 1), scale) for scale in scales)
    return Network(weights, tuple(np.full(1, bias) for _ in scales), output_named("identity"))


def test_products_of_four_in_range_are_finite_in_any_sum_that_fits_a_machine():
    assert Fraction(LARGEST) ** 4 * 2**90 < Fraction(np.finfo(np.float64).max)


@given(st.floats(), st.integers(0, 5))
def test_what_is_beyond(value, place):
    array = np.zeros((2, 3))
    array.flat[place] = value
    expected = None if abs(value) <= 1e70 else (place // 3, place % 3)
    assert beyond(array) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, r"X\[1, 2\] is nan; every value must be finite"),
        (-np.inf, r"X\[1, 2\] is -inf; every value must be finite"),
        (-2.5e160, r"X\[1, 2\] is -2.5e\+160, beyond 1e\+70: .* another unit, or standardise it"),
    ],
)
def test_the_place_of_what_is_beyond_is_named(value, words):
    array = np.zeros((2, 3))
    array[1, 2] = value
    with pytest.raises(ValueError, match=words):
        check_magnitude("X", array)


def test_the_reach_of_a_chain_by_hand():
    X, y = np.array([[2.0]]), np.array([[-7.0]])
    # Stalks 2, 6, 3: the target 7 is the largest; the only layer that amplifies does so threefold.
    assert reach(chain(3.0, 0.5), X, y) == pytest.approx(21.0)
    # Stalks 2, 200, 20000, and two layers that amplify a hundredfold each.
    assert reach(chain(100.0, 100.0), X, y) == pytest.approx(2e4 * 1e4)


@given(networks(), seeds)
@settings(max_examples=40)
def test_what_takes_no_forward_pass_bounds_the_reach(network, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(4, network.widths[0])), rng.normal(size=(4, network.widths[-1]))
    assert reach(network, X, y) <= bound(network, X, y) * (1 + 1e-9)


@given(networks(), seeds)
@settings(max_examples=40)
def test_no_stalk_and_no_product_of_maps_goes_beyond_the_reach(network, seed):
    """By random patterns: the product of the maps between any two layers, applied to any stalk."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(4, network.widths[0])), rng.normal(size=(4, network.widths[-1]))
    most = reach(network, X, y) * (1 + 1e-9)
    stalks = [X, *(np.maximum(z, 0.0) for z in network.pre_activations(X))]
    for first, a in enumerate(stalks[:-1]):
        moved = a
        for W in network.weights[first:]:
            moved = moved @ W.T
            assert np.abs(moved).max() <= most
            moved = moved * (rng.random(moved.shape) < 0.7)


@pytest.mark.parametrize(
    ("network", "X", "words"),
    [
        (chain(1e50, 1e50), 1.0, r"up to 1e\+200 .*an entry of W1 is 1e\+50"),
        (chain(1.0, 1e160), 1.0, r"more than 1e308 .*an entry of W2 is 1e\+160"),
        (chain(1e60), 1e20, r"an entry of W1 is 1e\+60"),
        (chain(1e20), 1e60, r"an input is 1e\+60"),
        (chain(1.0, bias=1e90), 1.0, r"an entry of b1 is 1e\+90"),
        (chain(1e308, 1e308), 1e308, "more than 1e308"),
    ],
)
def test_what_grows_out_of_range_is_refused_by_the_name_of_the_largest(network, X, words):
    with pytest.raises(ValueError, match=words):
        check_reach(network, np.array([[X]]), np.array([[1.0]]))


@pytest.mark.parametrize("scale", [0.0, 1e-60, 1.0, 1e20])
def test_what_stays_in_range_passes(scale):
    check_reach(chain(scale, 1.0), np.array([[scale]]), np.array([[scale]]))


@pytest.mark.parametrize(
    ("weight", "X", "y", "words"),
    [
        (1.0, 1e-300, 1.0, "all inputs are at most 1e-300 in size, below 1e-70: .* vanish"),
        (1.0, 1.0, -1e-80, "all targets are at most 1e-80"),
        (1e-160, 1.0, 1.0, "all entries of W2 are at most 1e-160"),
        (1.0, 5e-324, 1.0, "all inputs are at most 4.94e-324"),
    ],
)
def test_what_all_but_vanishes_is_refused(weight, X, y, words):
    with pytest.raises(ValueError, match=words):
        check_reach(chain(1.0, weight), np.array([[X], [0.0]]), np.array([[y], [0.0]]))


def test_deep_networks_as_they_are_drawn_pass():
    network = Network.he([100] * 65, seed=3)
    X = np.random.default_rng(0).normal(size=(5, 100))
    check_reach(network, X, X)
