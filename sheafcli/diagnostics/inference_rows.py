"""The rows that a free input is asked about: of a run's own data, or of a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.diagnostics.inference_terms import Rows
from sheafcli.errors import InputError
from sheafcli.interop.npz import read_npz
from sheafcli.tasks import TaskData
from sheafcli.tasks.preprocessing import Preprocessing

PARTS = ("test", "train")


def rows_of_task(task: TaskData, part: str, row: int | None, limit: int | None) -> Rows:
    """Return rows of a run's own data: a part of it, or the one row of a number."""
    X, y = (task.X_test, task.y_test) if part == "test" else (task.X_train, task.y_train)
    labels = range(len(X))
    chosen = list(labels)[:limit]
    if row is not None:
        if row not in labels:
            raise InputError(f"--row {row}: the {part} part has rows 0 to {len(X) - 1}")
        chosen = [row]
    missing = np.zeros((len(chosen), len(task.preprocessing.columns)), dtype=bool)
    return Rows(X[chosen], y[chosen], tuple(chosen), missing)


def rows_of_file(path: Path, preprocessing: Preprocessing, row: int | None, limit: int | None) -> Rows:
    """Return rows of a CSV file, by the names of its columns, or of X in an .npz file; NaN is missing."""
    if path.suffix == ".npz":
        X, y, labels = _arrays(path, preprocessing)
        missing = np.column_stack(
            [np.isnan(X[:, place]).any(axis=1) for place in preprocessing.places.values()]
        )
    else:
        columns, labels = _cells(path)
        lacking = [name for name in preprocessing.names if name not in columns]
        if lacking:
            raise InputError(
                f"lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}; it has "
                f"{', '.join(columns)}",
                path=path,
            )
        encoded = preprocessing.encode(columns)
        _check_cells(path, preprocessing, encoded.unusable, encoded.unseen, columns, labels)
        X, missing = encoded.X, encoded.missing
        y = np.full((len(X), _width(preprocessing)), np.nan)
        if all(name in columns for name in preprocessing.target.names):
            y, _ = preprocessing.target.encode([columns[name] for name in preprocessing.target.names])
    chosen = list(range(len(X)))[:limit]
    if row is not None:
        if row not in labels:
            raise InputError(
                f"--row {row}: no row starts there; rows are {labels[0]} to {labels[-1]}", path=path
            )
        chosen = [labels.index(row)]
    return Rows(X[chosen], y[chosen], tuple(labels[i] for i in chosen), missing[chosen])


def _width(preprocessing: Preprocessing) -> int:
    target = preprocessing.target
    return len(target.classes) if target.output == "softmax" else len(target.names)


def _arrays(path: Path, preprocessing: Preprocessing) -> tuple[Array, Array, list[int]]:
    arrays = read_npz(path)
    if "X" not in arrays:
        raise InputError(f"needs an array X; found {', '.join(arrays) or 'nothing'}", path=path)
    X = np.asarray(arrays["X"], dtype=np.float64)
    X = X.reshape(len(X), -1)
    if X.shape[1] != len(preprocessing.inputs):
        raise InputError(f"X must be samples x {len(preprocessing.inputs)}, got shape {X.shape}", path=path)
    width = _width(preprocessing)
    y = np.asarray(arrays["y"], dtype=np.float64).reshape(len(X), -1) if "y" in arrays else None
    if y is not None and y.shape[1] != width:
        raise InputError(f"y must be samples x {width}, got shape {y.shape}", path=path)
    return X, np.full((len(X), width), np.nan) if y is None else y, list(range(len(X)))


def _cells(path: Path) -> tuple[dict[str, list[str]], list[int]]:
    """Return the cells of a CSV file by column, and the lines that its rows start on."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        names = next(reader)
        lines, rows = list[int](), list[list[str]]()
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                lines.append(line)
                rows.append([cell.strip() for cell in cells])
            line = reader.line_num + 1
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}, lines


def _check_cells(
    path: Path,
    preprocessing: Preprocessing,
    unusable: NDArray[np.bool_],
    unseen: NDArray[np.bool_],
    columns: Mapping[str, Sequence[str]],
    lines: Sequence[int],
) -> None:
    """Raise InputError where a cell is not of its column's kind, or of a category nobody saw."""
    for flags, what in ((unusable, "is no {kind}"), (unseen, "is a category that the training part has not")):
        for i, at in np.argwhere(flags)[:1]:
            column = preprocessing.columns[at]
            cell = columns[column.name][i]
            raise InputError(
                f"{column.name} {what.format(kind=column.kind)}: {cell!r}; correct it, or empty "
                "the cell for a value that is not known",
                path=path,
                line=lines[i],
            )
