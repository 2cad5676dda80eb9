"""What the documents say the program prints is what it prints, but for seconds and last digits.

Text agrees exactly. Of numbers the last digits are the machine's: its kernels sum in another order, and many
steps of training carry the difference on. It stays small where an answer is a converged one, as evidence,
discord and spectra are: 5% tells a number that is wrong from one that was summed differently. A share of 1 is
told to a tenth of a percent, one unit of its last digit. What a flow leaves when it has come to rest is
rounding alone, and only known to be small.
"""

from __future__ import annotations

import math

import pytest
from transcripts import BLOCK, DOCUMENTS, replay

WITH_TRANSCRIPTS = [path for path in DOCUMENTS if BLOCK.search(path.read_text(encoding="utf-8"))]

# What is left where a flow has come to rest, and differences that are rounding errors.
ROUNDING = 1e-7


def same(shown: str, printed: str) -> bool:
    """Tell whether two words agree: text exactly, numbers within 5%, or both so small that rounding rules."""
    try:
        a, b = (float(word.rstrip("%*.,;:)").replace(",", "")) for word in (shown, printed))
    except ValueError:
        # Bars follow their numbers.
        return shown == printed or not (shown + printed).strip("█▏▎▍▌▋▊▉")
    if max(abs(a), abs(b)) < ROUNDING:
        return True
    return math.isclose(a, b, rel_tol=0.05, abs_tol=0.11 if "%" in shown else 0.0)


def words(block: str) -> list[list[str]]:
    """Return the words of each line; of rows under a header that ends in seconds, all but those."""
    lines, timed, above = [], False, ""
    for line in block.splitlines():
        found = line.split() if " " in line else line.split(",")  # a row of CSV has no blanks
        if is_rule(found):
            timed = above.endswith("seconds")
        elif not found:
            timed = False
        lines.append(found[:-1] if timed and not is_rule(found) else found)
        above = line.rstrip()
    return lines


def is_rule(found: list[str]) -> bool:
    """Tell whether a line is one."""
    return bool(found) and set(found[0]) == {"─"}


@pytest.mark.parametrize("path", WITH_TRANSCRIPTS, ids=lambda path: path.name)
def test_transcripts_are_what_the_program_prints(path):
    text = path.read_text(encoding="utf-8")
    again = "run python tests/docs/transcripts.py and look at the difference"
    for shown, printed in zip(BLOCK.findall(text), replay(text), strict=True):
        for a, b in zip(words(shown), words(printed), strict=True):
            assert is_rule(a) or (len(a) == len(b) and all(map(same, a, b))), (
                f"{path.name}: {a} != {b}; {again}"
            )


def test_the_comparison_can_fail():
    assert not same("0.0616", "0.0716")
    assert not same("affine_1", "affine_2")
    assert same("25.2%", "25.3%")
    assert same("0.000999.", "0.000983."), "at the end of a sentence, too"
    assert not same("0.000999.", "0.000883.")
    assert not same("25.2%", "29%")
    assert not same("294 nats", "415 nats")
    assert not same("3", "4")
