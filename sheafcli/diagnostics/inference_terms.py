"""What a user asks of a free input, in the terms of a table, as what core is asked: masks, bounds, aims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.inference.aim import Aim
from sheafcli.core.inference.choices import Choice, Levels, Whole
from sheafcli.core.magnitude import LARGEST
from sheafcli.core.network import AnyNetwork
from sheafcli.core.pins import Pin
from sheafcli.core.types import Array
from sheafcli.diagnostics.inference import MARGIN, margin_of
from sheafcli.errors import InputError
from sheafcli.tasks import TaskData
from sheafcli.tasks.cells import is_number
from sheafcli.tasks.columns import (
    BooleanColumn,
    CategoryColumn,
    Cell,
    DateColumn,
    NumberColumn,
    QuantityColumn,
)
from sheafcli.tasks.preprocessing import Preprocessing
from sheafcli.tasks.target_column import TargetColumn

ROUNDING = 1e-9
"""A whole number that was scaled and scaled back is as near to one."""


_HOW_PROBABLE = (
    "write the class, NAME=CLASS, and how probable it is to be by --probability, such as --probability 0.8"
)


@dataclass(frozen=True)
class Wish:
    """What is asked, as a user writes it: names of columns, and values as the cells of the table have them.

    `free` are columns that may move, all others if it is empty; `fixed` columns stay, at the row's own value
    or at the one given. `bounds` has two cells a column, either of them "" for none. `target` has a cell a
    target that is wanted, None where the outputs are those of the rows; `probability` is how probable its
    class is to be, at least, None if it is only to come first. `kappa` None is 0 for a target, which
    the network itself has to give, else 1: what the network says is then believed less where it magnifies.
    """

    free: tuple[str, ...] = ()
    fixed: Mapping[str, str | None] = field(default_factory=dict)
    bounds: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    target: Mapping[str, str] | None = None
    probability: float | None = None
    sparse: bool = False
    kappa: float | None = None
    pins: tuple[Pin, ...] = ()
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table as network inputs, with NaN where a value is missing.

    `labels` are what rows are called. `missing` says which columns of them are, rows x columns; `y` are
    their targets, NaN in rows where they are not known. `is_design` says that there are no rows: one is to
    be made from nothing.
    """

    X: Array
    y: Array
    labels: tuple[int, ...]
    missing: NDArray[np.bool_]
    is_design: bool = False
    word: str = "row"

    @classmethod
    def nothing(cls, preprocessing: Preprocessing, n_outputs: int) -> Rows:
        """Return the row of a design: nothing of it is known."""
        shape = (1, len(preprocessing.inputs))
        missing = np.ones((1, len(preprocessing.columns)), dtype=bool)
        return cls(np.full(shape, np.nan), np.full((1, n_outputs), np.nan), (0,), missing, True)


def check_names(preprocessing: Preprocessing, wish: Wish) -> None:
    """Raise InputError, with the nearest name, where something that is named is no input."""
    names = preprocessing.names
    for option, given in (("--free", wish.free), ("--fixed", wish.fixed), ("--bounds", wish.bounds)):
        for name in given:
            if name not in names:
                raise InputError(f"{option}: no input is called {name!r}{_nearest(name, names)}")
    both = [name for name in wish.free if name in wish.fixed]
    if both:
        raise InputError(f"{both[0]} is in --free and in --fixed; leave it out of one of them")


def _nearest(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"


def free_inputs(
    preprocessing: Preprocessing, rows: Rows, wish: Wish
) -> tuple[Array, NDArray[np.bool_], list[str]]:
    """Return rows with fixed values put in, the inputs that are free, and what there is to say."""
    X, free = rows.X.copy(), np.zeros(rows.X.shape, dtype=bool)
    for at, column in enumerate(preprocessing.columns):
        place = preprocessing.places[column.name]
        value = wish.fixed.get(column.name)
        if value is not None:
            X[:, place] = _encoded_cell(preprocessing, column.name, value, "--fixed")
            continue
        if column.name in wish.free:
            moves = np.ones(len(X), dtype=bool)
        elif wish.target is None and not rows.is_design:
            moves = rows.missing[:, at] & (not wish.free or np.isnan(X[:, place]).any(axis=1))
        else:
            moves = np.full(len(X), not wish.free)
        if column.name in wish.fixed:
            if rows.is_design:
                raise InputError(
                    f"--fixed {column.name}: a design from nothing has no row to take it from; write "
                    f"--fixed {column.name}=VALUE, or choose a row by --row"
                )
            moves[:] = False
        free[moves, place] = True
        if column.marks_missing:
            # What is found is not missing.
            X[moves, place.stop - 1] = 0.0
            free[:, place.stop - 1] = False
    if not free.any():
        raise InputError(
            "nothing is free: name inputs by --free, or give rows with missing values by --data"
            if wish.target is None
            else "nothing is free: all inputs are fixed"
        )
    return X, free, []


def _encoded_cell(preprocessing: Preprocessing, name: str, cell: str, option: str) -> Array:
    """Return the inputs of a column for a cell that the user gives."""
    column = next(column for column in preprocessing.columns if column.name == name)
    encoding = column.encode([cell])
    if encoding.unseen[0] and isinstance(column, CategoryColumn):
        names = (*column.categories, *column.rare)
        raise InputError(
            f"{option} {name}={cell}: the training part has no such category{_nearest(cell, names)}"
        )
    if encoding.unusable[0] or encoding.missing[0]:
        raise InputError(f"{option} {name}={cell}: {cell!r} is no {column.kind} as the column {name} holds")
    return np.asarray(encoding.X[0])


def bounds_of(
    preprocessing: Preprocessing, task: TaskData, X: Array, free: NDArray[np.bool_], wish: Wish
) -> tuple[Array, Array]:
    """Return the bounds of all inputs: the range of the training part, or what the user says."""
    low, high = task.X_train.min(axis=0), task.X_train.max(axis=0)
    for column in preprocessing.columns:
        place = preprocessing.places[column.name]
        if not isinstance(column, QuantityColumn):
            low[place], high[place] = -np.inf, np.inf
    for name, ends in wish.bounds.items():
        column = next(column for column in preprocessing.columns if column.name == name)
        at = preprocessing.places[name].start
        if not isinstance(column, QuantityColumn):
            raise InputError(f"--bounds {name}: a {column.kind} has no bounds; hold it by --fixed {name}")
        if not free[:, at].any():
            raise InputError(f"--bounds {name}: it is not free, so nothing bounds it")
        for array, cell, none in ((low, ends[0], -np.inf), (high, ends[1], np.inf)):
            array[at] = _encoded_cell(preprocessing, name, cell, "--bounds")[0] if cell else none
        if low[at] > high[at]:
            raise InputError(f"--bounds {name}={ends[0]}:{ends[1]}: the first is above the second")
        whole = getattr(column, "whole", False) and np.isfinite([low[at], high[at]]).all()
        if whole and np.floor(column.unscaled(high[at : at + 1]) + 1e-9) < np.ceil(
            column.unscaled(low[at : at + 1]) - 1e-9
        ):
            raise InputError(f"--bounds {name}={ends[0]}:{ends[1]}: no whole number lies between")
    return low, high


def choices_of(
    preprocessing: Preprocessing, task: TaskData, X: Array
) -> tuple[tuple[Choice, ...], list[str]]:
    """Return which inputs take some values only, and the columns of whole numbers among them."""
    choices, whole = list[Choice](), list[str]()
    for column in preprocessing.columns:
        at = preprocessing.places[column.name].start
        if isinstance(column, CategoryColumn):
            width = len(column.categories) + bool(column.rare)
            levels = np.eye(width)
            used = X[:, at : at + width][:, -1] == 1.0
            # What rare categories have in common is no answer, unless a row has one of them.
            levels = levels if not column.rare or used.any() else levels[:-1]
            choices.append(Levels(tuple(range(at, at + width)), levels))
        elif isinstance(column, BooleanColumn):
            choices.append(Levels((at,), np.array([[0.0], [1.0]])))
        elif column.scale > 0.0 and _is_whole(column, task.X_train[:, at]):
            choices.append(Whole((at,), -column.mean / column.scale, 1.0 / column.scale))
            whole.append(column.name)
    return tuple(choices), whole


def _is_whole(column: QuantityColumn, inputs: Array) -> bool:
    if isinstance(column, DateColumn):
        days = column.unscaled(inputs)
        return bool((np.abs(days - np.round(days)) < 1e-6).all())
    return bool(getattr(column, "whole", False))


def aim_of(network: AnyNetwork, task: TaskData, rows: Rows, wish: Wish) -> tuple[Aim, list[str], list[str]]:
    """Return what is wanted of the outputs, as text a row too, and what there is to say of it."""
    target, m, n = task.preprocessing.target, network.n_outputs, len(rows.X)
    asked, y = np.ones(m, dtype=bool), rows.y.copy()
    if wish.target is not None:
        asked, y[:] = _target(task, wish.target)
        spread = task.y_train.std(axis=0) if target.output == "identity" else np.ones(m)
        scale = np.where(spread > 0.0, spread, 1.0)
        by_odds = wish.probability is not None
        if by_odds and target.output == "identity":
            raise InputError(
                f"--probability is of a class, and {' and '.join(wish.target)} is a quantity; leave it out"
            )
        aim = Aim(network, y, asked, None, scale, margin_of(wish.probability), wish.pins, by_odds)
        text = ", ".join(f"{name}={value}" for name, value in wish.target.items())
        return (
            aim,
            [text if wish.probability is None else f"{text} (at least {100.0 * wish.probability:.10g}%)"] * n,
            [],
        )
    known = ~np.isnan(y).any(axis=1)
    if known.any() and not known.all():
        raise InputError(
            f"row {rows.labels[int(np.argmin(known))]} has no {' and '.join(target.names)}, others have: "
            "give it to all rows or to none"
        )
    if not known.any():
        none = Aim(network, np.zeros_like(y), np.zeros(m, dtype=bool), None, np.ones(m), MARGIN, wish.pins)
        return none, [""] * n, ["outputs are not known: missing inputs come from the known ones alone"]
    if target.output != "identity":
        aim = Aim(network, y, asked, 1.0, np.ones(m), MARGIN, wish.pins)
        return aim, [text_of(target, row).partition(" (")[0] for row in y], []
    error = np.sqrt(np.mean((network.predict(task.X_test) - task.y_test) ** 2, axis=0))
    error = np.maximum(error, 1e-6 * np.maximum(task.y_train.std(axis=0), 1e-300))
    units = error * np.array(target.scales)
    within = ", ".join(f"{name} to {unit:.4g}" for name, unit in zip(target.names, units, strict=True))
    said = [f"outputs count as known to what the network misses on the test part: {within}"]
    return (
        Aim(network, y, asked, 1.0, error, MARGIN, wish.pins),
        [text_of(target, row).partition(" (")[0] for row in y],
        said,
    )


def _target(task: TaskData, wanted: Mapping[str, str]) -> tuple[NDArray[np.bool_], Array]:
    """Return which outputs are asked for, and their values, of a target as the user writes it."""
    target = task.preprocessing.target
    for name in wanted:
        if name.endswith((">", "<")) and target.classes:
            raise InputError(f"--target {name}={wanted[name]}: {_HOW_PROBABLE}")
        if name not in target.names:
            raise InputError(
                f"--target: nothing that is predicted is called {name!r}{_nearest(name, target.names)}"
            )
    if target.output == "identity":
        cells = [[wanted.get(name, "0")] for name in target.names]
        y, known = target.encode(cells)
        if not (known[0] and np.abs(y[0]).max() <= LARGEST):
            told = ", ".join(f"{name}={value}" for name, value in wanted.items())
            raise InputError(f"--target {told}: write a number, such as {name}=1.5, of at most {LARGEST:g}")
        return np.array([name in wanted for name in target.names]), y[0]
    if len(target.names) > 1:
        codes = {name: code for code, name in enumerate(target.classes)}
        for name, cell in wanted.items():
            _check_class(name, cell, target.classes)
        y = np.array([float(codes[wanted[name]]) if name in wanted else 0.0 for name in target.names])
        return np.array([name in wanted for name in target.names]), y
    (name, cell), *_ = wanted.items()
    y, known = target.encode([[cell]])
    if not known[0]:
        _check_class(name, cell, target.classes)
    return np.ones(y.shape[1], dtype=bool), y[0]


def _check_class(name: str, cell: str, classes: Sequence[str]) -> None:
    if cell not in classes and is_number(cell) and 0.0 < float(cell) < 1.0:
        raise InputError(f"--target {name}={cell}: {_HOW_PROBABLE}")
    if cell not in classes:
        raise InputError(f"--target {name}={cell}: no class of {name}{_nearest(cell, classes)}")


def missed_by(network: AnyNetwork, task: TaskData, aim: Aim, logits: Array) -> Array:
    """Return by how much logits, rows x outputs, miss what is wanted, NaN where nothing is.

    Of quantities it is in units of the spread in the training part, the largest over the targets; of classes
    by how much of a logit they are short of coming first, or of their odds, by the margin.
    """
    if not aim.asked.any():
        return np.full(len(logits), np.nan)
    if task.preprocessing.target.output == "identity":
        spread = task.y_train.std(axis=0)
        off = np.abs(logits - aim.y) / np.where(spread > 0.0, spread, 1.0)
        return np.asarray(off[:, aim.asked].max(axis=1))
    hard = replace(aim, stiffness=None, scale=np.ones(logits.shape[1]), pins=())
    return hard.missed(logits)


def decoded(preprocessing: Preprocessing, X: Array) -> dict[str, list[Cell]]:
    """Return the cells that inputs stand for, by column, whole numbers without what rounding left of them."""
    cells = preprocessing.decode(X)
    for column in preprocessing.columns:
        if isinstance(column, NumberColumn) and column.whole:
            cells[column.name] = [_without_rounding(cell) for cell in cells[column.name]]
    return cells


def _without_rounding(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return cell
    return round(cell) if abs(cell - round(cell)) <= ROUNDING * max(1.0, abs(cell)) else cell


def outputs_of(target: TargetColumn, output: Array) -> dict[str, list[float] | list[str]]:
    """Return what a network gives, rows x outputs, in the target's terms: a quantity or a class a target."""
    if target.output == "identity":
        return {
            name: values.tolist() for name, values in zip(target.names, target.values(output).T, strict=True)
        }
    if len(target.names) > 1:
        labels = np.array(target.classes)[(output >= 0.5).astype(np.intp)]
        return {name: column.tolist() for name, column in zip(target.names, labels.T, strict=True)}
    return {target.names[0]: target.labels(output)}


def text_of(target: TargetColumn, output: Array) -> str:
    """Return what a network gives for one row as text: name=value, with the probability of a class."""
    pairs = [(name, values[0]) for name, values in outputs_of(target, output[None]).items()]
    text = ", ".join(f"{name}={value if isinstance(value, str) else f'{value:.6g}'}" for name, value in pairs)
    if target.output != "identity" and len(target.names) == 1:
        text += f" ({target.probabilities(output[None]).max():.1%})"
    return text


def text_of_chances(target: TargetColumn, aim: Aim, wish: Wish, output: Array) -> list[str]:
    """Return the classes that are wanted with their probabilities, a text a row."""
    wanted = wish.target or {}
    chances = np.where(aim.y >= 0.5, output, 1.0 - output)
    if target.output == "softmax":
        chances = np.sum(aim.y * output, axis=1, keepdims=True)
    named = [
        [f"{name}={wanted[name]} ({chance:.1%})" for chance in column]
        for name, column in zip(target.names, chances.T, strict=True)
        if name in wanted
    ]
    return [", ".join(texts) for texts in zip(*named, strict=True)]


def check_complete(
    preprocessing: Preprocessing, X: Array, free: NDArray[np.bool_], rows: Rows, *, nearby: bool
) -> None:
    """Raise InputError where a value that has to be known is not."""
    lacking = np.isnan(X) & (True if nearby else ~free)
    if not lacking.any():
        return
    i, j = np.argwhere(lacking)[0]
    name = next(name for name, place in preprocessing.places.items() if place.start <= j < place.stop)
    hint = "a change needs a whole row" if nearby else f"add {name} to --free"
    raise InputError(f"row {rows.labels[i]}: {name} is missing or unusable; {hint}")
