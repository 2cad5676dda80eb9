"""Linear maps as matrices, column by column from unit vectors: oracles for the walks."""

import numpy as np
import scipy.sparse as sp

# So many unit vectors go through a map at once.
CHUNK = 256


def matrices_of(restriction, parents, samples, sample):
    """Return A_p of one of so many samples for every parent of these shapes, own stalk x parent's, sparse."""
    return tuple(_columns(restriction, parents, samples, sample, p) for p in range(len(parents)))


def _columns(restriction, parents, samples, sample, p):
    size = int(np.prod(parents[p], dtype=int))
    columns = []
    for first in range(0, size, CHUNK):
        units = np.eye(min(CHUNK, size - first), size, k=first)
        dx = [np.zeros((len(units), samples, *shape)) for shape in parents]
        dx[p][:, sample] = units.reshape(len(units), *parents[p])
        moved = restriction.jvp(*dx)[:, sample]
        columns.append(sp.csr_array(moved.reshape(len(units), -1).T))
    return sp.csr_array(sp.hstack(columns))


def assemble(at, sample):
    """Return delta_Omega of one sample, edges x free coordinates, both laid out as `graph.places` says."""
    graph = at.graph
    n = graph.dimension
    # Every vertex as a matrix on the free coordinates: a head is a part of the identity.
    parts, rows = {}, []
    for vertex in graph.vertices:
        restriction = at.restrictions[vertex.index]
        parts[vertex.index] = sp.csr_array((vertex.size, n))
        if restriction is None:
            continue
        shapes = [graph.vertices[parent].shape for parent in vertex.parents]
        maps = matrices_of(restriction, shapes, len(at.output), sample)
        for parent, matrix in zip(vertex.parents, maps, strict=True):
            parts[vertex.index] = parts[vertex.index] + matrix @ parts[parent]
        if vertex.edge is not None:
            own = sp.csr_array(sp.eye_array(vertex.size, n, k=graph.places[vertex.index].start))
            rows.append(parts[vertex.index] - own)
            parts[vertex.index] = own
    return sp.csr_array(sp.vstack(rows))
