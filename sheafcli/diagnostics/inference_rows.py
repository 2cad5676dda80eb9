"""The rows that a free input is asked about: of a run's own data, or of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.diagnostics.inference_terms import Rows
from sheafcli.errors import InputError
from sheafcli.interop.npz import open_bounded, read_npz
from sheafcli.tasks import TaskData
from sheafcli.tasks.cells import with_point
from sheafcli.tasks.csv_file import MAX_BYTES
from sheafcli.tasks.csv_rows import Written, csv_rows
from sheafcli.tasks.preprocessing import Preprocessing

PARTS = ("test", "train")


def rows_of_task(task: TaskData, part: str | None, row: int | None, limit: int | None) -> Rows:
    """Return rows of a run's own data: a part of it, the test part by default, or the one row of a number.

    Numbers are those of the user's own data: see `sheafcli.tasks.data.Rows`.
    """
    parts = {
        "test": (task.rows.test, task.X_test, task.y_test),
        "train": (task.rows.train, task.X_train, task.y_train),
    }
    if task.X_validation is not None and task.y_validation is not None:
        parts["validation"] = (task.rows.validation, task.X_validation, task.y_validation)
    if row is None:
        labels, X, y = parts[part or "test"]
        labels, X, y = labels[:limit], X[:limit], y[:limit]
    else:
        # Where each part is counted from 0, several may have a number: that of the test part is meant.
        holding = [held for name, held in parts.items() if part in (None, name) and (held[0] == row).any()]
        if not holding:
            numbers = np.concatenate([held[0] for held in parts.values()])
            raise InputError(
                f"--row {row}: no {task.rows.word} in {f'the {part} part' if part else 'the data'} has that "
                f"number; the data has {numbers.min()} to {numbers.max()}"
            )
        labels, X, y = (array[holding[0][0] == row] for array in holding[0])
    missing = np.zeros((len(X), len(task.preprocessing.columns)), dtype=bool)
    return Rows(X, y, tuple(labels.tolist()), missing, word=task.rows.word)


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
                f"--row {row}: no row starts there; they are {labels[0]} to {labels[-1]}", path=path
            )
        chosen = [labels.index(row)]
    word = "row" if path.suffix == ".npz" else "line"
    return Rows(X[chosen], y[chosen], tuple(labels[i] for i in chosen), missing[chosen], word=word)


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
    with open_bounded(path, MAX_BYTES) as file:
        table = csv_rows(file, path, Written(), by_name=True, at_least=2)
        lines, rows = list[int](), list[list[str]]()
        for line, cells in table.rows:
            if len(cells) != len(table.names):
                raise InputError(
                    f"this row has {len(cells)} cells and the header has {len(table.names)}",
                    path=path,
                    line=line,
                )
            lines.append(line)
            rows.append([with_point(cell) for cell in cells] if table.separators.decimal_comma else cells)
    return {name: [row[at] for row in rows] for at, name in enumerate(table.names)}, lines


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
