"""What an implicit step costs, before it is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sheafcli.core.chain.network import Network
from sheafcli.core.network import AnyNetwork
from sheafcli.core.operation import Designed, Learnable


@dataclass(frozen=True)
class Cost:
    """What a step costs: its unknowns and rows, multiplications, and bytes held."""

    unknowns: int
    rows: int
    operations: float
    bytes: float

    @classmethod
    def of(cls, network: AnyNetwork, n_samples: int) -> Cost:
        """Return the cost for a network and so many samples."""
        columns = network.n_outputs - (network.output.name == "softmax")
        rows, unknowns, stalks = n_samples * columns, 0, math.prod(network.input_shape)
        # A product of two rows of J; the pairs of neurons that a chain sums over the columns of a sample.
        product, pairs = 0.0, 0.0
        for vertex in network.graph.vertices:
            if not isinstance(vertex.operation, Learnable):
                continue
            size = sum(array.size for array in vertex.operation.parameters.values())
            unknowns, stalks, together = unknowns + size, stalks + vertex.size, float(size)
            if isinstance(vertex.operation, Designed):
                weight = vertex.operation.parameters["weight"]
                if vertex.size == len(weight):  # in one place: the product of two Gram matrices
                    together = len(weight) + math.prod(weight.shape[1:])
            product, pairs = product + together, pairs + vertex.size
        if rows < unknowns:
            return cls(
                unknowns, rows, rows**2 * (2.0 * product + rows / 3.0), 8.0 * rows * (3.0 * rows + 2 * stalks)
            )
        over_unknowns = float(rows) * unknowns**2
        if isinstance(network, Network):
            over_unknowns = min(over_unknowns, n_samples * (float(unknowns) ** 2 + columns * pairs**2))
        held = 3.0 * unknowns**2 + n_samples * stalks * (4 + 2 * columns)
        return cls(unknowns, rows, over_unknowns + unknowns**3 / 3.0, 8.0 * held)
