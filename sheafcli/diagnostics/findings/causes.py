"""Why a network has learnt nothing, or too little: what its run, its weights and its data say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sheafcli.config.training import HeatSpec, ImplicitSpec
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.types import Array
from sheafcli.diagnostics.findings.examined import Examined
from sheafcli.diagnostics.findings.finding import listed

# A training that works lowers its loss from the first record on, but for the noise of its batches.
RISEN = 2.0
# In trained networks no layer's norm is beyond 8 times its start; steps too long make it that at once.
GROWN = 10.0
# So much of a layer is dead: a fresh one on positive inputs has a quarter, half of it by chance now and then.
# One or two neurons may well die of chance alone.
SILENT, FEWEST_SILENCED = 0.75, 4
# Where a simple predictor misses as much, the targets have little to do with the inputs.
NO_BETTER = 0.9
# The last fifth of a training that lowers the loss by so much has not come to its end.
LAST, FALLING = 0.2, 0.05
# Weights that have moved by less, in units of their norm, are their start for all that they do.
HARDLY_MOVED = 0.1


@dataclass(frozen=True)
class Cause:
    """A sentence with the figures that point to a cause, and one that says what to do.

    `unfinished` says that training went well as far as it went.
    """

    evidence: str
    advice: str
    unfinished: bool = False


def likeliest_cause(examined: Examined, attained: float) -> Cause:
    """Return the first cause that figures speak for; `attained` is what a simple predictor misses."""
    tried: tuple[Callable[[], Cause | None], ...] = (
        lambda: _changed_since(examined),
        lambda: _step_too_long(examined),
        lambda: _dead_layer(examined),
        lambda: _unrelated_targets(attained),
        lambda: _stopped_early(examined),
    )
    return next((cause for find in tried if (cause := find()) is not None), _too_small(examined))


def _changed_since(examined: Examined) -> Cause | None:
    if not examined.was_better:
        return None
    return Cause(
        f"Training ended with the loss {examined.told_loss:.3g}, now it is "
        f"{examined.loss(examined.taught):.3g}: the weights or the data have changed since.",
        "Look at what was done to them since, or train again.",
    )


def _step_too_long(examined: Examined) -> Cause | None:
    """Blame the learning rate where the run's loss rose, weights have grown, or training silenced a layer."""
    losses = _losses(examined)
    if not examined.as_trained or len(losses) == 0:
        return None
    figures = []
    if losses.max() > RISEN * losses[0]:
        figures.append(f"the training loss rose from {losses[0]:.3g} to {losses.max():.3g}")
    if examined.start is not None:
        growth = _norms(examined.network.weights) / _norms(examined.start.weights)
        most = int(np.argmax(growth))
        if growth[most] > GROWN:
            figures.append(f"W{most + 1} has grown to {growth[most]:.3g} times its norm at the start")
        before = set(_silent(examined, examined.start.pre_activations(examined.taught[0])))
        wide = [n >= FEWEST_SILENCED for n in examined.network.widths]
        silenced = [layer for layer in _silent_now(examined) if layer not in before and wide[layer]]
        if silenced:
            figures.append(f"training has silenced layer {listed(silenced, 8)}")
    if not figures:
        return None
    training = examined.training
    if isinstance(training, ImplicitSpec):  # its steps have no length to choose
        return None
    if isinstance(training, HeatSpec):
        return Cause(
            f"Its steps are too long: {'; '.join(figures)}.", "Train again with dt: auto, and a smaller beta."
        )
    rate = "" if training is None else f", {training.learning_rate:g},"
    return Cause(
        f"The learning rate{rate} is too high: {'; '.join(figures)}.",
        "Train again with a learning rate ten times smaller.",
    )


def _dead_layer(examined: Examined) -> Cause | None:
    dead = _silent_now(examined)
    if not dead:
        return None
    return Cause(
        f"Layer {listed(dead, 8)} is dead: hardly a neuron of it is active on any sample.",
        "Look at what was done to its weights and biases, or train again from another start.",
    )


def _unrelated_targets(attained: float) -> Cause | None:
    if attained < NO_BETTER:
        return None
    return Cause(
        "The targets seem to have nothing to do with the inputs.",
        "Check that each target stands beside its own inputs: rows that were shuffled look like this.",
    )


def _stopped_early(examined: Examined) -> Cause | None:
    """Blame a short training where the loss was still falling, or the weights are hardly off their start."""
    losses = _losses(examined)
    if not examined.as_trained or len(losses) == 0:
        return None
    figures = []
    before = (
        losses[min(len(losses) - 2, int((1.0 - LAST) * (len(losses) - 1)))] if len(losses) > 1 else np.nan
    )
    if before - losses[-1] > FALLING * losses[-1]:
        figures.append(f"the training loss was still falling, from {before:.3g} to {losses[-1]:.3g} at last")
    if examined.start is not None:
        away = [W - W0 for W, W0 in zip(examined.network.weights, examined.start.weights, strict=True)]
        moved = float(np.max(_norms(away) / _norms(examined.start.weights)))
        if moved < HARDLY_MOVED:
            figures.append(f"no layer's weights have moved by more than {moved:.2g} of their norm")
    if not figures:
        return None
    return Cause(
        f"Training stopped too early: {'; '.join(figures)}.",
        "Train longer, or with a larger learning rate.",
        unfinished=True,
    )


def _too_small(examined: Examined) -> Cause:
    hidden = examined.network.widths[1:-1]
    narrowest = f"its narrowest hidden layer has {min(hidden)}" if hidden else "it has no hidden layer"
    return Cause(
        f"The network has {sum(hidden):,} hidden neurons; {narrowest}.",
        "Train longer, or give it more neurons; check that its inputs are scaled as in training.",
        unfinished=examined.as_trained,
    )


def _losses(examined: Examined) -> Array:
    """Return the run's finite training losses."""
    if examined.history is None:
        return np.zeros(0)
    losses = examined.history["train_loss"].to_numpy(dtype=float)
    return np.asarray(losses[np.isfinite(losses)])


def _silent_now(examined: Examined) -> list[int]:
    """Return the layers of which hardly a neuron is active on any sample."""
    return _silent(examined, examined.network.pre_activations(examined.taught[0]))


def _silent(examined: Examined, stalks: list[Array]) -> list[int]:
    return [
        layer for layer, z in enumerate(stalks[:-1], start=1) if np.mean(~pattern_of(z).any(axis=0)) >= SILENT
    ]


def _norms(matrices: Sequence[Array]) -> Array:
    return np.maximum([float(np.linalg.norm(W)) for W in matrices], np.finfo(np.float64).tiny)
