"""The feedforward ReLU network that a sheaf is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.edge import Edge, activation_edge, affine_edge, edges
from sheafcli.core.graph import Graph
from sheafcli.core.operation import Operation
from sheafcli.core.operations import Dense, ReLU
from sheafcli.core.outputs import Identity, Output, as_output, output_named
from sheafcli.core.types import Array, Seed, Shape

MOST_WIDTHS = 8
"""Networks with more widths than that are written with dots in the middle."""


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A plain network: dense layers with ReLUs between them.

    z_l = W_l a_{l-1} + b_l for l = 1..k+1, a_l = relu(z_l) for l = 1..k, prediction phi(z_{k+1}).

    Parameters
    ----------
    weights
        `weights[l-1]` is W_l, of shape n_l x n_{l-1}, kept as a read-only float64 copy. There are
        k = len(weights) - 1 hidden layers; k may be 0.
    biases
        `biases[l-1]` is b_l, of shape (n_l,), kept likewise.
    output
        phi, or its name: "identity", "sigmoid" or "softmax".

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> network = sc.Network([np.ones((3, 2)), np.ones((1, 3))], [np.zeros(3), np.zeros(1)], "identity")
    >>> network.predict([[1.0, 2.0]])  # samples x features in, samples x outputs out
    array([[9.]])
    >>> sc.Network.he([2, 30, 1], output="sigmoid", seed=0)  # drawn, to train
    Network(2-30-1, sigmoid output, 121 parameters)
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    output: Output

    def __post_init__(self) -> None:
        if not self.weights or len(self.weights) != len(self.biases):
            raise ValueError(
                f"a network needs as many weights as biases and at least one of each, "
                f"got {len(self.weights)} and {len(self.biases)}"
            )
        weights = tuple(_frozen(W) for W in self.weights)
        biases = tuple(_frozen(b) for b in self.biases)
        for layer, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
            if W.ndim != 2 or 0 in W.shape:
                raise ValueError(f"W{layer} must be a matrix with entries, got shape {W.shape}")
            if b.shape != (W.shape[0],):
                raise ValueError(f"b{layer} must have shape ({W.shape[0]},), got {b.shape}")
            if layer > 1 and W.shape[1] != weights[layer - 2].shape[0]:
                raise ValueError(
                    f"W{layer} takes {W.shape[1]} inputs, layer {layer - 1} "
                    f"gives {weights[layer - 2].shape[0]}"
                )
            if not (np.isfinite(W).all() and np.isfinite(b).all()):
                raise ValueError(f"W{layer} and b{layer} must be finite")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)
        object.__setattr__(self, "output", as_output(self.output))

    def __repr__(self) -> str:
        widths = [*map(str, self.widths)]
        shown = widths if len(widths) <= MOST_WIDTHS else [*widths[:3], "...", *widths[-2:]]
        parameters = sum(W.size + len(W) for W in self.weights)
        return f"Network({'-'.join(shown)}, {self.output.name} output, {parameters:,} parameters)"

    @classmethod
    def he(cls, widths: Sequence[int], output: str = "identity", seed: Seed = 0) -> Network:
        """Draw He-normal weights, std sqrt(2 / n_{l-1}), and zero biases for widths n_0..n_{k+1}."""
        rng = np.random.default_rng(seed)
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        weights = tuple(rng.normal(0.0, np.sqrt(2.0 / m), size=(n, m)) for m, n in pairs)
        return cls(weights, tuple(np.zeros(n) for _, n in pairs), output_named(output))

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths n_0, ..., n_{k+1}."""
        return (self.weights[0].shape[1], *(W.shape[0] for W in self.weights))

    @property
    def depth(self) -> int:
        """The number k of hidden layers."""
        return len(self.weights) - 1

    @property
    def has_output_vertex(self) -> bool:
        """Whether the sheaf has a vertex y^ after z_{k+1}: it does unless phi is the identity."""
        return not isinstance(self.output, Identity)

    @property
    def input_shape(self) -> Shape:
        """The shape of a sample, (n_0,)."""
        return self.weights[0].shape[1:]

    @property
    def n_outputs(self) -> int:
        """The length n_{k+1} of the output."""
        return len(self.biases[-1])

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges of the sheaf in path order; the output edge last where phi has a vertex."""
        return tuple(edges(self.depth, output=self.has_output_vertex))

    @property
    def stalks(self) -> dict[str, Shape]:
        """The shapes of the free stalks by name, in path order: z1, a1, z2, ..."""
        named: dict[str, Shape] = {}
        for layer, b in enumerate(self.biases, start=1):
            named[f"z{layer}"] = b.shape
            if layer <= self.depth:
                named[f"a{layer}"] = b.shape
        return named

    @cached_property
    def graph(self) -> Graph:
        """The same network as a graph, whose vertices are called as the edges that end at them."""
        path: dict[str, Operation] = {}
        for layer, (W, b) in enumerate(zip(self.weights, self.biases, strict=True), start=1):
            path[affine_edge(layer).name] = Dense(W, b)
            if layer <= self.depth:
                path[activation_edge(layer).name] = ReLU()
        return Graph.path(self.input_shape, path)

    def pre_activations(self, X: Array) -> list[Array]:
        """Return z_1, ..., z_{k+1} of the forward pass, each samples x n_l."""
        stalks: list[Array] = []
        a = np.asarray(X, dtype=np.float64)
        for W, b in zip(self.weights, self.biases, strict=True):
            stalks.append(a @ W.T + b)
            a = np.maximum(stalks[-1], 0.0)
        return stalks

    def logits(self, X: Array) -> Array:
        """Return z_{k+1} of the forward pass, samples x n_{k+1}.

        Keeps one layer of a block of samples in memory at a time, however many there are.
        """
        found = []
        for block in blocks(len(X), max(self.widths)):
            z = np.asarray(X[block], dtype=np.float64) @ self.weights[0].T + self.biases[0]
            for W, b in zip(self.weights[1:], self.biases[1:], strict=True):
                z = np.maximum(z, 0.0) @ W.T + b
            found.append(z)
        return np.concatenate(found)

    def predict(self, X: Array) -> Array:
        """Return phi(z_{k+1}), samples x n_{k+1}."""
        return self.output.value(self.logits(X))


def _frozen(array: Array) -> Array:
    copy = np.array(array, dtype=np.float64)
    copy.flags.writeable = False
    return copy
