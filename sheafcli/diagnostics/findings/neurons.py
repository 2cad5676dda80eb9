"""Rules on hidden neurons and channels: those that do nothing, those that do nothing of their own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy
from numpy.typing import NDArray

from sheafcli.core.chain.extension import Extension
from sheafcli.core.graph import Vertex
from sheafcli.core.operations import Convolution, Dense
from sheafcli.core.types import Array
from sheafcli.diagnostics.findings.examined import FEWEST_SAMPLES, Examined
from sheafcli.diagnostics.findings.finding import Finding, Severity, count_of, graded, listed, verb
from sheafcli.diagnostics.findings.reading import is_bottleneck, outgoing
from sheafcli.diagnostics.units import gates

# Of the neurons of a fresh layer on two inputs that are never negative, a quarter is dead, by the signs of
# its weights; half a layer is more than chance takes from 20 neurons or more (2.6 standard deviations).
GRAVE_DEAD = 0.5
# Nothing in the start or the data makes neurons alike, unread or stuck at zero.
GRAVE = 0.25
# At most equilibria no neuron sits exactly at z = 0: trained networks hold one there on 5% of the samples at
# most. One whose h_l is always near 0 is held on about half of them, wherever the pull on it is negative.
HELD_SHARE = 0.25
# Rows this much alike differ in angle by 1.4e-3: merging them changes their outputs by as little.
PARALLEL = 1.0 - 1e-6
# Trained neurons are read with 1e-3 of the largest outgoing weights or more; a millionth of them is nothing.
UNREAD = 1e-6
# Cosines of so many neurons with all others are held at a time.
BLOCK_ROWS = 1024


def dead_relu(examined: Examined) -> Iterator[Finding]:
    """Find units with z < 0 on all samples there are: nothing passes them, and they do not learn.

    An error where every path to the output goes through the layer, and no live unit of it is read: the
    output is then the same for all inputs. Half a layer is a warning where the network does poorly; where it
    does well it has done so without them.
    """
    if examined.n_samples < FEWEST_SAMPLES:
        return
    for vertex in examined.reached():
        live, reading = examined.live(vertex), outgoing(examined.graph, vertex)
        dead = np.flatnonzero(~live)
        if len(dead) == 0:
            continue
        width, unit = len(live), unit_of(vertex)
        used = live if reading is None else live & (reading > 0.0)
        cut = not used.any() and is_bottleneck(examined.graph, vertex)
        nearest = -float(examined.before(vertex).highest[dead].max())
        rate = "train with a lower learning rate."
        yield Finding(
            "error" if cut else _graded(examined, len(dead), width),
            "dead-relu",
            layer_of(vertex),
            "activation",
            tuple(dead.tolist()),
            f"{examined.where(vertex)}{count_of(dead, width, unit)} {verb(dead, 'is', 'are')} never active "
            f"on {examined.n_samples:,} samples; {verb(dead, 'it', 'the nearest')} stays {nearest:.3g} below "
            "zero.",
            "Train again with a lower learning rate or another seed: nothing reaches the output through "
            "this layer."
            if cut
            else f"Leave {verb(dead, 'it', 'them')} out (fewer hidden {unit}s do the same), or {rate}"
            if reading is not None
            else rate.capitalize(),
        )


def _graded(examined: Examined, dead: int, width: int) -> Severity:
    """Return how grave it is that so many neurons are dead: of no account where the others do well."""
    severity = graded(dead, width, GRAVE_DEAD)
    return severity if severity == "info" or examined.is_poor else "info"


def always_active(examined: Examined) -> Iterator[Finding]:
    """Find units with z > 0 on all samples there are: they are linear; a whole such layer is a warning."""
    if examined.n_samples < FEWEST_SAMPLES:
        return
    for vertex in examined.reached():
        lowest = examined.before(vertex).lowest
        linear = np.flatnonzero(lowest > 0.0)
        if len(linear) == 0:
            continue
        width, unit = len(lowest), unit_of(vertex)
        whole = len(linear) == width
        nearest = float(lowest[linear].min())
        yield Finding(
            "warning" if whole else "info",
            "always-active",
            layer_of(vertex),
            "activation",
            tuple(linear.tolist()),
            f"{examined.where(vertex)}{count_of(linear, width, unit)} {verb(linear, 'is', 'are')} active on "
            f"all {examined.n_samples:,} samples; {verb(linear, 'it', 'the nearest')} stays {nearest:.3g} "
            "above zero.",
            "The layer is linear on these data: leave it out, or train it with smaller biases."
            if whole
            else f"Nothing is wrong: {verb(linear, f'this {unit} adds', f'these {unit}s add')} a linear part "
            "to the network.",
        )


def held_at_kink(examined: Examined) -> Iterator[Finding]:
    """Find neurons that the pinned equilibrium holds at z = 0 on HELD_SHARE of the samples or more."""
    settled = examined.diagnosis.equilibrium
    if len(examined.X) < FEWEST_SAMPLES or not isinstance(settled, Extension):
        return
    for layer, states in enumerate(settled.states, start=1):
        share = np.mean(states == 2, axis=0)
        held = np.flatnonzero(share >= HELD_SHARE)
        if len(held) == 0:
            continue
        yield Finding(
            graded(len(held), len(share), GRAVE),
            "held-at-kink",
            layer,
            "activation",
            tuple(held.tolist()),
            f"{count_of(held, len(share), 'neuron')} {verb(held, 'is', 'are')} held at the kink z = 0 on "
            f"{share[held].min():.0%} of {len(examined.X):,} samples or more.",
            f"Look at {verb(held, 'its', 'their')} incoming weights and biases: what arrives is near zero; "
            f"draw {verb(held, 'it anew, or leave it', 'them anew, or leave them')} out.",
        )


def duplicate_neurons(examined: Examined) -> Iterator[Finding]:
    """Find live units with parallel incoming weights and biases: their relu outputs are proportional.

    Rows [W, b] are compared in units of what arrives, as [W spread, b + W mean] with the standard deviation
    and the mean of what the layer reads: else large inputs would hide all differences in the bias, small
    ones all others. Asked of dense layers and convolutions that nothing but a ReLU reads, which itself is
    read by weights alone: others cannot be merged.
    """
    graph = examined.graph
    for vertex in gates(graph):
        maker = graph.vertices[vertex.parents[0]]
        rows = _incoming(examined, maker)
        if rows is None or len(graph.readers[maker.index]) > 1 or outgoing(graph, vertex) is None:
            continue
        norms = np.linalg.norm(rows, axis=1)
        candidates = np.flatnonzero((norms > 0.0) & examined.live(vertex))
        groups = [
            candidates[group].tolist() for group in _parallel(rows[candidates] / norms[candidates, None])
        ]
        if not groups:
            continue
        neurons = sorted(i for group in groups for i in group)
        redundant = neurons[len(groups) :]
        alike = [" = ".join(map(str, group)) for group in groups]
        unit = unit_of(vertex)
        yield Finding(
            graded(len(redundant), len(rows), GRAVE),
            "duplicate-neurons",
            layer_of(maker),
            "affine",
            tuple(neurons),
            f"{examined.where(maker)}{count_of(redundant, len(rows), unit)} "
            f"{verb(redundant, 'repeats another', 'repeat others')} up to a factor: {listed(alike, 8)}.",
            f"Merge each group into one {unit}, adding up its scaled outgoing weights: the predictions stay "
            "the same.",
        )


def _incoming(examined: Examined, vertex: Vertex) -> Array | None:
    """Return a row a unit: its incoming weights times the spread of what they read, and its mean.

    None where a vertex is neither a dense layer nor a convolution of one group.
    """
    operation = vertex.operation
    if not isinstance(operation, Dense | Convolution):
        return None
    arriving, W = examined.values[vertex.parents[0]], operation.weight
    b = np.zeros(len(W)) if operation.bias is None else operation.bias
    if isinstance(operation, Dense):
        return np.column_stack([W * arriving.spread, b + W @ arriving.mean])
    if operation.groups > 1:
        return None
    kernels = W.reshape(*W.shape[:2], -1)
    # At the border of an image a channel that is constant is not: nothing of the kernel may be left out.
    spread = np.where(arriving.spread > 0.0, arriving.spread, 1.0)
    scaled = (kernels * spread[:, None]).reshape(len(W), -1)
    return np.column_stack([scaled, b + kernels.sum(axis=2) @ arriving.mean])


def unread_neurons(examined: Examined) -> Iterator[Finding]:
    """Find units whose outgoing weights are negligible against those of the layer's most read one."""
    for vertex in gates(examined.graph):
        reading = outgoing(examined.graph, vertex)
        if reading is None:
            continue
        unread = np.flatnonzero(reading <= UNREAD * reading.max())
        if len(unread) == 0:
            continue
        layer = layer_of(vertex)
        reader = f"no neuron of layer {layer + 1}" if examined.chain else "nothing"
        yield Finding(
            graded(len(unread), len(reading), GRAVE),
            "unread-neurons",
            layer,
            "activation",
            tuple(unread.tolist()),
            f"{examined.where(vertex)}{count_of(unread, len(reading), unit_of(vertex))} "
            f"{verb(unread, 'is', 'are')} read by {reader}: {verb(unread, 'its', 'their')} outgoing weights "
            f"are {reading[unread].max():.3g} at most, of others {reading.max():.3g}.",
            "Leave them out, or draw their outgoing weights anew and train on.",
        )


def unit_of(vertex: Vertex) -> str:
    """Return what a unit of a vertex is called."""
    return "neuron" if len(vertex.shape) == 1 else "channel"


def layer_of(vertex: Vertex) -> int:
    """Return the layer of a vertex that has an edge."""
    assert vertex.edge is not None
    return vertex.edge.layer


def _parallel(units: Array) -> list[NDArray[np.intp]]:
    """Return the groups of two or more rows, unit vectors, that are alike or linked by such as are."""
    n = len(units)
    pairs = []
    for first in range(0, n, BLOCK_ROWS):
        i, j = np.nonzero(units[first : first + BLOCK_ROWS] @ units.T > PARALLEL)
        pairs.append(np.stack([i + first, j]))
    if n == 0:
        return []
    links = np.concatenate(pairs, axis=1)
    _, label = scipy.sparse.csgraph.connected_components(
        scipy.sparse.coo_array((np.ones(links.shape[1]), tuple(links)), shape=(n, n))
    )
    groups = (np.flatnonzero(label == group) for group in np.flatnonzero(np.bincount(label) > 1))
    return sorted(groups, key=lambda group: int(group[0]))
