"""Rules on hidden neurons: those that do nothing, those that do nothing of their own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sheafcli.core.types import Array
from sheafcli.diagnostics.findings.examined import FEWEST_SAMPLES, Examined
from sheafcli.diagnostics.findings.finding import Finding, Severity, count_of, graded, listed, verb

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
    """Find neurons with z < 0 on all samples there are: nothing passes them, and they do not learn.

    An error where no live neuron of the layer is read: the output is then the same for all inputs. Half a
    layer is a warning where the network does poorly; where it does well it has done so without them.
    """
    if examined.n_samples < FEWEST_SAMPLES:
        return
    for layer, values in examined.reached():
        dead = np.flatnonzero(~values.live)
        if len(dead) == 0:
            continue
        width = len(values.live)
        cut = not (values.live & (_reading(examined, layer) > 0.0)).any()
        nearest = -float(values.highest[dead].max())
        yield Finding(
            "error" if cut else _graded(examined, len(dead), width),
            "dead-relu",
            layer,
            "activation",
            tuple(dead.tolist()),
            f"{count_of(dead, width, 'neuron')} {verb(dead, 'is', 'are')} never active on "
            f"{examined.n_samples:,} samples; {verb(dead, 'it', 'the nearest')} stays {nearest:.3g} below "
            "zero.",
            "Train again with a lower learning rate or another seed: nothing reaches the output through "
            "this layer."
            if cut
            else "Leave them out (fewer hidden neurons do the same), or train with a lower learning rate.",
        )


def _graded(examined: Examined, dead: int, width: int) -> Severity:
    """Return how grave it is that so many neurons are dead: of no account where the others do well."""
    severity = graded(dead, width, GRAVE_DEAD)
    return severity if severity == "info" or examined.is_poor else "info"


def always_active(examined: Examined) -> Iterator[Finding]:
    """Find neurons with z > 0 on all samples there are: they are linear; a whole such layer is a warning."""
    if examined.n_samples < FEWEST_SAMPLES:
        return
    for layer, values in examined.reached():
        linear = np.flatnonzero(values.lowest > 0.0)
        if len(linear) == 0:
            continue
        width = len(values.live)
        whole = len(linear) == width
        nearest = float(values.lowest[linear].min())
        yield Finding(
            "warning" if whole else "info",
            "always-active",
            layer,
            "activation",
            tuple(linear.tolist()),
            f"{count_of(linear, width, 'neuron')} {verb(linear, 'is', 'are')} active on all "
            f"{examined.n_samples:,} samples; {verb(linear, 'it', 'the nearest')} stays {nearest:.3g} above "
            "zero.",
            "The layer is linear on these data: leave it out, or train it with smaller biases."
            if whole
            else "Nothing is the matter: these neurons add a linear part to the network.",
        )


def held_at_kink(examined: Examined) -> Iterator[Finding]:
    """Find neurons that the pinned equilibrium holds at z = 0 on HELD_SHARE of the samples or more."""
    if len(examined.X) < FEWEST_SAMPLES:
        return
    for layer, states in enumerate(examined.diagnosis.extension.states, start=1):
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
            "Look at their incoming weights and biases: what arrives is near zero; draw them anew, or leave "
            "them out.",
        )


def duplicate_neurons(examined: Examined) -> Iterator[Finding]:
    """Find live neurons whose incoming rows [W_l, b_l] are parallel: their relu outputs are proportional.

    Rows are compared in units of what arrives, as [W_l spread, b_l + W_l mean] with the standard deviation
    and the mean of a_{l-1}: else large inputs would hide all differences in the bias, small ones all others.
    """
    network = examined.network
    for layer in range(1, network.depth + 1):
        W, b, arriving = network.weights[layer - 1], network.biases[layer - 1], examined.values[layer - 1]
        rows = np.column_stack([W * arriving.spread, b + W @ arriving.mean])
        norms = np.linalg.norm(rows, axis=1)
        candidates = np.flatnonzero((norms > 0.0) & examined.values[layer].live)
        groups = [
            candidates[group].tolist() for group in _parallel(rows[candidates] / norms[candidates, None])
        ]
        if not groups:
            continue
        neurons = sorted(i for group in groups for i in group)
        redundant = neurons[len(groups) :]
        alike = [" = ".join(map(str, group)) for group in groups]
        yield Finding(
            graded(len(redundant), len(rows), GRAVE),
            "duplicate-neurons",
            layer,
            "affine",
            tuple(neurons),
            f"{count_of(redundant, len(rows), 'neuron')} "
            f"{verb(redundant, 'repeats another', 'repeat others')} up to a factor: {listed(alike, 8)}.",
            "Merge each group into one neuron, adding up its scaled outgoing weights: the predictions stay.",
        )


def unread_neurons(examined: Examined) -> Iterator[Finding]:
    """Find neurons whose outgoing weights are negligible against those of the layer's most read neuron."""
    for layer in range(1, examined.network.depth + 1):
        reading = _reading(examined, layer)
        unread = np.flatnonzero(reading <= UNREAD * reading.max())
        if len(unread) == 0:
            continue
        yield Finding(
            graded(len(unread), len(reading), GRAVE),
            "unread-neurons",
            layer,
            "activation",
            tuple(unread.tolist()),
            f"{count_of(unread, len(reading), 'neuron')} {verb(unread, 'is', 'are')} read by no neuron of "
            f"layer {layer + 1}: {verb(unread, 'its', 'their')} outgoing weights are "
            f"{reading[unread].max():.3g} at most, of others {reading.max():.3g}.",
            "Leave them out, or draw their outgoing weights anew and train on.",
        )


def _reading(examined: Examined, layer: int) -> Array:
    """Return the norm of each neuron's outgoing weights, the columns of W_{l+1}."""
    return np.asarray(np.linalg.norm(examined.network.weights[layer], axis=0))


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
    _, label = connected_components(coo_array((np.ones(links.shape[1]), tuple(links)), shape=(n, n)))
    groups = (np.flatnonzero(label == group) for group in np.flatnonzero(np.bincount(label) > 1))
    return sorted(groups, key=lambda group: int(group[0]))
