"""A feed-forward network as every command meets it: a graph of operations, and what its output means.

A plain chain of dense layers and ReLUs is a `Network`, for which `core/chain/` has packed arrays and exact
equilibria; every other graph is a `GraphNetwork`. `network_of` says which; both have the same members.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.reach import check_reach
from sheafcli.core.edge import Edge
from sheafcli.core.graph import Graph
from sheafcli.core.magnitude import LARGEST, MEND, beyond, check_magnitude
from sheafcli.core.operations import Dense, ReLU
from sheafcli.core.outputs import Identity, Output, as_output
from sheafcli.core.sweep import forward, output
from sheafcli.core.types import Array, Shape


@dataclass(frozen=True, eq=False, repr=False)
class GraphNetwork:
    """A network of any layers: the value z of the last vertex of a graph, and the prediction phi(z).

    `load` and `from_torch` return one for what is no plain chain. z is a vector a sample; `output` is phi,
    or its name: "identity", "sigmoid" or "softmax".

    Examples
    --------
    >>> import sheafcli as sc
    >>> network = sc.load("resnet.onnx")  # doctest: +SKIP
    >>> network.predict(X)  # samples x channels x rows x columns in  # doctest: +SKIP
    >>> [edge.name for edge in network.edges]  # what its tables are by  # doctest: +SKIP
    """

    graph: Graph
    output: Output

    def __post_init__(self) -> None:
        if len(self.graph.output.shape) != 1:
            raise ValueError(
                f"the output, {self.graph.output.name}, must be a vector a sample, got shape "
                f"{self.graph.output.shape}"
            )
        object.__setattr__(self, "output", as_output(self.output))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.input_shape))
        parameters = sum(a.size for fields in self.graph.parameters.values() for a in fields.values())
        return (
            f"GraphNetwork({shape} to {self.n_outputs}, {len(self.graph.nodes)} operations, "
            f"{self.output.name} output, {parameters:,} parameters)"
        )

    @property
    def input_shape(self) -> Shape:
        """The shape of a sample."""
        return self.graph.input_shape

    @property
    def n_outputs(self) -> int:
        """The length of the output."""
        return self.graph.output.size

    @property
    def has_output_vertex(self) -> bool:
        """Whether the sheaf has a vertex y^ after the output: it does unless phi is the identity."""
        return not isinstance(self.output, Identity)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The edges of the sheaf in topological order; the output edge last where phi has a vertex."""
        return (*self.graph.edges, self.graph.output_edge) if self.has_output_vertex else self.graph.edges

    @property
    def stalks(self) -> dict[str, Shape]:
        """The shapes of the free stalks by name, in topological order: pins and spectra name them so."""
        return {vertex.name: vertex.shape for vertex in self.graph.heads}

    def logits(self, X: Array) -> Array:
        """Return the value of the last vertex, samples x n_outputs, in the precision of X.

        X is as `as_inputs` takes it. Blocks of samples bound the memory, however many there are.
        """
        X = as_inputs(self, X)
        entries = sum(vertex.size for vertex in self.graph.vertices)
        return np.concatenate([output(self.graph, X[block]) for block in blocks(len(X), entries)])

    def predict(self, X: Array) -> Array:
        """Return phi of the last vertex, samples x n_outputs."""
        return self.output.value(self.logits(X))


AnyNetwork = Network | GraphNetwork


def network_of(graph: Graph, output: Output) -> AnyNetwork:
    """Return a graph with an output as a Network if it is a plain chain, as a GraphNetwork otherwise.

    A plain chain reads a vector and is dense, ReLU, dense, ..., ReLU, dense, by whatever names.
    """
    operations = [vertex.operation for vertex in graph.vertices[1:]]
    is_path = all(vertex.parents == (vertex.index - 1,) for vertex in graph.vertices[1:])
    layers = [operation for operation in operations[::2] if isinstance(operation, Dense)]
    is_plain = len(layers) == len(operations[::2]) and all(isinstance(a, ReLU) for a in operations[1::2])
    if not (is_path and is_plain and len(operations) % 2 and len(graph.input_shape) == 1):
        return GraphNetwork(graph, output)
    biases = tuple(np.zeros(len(layer.weight)) if layer.bias is None else layer.bias for layer in layers)
    return Network(tuple(layer.weight for layer in layers), biases, output)


def as_inputs(network: AnyNetwork, X: Array) -> Array:
    """Return X as samples x input shape, or raise ValueError where it does not fit or is out of range.

    X may come flattened, samples x entries in C order. Single precision stays, but for a plain chain;
    everything else becomes float64.
    """
    X = np.asarray(X)
    if isinstance(network, Network) or X.dtype != np.float32:
        X = X.astype(np.float64, copy=False)
    shape = network.input_shape
    flat = (math.prod(shape),)
    if X.ndim == 0 or X.shape[1:] not in (shape, flat) or len(X) == 0:
        wanted = dict.fromkeys(" x ".join(map(str, ("samples", *fitting))) for fitting in (flat, shape))
        raise ValueError(f"X must be {' or '.join(wanted)}, at least one, got shape {X.shape}")
    check_magnitude("X", X)
    return X.reshape(len(X), *shape)


def as_targets(network: AnyNetwork, y: Array, n_samples: int) -> Array:
    """Return y as float64, samples x outputs (one output may come flat), or raise ValueError likewise."""
    y = np.asarray(y, dtype=np.float64)
    y = y[:, None] if y.ndim == 1 else y
    if y.shape != (n_samples, network.n_outputs):
        raise ValueError(f"the target must have shape {(n_samples, network.n_outputs)}, got {y.shape}")
    check_magnitude("y", y)
    return y


def check_samples(network: AnyNetwork, X: Array, y: Array) -> None:
    """Raise ValueError where samples with targets do not fit a network, or grow out of range in it.

    In a graph the sample with the largest entry is followed, without its target.
    """
    as_targets(network, y, len(as_inputs(network, X)))
    if isinstance(network, Network):
        check_reach(network, X, y)
        return
    largest = int(np.argmax(np.max(np.abs(X).reshape(len(X), -1), axis=1)))
    with np.errstate(over="ignore", invalid="ignore"):
        for step in forward(network.graph, as_inputs(network, X[largest : largest + 1])):
            if beyond(step.value) is not None:
                raise ValueError(
                    f"the values of {step.vertex.name} grow beyond {LARGEST:g} at sample {largest}: squares "
                    f"and products of such numbers overflow; {MEND}"
                )


def plain_chain(network: AnyNetwork, what: str) -> Network:
    """Return a network that is a plain chain as it is; ValueError says that `what` needs one."""
    if isinstance(network, Network):
        return network
    other = next(
        (v for v in network.graph.vertices if not isinstance(v.operation, Dense | ReLU | None)), None
    )
    why = "" if other is None else f"; this one has {other.name} ({type(other.operation).__name__})"
    raise ValueError(f"{what} needs a plain chain of dense layers and ReLUs{why}")
