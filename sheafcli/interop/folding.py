"""Batch normalisations and scales folded into the layers beside them: the same function with fewer edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sheafcli.core.graph import INPUT, Graph, Node
from sheafcli.core.operations import BatchNormalization, Convolution, Dense, Scale
from sheafcli.core.types import Array

Layer = Dense | Convolution
# A factor and an offset, one number for each output or input of a layer.
Affine = tuple[Array, Array]


def folded(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Return a graph without the batch normalisations and scales that fit into a layer, and their names.

    With W x + b before it, s (W x + b) + t is (s W) x + (s b + t); with W behind it, W (s x + t) + b is
    (W s) x + (W t + b). The layer before comes first. A convolution with padding takes no offset from before
    it, as the zeros that it imagines would be shifted too.
    """
    names: list[str] = []
    while True:
        found = next(_foldable(graph), None)
        if found is None:
            return graph, tuple(names)
        scale, layer, changed = found
        names.append(scale.name)
        source = scale.parents[0]
        nodes = []
        for node in graph.nodes:
            if node is not scale:
                parents = tuple(source if name == scale.name else name for name in node.parents)
                nodes.append(Node(node.name, changed if node is layer else node.operation, parents))
        graph = Graph(graph.input_shape, tuple(nodes))


def _foldable(graph: Graph) -> Iterator[tuple[Node, Node, Layer]]:
    """Yield scales with the layer that can take them, and what that is then."""
    nodes = {node.name: node for node in graph.nodes}
    vertices = {vertex.name: vertex for vertex in graph.vertices}
    for node in graph.nodes:
        if not isinstance(node.operation, Scale | BatchNormalization):
            continue
        before = node.parents[0]
        if before != INPUT and len(graph.readers[vertices[before].index]) == 1:
            layer = nodes[before]
            if isinstance(layer.operation, Layer):
                affine = _by_feature(node.operation, layer.operation, vertices[before].shape)
                if affine is not None:
                    yield node, layer, _behind(layer.operation, affine)
        index = vertices[node.name].index
        readers = [graph.vertices[reader] for reader in graph.readers.get(index, ())]
        if len(readers) == 1 and isinstance(readers[0].operation, Layer):
            layer = nodes[readers[0].name]
            assert isinstance(layer.operation, Layer)
            affine = _by_feature(node.operation, layer.operation, vertices[node.name].shape)
            padded = isinstance(layer.operation, Convolution) and np.any(layer.operation.windows.padding)
            if affine is not None and not (padded and np.any(affine[1])):
                yield node, layer, _before(layer.operation, affine)


def _by_feature(operation: Scale | BatchNormalization, layer: Layer, shape: tuple[int, ...]) -> Affine | None:
    """Return a factor and an offset for each feature or channel beside a layer, if they are that."""
    if isinstance(operation, BatchNormalization):
        if isinstance(layer, Dense) and len(shape) > 1:
            return None
        factor = operation.factor / np.sqrt(operation.variance + operation.epsilon)
        return factor, operation.offset - operation.mean * factor
    axis = len(shape) - 1 if isinstance(layer, Dense) else 0
    parts = []
    for array, default in ((operation.factor, 1.0), (operation.offset, 0.0)):
        whole = np.full((), default) if array is None else array
        lengths = (1,) * (len(shape) - whole.ndim) + whole.shape
        if any(n != 1 for i, n in enumerate(lengths) if i != axis):
            return None
        parts.append(np.array(np.broadcast_to(whole.reshape(-1), (shape[axis],))))
    return parts[0], parts[1]


def _behind(layer: Layer, affine: Affine) -> Layer:
    """Return s (W x + b) + t as one layer."""
    factor, offset = affine
    by_output = factor.reshape(-1, *(1,) * (layer.weight.ndim - 1))
    bias = offset if layer.bias is None else factor * layer.bias + offset
    return replace(layer, weight=layer.weight * by_output, bias=bias)


def _before(layer: Layer, affine: Affine) -> Layer:
    """Return W (s x + t) + b as one layer."""
    factor, offset = affine
    weight = layer.weight
    if isinstance(layer, Dense):
        changed, moved = weight * factor, weight @ offset
    else:
        # Outputs x channels a group: every group reads its own channels.
        by_group = (layer.groups, weight.shape[1])
        repeats = len(weight) // layer.groups
        factors, offsets = (np.repeat(a.reshape(by_group), repeats, axis=0) for a in (factor, offset))
        changed = weight * factors.reshape(*factors.shape, *(1,) * (weight.ndim - 2))
        moved = np.sum(weight.reshape(*weight.shape[:2], -1).sum(axis=2) * offsets, axis=1)
    bias = moved if layer.bias is None else layer.bias + moved
    return replace(layer, weight=changed, bias=bias)
