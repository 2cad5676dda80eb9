"""The kinds of faults that are planted to fit blame, and to measure it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import localise
import numpy as np
from localise import changed

from sheafcli.core.chain.network import Network
from sheafcli.core.types import Array

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Fault:
    """A network with a fault, and the layer, from 1, that it is in; 0 where there is none."""

    network: Network
    layer: int


def any_layer(network: Network, rng: Rng) -> int:
    return int(rng.integers(1, network.depth + 2))


def noise(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    layer = any_layer(network, rng)
    W = network.weights[layer - 1]
    E = rng.standard_normal(W.shape)
    share = rng.uniform(0.2, 0.8)
    return Fault(changed(network, layer, W=W + share * np.linalg.norm(W) * E / np.linalg.norm(E)), layer)


def scaled_inputs(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    """Let some inputs come in another unit."""
    W = network.weights[0].copy()
    live = np.flatnonzero(X.std(axis=0) > 0.0)
    some = rng.choice(live, max(1, int(len(live) * rng.choice([0.05, 0.3, 1.0]))), replace=False)
    W[:, some] *= rng.choice([0.1, 0.25, 3.0, 10.0])
    return Fault(changed(network, 1, W=W), 1)


def permuted_inputs(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    W = network.weights[0].copy()
    some = rng.permutation(W.shape[1])[: max(2, int(W.shape[1] * rng.choice([0.1, 0.5, 1.0])))]
    W[:, some] = W[:, np.roll(some, 1)]
    return Fault(changed(network, 1, W=W), 1)


def permuted_outputs(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    """Map classes to other names; of one output, exchange yes and no."""
    W, b = network.weights[-1], network.biases[-1]
    if len(W) == 1:
        return Fault(changed(network, network.depth + 1, W=-W, b=-b), network.depth + 1)
    order = np.arange(len(W))
    some = rng.permutation(len(W))[: max(2, int(len(W) * rng.choice([0.2, 1.0])))]
    order[some] = np.roll(order[some], 1)
    return Fault(changed(network, network.depth + 1, W=W[order], b=b[order]), network.depth + 1)


def quantised(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    layer = any_layer(network, rng)
    W = network.weights[layer - 1]
    step = np.abs(W).max() / float(rng.choice([1, 2, 3, 7]))
    return Fault(changed(network, layer, W=np.round(W / step) * step), layer)


def pruned(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    layer = any_layer(network, rng)
    W = network.weights[layer - 1]
    return Fault(
        changed(
            network, layer, W=np.where(np.abs(W) < np.quantile(np.abs(W), rng.uniform(0.5, 0.95)), 0.0, W)
        ),
        layer,
    )


def reinitialised(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    layer = any_layer(network, rng)
    W = network.weights[layer - 1]
    drawn = rng.standard_normal(W.shape) * np.sqrt(2.0 / W.shape[1])
    return Fault(changed(network, layer, W=drawn, b=np.zeros(len(W))), layer)


def transposed(network: Network, X: Array, y: Array, rng: Rng) -> Fault | None:
    square = [i + 1 for i, W in enumerate(network.weights) if W.shape[0] == W.shape[1]]
    if not square:
        return None
    layer = int(rng.choice(square))
    return Fault(changed(network, layer, W=network.weights[layer - 1].T.copy()), layer)


def bias_dropped(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    layer = any_layer(network, rng)
    return Fault(changed(network, layer, b=np.zeros_like(network.biases[layer - 1])), layer)


def missing_activation(network: Network, X: Array, y: Array, rng: Rng) -> Fault | None:
    """Leave an activation out: the two layers around it are one."""
    if network.depth < 2:
        return None
    layer = int(rng.integers(1, network.depth + 1))
    W, b = list(network.weights), list(network.biases)
    W[layer - 1 : layer + 1] = [W[layer] @ W[layer - 1]]
    b[layer - 1 : layer + 1] = [network.weights[layer] @ b[layer - 1] + b[layer]]
    return Fault(Network(tuple(W), tuple(b), network.output), layer)


def stale_normalisation(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    """Normalise every hidden neuron by a mean and a deviation that are not its own."""
    layer = int(rng.integers(1, network.depth + 1))
    z = network.pre_activations(X)[layer - 1]
    strength = rng.uniform(0.3, 1.0)
    scale = np.exp(strength * rng.standard_normal(z.shape[1]))
    shift = strength * z.std(axis=0) * rng.standard_normal(z.shape[1])
    W, b = network.weights[layer - 1], network.biases[layer - 1]
    return Fault(changed(network, layer, W=W * scale[:, None], b=b * scale + shift), layer)


def bit_flip(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    """Flip the sign or a high bit of the exponent of one weight."""
    layer = any_layer(network, rng)
    W = network.weights[layer - 1].copy()
    live = np.flatnonzero(np.tile((X if layer == 1 else W).std(axis=0) > 0.0, (len(W), 1)))
    at = np.unravel_index(rng.choice(live), W.shape)
    W[at] *= rng.choice([-1.0, 4.0, 16.0, 256.0])
    return Fault(changed(network, layer, W=W), layer)


def high_rate(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
    """Train one layer some steps further on small batches, at a rate that is far too high."""
    layer = any_layer(network, rng)
    W = network.weights[layer - 1].copy()
    size, length = np.linalg.norm(W), rng.uniform(0.1, 0.4)
    for _ in range(10):
        some = rng.permutation(len(X))[: max(4, len(X) // 16)]
        gradients = list(localise.gradient(changed(network, layer, W=W), X[some], y[some]))
        dW = gradients[layer - 1][0]
        W = W - length * size * dW / max(np.linalg.norm(dW), 1e-30)
    return Fault(changed(network, layer, W=W), layer)


def borrowed(plant: Callable[[Network, Array, Rng], localise.Fault]) -> Callable[..., Fault]:
    def planted(network: Network, X: Array, y: Array, rng: Rng) -> Fault:
        fault = plant(network, X, rng)
        return Fault(fault.network, fault.layer)

    return planted


KINDS: dict[str, Callable[[Network, Array, Array, Rng], Fault | None]] = {
    "noise": noise,
    "scrambled": borrowed(localise.scrambled),
    "killed": borrowed(localise.killed),
    "saturated": borrowed(localise.saturated),
    "shuffled": borrowed(localise.shuffled),
    "scaled_inputs": scaled_inputs,
    "permuted_inputs": permuted_inputs,
    "permuted_outputs": permuted_outputs,
    "quantised": quantised,
    "pruned": pruned,
    "reinitialised": reinitialised,
    "transposed": transposed,
    "bias_dropped": bias_dropped,
    "missing_activation": missing_activation,
    "stale_normalisation": stale_normalisation,
    "bit_flip": bit_flip,
    "high_rate": high_rate,
}
