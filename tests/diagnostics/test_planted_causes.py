"""The commands' own path, in short: what is planted in a run of `sheaf train` leads what is said of it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from planted_causes import KINDS, planted


@pytest.fixture(scope="module")
def rows():
    return {row["kind"]: row for row in planted("breast_cancer", 0, set(KINDS))}


@pytest.mark.parametrize("kind", KINDS)
def test_the_leading_finding_names_what_was_planted(rows, kind):
    assert rows[kind]["found"], rows[kind]
