"""Share bars, measured with the widths of their characters."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sheafcli.render.share_bar import ShareBar

EIGHTHS = {character: eighths for eighths, character in enumerate("▏▎▍▌▋▊▉█", start=1)}


def drawn(bar, width=24, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return "".join(segment.text for segment in Console(file=stream, width=width).render(bar))


def colours(bar, width):
    console = Console(file=io.StringIO(), width=width)
    return [str(segment.style) for segment in console.render(bar) for _ in segment.text]


@given(st.floats(0, 1), st.integers(6, 24))
def test_length_is_proportional_to_an_eighth_of_a_character(share, width):
    length = sum(EIGHTHS[character] for character in drawn(ShareBar(((share, "red"),), 1.0), width)) / 8
    assert share * width - 1e-6 <= length < share * width + 0.125 + 1e-6


def test_what_is_above_zero_is_seen_and_zero_is_not():
    assert drawn(ShareBar(((1e-5, "red"),), 1.0)) == "▏"
    assert drawn(ShareBar(((0.0, "red"),), 1.0)) == ""


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5).filter(lambda shares: sum(shares) > 0))
def test_the_longest_fills_the_width_whatever_it_is_made_of(shares):
    bar = ShareBar(tuple((share, "red") for share in shares), sum(shares))
    assert drawn(bar, 20) == "█" * 20


def test_parts_are_stacked_in_proportion():
    bar = ShareBar(((0.5, "red"), (0.0, "blue"), (0.25, "green")), 1.0)
    assert colours(bar, 8) == ["red"] * 4 + ["green"] * 2


def test_an_encoding_without_blocks_gets_signs():
    text = drawn(ShareBar(((0.5, "red"),), 1.0), 10, encoding="ascii")
    assert text == "#####"
    assert drawn(ShareBar(((1e-5, "red"),), 1.0), 10, encoding="ascii") == "#"


@pytest.mark.parametrize("longest", [0.0, math.nan])
def test_nothing_to_compare_with_draws_nothing(longest):
    assert drawn(ShareBar(((math.nan, "red"),), longest)) == ""
