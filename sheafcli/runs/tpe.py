"""A search by the tree-structured Parzen estimator: Optuna proposes combinations by the losses so far.

Bergstra, Bardenet, Bengio & Kegl, "Algorithms for hyper-parameter optimization", NIPS 2011. What is proposed
is written down before it is trained, so that a search that was stopped goes on with the same combinations.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.config.document import dotted
from sheafcli.config.sweep import DRAWS, Axis, Drawn, Steps, Sweep
from sheafcli.errors import InputError
from sheafcli.interop.contents import library
from sheafcli.runs.files import write_text

PROPOSALS = "proposals.json"
LONGEST_FILE = 2**26  # in characters, a thousand for each of the most runs that there may be
Point = tuple[int | float, ...]
"""A combination: for every axis that is searched the place of its step, or the number that is drawn."""


def propose(sweep: Sweep, settled: Sequence[tuple[Point, float]], n: int, batch: int) -> list[Point]:
    """Return `n` combinations that are new, given those before with their losses; inf where there is none.

    The sampler is Optuna's TPESampler as it stands: the first ten are drawn at random. A list of numbers
    that rise or fall is an ordered choice, any other a categorical one. The seed is the sweep's, with the
    number of the batch. There must be so many combinations.
    """
    optuna = library("optuna", "search", "search by tpe")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first, second = (int(word) for word in sweep.entropy(batch).generate_state(2))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=first))
    space = {_name(axis): _distribution(axis, optuna.distributions) for axis in sweep.searched}
    for point, loss in settled:
        values = dict(zip(space, point, strict=True))
        study.add_trial(optuna.trial.create_trial(params=values, distributions=space, value=loss))
    known = {point for point, _ in settled}
    rng = np.random.default_rng(second)
    new: list[Point] = []
    while len(new) < n:
        for _ in range(DRAWS):
            asked = study.ask(space).params
            point = tuple(_rounded(axis, asked[_name(axis)]) for axis in sweep.searched)
            if point not in known:
                break
        else:  # it insists on what is known
            while point in known:
                point = tuple(_drawn(axis, rng) for axis in sweep.searched)
        known.add(point)
        new.append(point)
    return new


def steps_of(sweep: Sweep, point: Point) -> Steps:
    """Return the steps that a combination takes, one for every axis that is searched."""
    return tuple(
        axis.at(value) if isinstance(axis, Drawn) else axis.steps[int(value)]
        for axis, value in zip(sweep.searched, point, strict=True)
    )


def read_proposals(folder: Path, sweep: Sweep) -> list[Point]:
    """Return the combinations that were proposed so far; InputError if their file is damaged."""
    path = folder / PROPOSALS
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8") as file:
            points = [tuple(point) for point in json.loads(file.read(LONGEST_FILE))]
        if not all(_fits(sweep, point) for point in points) or len(points) > sweep.n_searched:
            raise ValueError("these are no combinations of this sweep")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"the proposals of the search are damaged ({error}); choose another directory with --output, or "
            "remove this one to begin again",
            path=path,
        ) from error
    return points


def write_proposals(folder: Path, points: Sequence[Point]) -> None:
    """Write down the combinations that were proposed so far."""
    write_text(folder / PROPOSALS, json.dumps(points) + "\n")


def _fits(sweep: Sweep, point: Sequence[Any]) -> bool:
    return len(point) == len(sweep.searched) and all(
        axis.span.ends[0] <= value <= axis.span.ends[1] and _rounded(axis, value) == value
        if isinstance(axis, Drawn)
        else isinstance(value, int) and value in range(len(axis.steps))
        for axis, value in zip(sweep.searched, point, strict=True)
    )


def _name(axis: Axis | Drawn) -> str:
    return ", ".join(dotted(key) for key in axis.keys)


def _distribution(axis: Axis | Drawn, distributions: Any) -> Any:
    """Return what Optuna draws an axis from."""
    if isinstance(axis, Drawn):
        (low, high), log = axis.span.ends, axis.span.scale == "log"
        kind = distributions.IntDistribution if axis.span.whole else distributions.FloatDistribution
        return kind(low, high, log=log)
    if _is_ordered(axis):
        return distributions.IntDistribution(0, len(axis.steps) - 1)
    return distributions.CategoricalDistribution(range(len(axis.steps)))


def _is_ordered(axis: Axis) -> bool:
    """Say whether an axis is of numbers alone that rise, or fall, from step to step."""
    columns = zip(*axis.steps, strict=True)
    values = [[choice.given for choice in column] for column in columns]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for column in values for v in column):
        return False
    signs = [set(np.sign(np.diff(column))) for column in values]
    return all(sign in ({1}, {-1}) for sign in signs)


def _rounded(axis: Axis | Drawn, value: int | float) -> int | float:
    return axis.span.rounded(value) if isinstance(axis, Drawn) and not axis.span.whole else int(value)


def _drawn(axis: Axis | Drawn, rng: np.random.Generator) -> int | float:
    return axis.span.draw(rng) if isinstance(axis, Drawn) else int(rng.integers(len(axis.steps)))
