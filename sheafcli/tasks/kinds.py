"""What each column of a table holds: numbers, categories, booleans or dates, and which cells are missing.

Told kinds are taken. Of the others, with cells that say there is no value left away,

- plain numbers alone are numbers; with fewer other cells than numbers, those are slips, and refused;
- two texts that say no and yes (no, yes; false, true; ...) are booleans;
- texts most of which look like dates, money, percentages or the like are refused with what to write or set;
- texts of which more than half stand once are refused: names or identifiers, of which nothing is learnt;
- all other texts are categories.

Numbers and at least as many texts in one column are refused, too: task.categories says that they are names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.errors import Remedy
from sheafcli.tasks.cells import is_number, look_of, may_be_missing, means_nothing, shown
from sheafcli.tasks.dates import ISO, days
from sheafcli.tasks.faults import DATE, Faults
from sheafcli.tasks.gathering import Gathered
from sheafcli.tasks.names import doubts_of_names

Kind = Literal["number", "boolean", "category", "date"]

TRUTHS = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"), ("off", "on"))
"""What says no and yes, in small letters."""

FORMATS = (
    *(
        ISO,
        "%d.%m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%Y/%m/%d",
        "%Y.%m.%d",
        "%Y-%m",
        "%Y/%m",
    ),
    *(
        "%d.%m.%y",
        "%d/%m/%y",
        "%m/%d/%y",
        "%d %b %Y",
        "%d %B %Y",
        "%b %d, %Y",
        "%B %d, %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
    ),
    *("%b %Y", "%B %Y", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S"),
)
"""Formats of dates that are looked for, to say what to write."""


MANY = 10
"""In so many rows a column that counts them does not do so by chance."""


@dataclass(frozen=True, eq=False)
class Parsed:
    """A column whose kind is settled.

    `values` are numbers, days since 1970-01-01, 0 or 1, or codes of `texts`, the categories; NaN where
    `missing`.
    """

    name: str
    kind: Kind
    values: Array
    texts: tuple[str, ...] = ()
    format: str = ""

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which cells say that there is no value."""
        return np.isnan(self.values)


@dataclass(frozen=True, eq=False)
class Settled:
    """A column with its kind, and what could be read otherwise, a sentence each."""

    column: Parsed
    notes: tuple[str, ...] = ()


def settle(
    column: Gathered, lines: NDArray[np.intp], faults: Faults, *, category: bool = False, date: str = ""
) -> Settled | None:
    """Return a column with its kind; None where it is noted among the faults.

    `category` says that it holds categories, `date` the format of its dates.
    """
    reader = _Reader(column, lines, faults)
    if date:
        return reader.dates(date)
    if category:
        return reader.categories(told=True)
    return reader.settle()


class _Reader:
    """Settles the kind of one column."""

    def __init__(self, column: Gathered, lines: NDArray[np.intp], faults: Faults):
        self._name, self._lines, self._faults = column.name, lines, faults
        self._values, self._codes, self._texts = column.values, column.codes, column.texts
        self._zero = column.zero
        self._count = np.bincount(self._codes[self._codes >= 0], minlength=len(self._texts))

    def settle(self) -> Settled | None:
        """Settle a kind that nobody told."""
        # Numbers beyond the range were kept as texts.
        plain = [
            code for code, text in enumerate(self._texts) if is_number(text) and not may_be_missing(text)
        ]
        words = [c for c, text in enumerate(self._texts) if not is_number(text) and not may_be_missing(text)]
        numbers = int(np.isfinite(self._values).sum()) + self._cells_of(plain)
        texts = self._cells_of(words)
        named = [c for c, text in enumerate(self._texts) if not means_nothing(text) and c not in set(plain)]
        if numbers + self._cells_of(named) == 0:
            self._refuse_nothing()
            return None
        if numbers > texts:
            return self._numbers([*plain, *words])
        if numbers == 0 and (settled := self._booleans(words)):
            return settled
        looking = [code for code in words if (look := look_of(self._texts[code])) and look.certain]
        if looking and 2 * self._cells_of(looking) >= texts:
            self._refuse_quantities(looking)
            return None
        if numbers and not self._mostly_alone(words):
            at = next(i for i in range(len(self._lines)) if self._codes[i] in set(words))
            self._problem(
                f"column {self._name!r} holds {numbers:,} numbers and {texts:,} texts such as "
                f"{shown(self._texts[self._codes[at]])}; correct it, leave it out with task.exclude, or "
                "list it in task.categories if the numbers are names as well",
                int(self._lines[at]),
                Remedy("categories", self._name),
            )
            return None
        return self.categories(told=False)

    def _cells_of(self, codes: Sequence[int]) -> int:
        return int(self._count[list(codes)].sum())

    def _problem(self, message: str, line: int | None, remedy: Remedy | None) -> None:
        self._faults.column(message, line, remedy)

    def _refuse_nothing(self) -> None:
        message = f"column {self._name!r} holds no value at all: leave it out with task.exclude"
        self._problem(message, None, Remedy("exclude", self._name, why="no value in them"))

    def _numbers(self, odd: Sequence[int]) -> Settled:
        slips = np.isin(self._codes, list(odd))
        for at in np.flatnonzero(slips).tolist():
            self._faults.number(self._texts[self._codes[at]], self._name, int(self._lines[at]))
        # A slip is not missing: what is has another fault.
        values, notes = np.where(slips, 0.0, self._values), []
        if self._zero is not None:
            cell, line = self._zero
            notes.append(
                f"column {self._name!r} holds numbers with leading zeros, such as {shown(cell)} on line "
                f"{line}: read as numbers; if they are codes, set task.categories: [{self._name}]"
            )
        if len(values) >= MANY and values[0] in (0.0, 1.0) and (np.diff(values) == 1.0).all():
            notes.append(
                f"column {self._name!r} counts the rows, from {values[0]:g} to {values[-1]:g}: if that says "
                "nothing, leave it out with task.exclude"
            )
        return Settled(Parsed(self._name, "number", values), tuple(notes))

    def _booleans(self, words: Sequence[int]) -> Settled | None:
        spelt: dict[str, str] = {}
        for code in words:
            spelt.setdefault(self._texts[code].casefold(), self._texts[code])
        pair = next((pair for pair in TRUTHS if set(spelt) == set(pair)), None)
        others = [text for text in self._texts if text.casefold() not in spelt and not may_be_missing(text)]
        if pair is None or others:
            return None
        truth = {text: float(pair.index(text.casefold())) for text in map(self._texts.__getitem__, words)}
        values = self._by_text([truth.get(text, np.nan) for text in self._texts])
        return Settled(Parsed(self._name, "boolean", values, (spelt[pair[0]], spelt[pair[1]])))

    def _by_text(self, values: Sequence[float]) -> Array:
        """Return the value of each cell, of those of the distinct texts."""
        return np.array([*values, np.nan])[self._codes]

    def dates(self, format_: str) -> Settled | None:
        """Read dates of a format."""
        missing = [may_be_missing(text) for text in self._texts]
        read = [
            np.nan if gone else days(text, format_) for text, gone in zip(self._texts, missing, strict=True)
        ]
        wrong = [
            c for c, (day, gone) in enumerate(zip(read, missing, strict=True)) if np.isnan(day) and not gone
        ]
        if len(wrong) + sum(missing) == len(self._texts) and wrong:
            self._refuse_dates(wrong, f"is no date of the format {format_!r} of task.dates")
            return None
        for at in np.flatnonzero(np.isin(self._codes, wrong)).tolist():
            self._faults.add(DATE, self._texts[self._codes[at]], self._name, int(self._lines[at]))
        return None if wrong else Settled(Parsed(self._name, "date", self._by_text(read), format=format_))

    def categories(self, *, told: bool) -> Settled | None:
        """Read categories; of texts that nobody told to be some, not more than half may stand alone."""
        texts = self._texts
        names = [code for code, text in enumerate(texts) if not means_nothing(text)]
        if not names:
            self._refuse_nothing()
            return None
        if not told and self._mostly_alone(names):
            alone = int((self._count[names] == 1).sum())
            at = int(np.flatnonzero(np.isin(self._codes, names))[0])
            self._problem(
                f"{alone:,} of {self._cells_of(names):,} texts in {self._name!r} stand there once, such as "
                f"{shown(texts[self._codes[at]])}: of names or free text nothing is learnt; leave the "
                "column out with task.exclude, or list it in task.categories if they are categories",
                int(self._lines[at]),
                Remedy("exclude", self._name, why="most texts stand there once"),
            )
            return None
        order = sorted(names, key=lambda code: texts[code])
        place = {code: float(number) for number, code in enumerate(order)}
        values = self._by_text([place.get(code, np.nan) for code in range(len(texts))])
        sorted_texts = tuple(texts[code] for code in order)
        parsed = Parsed(self._name, "category", values, sorted_texts)
        return Settled(parsed, tuple(self._doubts(sorted_texts, told=told)))

    def _mostly_alone(self, codes: Sequence[int]) -> bool:
        """Say whether more than half of the cells of some texts have a text of their own."""
        return 2 * int((self._count[list(codes)] == 1).sum()) > self._cells_of(codes)

    def _doubts(self, texts: Sequence[str], *, told: bool) -> list[str]:
        """Say what of the names of categories may be none."""
        count = dict(zip(self._texts, self._count.tolist(), strict=True))
        rows = {text: count[text] for text in texts}
        looking = [text for text in texts if not told and look_of(text)]
        most = 2 * sum(rows[text] for text in looking) >= sum(rows.values())
        named = f"column {self._name!r}", "category", "categories"
        first = looking[0] if looking and most else None
        return list(doubts_of_names(*named, rows, first, "leave those cells empty"))

    def _refuse_quantities(self, looking: Sequence[int]) -> None:
        """Note texts that look like quantities; of dates, with the format that reads them."""
        look = look_of(self._texts[looking[0]])
        assert look is not None
        if look.what == "a date":
            self._refuse_dates(looking, "looks like a date")
            return
        for at in np.flatnonzero(np.isin(self._codes, list(looking))).tolist():
            self._faults.number(self._texts[self._codes[at]], self._name, int(self._lines[at]))

    def _refuse_dates(self, looking: Sequence[int], what: str) -> None:
        """Say which formats read the dates of a column."""
        texts = [self._texts[code] for code in looking]
        fitting = [f for f in FORMATS if not any(np.isnan(days(text, f)) for text in texts)]
        ways = " or ".join(f"task.dates: {{{self._name}: {_yaml(f)}}}" for f in fitting)
        how = (
            f"set {ways}"
            if fitting
            else (
                f"give its format, as in task.dates: {{{self._name}: '%d.%m.%Y'}}, or write dates as "
                "2024-01-31"
            )
        )
        at = int(np.flatnonzero(np.isin(self._codes, list(looking)))[0])
        self._problem(
            f"{shown(self._texts[self._codes[at]])} in {self._name!r} {what}; {how}, or leave the column "
            "out with task.exclude",
            int(self._lines[at]),
            Remedy("dates", self._name, fitting[0]) if fitting else None,
        )


def _yaml(format_: str) -> str:
    return format_ if format_ == ISO else f"'{format_}'"
