"""Tasks, trained networks, and the kinds of faults that are planted in them to fit blame.

Fitted are networks on synthetic tasks, of one to six hidden layers; held out are networks on real tables,
half moons and digits, of one to eight. They are small, and trained in many ways, shortly and long: what long
training does to weights is no fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import localise
import numpy as np
from localise import changed
from sklearn import datasets

from sheafcli.core.chain.network import Network
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.fit import train
from sheafcli.core.training.implicit import Implicit
from sheafcli.core.training.optimizers import Adam
from sheafcli.core.types import Array
from sheafcli.tasks.synthetic import Blobs, Circular, Paraboloid, Saddle

Rng = np.random.Generator
N_SAMPLES = 300


# Tasks -------------------------------------------------------------------------------------------


def one_hot(labels: Array, classes: int) -> Array:
    return labels.reshape(-1, 1).astype(float) if classes == 2 else np.eye(classes)[labels]


def classed(X: Array, labels: Array) -> tuple[Array, Array, str]:
    classes = int(labels.max()) + 1
    return X, one_hot(labels, classes), "sigmoid" if classes == 2 else "softmax"


def standard(X: Array) -> Array:
    return (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-12)


def synthetic(task: type, n: int, rng: Rng) -> tuple[Array, Array, str]:
    data = task(n_train=n, n_test=1).load(np.random.SeedSequence(int(rng.integers(1 << 30))), None)
    return data.X_train, data.y_train, data.output


def teacher(n: int, rng: Rng, classes: int) -> tuple[Array, Array, str]:
    """Draw a random network as the truth, of inputs that are correlated."""
    inputs, outputs = int(rng.integers(3, 25)), classes or int(rng.integers(1, 3))
    X = standard(
        rng.standard_normal((n, inputs)) @ rng.standard_normal((inputs, inputs))
        + rng.standard_normal((n, inputs))
    )
    f = standard(Network.he((inputs, 12, outputs), "identity", rng).logits(X))
    if not classes:
        return X, f + 0.1 * rng.standard_normal(f.shape), "identity"
    return classed(X, np.argmax(f + 0.2 * rng.standard_normal(f.shape), axis=1))


def clusters(n: int, rng: Rng) -> tuple[Array, Array, str]:
    inputs = int(rng.integers(6, 40))
    classes = int(rng.integers(2, 9))
    X, labels = datasets.make_classification(
        n,
        inputs,
        n_informative=max(5, inputs // 2),
        n_redundant=inputs // 5,
        n_classes=classes,
        n_clusters_per_class=1,
        class_sep=1.5,
        random_state=int(rng.integers(1 << 30)),
    )
    return classed(standard(X), labels)


def friedman(n: int, rng: Rng) -> tuple[Array, Array, str]:
    X, y = datasets.make_friedman1(
        n, int(rng.integers(5, 12)), noise=0.5, random_state=int(rng.integers(1 << 30))
    )
    return standard(X), standard(y[:, None]), "identity"


def moons(n: int, rng: Rng) -> tuple[Array, Array, str]:
    X, labels = datasets.make_moons(n, noise=0.15, random_state=int(rng.integers(1 << 30)))
    return classed(standard(X), labels)


def bundled(load: Callable[..., object], classes: bool) -> Callable[[int, Rng], tuple[Array, Array, str]]:
    def drawn(n: int, rng: Rng) -> tuple[Array, Array, str]:
        X, y = load(return_X_y=True)
        some = rng.permutation(len(X))[:n]
        X = standard(X[some])
        return classed(X, y[some]) if classes else (X, standard(y[some, None].astype(float)), "identity")

    return drawn


FITTED = {
    "paraboloid": lambda n, rng: synthetic(Paraboloid, n, rng),
    "teacher_values": lambda n, rng: teacher(n, rng, 0),
    "clusters": clusters,
    "friedman": friedman,
    "teacher_classes": lambda n, rng: teacher(n, rng, int(rng.integers(2, 11))),
    "blobs": lambda n, rng: synthetic(Blobs, n, rng),
    "saddle": lambda n, rng: synthetic(Saddle, n, rng),
    "circular": lambda n, rng: synthetic(Circular, n, rng),
}
HELD_OUT = {
    "breast_cancer": bundled(datasets.load_breast_cancer, True),
    "diabetes": bundled(datasets.load_diabetes, False),
    "digits": bundled(datasets.load_digits, True),
    "moons": moons,
    "wine": bundled(datasets.load_wine, True),
}


# Networks ----------------------------------------------------------------------------------------


def trained(part: str, number: int) -> tuple[str, Network, Array, Array]:
    """Return the network of a number with its task and the samples of its training."""
    rng = np.random.default_rng([{"fit": 0, "held_out": 1, "healthy": 2}[part], number])
    tasks = FITTED if part == "fit" else HELD_OUT
    name = list(tasks)[number % len(tasks)]
    n = int(rng.integers(60, 141))
    X, y, output = tasks[name](n, rng)
    depth = int(rng.choice([1, 2, 2, 3, 3, 4, 4, 6] if part == "fit" else [1, 2, 3, 4, 5, 6, 7, 8]))
    width = int(rng.integers(8, 25))
    hidden = (
        [max(4, int(width * rng.uniform(0.6, 1.4)))] * depth
        if rng.random() < 0.6
        else [max(4, int(width * rng.uniform(0.6, 1.4))) for _ in range(depth)]
    )
    start = Network.he((X.shape[1], *hidden, y.shape[1]), output, rng)
    batch = min(64, len(X))
    # As far as it takes, or shorter: what long training does to weights is no fault.
    short, long = number % 2 == 0, float(rng.choice([0.005, 0.01, 0.02]))
    method = [
        Implicit(steps=40 if depth < 5 else 25, weight_decay=float(rng.choice([0.0, 1e-4, 1e-3]))),
        Equilibrium(epochs=40, batch_size=batch, optimizer=Adam(0.005), schedule="cosine")
        if short
        else Equilibrium(steps=int(rng.integers(500, 3000)), optimizer=Adam(long), schedule="cosine"),
        Backprop(epochs=80, batch_size=batch, optimizer=Adam(0.005), schedule="cosine")
        if short
        else Backprop(steps=int(rng.integers(500, 3000)), optimizer=Adam(long), schedule="cosine"),
    ][number // len(tasks) % 3]
    return name, train(start, X, y, method, seed=number).network, X, y


# Faults ------------------------------------------------------------------------------------------


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
