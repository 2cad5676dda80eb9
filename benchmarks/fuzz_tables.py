"""Tables as people have them, right and hostile, and what is asked of a network that was trained on one."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_files import sheaf
from fuzz_texts import HOSTILE, Draw, pick

NAMES = (
    *("age", "sex", "price", "when", "weight (kg)", "weight (lb)", "a b", "ä", "猫", "id", "class", "[bold]"),
    *("x;y", "x,y", "split", "é" * 60, "=1+1", "height", "city", "a.b", "a=b", "a:b", "x[0]", "{x}"),
)
# What is refused as a name, or has to be understood with care.
STRANGE = ("", " x ", '"', "\x1b[31m", "1", "nan", "line\nbreak", "y", "\ufeff", "'")
CATEGORIES = (
    ("red", "green", "blue"),
    ("m", "f"),
    ("Zürich", "Genève", "猫", "[bold]x[/bold]"),
    tuple(f"k{i}" for i in range(30)),
    ("01", "1", "001"),
    ("yes", "no"),
    ("a,b", "c;d", 'e"f', "g\nh", " i "),
    ("", "NA"),
    ("=1+1", "@x", "\x1b[31m"),
)
MISSING = ("", "NA", "nan", "NULL", "?", "-", "None", "#N/A")
DATES = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%y", "%Y-%m-%dT%H:%M:%S", "%H:%M", "%b %d, %Y")
# Where a cell is spoilt: what a person, a spreadsheet or an enemy would have put there.
SPOILT = (
    *("n/a", "inf", "-inf", "1e999", "1e80", "1e-90", "1,037", "1.037,5", "$7", "12%", "0x10", "1_000", "١٢"),
    *("9" * 400, "a" * 70_000, "\x00", "\ufeff", "2024-02-30", "true", "TRUE", "x\r", "'", '"', " 3 ", "--"),
)


def table(draw: Draw, most_rows: int = 60) -> list[list[str]]:
    """Return a table with a header, of columns of all kinds, with gaps, doubles and spoilt cells."""
    n = int(draw.integers(0 if draw.random() < 0.05 else 6, most_rows))
    columns = [_column(draw, n) for _ in range(int(draw.integers(1, 7)))]
    target = _category(draw, n) if draw.random() < 0.5 else _numbers(draw, n)
    if draw.random() < 0.2:
        target = [pick(draw, ("0", "1")) for _ in range(n)]
    names = [str(name) for name in draw.choice(NAMES, size=len(columns), replace=draw.random() < 0.05)]
    header = [*names, "y"]
    if draw.random() < 0.15:
        header[int(draw.integers(len(header)))] = pick(draw, STRANGE)
    rows = [header, *([str(cell) for cell in row] for row in zip(*columns, target, strict=True))]
    while draw.random() < 0.2 and n > 0:
        row = rows[int(draw.integers(len(rows)))]
        row[int(draw.integers(len(row)))] = pick(draw, SPOILT)
    while draw.random() < 0.04 and n > 0:
        at = int(draw.integers(len(rows)))
        rows[at] = pick(draw, (rows[at][:-1], [*rows[at], "x"], [], rows[0]))
    return rows if draw.random() < 0.97 else rows[1:]


def _column(draw: Draw, n: int) -> list[str]:
    make = pick(draw, (_numbers, _numbers, _numbers, _category, _category, _truths, _dates, _constant))
    cells = make(draw, n)
    if draw.random() < 0.25:
        gap, share = pick(draw, MISSING), draw.choice([0.05, 0.5, 1.0], p=[0.7, 0.25, 0.05])
        cells = [gap if lost else cell for cell, lost in zip(cells, draw.random(n) < share, strict=True)]
    return cells


def _numbers(draw: Draw, n: int) -> list[str]:
    values = draw.normal(size=n) * 10.0 ** draw.integers(-4, 8) + draw.integers(-2, 3) * 100
    how = draw.integers(9)
    if how == 0:
        return [str(int(value)) for value in values]
    if how == 1:
        return [f"{value:.2f}".replace(".", ",") for value in values]
    if how == 2:
        return [str(int(value)) for value in draw.integers(0, 4, size=n)]
    if how == 3:
        return [f"{value:.0f}.0" for value in values]
    return [f"{value:.4g}" for value in values]


def _category(draw: Draw, n: int) -> list[str]:
    names = pick(draw, CATEGORIES)
    return [pick(draw, names) for _ in range(n)]


def _truths(draw: Draw, n: int) -> list[str]:
    pair = pick(draw, (("True", "False"), ("yes", "no"), ("0", "1"), ("T", "F"), ("on", "off")))
    return [pick(draw, pair) for _ in range(n)]


def _dates(draw: Draw, n: int) -> list[str]:
    days = np.datetime64("1990-01-01") + draw.integers(0, 20_000, size=n)
    form = pick(draw, DATES)
    return [day.strftime(form) for day in days.astype("datetime64[s]").tolist()]


def _constant(draw: Draw, n: int) -> list[str]:
    return [pick(draw, ("1", "x", "", "0.5"))] * n


def text(draw: Draw, rows: list[list[str]]) -> bytes:
    """Return a table as the bytes of a file, in one of the ways in which programs write them."""
    stream = StringIO()
    writer = csv.writer(
        stream,
        delimiter=pick(draw, (*",,,,;;\t|", *(" :" if draw.random() < 0.1 else ""))),
        quoting=pick(draw, (csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)),
        lineterminator=pick(draw, ("\n", "\n", "\r\n", *(("\r",) if draw.random() < 0.1 else ()))),
    )
    writer.writerows(rows)
    encoding = pick(draw, ("utf-8",) * 8 + ("utf-8-sig", "utf-8-sig", "latin-1", "utf-16"))
    return stream.getvalue().encode(encoding, "replace")


def task_options(draw: Draw, rows: list[list[str]]) -> list[str]:
    """Return --set options of `kind: csv`, as one would try them on this table; some of them wrong."""
    column = pick(draw, rows[0] if rows and rows[0] else ["y"])
    choices: dict[str, tuple[Any, ...]] = {
        "missing": ("drop", "impute", "impute", "impute", "error"),
        "exclude": (f"[{column!r}]", "[0]", "[99]", "[]"),
        "categories": (f"[{column!r}]", "[0]"),
        "dates": (f"{{{column!r}: {pick(draw, ('iso', *DATES))!r}}}", "{x: iso}"),
        "features": (f"[{column!r}]", "[0, 1]", "[]"),
        "rare": ("0", "0.2", "0.99", "1"),
        "encoding": ("utf-8", "latin-1", "windows-1252"),
        "decimal": ("comma", "point"),
        "delimiter": ("comma", "semicolon", "tab", "bar"),
        "validation_fraction": ("0.2", "0.9", "0.001"),
        "test_fraction": ("0.5", "0.99", "0.01"),
        "split": ("ordered", "random", "column"),
        "split_column": (f"{column!r}",),
        "fold": ("1/2", "3/2", "5/5", "1/60"),
        "standardize": ("false", "inputs"),
        "stratify": ("false",),
        "target": (f"{column!r}", "0", "-1", f"[{column!r}, 0]"),
    }
    found = ["--set", "task.missing=impute"] if draw.random() < 0.6 else []
    for key in draw.choice(list(choices), size=draw.integers(0, 3), replace=False):
        found += ["--set", f"task.{key}={pick(draw, choices[key])}"]
    if draw.random() < 0.1:
        found += ["--set", f"task.{pick(draw, list(choices))}={_word(draw)}"]
    if draw.random() < 0.1:
        found += ["--set", f"network.output={pick(draw, ('identity', 'sigmoid', 'softmax'))}"]
    if draw.random() < 0.2:
        found += ["--set", "training.stop_when={patience: 2}"]
    return [option.replace("\0", "") for option in found]


def _word(draw: Draw) -> str:
    return str(pick(draw, HOSTILE)).replace("\0", "")


# A table whose columns are known, for questions about it.
COLUMNS = ("age", "sex", "when", "member", "income")
TARGETS = ("kind", "price")


def known_rows(draw: Draw, n: int = 60) -> list[list[str]]:
    """Return rows of numbers, categories, dates, booleans and gaps, with a class and a number to predict."""
    rows = [[*COLUMNS, *TARGETS]]
    for _ in range(n):
        age, income = draw.integers(18, 90), draw.normal(3000, 800)
        sex, member = pick(draw, ("f", "m", "x")), pick(draw, ("yes", "no"))
        when = (np.datetime64("2020-01-01") + draw.integers(0, 900)).item().strftime("%d.%m.%Y")
        kind = "good" if age * 50 + income > 6000 else "bad"
        cells = [str(age), sex, when, member, "" if draw.random() < 0.1 else f"{income:.2f}"]
        rows.append([*cells, kind, f"{income / 10 + age:.2f}"])
    return rows


def known_configuration(target: str, other: str) -> str:
    """Return the configuration of a run on that table."""
    return f"""\
task:
  {{kind: csv, path: table.csv, target: {target}, exclude: [{other}], missing: impute,
  dates: {{when: "%d.%m.%Y"}}, validation_fraction: 0.2}}
network: {{hidden: [5, 4]}}
training: {{method: implicit, steps: 8}}
"""


def spoil(draw: Draw, rows: list[list[str]]) -> list[list[str]]:
    """Return rows to predict or to fill in: columns gone, doubled, reordered or renamed, cells spoilt."""
    rows = [list(row) for row in rows]
    order = [int(i) for i in draw.permutation(len(rows[0]))] if draw.random() < 0.3 else range(len(rows[0]))
    if draw.random() < 0.2:
        order = [i for i in order if draw.random() < 0.8] or [0]
    if draw.random() < 0.1:
        order = [*order, 0]
    rows = [[row[i] for i in order] for row in rows]
    if draw.random() < 0.1:
        rows[0][int(draw.integers(len(rows[0])))] = pick(draw, NAMES)
    while draw.random() < 0.6:
        row = rows[int(draw.integers(1, len(rows)))]
        row[int(draw.integers(len(row)))] = pick(draw, (*SPOILT, *MISSING, "new", "17", "0"))
    while draw.random() < 0.05:
        at = int(draw.integers(len(rows)))
        rows[at] = pick(draw, (rows[at][:-1], [*rows[at], "x"], []))
    return rows[: int(draw.integers(len(rows) + 1))] if draw.random() < 0.1 else rows


def questions(draw: Draw) -> list[str]:
    """Return options of `sheaf infer`: what is free, wanted, bounded, fixed and pinned."""
    number = ("20", "0", "-5", "1e300", "nan", "inf", "", "x", "1,5", "3000", "1e-300", "0.9")
    options: dict[str, tuple[str, ...]] = {
        "--free": (
            "age",
            "age,income",
            "sex",
            "when",
            "member",
            "all",
            "price",
            "nobody",
            "",
            ",",
            "age,age",
        ),
        "--target": (
            *(
                "kind=good",
                "kind=bad",
                "kind=nobody",
                "kind=",
                "kind",
                "=good",
                "kind>=0.8",
                "kind=good>=0.9",
            ),
            *(f"price={pick(draw, number)}", f"price={pick(draw, number)}", "age=20", _word(draw)),
        ),
        "--row": ("2", "3", "17", "0", "1", "61", "62", "99999999999999999999", "-1", "x"),
        "--bounds": (
            *(f"age={pick(draw, number)}:{pick(draw, number)}", f"income=:{pick(draw, number)}", "sex=f:m"),
            *("when=01.01.2020:01.02.2021", "when=:", "age=90:18", "age", "nobody=1:2", "income=0:1e300"),
        ),
        "--fixed": ("sex", "sex=f", "sex=nobody", "age=20", "age=1e300", "member=yes", "nobody", "age=", ""),
        "--pin": (f"z1[{pick(draw, ('0', '4', '5', '-1', 'x'))}]={pick(draw, number)}", "a1[0]=1", "z9[0]=1"),
        "--kappa": ("0", "1", "1e-9", "1e9", "-1", "nan", "1e300"),
        "--limit": ("1", "3", "0", "1000"),
        "--seed": ("0", "5", "-1", "99999999999999999999"),
        "--format": ("json", "csv", "table", "xml"),
        "--output": ("out.csv", "no/out.csv", ".", "run/manifest.json"),
    }
    found: list[str] = []
    for key in draw.choice(list(options), size=draw.integers(1, 5), replace=False):
        for _ in range(2 if draw.random() < 0.15 else 1):
            found += [key, pick(draw, options[key])]
    return found + (["--sparse"] if draw.random() < 0.2 else [])


def make_runs(folder: Path) -> None:
    """Write the known table, and train a run of classes and one of numbers on it."""
    draw = np.random.default_rng(0)
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(known_rows(draw))
    for target, other in (TARGETS, TARGETS[::-1]):
        (folder / f"{target}.yaml").write_text(known_configuration(target, other))
        sheaf(folder, "train", f"{target}.yaml", "--output", f"of_{target}", "--quiet")
