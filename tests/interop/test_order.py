"""The order of layers: all permutations, tried one by one, are the oracle."""

from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.interop.order import Place, numbers, settled, template

WIDTHS = st.integers(1, 3)


def fitting(places):
    """All orders in which each layer takes as many values as the one before it gives."""
    return [order for order in permutations(places) if all(a.n_out == b.n_in for a, b in pairwise(order))]


@given(st.lists(st.tuples(WIDTHS, WIDTHS), min_size=1, max_size=5))
def test_without_numbers_and_a_file_order_the_only_order_that_fits_is_taken(shapes):
    places = [Place(name, *shape) for name, shape in zip("abcde", shapes, strict=False)]
    orders = fitting(places)
    if len(orders) == 1:
        assert settled(places, defined=False).places == orders[0]
    else:
        words = "more than one order" if orders else "no order of its layers"
        with pytest.raises(ValueError, match=words):
            settled(places, defined=False)


@given(st.lists(st.tuples(WIDTHS, WIDTHS), min_size=2, max_size=5))
def test_the_order_of_definition_is_taken_where_it_fits_and_others_are_told(shapes):
    places = [Place(name, *shape) for name, shape in zip("edcba", shapes, strict=False)]
    orders = fitting(places)
    if tuple(places) in orders:
        order = settled(places, defined=True)
        assert order.places == tuple(places)
        assert bool(order.notes) == (len(orders) > 1)
    elif len(orders) == 1:
        assert settled(places, defined=True).places == orders[0]
    else:
        with pytest.raises(ValueError, match="order"):
            settled(places, defined=True)


@given(st.permutations(range(1, 13)), st.booleans())
def test_numbers_are_an_order_in_whatever_way_the_file_lists_them(order, defined):
    places = [Place(f"net.fc{i}", 3, 3) for i in order]
    assert [place.name for place in settled(places, defined).places] == [f"net.fc{i}" for i in range(1, 13)]


@given(st.permutations(["hidden.0", "hidden.1", "hidden.10", "out"]))
def test_among_other_names_numbers_keep_their_order(names):
    places = [Place(name, 4, 2 if name == "out" else 4) for name in names]
    order = [place.name for place in settled(places, defined=False).places]
    assert order == ["hidden.0", "hidden.1", "hidden.10", "out"]


def test_numbers_that_are_widths_are_no_order():
    places = [Place("fc_128", 4, 128), Place("fc_64", 128, 64), Place("fc_10", 64, 10)]
    assert settled(places, defined=False).places == tuple(places)


def test_mirrored_numbers_of_a_decoder_follow_the_shapes():
    places = [Place(*p) for p in (("enc1", 9, 5), ("enc2", 5, 2), ("dec2", 2, 5), ("dec1", 5, 9))]
    with pytest.raises(ValueError, match="more than one order"):  # it chains from the middle, too
        settled(places, defined=False)
    places[3] = Place("dec1", 5, 7)
    assert settled(places[::-1], defined=False).places == tuple(places)


def test_many_layers_that_could_stand_anyhow_are_refused_at_once():
    places = [Place(f"{letter}{other}x", 4, 4) for letter in "abcdefghij" for other in "klmnopqrst"]
    with pytest.raises(ValueError, match="more than one order"):
        settled(places, defined=False)
    odd = [*places, Place("in", 3, 4), Place("other", 5, 4)]  # none chains, and that shows only at the end
    with pytest.raises(ValueError, match="order"):
        settled(odd, defined=False)


def test_names_with_their_numbers():
    assert numbers("block3.fc10") == (3, 10)
    assert template("block3.fc10") == "block#.fc#"
