"""What the target of a table is: a quantity or classes, and what to say aloud where it could be either."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.tasks.cells import is_number, look_of, may_be_missing, shown
from sheafcli.tasks.csv_file import Table
from sheafcli.tasks.encoding import OutputName, class_outputs, encode_classes
from sheafcli.tasks.faults import MISSING, Faults
from sheafcli.tasks.names import doubts_of_names
from sheafcli.tasks.specification import WARNING, choose_output

MAX_INTEGER_CLASSES = 20
"""Integers with more distinct values than this are a quantity unless the output says otherwise."""

YEARS = (1800, 2100)
FEW = 4
"""So many integers may have any values, and be classes."""

MAX_CLASSES = 1000
"""More classes than this are taken for a mistake: a column of identifiers, say."""

INTEGER = re.compile(r"[+-]?[0-9]{1,15}")  # as many digits as float64 holds exactly
WHOLE = re.compile(r"[+-]?[0-9]{1,15}(?:\.0*)?")  # as pandas writes integers once one was missing
CODE = re.compile(r"[+-]?0[0-9]+")  # 007 is no quantity


@dataclass(frozen=True, eq=False)
class Target:
    """Targets encoded for a network output, samples x outputs; the names of classes, if it says any."""

    y: Array
    output: OutputName
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def codes(self) -> NDArray[np.intp]:
        """The class of each sample, by its number."""
        return self.y.argmax(axis=1) if self.y.shape[1] > 1 else self.y[:, 0].astype(np.intp)


def read_target(table: Table, path: Path, output: str | None) -> Target:
    """Settle what the targets of a table are; `output` is the network output asked for, if any is.

    Several targets are quantities. One is a quantity if all its cells are numbers, but for three kinds of
    them, of which the output decides:

    - integers with at most 20 distinct values, most of which stand there more than once: classes, unless
      the output is identity;
    - other whole numbers, also those written 1.0: a quantity, unless the output is sigmoid or softmax;
    - integers with leading zeros, 007: codes, hence classes, unless the output is identity.

    One of texts alone is classes; but where texts look like quantities, 12% or 2024-01-01, or most samples
    have a text of their own, only if the output says so. Numbers beside texts are refused.
    """
    return _Reader(table, path, output).target()


class _Reader:
    """Reads the targets of one table."""

    def __init__(self, table: Table, path: Path, output: str | None):
        self._table, self._path, self._asked = table, path, output
        self._cells, self._name = table.target_cells[0], table.targets[0]
        self._notes: list[str] = []

    def target(self) -> Target:
        """Settle what the targets are."""
        if len(self._table.targets) > 1:
            output = choose_output(self._asked, ("identity",), f"{len(self._table.targets)} targets")
            return self._quantity(output)
        numeric = sum(map(is_number, self._cells))
        if 2 * numeric > len(self._cells) or (2 * numeric == len(self._cells) and is_number(self._cells[0])):
            self._refuse_others(number=True)
            return self._of_numbers()
        self._refuse_others(number=False)
        return self._of_texts()

    def _of_numbers(self) -> Target:
        cells, name = self._cells, self._name
        if not all(map(WHOLE.fullmatch, cells)):
            return self._quantity(choose_output(self._asked, ("identity",), f"{name!r}, with decimals"))
        if any(map(CODE.fullmatch, cells)):
            return self._of_codes()
        decimals = not all(map(INTEGER.fullmatch, cells))
        labels = [str(int(float(cell))) for cell in cells]
        classes = sorted(set(labels), key=int)
        what = f"{len(classes)} distinct integers{', written with decimals' if decimals else ''}"
        task, fitting = f"the {what} in {name!r}", class_outputs(len(classes))
        by_default_classes = (
            not decimals and len(classes) <= MAX_INTEGER_CLASSES and not self._mostly_alone(labels)
        )
        order = (*fitting, "identity") if by_default_classes else ("identity", *fitting)
        output = choose_output(self._asked, order, task)
        said = (
            f"target {name!r} holds {what}, {classes[0]} {'and' if len(classes) == 2 else 'to'} {classes[-1]}"
        )
        if output == "identity":
            if self._asked is None and self._could_be_classes(labels, classes):
                self._say(f"{said}: read as a quantity; network.output: {fitting[0]} makes them classes")
            return self._quantity(output)
        if self._asked is None:
            doubt = _doubt(classes)
            self._say(
                f"{said}: read as classes{doubt}; network.output: identity makes them a quantity"
                + (", softmax says that they are classes" if doubt else ""),
                warning=bool(doubt),
            )
        return self._encode(labels, classes, output, task)

    def _could_be_classes(self, labels: Sequence[str], classes: Sequence[str]) -> bool:
        """Tell whether integers that are read as a quantity could be meant as classes.

        Few values could, and so could values from 0 or 1 on without a gap, as classes are numbered.
        """
        first, last = int(classes[0]), int(classes[-1])
        numbered = first in (0, 1) and last - first + 1 == len(classes) and not self._mostly_alone(labels)
        return len(classes) > 1 and (len(classes) <= MAX_INTEGER_CLASSES or numbered)

    def _of_codes(self) -> Target:
        """Read integers some of which have leading zeros: 01 and 1 are two codes."""
        labels = self._cells
        classes = sorted(set(labels), key=lambda cell: (int(float(cell)), cell))
        task = f"the {len(classes)} distinct codes in {self._name!r}"
        output = choose_output(self._asked, (*class_outputs(len(classes)), "identity"), task)
        if output == "identity":
            return self._quantity(output)
        if self._asked is None:
            self._refuse_mostly_alone(labels)
        example = next(cell for cell in labels if CODE.fullmatch(cell))
        self._say(
            f"target {self._name!r} holds codes with leading zeros, such as {shown(example)}: read as "
            f"{len(classes)} classes, each as it is written; network.output: identity makes them a quantity"
        )
        return self._encode(labels, classes, output, task)

    def _of_texts(self) -> Target:
        labels = self._cells
        classes = sorted(set(labels))
        task = f"the {len(classes)} distinct texts in {self._name!r}"
        looks = {text: look_of(text) for text in classes}
        if self._asked not in class_outputs(2):
            self._refuse_quantities(
                [text for text, look in looks.items() if look is not None and look.certain]
            )
        output = choose_output(self._asked, class_outputs(len(classes)), task)
        if self._asked is None:
            self._refuse_mostly_alone(labels)
        elif self._mostly_alone(labels):
            self._say(f"{self._alone(labels)}: read as classes, for network.output is {output}")
        self._say_of_texts(classes, [text for text, look in looks.items() if look is not None])
        return self._encode(labels, classes, output, task)

    def _say_of_texts(self, classes: Sequence[str], looking: Sequence[str]) -> None:
        """Say aloud what of the names of classes may be none."""
        rows = {text: self._cells.count(text) for text in classes}
        first = looking[0] if 2 * len(looking) > len(classes) else None
        named = f"target {self._name!r}", "class", "classes"
        for doubt in doubts_of_names(*named, rows, first, "take out those rows"):
            self._say(doubt)

    def _refuse_others(self, *, number: bool) -> None:
        """Refuse cells that are no numbers among numbers, or numbers among texts: none may stand there."""
        odd = [at for at, cell in enumerate(self._cells) if is_number(cell) != number]
        if not odd:
            return
        lines = self._table.lines
        faults = Faults(self._path)
        for at in odd:
            if may_be_missing(self._cells[at]):
                faults.add(MISSING, self._cells[at], self._name, lines[at])
        faults.check()
        at, other = odd[0], next(i for i, cell in enumerate(self._cells) if is_number(cell) == number)
        look = look_of(self._cells[at]) if number else None
        if look is not None:
            faults.number(self._cells[at], self._name, lines[at])
            faults.check()
        more = f" ({len(odd):,} such cells)" if len(odd) > 1 else ""
        raise InputError(
            f"{shown(self._cells[at])} in {self._name!r} is {'not ' if number else ''}a number{more}, and "
            f"{shown(self._cells[other])} on line {lines[other]} is{'' if number else ' not'}; "
            "a target is numbers or the names of classes, not both",
            path=self._path,
            line=int(lines[at]),
        )

    def _refuse_quantities(self, looking: Sequence[str]) -> None:
        """Refuse texts at least half of which look like a quantity."""
        among = frozenset(looking)
        at = [i for i, cell in enumerate(self._cells) if cell in among]
        if 2 * len(at) < len(self._cells) or not at:
            return
        cell = self._cells[at[0]]
        look = look_of(cell)
        assert look is not None
        raise InputError(
            f"{shown(cell)} in the target {self._name!r} is not a number but looks like {look.what} "
            f"({len(at):,} such cells, {len(among):,} distinct); write {look.write}; "
            "if the texts are classes, set network.output: softmax",
            path=self._path,
            line=int(self._table.lines[at[0]]),
        )

    def _refuse_mostly_alone(self, labels: Sequence[str]) -> None:
        if self._mostly_alone(labels):
            raise InputError(
                f"{self._alone(labels)}, such as {shown(labels[0])}: nothing to learn classes from (an "
                "identifier, or a quantity written as text?); choose another target, or if they are classes "
                "set network.output: softmax",
                path=self._path,
                line=int(self._table.lines[0]),
            )

    def _mostly_alone(self, labels: Sequence[str]) -> bool:
        """Tell whether more than half of the samples are the only one of their class."""
        return 2 * _alone(labels) > len(labels)

    def _alone(self, labels: Sequence[str]) -> str:
        return f"{_alone(labels):,} of {len(labels):,} samples have a value of their own in {self._name!r}"

    def _encode(self, labels: Sequence[str], classes: Sequence[str], output: OutputName, task: str) -> Target:
        """Encode class labels, one a sample, by their place among `classes`."""
        if len(classes) > MAX_CLASSES:
            raise InputError(
                f"{task} are too many for classes (at most {MAX_CLASSES}); choose another target",
                path=self._path,
            )
        code = {label: number for number, label in enumerate(classes)}
        codes = np.array([code[label] for label in labels])
        y = encode_classes(codes, len(classes), output)
        return Target(y, output, tuple(classes), tuple(self._notes))

    def _quantity(self, output: OutputName) -> Target:
        """Read all targets as finite numbers, samples x targets."""
        faults, table = Faults(self._path), self._table
        columns = [
            [faults.number(cell, name, line) for cell, line in zip(cells, table.lines, strict=True)]
            for name, cells in zip(table.targets, table.target_cells, strict=True)
        ]
        faults.check()
        return Target(np.array(columns).T, output, (), tuple(self._notes))

    def _say(self, note: str, *, warning: bool = False) -> None:
        self._notes.append(f"{WARNING if warning else ''}{self._path.name}: {note}")


def _doubt(classes: Sequence[str]) -> str:
    """Say what integers, in order, look like that are hardly classes: years, amounts; "" if nothing."""
    numbers = [int(text) for text in classes]
    if all(YEARS[0] <= number <= YEARS[1] for number in numbers):
        return ", though they look like years"
    if len(numbers) > FEW and (numbers[0] not in (0, 1) or numbers[-1] - numbers[0] + 1 > len(numbers)):
        return ", though they have gaps as amounts and prices do"
    return ""


def _alone(labels: Sequence[str]) -> int:
    """Count the samples that are the only one of their class."""
    return sum(count == 1 for count in Counter(labels).values())
