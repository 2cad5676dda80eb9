"""Why a network has learnt nothing, or too little: what its run, its weights and its data say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sheafcli.config.training import HeatSpec, ImplicitSpec
from sheafcli.core.chain.network import Network
from sheafcli.core.graph import Vertex
from sheafcli.core.network import AnyNetwork, as_inputs
from sheafcli.core.operations import Convolution, Dense
from sheafcli.core.types import Array
from sheafcli.diagnostics.findings.examined import Examined
from sheafcli.diagnostics.findings.finding import listed
from sheafcli.diagnostics.units import gates, is_live, values_of

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
        now, first = _weights(examined.network), _weights(examined.start)
        growth = {name: _norm(W) / _norm(first[name]) for name, W in now.items()}
        most = max(growth, key=lambda name: growth[name])
        if growth[most] > GROWN:
            figures.append(f"{most} has grown to {growth[most]:.3g} times its norm at the start")
        before = _silent(examined, examined.start)
        silenced = [
            name
            for name, n in _silent(examined, examined.network).items()
            if name not in before and n >= FEWEST_SILENCED
        ]
        if silenced:
            figures.append(f"training has silenced {_layers(examined, silenced)}")
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
    dead = list(_silent(examined, examined.network))
    if not dead:
        return None
    told = _layers(examined, dead)
    return Cause(
        f"{told[0].upper()}{told[1:]} is dead: hardly a neuron of it is active on any sample.",
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
        first = _weights(examined.start)
        away = {name: W - first[name] for name, W in _weights(examined.network).items()}
        moved = max(_norm(W) / _norm(first[name]) for name, W in away.items())
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
    if examined.chain is None:
        count = sum(array.size for some in examined.graph.parameters.values() for array in some.values())
        size, more = f"The network has {count:,} parameters.", "give it more channels or layers"
    else:
        hidden = examined.chain.widths[1:-1]
        narrowest = f"its narrowest hidden layer has {min(hidden)}" if hidden else "it has no hidden layer"
        size, more = f"The network has {sum(hidden):,} hidden neurons; {narrowest}.", "give it more neurons"
    return Cause(
        size,
        f"Train longer, or {more}; check that its inputs are scaled as in training.",
        unfinished=examined.as_trained,
    )


def _losses(examined: Examined) -> Array:
    """Return the run's finite training losses."""
    if examined.history is None:
        return np.zeros(0)
    losses = examined.history["train_loss"].to_numpy(dtype=float)
    return np.asarray(losses[np.isfinite(losses)])


def _silent(examined: Examined, network: AnyNetwork) -> dict[str, int]:
    """Return the ReLUs of which hardly a unit is active on any sample taught, by name, with their sizes."""
    graph = network.graph
    values = values_of(graph, [as_inputs(network, examined.taught[0])])
    highest = {vertex: values[vertex.parents[0]].highest for vertex in gates(graph)}
    return {_named(network, v): len(z) for v, z in highest.items() if np.mean(~is_live(z)) >= SILENT}


def _named(network: AnyNetwork, vertex: Vertex) -> str:
    """Return the number of a chain's layer, or else the name of the vertex."""
    return str(vertex.edge.layer) if isinstance(network, Network) and vertex.edge is not None else vertex.name


def _layers(examined: Examined, names: list[str]) -> str:
    return f"{'layer ' if examined.chain else ''}{listed(names, 8)}"


def _weights(network: AnyNetwork) -> dict[str, Array]:
    """Return the weights of every layer by what they are called."""
    if isinstance(network, Network):
        return {f"W{layer}": W for layer, W in enumerate(network.weights, start=1)}
    vertices = (
        vertex for vertex in network.graph.vertices if isinstance(vertex.operation, Dense | Convolution)
    )
    return {f"the weight of {v.name}": v.operation.weight for v in vertices}  # type: ignore[union-attr]


def _norm(matrix: Array) -> float:
    return max(float(np.linalg.norm(matrix)), float(np.finfo(np.float64).tiny))
