"""The rows that a free input is asked about: of a run's own data, or of a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array
from sheafcli.diagnostics.inference_terms import Rows
from sheafcli.errors import InputError
from sheafcli.interop.npz import open_bounded, read_npz
from sheafcli.tasks import TaskData
from sheafcli.tasks.csv_file import MAX_BYTES
from sheafcli.tasks.csv_rows import PARQUET, Written
from sheafcli.tasks.frames import frame_rows, read_parquet
from sheafcli.tasks.new_rows import NewRows, check_usable, read_new_rows
from sheafcli.tasks.preprocessing import Encoded, Preprocessing

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


def rows_of_file(
    path: Path,
    preprocessing: Preprocessing,
    written: Written,
    notes: list[str],
    row: int | None,
    limit: int | None,
) -> Rows:
    """Return rows of a CSV or .parquet file, by the names of its columns, or of X in an .npz file.

    NaN is missing.

    What is to be said of the file joins `notes`.
    """
    if path.suffix.lower() == ".npz":
        X, y, labels = _arrays(path, preprocessing)
        missing = np.column_stack(
            [np.isnan(X[:, place]).any(axis=1) for place in preprocessing.places.values()]
        )
    else:
        X, y, labels, missing = _encoded(path, preprocessing, written, notes)
    chosen = list(range(len(X)))[:limit]
    if row is not None:
        if row not in labels:
            raise InputError(
                f"--row {row}: no row starts there; they are {labels[0]} to {labels[-1]}", path=path
            )
        chosen = [labels.index(row)]
    word = "row" if path.suffix.lower() in (".npz", PARQUET) else "line"
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


def _encoded(
    path: Path, preprocessing: Preprocessing, written: Written, notes: list[str]
) -> tuple[Array, Array, list[int], NDArray[np.bool_]]:
    """Return inputs, targets (NaN where there are none), places and missing cells of a table."""
    X, y, missing, lines = [], [], [], list[int]()
    with open_bounded(path, MAX_BYTES) as file:
        if path.suffix.lower() == PARQUET:
            blocks = frame_rows(read_parquet(path), path, preprocessing, notes)
        else:
            blocks = read_new_rows(file, path, preprocessing, written, notes)
        for rows in blocks:
            encoded = preprocessing.encode(rows.cells)
            # What is missing is what is asked for.
            check_usable(rows, replace(encoded, missing=np.zeros_like(encoded.missing)), preprocessing, path)
            _check_categories(rows, encoded, preprocessing, path)
            X.append(encoded.X)
            missing.append(encoded.missing)
            nothing = np.full((len(rows.places), _width(preprocessing)), np.nan)
            y.append(nothing if rows.targets is None else preprocessing.target.encode(rows.targets)[0])
            lines += rows.places
    if not X:
        raise InputError("the table holds no row: there is nothing to infer", path=path)
    return np.concatenate(X), np.concatenate(y), lines, np.concatenate(missing)


def _check_categories(rows: NewRows, encoded: Encoded, preprocessing: Preprocessing, path: Path) -> None:
    """Raise InputError where a category is one that nobody saw."""
    for row, at in np.argwhere(encoded.unseen)[:1].tolist():
        name = preprocessing.names[at]
        raise InputError(
            f"no row of the training part has this category of {name}: {rows.cells[name][row]!r}; correct "
            "it, or empty the cell if the value is unknown",
            path=path,
            line=rows.places[row],
        )
