"""All weights of a graph as one least-squares problem; see `sheafcli.core.training.least_squares`.

The row of J for a sample and a column of R is, operation by operation, the gradient of its value against the
pull G on it, G = J_v^T R that column's pull-back: for a dense layer G x^T, for a convolution G P^T, P what
its kernel sees, a column a place. J^T J is summed over blocks of samples; J J^T is the sum of a kernel for
each operation (`sheafcli.core.fault.kernel`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.fault.kernel import kernel
from sheafcli.core.graph import Graph
from sheafcli.core.operation import Designed, Learnable
from sheafcli.core.sweep import Stalks, linearize, pull_back
from sheafcli.core.training.least_squares import LeastSquares
from sheafcli.core.types import Array


class Piece(NamedTuple):
    """Some of the samples: what operations with parameters read, and the pulls, columns x samples x stalk."""

    block: slice
    inputs: Stalks
    pulls: Stalks


class GraphLeastSquares(LeastSquares):
    """That problem for the samples X of a graph, of the rows T df, T samples x columns x outputs.

    `w` are its parameters, packed in the order of its vertices; rho is samples x columns.
    """

    def __init__(self, graph: Graph, X: Array, T: Array, rho: Array, w: Array, decay: Array):
        self._graph, self._X, self._T = graph, X, np.swapaxes(T, 0, 1)
        self._learning = {
            vertex.index: cast(Learnable, vertex.operation)
            for vertex in graph.vertices
            if isinstance(vertex.operation, Learnable)
        }
        sizes = [sum(array.size for array in made.parameters.values()) for made in self._learning.values()]
        ends = np.cumsum([0, *sizes]).tolist()
        self._places = dict(zip(self._learning, map(slice, ends, ends[1:]), strict=False))
        entries = len(self._T) * max(len(w), sum(vertex.size for vertex in graph.vertices))
        # Fewer rows than unknowns are kept together; else the pieces are made anew where they are needed.
        self._whole = self._piece(slice(None)) if rho.size < len(w) else None
        self._blocks = list(blocks(len(X), entries))
        super().__init__(w, rho, decay)

    def transposed(self, u: Array) -> Array:
        """Return J^T u."""
        total: Array = np.zeros_like(self._decay)
        for piece in self._pieces():
            for v, operation in self._learning.items():
                pull = np.einsum("nc,cn...->n...", u[piece.block], piece.pulls[v])
                total[self._places[v]] += _flat(operation, piece.inputs[v], pull)
        return total

    def times(self, dw: Array) -> Array:
        """Return J dw, samples x columns."""
        moved = np.zeros_like(self._rho)
        for piece in self._pieces():
            for v, place in self._places.items():
                moved[piece.block] += (self._rows(piece, v) @ dw[place]).reshape(-1, len(self._T))
        return moved

    def largest(self) -> float:
        """Return the largest entry on the diagonal of J^T J."""
        diagonal = np.zeros_like(self._decay)
        for piece in self._pieces():
            for v, place in self._places.items():
                diagonal[place] += np.sum(self._rows(piece, v) ** 2, axis=0)
        return float(np.max(diagonal))

    def over_unknowns(self) -> Array:
        """Return J^T J."""
        total = np.zeros((len(self._decay), len(self._decay)))
        for piece in self._pieces():
            J = np.hstack([self._rows(piece, v) for v in self._learning])
            total += J.T @ J
        return total

    def over_rows(self, ratio: Array) -> Array:
        """Return J diag(ratio) J^T."""
        total = np.zeros((self._rho.size, self._rho.size))
        for piece in self._pieces():
            for v, operation in self._learning.items():
                of_weight, of_bias = ratio[self._places[v].start], ratio[self._places[v].stop - 1]
                total += of_bias * kernel(operation, piece.inputs[v], piece.pulls[v])
                if of_weight != of_bias:
                    bare = cast(Learnable, replace(cast(Any, operation), bias=None))
                    total += (of_weight - of_bias) * kernel(bare, piece.inputs[v], piece.pulls[v])
        return total

    def _pieces(self) -> Iterator[Piece]:
        if self._whole is not None:
            yield self._whole
            return
        yield from map(self._piece, self._blocks)

    def _piece(self, block: slice) -> Piece:
        at = linearize(self._graph, self._X[block], keep=self._learning)
        sources = {self._graph.output.index: self._T[:, block]}
        walk = pull_back(at, sources, down_to=min(self._learning))
        return Piece(block, at.inputs, {v.index: w for v, w in walk if v.index in self._learning})

    def _rows(self, piece: Piece, v: int) -> Array:
        """Return the columns of J that are one operation's, a row a sample and column of R."""
        operation, x, G = self._learning[v], piece.inputs[v], piece.pulls[v]
        if not isinstance(operation, Designed):
            pairs = ((i, pull) for i in range(len(x)) for pull in G[:, i])
            return np.stack([_flat(operation, x[i : i + 1], pull[np.newaxis]) for i, pull in pairs])
        pulls = np.swapaxes(operation.by_group(G), 0, 1)
        seen = np.swapaxes(operation.design(x), 2, 3)[:, np.newaxis]
        parts = {"weight": np.matmul(pulls, seen), "bias": pulls.sum(axis=-1)}
        size = len(x) * len(G)
        return np.hstack([parts[name].reshape(size, -1) for name in operation.parameters])


def _flat(operation: Learnable, x: Array, v: Array) -> Array:
    """Return the gradient of sum(v * g(x)), packed."""
    gradient = operation.gradient(x, v)
    return np.concatenate([gradient[name].ravel() for name in operation.parameters])
