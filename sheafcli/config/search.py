"""How a sweep searches: which combinations it draws, and when it stops those that lose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from sheafcli.config.training import DescentSpec, HeatSpec, ImplicitSpec

SearchMethod = Literal["random", "halving", "tpe"]
METHODS: tuple[str, ...] = get_args(SearchMethod)
KEYS: dict[str, tuple[str, ...]] = {
    "random": ("runs",),
    "halving": ("runs", "factor", "rungs"),
    "tpe": ("runs", "batch"),
}
"""What each method has to be said of it."""
# What a factor and a number of rungs may be: more would begin with next to nothing of a training.
FACTORS, RUNGS, BATCHES = range(2, 11), range(2, 7), range(1, 1001)


@dataclass(frozen=True)
class Search:
    """How the runs of a sweep are chosen, and how long each is trained.

    Attributes
    ----------
    method
        "random" trains every run to its end; "halving" stops losers early, by successive halving (Jamieson &
        Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016);
        "tpe" lets Optuna's tree-structured Parzen estimator propose combinations by the losses of those
        before (Bergstra, Bardenet, Bengio & Kegl, "Algorithms for hyper-parameter optimization", NIPS 2011).
    runs
        How many runs are drawn at random, or proposed, seeds counted; None takes every combination.
    factor, rungs
        Of halving: how many times fewer combinations each rung trains, that many times longer, and how many
        rungs there are.
    batch
        Of tpe: how many combinations are proposed at a time, before any of their losses is known.
    """

    method: SearchMethod
    runs: int | None = None
    factor: int = 3
    rungs: int = 3
    batch: int = 4

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of a whole training at which each rung ends: factor^-(rungs - 1), ..., 1 / factor, 1."""
        if self.method != "halving":
            return (1.0,)
        return tuple(self.factor**-place for place in reversed(range(self.rungs)))

    @property
    def as_given(self) -> dict[str, Any]:
        """What there is to say of it, as the file of a sweep says it."""
        return {key: getattr(self, key) for key in ("method", *KEYS[self.method])}


def first_row(spec: HeatSpec | DescentSpec | ImplicitSpec) -> float | None:
    """Return the share of a training that is done at its first row of history; None if the data decides."""
    if isinstance(spec, DescentSpec):
        if spec.batch_size is None:
            length, every = spec.steps or spec.epochs, spec.log_steps(None)
        else:  # in epochs, where a row is one
            length, every = spec.epochs, 1 if spec.log_every == "auto" else None
        return every / length if every is not None and length is not None else None
    if isinstance(spec, HeatSpec) and spec.time is not None:
        return None if spec.dt == "auto" else spec.log_every * spec.dt / spec.time
    assert spec.steps is not None
    return spec.log_every / spec.steps
