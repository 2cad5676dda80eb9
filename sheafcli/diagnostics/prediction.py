"""Predictions in the table's own terms, a block of rows at a time, and where a row's uncertainty sits."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from sheafcli.config.load import read_document
from sheafcli.core.network import AnyNetwork, as_inputs
from sheafcli.core.resistance import FEW, resistance_traces
from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.npz import read_npz
from sheafcli.runs import RunDirectory
from sheafcli.runs.data_files import changed_data, check_data_is_there
from sheafcli.runs.experiment import load_data
from sheafcli.runs.subject import check_run_parts
from sheafcli.tasks.cells import shown
from sheafcli.tasks.csv_file import BLOCK
from sheafcli.tasks.csv_rows import PARQUET, Written
from sheafcli.tasks.frames import frame_rows, read_parquet
from sheafcli.tasks.new_rows import NewRows, check_usable, read_new_rows
from sheafcli.tasks.preprocessing import Encoded, Preprocessing
from sheafcli.tasks.table import CsvTable, written_of
from sheafcli.tasks.targets import inputs_of

PARTS = ("test", "train", "validation")
STANDARD_INPUT = "-"
MOST_LINES, MOST_TEXTS = 5, 1000


@dataclass
class Tally:
    """What was met on the way through all rows: how many, unseen categories, missing values, and the loss.

    `loss` is the mean over the rows whose target is known, NaN if there are none.
    """

    rows: int = 0
    known: int = 0
    left_out: list[int] = field(default_factory=list)
    n_left_out: int = 0
    unseen: dict[str, Counter[str]] = field(default_factory=dict)
    unseen_lines: dict[str, list[int]] = field(default_factory=dict)
    filled: Counter[str] = field(default_factory=Counter)
    _loss: float = 0.0

    def add_loss(self, loss: float, rows: int) -> None:
        """Count the mean loss of some rows."""
        self._loss += loss * rows
        self.known += rows

    @property
    def loss(self) -> float:
        """The mean loss of the rows whose target is known."""
        return self._loss / self.known if self.known else float("nan")

    def count(self, rows: NewRows, encoded: Encoded, preprocessing: Preprocessing) -> None:
        """Count the cells of some rows that need a word."""
        for at, column in enumerate(preprocessing.columns):
            name = column.name
            places = np.flatnonzero(encoded.unseen[:, at]).tolist()
            if places:
                texts = self.unseen.setdefault(name, Counter())
                lines = self.unseen_lines.setdefault(name, [])
                lines += [int(rows.places[row]) for row in places[: max(0, MOST_LINES - len(lines))]]
                for row in places:
                    cell = rows.cells[name][row]
                    texts[cell if cell in texts or len(texts) < MOST_TEXTS else "..."] += 1
            if column.is_filled and encoded.missing[:, at].any():
                self.filled[name] += int(encoded.missing[:, at].sum())

    def notes(self, word: str) -> list[str]:
        """Say what was met, a sentence a column; `word` is what a place is called."""
        told = []
        for name, texts in self.unseen.items():
            count, lines = sum(texts.values()), self.unseen_lines[name]
            named = ", ".join(shown(text) for text, _ in texts.most_common(MOST_LINES))
            more = ", ..." if len(texts) > MOST_LINES else ""
            places = ", ".join(map(str, lines)) + (", ..." if count > len(lines) else "")
            told.append(
                f"{_rows(count)} {'has a category' if count == 1 else 'have categories'} in {name!r} "
                "that no training "
                f"row has: {named}{more} ({word} {places})"
            )
        if self.filled:
            named = ", ".join(f"{name!r} in {count:,}" for name, count in self.filled.items())
            told.append(f"missing values are filled in: {named} of {_rows(self.rows)}")
        if self.n_left_out:
            places = ", ".join(map(str, self.left_out)) + (", ..." if self.n_left_out > MOST_LINES else "")
            told.append(
                f"{_rows(self.n_left_out)} with a missing value "
                f"{'has' if self.n_left_out == 1 else 'have'} no "
                f"prediction, as such rows were left out of the training ({word} {places}); "
                "task.missing: impute "
                "fills them in"
            )
        return told


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


class Prediction:
    """The predictions of a run for rows of a table, as a stream of frames; `tally` counts on the way.

    Columns: `line` of the file, or `row` of an array, where each stands; `prediction`, in the target's own
    units or the name of the most probable class; for classes `p(NAME)`, the probability of each; with
    several targets `prediction(TARGET)` or `p(TARGET)` for each; the targets themselves where the table has
    them. With `budget`, `budget` is the trace of the row's effective resistance S, and `budget(layer l)`
    each layer's part of it (see `sheafcli.core.resistance`): how far, and through which layers, a pull on
    the output moves it.
    """

    def __init__(
        self, network: AnyNetwork, preprocessing: Preprocessing, *, word: str = "line", budget: bool = False
    ):
        self.network, self.preprocessing = network, preprocessing
        self.word, self.tally = word, Tally()
        self._budget = budget
        self._layers = [edge.layer for edge in network.graph.edges]

    def of_table(self, rows: Iterator[NewRows], path: Path) -> Iterator[pd.DataFrame]:
        """Yield the predictions of blocks of rows; InputError where cells cannot be used."""
        target = self.preprocessing.target
        for block in rows:
            encoded = self.preprocessing.encode(block.cells)
            check_usable(block, encoded, self.preprocessing, path)
            self.tally.rows += len(block.places)
            self.tally.count(block, encoded, self.preprocessing)
            whole = encoded.complete
            gone = np.flatnonzero(~whole).tolist()
            self.tally.n_left_out += len(gone)
            room = max(0, MOST_LINES - len(self.tally.left_out))
            self.tally.left_out += [int(block.places[row]) for row in gone[:room]]
            frame = self._frame(encoded.X[whole], np.asarray(block.places)[whole], path)
            if block.targets is not None:
                y, known = target.encode([_chosen(cells, whole) for cells in block.targets])
                self._score(encoded.X[whole][known], y[known])
            if gone:
                frame = frame.set_index(self.word).reindex(list(block.places)).reset_index()
            for name, cells in zip(target.names, block.targets or (), strict=False):
                frame[name] = list(cells)
            yield frame

    def of_inputs(self, X: Array, places: Sequence[int], y: Array | None = None) -> Iterator[pd.DataFrame]:
        """Yield the predictions of network inputs; `y` are encoded targets, where they are known."""
        target = self.preprocessing.target
        for start in range(0, len(X), BLOCK):
            block = slice(start, start + BLOCK)
            frame = self._frame(X[block], np.asarray(places)[block], None)
            self.tally.rows += len(frame)
            if y is not None:
                self._score(X[block], y[block])
                for name, values in zip(target.names, self._told(y[block]), strict=False):
                    frame[name] = np.asarray(values)
            yield frame

    def _score(self, X: Array, y: Array) -> None:
        if len(X):
            self.tally.add_loss(self.network.output.loss(self.network.logits(X), y), len(X))

    def _told(self, y: Array) -> list[list[str]] | list[Array]:
        """Return encoded targets in the table's terms, a column a target."""
        target = self.preprocessing.target
        if target.output == "identity":
            return list(target.values(y).T)
        if len(target.names) > 1:
            return [[target.classes[int(value)] for value in column] for column in y.T]
        return [target.labels(y)]

    def _frame(self, X: Array, places: Array, path: Path | None) -> pd.DataFrame:
        """Return the predictions of whole rows."""
        target, names = self.preprocessing.target, self.preprocessing.target.names
        frame = pd.DataFrame({self.word: places})
        if len(X):
            try:
                outputs = self.network.output.value(self.network.logits(X))
            except ValueError as error:
                raise InputError(str(error), path=path) from error
        else:
            outputs = np.empty((0, self.network.n_outputs))
        if target.output == "identity":
            for name, values in zip(names, target.values(outputs).T, strict=True):
                frame["prediction" if len(names) == 1 else f"prediction({name})"] = values
        elif len(names) > 1:
            for name, values in zip(names, outputs.T, strict=True):
                frame[f"p({name})"] = values
        else:
            frame["prediction"] = target.labels(outputs)
            for name, values in zip(target.classes, target.probabilities(outputs).T, strict=True):
                frame[f"p({name})"] = values
        return self._with_budget(frame, X) if self._budget else frame

    def _with_budget(self, frame: pd.DataFrame, X: Array) -> pd.DataFrame:
        layers = sorted(set(self._layers))
        if len(X):
            traces = resistance_traces(self.network.graph, as_inputs(self.network, X))
        else:
            traces = np.empty((0, len(self._layers)))
        frame["budget"] = traces.sum(axis=1)
        for layer in layers:
            of_layer = [at for at, other in enumerate(self._layers) if other == layer]
            frame[f"budget(layer {layer})"] = traces[:, of_layer].sum(axis=1)
        return frame

    @property
    def is_estimate(self) -> bool:
        """Whether the budget is an estimate: of many outputs it is."""
        return self._budget and self.network.n_outputs > FEW


def _chosen(cells: Sequence[str], whole: NDArray[np.bool_]) -> list[str]:
    return [cell for cell, kept in zip(cells, whole.tolist(), strict=True) if kept]


@dataclass(frozen=True, eq=False)
class Source:
    """Rows to predict and how they are: a prediction that has them, and its stream of frames."""

    prediction: Prediction
    frames: Iterator[pd.DataFrame]
    notes: list[str]


def open_source(
    run: RunDirectory,
    data: str,
    stack: ExitStack,
    standard_input: BinaryIO,
    *,
    budget: bool,
    limit: int | None = None,
) -> Source:
    """Open what is to be predicted: test, train or validation, a file, or "-" for standard input.

    Only the first `limit` rows are, unless it is None.
    A file is .npz with an array X, .parquet, or CSV. Files stay open as long as `stack` does.
    """
    network = run.network()
    if data in PARTS:
        return _of_part(run, network, data, budget=budget, limit=limit)
    preprocessing = run.preprocessing()
    if len(preprocessing.inputs) != int(np.prod(network.input_shape)):
        raise InputError(
            f"{run / 'preprocessing.json'} makes {len(preprocessing.inputs)} inputs, and the network has "
            f"{int(np.prod(network.input_shape))}: the files are of two runs; train it anew"
        )
    path = Path("<stdin>" if data == STANDARD_INPUT else data)
    if path.suffix.lower() == ".npz":
        prediction = Prediction(network, preprocessing, word="row", budget=budget)
        X = _of_arrays(path, len(preprocessing.inputs))[:limit]
        return Source(prediction, prediction.of_inputs(X, range(len(X))), [])
    if path.suffix.lower() == PARQUET:
        return _of_frame(run, read_parquet(path).iloc[:limit], path, budget=budget)
    notes: list[str] = []
    if data == STANDARD_INPUT:
        file = standard_input
    else:
        try:
            file = stack.enter_context(path.open("rb"))
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    prediction = Prediction(network, preprocessing, budget=budget)
    rows = read_new_rows(file, path, preprocessing, _written(run), notes, limit)
    return Source(prediction, prediction.of_table(rows, path), notes)


def _of_part(run: RunDirectory, network: AnyNetwork, part: str, *, budget: bool, limit: int | None) -> Source:
    check_data_is_there(run)
    task = load_data(run.config())
    check_run_parts(run, network, task)
    X, y = getattr(task, f"X_{part}"), getattr(task, f"y_{part}")
    if X is None:
        raise InputError(f"the run has no {part} part; give test, train or a file", path=run.path)
    prediction = Prediction(network, task.preprocessing, word=task.rows.word, budget=budget)
    frames = prediction.of_inputs(X[:limit], getattr(task.rows, part)[:limit], y[:limit])
    return Source(prediction, frames, list(changed_data(run)))


def _written(run: RunDirectory) -> Written:
    """Return how the table of a run is written, also where the table itself is gone."""
    task = read_document(run / "config.yaml").value.get("task")
    if not isinstance(task, dict) or task.get("kind") != "csv":
        return Written()
    try:
        return written_of(CsvTable.model_validate(task))
    except ValidationError as error:
        raise InputError(
            "the configuration is damaged; train the run again", path=run / "config.yaml"
        ) from error


def _of_arrays(path: Path, n_inputs: int) -> Array:
    arrays = read_npz(path)
    if "X" not in arrays:
        raise InputError(f"needs the array X; found {', '.join(arrays) or 'nothing'}", path=path)
    try:
        X = inputs_of(arrays["X"], "X")
        if X.shape[1] != n_inputs:
            raise ValueError(f"X must be samples x {n_inputs}, got shape {X.shape}")
    except ValueError as error:
        raise InputError(str(error), path=path) from error
    return X


def predict(
    run: Path | str, data: pd.DataFrame | Path | str = "test", *, budget: bool = False
) -> pd.DataFrame:
    """Return what a run predicts for the rows of a table, with the columns that `Prediction` has.

    `data` is a DataFrame with the columns of the run's table, in any order; the path of a CSV or .npz file;
    or test, train or validation: the run's own. What a user ought to know of the rows is said in warnings.

    Examples
    --------
    >>> import sheafcli as sc
    >>> sc.predict("results/penguins", "new.csv")  # a row a row of the file  # doctest: +SKIP
    """
    directory = RunDirectory.existing(Path(run))
    if isinstance(data, pd.DataFrame):
        source = _of_frame(directory, data, Path("table"), budget=budget)
    with ExitStack() as stack:
        if not isinstance(data, pd.DataFrame):
            source = open_source(directory, str(data), stack, sys.stdin.buffer, budget=budget)
        frames = list(source.frames)
    for note in (*source.notes, *source.prediction.tally.notes(source.prediction.word)):
        warnings.warn(note, stacklevel=2)
    return pd.concat(frames, ignore_index=True)


def _of_frame(run: RunDirectory, table: pd.DataFrame, path: Path, *, budget: bool) -> Source:
    preprocessing, notes = run.preprocessing(), list[str]()
    prediction = Prediction(run.network(), preprocessing, word="row", budget=budget)
    rows = frame_rows(table, path, preprocessing, notes)
    return Source(prediction, prediction.of_table(rows, path), notes)
