"""docs/paper.md, from what `run.py` has found: the rows of all exhibits, and where their pictures are."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from exhibit import Row, escaped

WIDTH = 110


def page(found: dict[str, Any], pictures: str) -> str:
    """Return the page in Markdown.

    Parameters
    ----------
    found
        What `run.py` writes to paper.json: `made` (how, when, with what), and `exhibits`, each with key,
        title, text, rows and the stems of its figures.
    pictures
        The folder of the figures as a link from the page.
    """
    exhibits = found["exhibits"]
    parts = [*_head(found["made"], exhibits)]
    for exhibit in exhibits:
        rows = [Row(**row) for row in exhibit["rows"]]
        parts += [f"## {exhibit['title']}", filled(exhibit["text"])]
        parts += [_rows_table(rows)] if rows else []
        parts += [f"![{exhibit['title']}]({pictures}/{stem}.png)" for stem in exhibit["figures"]]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def filled(text: str) -> str:
    """Return Markdown with its paragraphs filled anew; tables, lists and headings stay as they are."""
    blocks = textwrap.dedent(text).strip().split("\n\n")
    return "\n\n".join(
        block
        if block.lstrip()[:2] in ("# ", "##", "| ", "- ", "* ", "1.", "``")
        else textwrap.fill(block, WIDTH, break_long_words=False, break_on_hyphens=False)
        for block in blocks
    )


def _head(made: dict[str, Any], exhibits: Sequence[dict[str, Any]]) -> list[str]:
    rows = [(exhibit["title"], Row(**row)) for exhibit in exhibits for row in exhibit["rows"]]
    failing = [(title, row) for title, row in rows if not row.holds]
    lines = [
        "# The paper's experiments, made anew",
        filled(
            f"Written by `{made['command']}` ({made['when']}): {made['runs']:,} runs with "
            f"{made['run_seconds'] / 60:.0f} minutes of training, {made['seconds'] / 60:.0f} by the clock "
            f"with {made['jobs']} at a time on {made['processors']} processors; sheafcli {made['sheafcli']}, "
            f"Python {made['python']}, NumPy {made['numpy']}, SciPy {made['scipy']}. The paper is Bosca & "
            "Ghrist, [Neural Networks as Local-to-Global Computations](https://arxiv.org/abs/2603.14831) "
            "(2026). Its published figures are those of its reference implementation, where they are known; "
            "otherwise what it states in words. The configurations are in experiments/paper/; every figure "
            "(SVG, PNG) and table (CSV, Markdown) is in results/paper/ after `make paper`."
        ),
        filled(
            f"**{len(rows) - len(failing)} of {len(rows)} rows hold.** "
            + ("Those that do not:" if failing else "None fails.")
        ),
    ]
    if failing:
        lines.append("\n".join(f"- {title}: {row.quantity}" for title, row in failing))
    summary = [
        f"| [{title}](#{_anchor(title)}) | {sum(row['holds'] for row in rows)} of {len(rows)} |"
        for title, rows in ((exhibit["title"], exhibit["rows"]) for exhibit in exhibits)
        if rows
    ]
    return [*lines, "\n".join(["| figure or table | rows that hold |", "| --- | --- |", *summary])]


def _rows_table(rows: Sequence[Row]) -> str:
    lines = ["| what | published | ours | by | holds |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        cells = [row.quantity, row.published, row.ours, row.by, "yes" if row.holds else "**no**"]
        lines.append(f"| {' | '.join(map(escaped, cells))} |")
    return "\n".join(lines)


def _anchor(title: str) -> str:
    """Return the name that Markdown gives to a heading."""
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")
