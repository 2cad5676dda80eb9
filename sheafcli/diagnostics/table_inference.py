"""Information backwards in the terms of a table: its columns, its target's units, its categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sheafcli.core.inference.aim import Aim
from sheafcli.core.inference.gaussian import Gaussian
from sheafcli.core.inference.inference import Inferred, Question, infer_inputs
from sheafcli.core.network import AnyNetwork
from sheafcli.core.types import Array
from sheafcli.diagnostics.inference import MARGIN, ODDS_MARGIN
from sheafcli.diagnostics.inference_terms import (
    Rows,
    Wish,
    aim_of,
    bounds_of,
    check_complete,
    check_names,
    choices_of,
    decoded,
    free_inputs,
    missed_by,
    outputs_of,
    text_of,
    text_of_chances,
)
from sheafcli.errors import InputError
from sheafcli.tasks import TaskData
from sheafcli.tasks.columns import QuantityColumn
from sheafcli.tasks.preprocessing import Preprocessing

MOST_NAMED = 8
REACHED = 0.01
"""A target is reached where no more of its spread in the training part is missed."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What was inferred, in the table's terms.

    `changes` has a row a cell that was free: row, column, was, inferred, change (in standard deviations of
    the training part), std (the posterior one), at_bound, changed. Of categories there is neither.
    `rows` has a row a row: what was wanted, what the network gives at the answer, by how much it misses, in
    units of the target's spread, whether that reaches it, the distance in units of the prior, how many
    columns changed, and whether it is a minimum for certain. `cells` are whole rows of the table, filled in.
    """

    changes: pd.DataFrame
    rows: pd.DataFrame
    cells: pd.DataFrame
    notes: tuple[str, ...]
    inferred: Inferred
    is_change: bool
    is_quantity: bool

    @property
    def out_of_reach(self) -> str:
        """Say that the target is out of reach, and the nearest that the network can give."""
        nearest = self.rows.iloc[int(np.argmin(self.rows["missed"].to_numpy()))]
        everywhere = "" if len(self.rows) == 1 else ", in every row"
        return (
            f"{nearest['wanted']} is out of reach of what is free{everywhere}: the nearest that the network "
            f"can give is {nearest['gives']}; free more inputs, or widen --bounds"
        )


def infer_table(
    network: AnyNetwork,
    task: TaskData,
    rows: Rows,
    wish: Wish,
    advance: Callable[[str], object] = lambda _: None,
) -> Answer:
    """Answer a wish for rows of a table; InputError says what of it does not fit."""
    preprocessing = task.preprocessing
    check_names(preprocessing, wish)
    X, free, notes = free_inputs(preprocessing, rows, wish)
    low, high = bounds_of(preprocessing, task, X, free, wish)
    choices, told = choices_of(preprocessing, task, X)
    try:
        aim, wanted, said = aim_of(network, task, rows, wish)
    except ValueError as error:  # a pin that does not fit
        raise InputError(f"--pin: {error}") from error
    nearby = wish.target is not None and not rows.is_design
    kappa = wish.kappa
    if kappa is None:
        gives = wish.target is None and aim.asked.any() and network.graph.output.edge is not None
        kappa = 1.0 if gives else 0.0
    prior, centre = (Gaussian.of(task.X_train), None) if nearby else _prior(task, aim)
    check_complete(preprocessing, X, free, rows, nearby=nearby)
    still = [
        column.name
        for column in preprocessing.columns
        if free[:, preprocessing.places[column.name]].any()
        and not (prior.spread[preprocessing.places[column.name]] > 0.0).any()
    ]
    if still:
        notes.append(f"the same throughout the training part, so that it stays: {_listed(still)}")
    filled = np.where(np.isnan(X), prior.mean if centre is None else centre, X)
    centre = filled if nearby else centre
    question = Question(aim, prior, low, high, choices, kappa, centre, wish.sparse, wish.seed)
    try:
        inferred = infer_inputs(question, filled, free, lambda i: advance(f"{rows.word} {rows.labels[i]}"))
    except ValueError as error:
        raise InputError(str(error)) from error
    kept = [name for name in told if free[:, preprocessing.places[name]].any()]
    if kept:
        notes.append(f"kept to whole numbers, as in the training part: {_listed(kept)}")
    missed = missed_by(network, task, aim, inferred.logits)
    changes = _changes(preprocessing, rows, filled if nearby else X, free, inferred, prior)
    target = preprocessing.target
    certificates = (
        [text_of(target, output) for output in inferred.output]
        if wish.probability is None
        else text_of_chances(target, aim, wish, inferred.output)
    )
    within = REACHED if target.output == "identity" else ODDS_MARGIN if aim.by_odds else MARGIN
    table = pd.DataFrame(
        {
            "row": rows.labels,
            "wanted": wanted,
            "gives": certificates,
            "missed": missed,
            "reached": missed <= within,
            "distance": inferred.distance,
            "changed": changes.groupby("row")["changed"].sum().reindex(rows.labels, fill_value=0).to_numpy(),
            "settled": inferred.settled,
        }
    )
    if nearby and (table["reached"] & (table["changed"] == 0)).all():
        notes.append(
            f"nothing changes: {'the row gives' if len(table) == 1 else 'all rows give'} that already"
        )
    cells = pd.DataFrame({"row": rows.labels} | decoded(preprocessing, inferred.X))
    for name, values in outputs_of(target, inferred.output).items():
        cells[name] = values
    cells["missed"], cells["distance"] = missed, inferred.distance
    return Answer(changes, table, cells, (*notes, *said), inferred, nearby, target.output == "identity")


def _prior(task: TaskData, aim: Aim) -> tuple[Gaussian, Array | None]:
    """Return what the training inputs are like, and the mean of each row's class where that is known.

    Rows of a class are around the mean of their class, with the covariance within classes.
    """
    labels, wanted = _classes(task.y_train, task), _classes(aim.y, task)
    if labels is None or wanted is None or not aim.asked.any():
        return Gaussian.of(task.X_train), None
    kinds, places = np.unique(labels, return_inverse=True)
    if not np.isin(wanted, kinds).all():
        return Gaussian.of(task.X_train), None
    means = np.stack([task.X_train[labels == kind].mean(axis=0) for kind in kinds])
    within = Gaussian.of(task.X_train - means[places])
    return Gaussian(task.X_train.mean(axis=0), within.root), means[np.searchsorted(kinds, wanted)]


def _classes(y: Array, task: TaskData) -> NDArray[np.intp] | None:
    """Return the class of every row; None where there are none, or several a row."""
    target = task.preprocessing.target
    if target.output == "identity" or len(target.names) > 1:
        return None
    return np.asarray(target.probabilities(y).argmax(axis=1))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _changes(
    preprocessing: Preprocessing,
    rows: Rows,
    before: Array,
    free: NDArray[np.bool_],
    inferred: Inferred,
    prior: Gaussian,
) -> pd.DataFrame:
    """Return a row a cell that was free."""
    was = decoded(preprocessing, np.nan_to_num(before))
    now = decoded(preprocessing, inferred.X)
    changes, spread = [], np.where(prior.spread > 0.0, prior.spread, 1.0)
    for at, column in enumerate(preprocessing.columns):
        place = preprocessing.places[column.name]
        own = free[:, place].any(axis=1)
        unknown = np.isnan(before[:, place]).any(axis=1) | (rows.missing[:, at] & own)
        quantity = isinstance(column, QuantityColumn)
        scale = column.scale if quantity else 1.0  # type: ignore[union-attr]
        for i in np.flatnonzero(own):
            old, new = was[column.name][i], now[column.name][i]
            same = np.allclose(inferred.X[i, place], before[i, place], rtol=1e-9, atol=1e-9)
            deviation = float(inferred.deviation[i, place.start]) * scale if quantity else np.nan
            step = float(inferred.X[i, place.start] - before[i, place.start]) if quantity else np.nan
            changes.append(
                {
                    "row": rows.labels[i],
                    "column": column.name,
                    "was": None if unknown[i] else old,
                    "inferred": new,
                    "change": step / spread[place.start],
                    "std": deviation,
                    "at_bound": bool(quantity and inferred.bound[i, place.start]),
                    "changed": bool(unknown[i] or not same),
                }
            )
    # Column by column as they were made; a row's cells belong together, rows in their order.
    order = pd.Series(range(len(rows.labels)), index=pd.Index(rows.labels))
    frame = pd.DataFrame(changes)
    return frame.sort_values("row", key=lambda row: row.map(order), kind="stable", ignore_index=True)
