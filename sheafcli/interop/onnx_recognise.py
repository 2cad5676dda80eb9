"""Operations that exporters have taken apart, put together again.

Of an activation, such as x * (1 + Erf(x / 1.414)) / 2, what counts is what it computes: all vertices between
two values that work entry by entry, with one number for all entries, are one function of one number. If that
agrees with a known activation wherever it is tried, it is replaced by that. Layer normalisation is known by
its form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sheafcli.core.operation import Operation
from sheafcli.core.operations import (
    GELU,
    Add,
    Clip,
    Convolution,
    Dense,
    HardSigmoid,
    HardSwish,
    LayerNormalization,
    Mean,
    Multiply,
    Scale,
    Sigmoid,
    SiLU,
    Softplus,
    Subtract,
    TanhGELU,
)
from sheafcli.core.operations.pointwise import Pointwise
from sheafcli.core.types import Array, Shape
from sheafcli.interop.onnx_draft import Piece
from sheafcli.interop.onnx_parts import Quotient, Unary

LOGARITHM = "Log"
"""What a logarithm is called, which may stand behind a softmax at the end."""

ACTIVATIONS: tuple[Operation, ...] = (
    *(GELU(), TanhGELU(), SiLU(), HardSwish(), HardSigmoid(), HardSigmoid(0.2), Clip(0.0, 6.0)),
    *(Sigmoid(), Softplus()),
)
"""What a function of one number may turn out to be."""

TRIED = np.concatenate([np.linspace(-9.0, 9.0, 2003), np.array([-3.0, 0.0, 3.0, 6.0, -30.0, 30.0])])
"""Where it is tried: no place but the last is a kink of one of them by chance."""

MOST = 12
"""So many vertices may be one activation."""


def recognise(pieces: Sequence[Piece]) -> None:
    """Replace, in place, vertices that are one operation together; the others are no longer read."""
    readers = _readers(pieces)
    for piece in reversed(pieces):
        for rule in (_activation, _layer_normalization):
            changed = rule(piece, readers)
            if changed is not None:
                piece.operation, piece.parents = changed
                readers = _readers(reachable(pieces[-1]))
                break
    for piece in pieces:
        _absorb(piece, readers)


def reachable(last: Piece) -> list[Piece]:
    """Return the vertices that one depends on, in order."""
    seen, pending = {last}, [last]
    while pending:
        for parent in pending.pop().parents:
            if parent not in seen:
                seen.add(parent)
                pending.append(parent)
    return sorted(seen, key=lambda piece: piece.place)


def _readers(pieces: Iterable[Piece]) -> dict[Piece, list[Piece]]:
    readers: dict[Piece, list[Piece]] = {}
    for piece in pieces:
        for parent in dict.fromkeys(piece.parents):
            readers.setdefault(parent, []).append(piece)
    return readers


Changed = tuple[Operation, tuple[Piece, ...]]


def _activation(last: Piece, readers: dict[Piece, list[Piece]]) -> Changed | None:
    """Return the activation that ends in a vertex, and what it reads, if it is one of several vertices."""
    inner, pending = [last], [last]
    while pending and len(inner) <= MOST:
        piece = pending.pop()
        if not _is_entrywise(piece):
            inner.remove(piece)
            continue
        for parent in piece.parents:
            if parent not in inner:
                inner.append(parent)
                pending.append(parent)
    if last not in inner:
        return None
    sources = {parent for piece in inner for parent in piece.parents}
    for source in sorted(sources, key=lambda piece: piece.place):
        region = _between(last, source, readers)
        if region is not None and len(region) > 1:
            with np.errstate(all="ignore"):
                values = _tried(region, source)
            for known in ACTIVATIONS:
                if np.allclose(values, known.forward(TRIED), rtol=1e-6, atol=1e-6):
                    return known, (source,)
    return None


def _is_entrywise(piece: Piece) -> bool:
    """Return whether a vertex does the same to each entry, whatever its place."""
    if isinstance(piece.operation, Scale):
        return all(array.size == 1 for array in piece.operation.parameters.values())
    if isinstance(piece.operation, Add | Subtract | Multiply | Quotient):
        return all(parent.shape == piece.shape for parent in piece.parents)
    return isinstance(piece.operation, Unary | Pointwise) and getattr(piece.operation, "below", None) is None


def _between(last: Piece, source: Piece, readers: dict[Piece, list[Piece]]) -> list[Piece] | None:
    """Return the vertices from a source to the last, if all are entry by entry and none is read elsewhere."""
    region, pending = {last}, [last]
    while pending:
        piece = pending.pop()
        if not _is_entrywise(piece) or len(region) > MOST:
            return None
        for parent in piece.parents:
            if parent is not source and parent not in region:
                region.add(parent)
                pending.append(parent)
    if any(reader not in region for piece in region - {last} for reader in readers.get(piece, ())):
        return None
    return sorted(region, key=lambda piece: piece.place)


def _tried(region: Sequence[Piece], source: Piece) -> Array:
    """Return the values of a region's last vertex where its source has those of TRIED."""
    values = {source: TRIED}
    for piece in region:
        operation = piece.operation
        if isinstance(operation, Scale):
            factor, offset = (
                default if array is None else float(array.reshape(()))
                for array, default in ((operation.factor, 1.0), (operation.offset, 0.0))
            )
            values[piece] = factor * values[piece.parents[0]] + offset
        else:
            assert operation is not None
            values[piece] = operation.forward(*(values[parent] for parent in piece.parents))  # type: ignore[union-attr]
    return values[region[-1]]


def _layer_normalization(last: Piece, readers: dict[Piece, list[Piece]]) -> Changed | None:
    """Return layer normalisation as it is taken apart: d / sqrt(mean(d d) + epsilon), d = x - mean(x)."""
    parts = _inverse_root(last)
    if parts is None:
        return None
    centred, root = parts
    shift = root.parents[0].operation
    epsilon = shift.offset if isinstance(shift, Scale) and shift.factor is None else None
    square = _mean_of(root.parents[0].parents[0]) if epsilon is not None and epsilon.size == 1 else None
    if square is None or not isinstance(square[0].operation, Multiply) or set(square[0].parents) != {centred}:
        return None
    mean = _mean_of(centred.parents[1]) if isinstance(centred.operation, Subtract) else None
    axes = sorted(square[1])
    if mean is None or mean != (centred.parents[0], square[1]) or axes != list(range(-len(axes), 0)):
        return None
    assert epsilon is not None
    x = centred.parents[0]
    ones = np.ones(x.shape[len(x.shape) - len(axes) :])
    return LayerNormalization(ones, None, float(epsilon.reshape(()))), (x,)


def _mean_of(piece: Piece) -> tuple[Piece, frozenset[int]] | None:
    """Return what a vertex is the mean of, and along which axes."""
    if not isinstance(piece.operation, Mean):
        return None
    return piece.parents[0], frozenset(piece.operation.axes)


def _inverse_root(last: Piece) -> tuple[Piece, Piece] | None:
    """Return d and the vertex sqrt(v), of d / sqrt(v) or d * (1 / sqrt(v))."""
    if isinstance(last.operation, Quotient):
        d, root = last.parents
        return (d, root) if _is_unary(root, "Sqrt", "x^0.5") else None
    if isinstance(last.operation, Multiply):
        for d, inverse in (last.parents, last.parents[::-1]):
            if _is_unary(inverse, "x^-0.5"):
                return d, inverse
            if _is_unary(inverse, "Reciprocal", "1 / x") and _is_unary(inverse.parents[0], "Sqrt", "x^0.5"):
                return d, inverse.parents[0]
    return None


def _is_unary(piece: Piece, *names: str) -> bool:
    return isinstance(piece.operation, Unary) and piece.operation.name in names


def _absorb(piece: Piece, readers: dict[Piece, list[Piece]]) -> None:
    """Take the offset behind a layer without bias as that, and a scale behind a normalisation likewise."""
    if not isinstance(piece.operation, Scale) or len(piece.parents) != 1:
        return
    before, scale = piece.parents[0], piece.operation
    if len(readers.get(before, ())) > 1:
        return
    made = before.operation
    if isinstance(made, Dense | Convolution) and made.bias is None and scale.factor is None:
        assert scale.offset is not None
        bias = _by_output(scale.offset, before, len(made.weight))
        if bias is not None:
            weight = made.weight
            piece.operation = (
                Dense(weight, bias)
                if isinstance(made, Dense)
                else Convolution(weight, bias, made.stride, made.padding, made.dilation, made.groups)
            )
            piece.parents, piece.node = before.parents, before.node
    elif isinstance(made, LayerNormalization) and made.offset is None and _is_plain(made, scale):
        shape = made.factor.shape
        parts = [
            None if array is None else np.broadcast_to(array.reshape(_last(array.shape, len(shape))), shape)
            for array in (scale.factor, scale.offset)
        ]
        factor = made.factor if parts[0] is None else made.factor * parts[0]
        piece.operation = LayerNormalization(factor, parts[1], made.epsilon)
        piece.parents, piece.node = before.parents, before.node


def _is_plain(made: LayerNormalization, scale: Scale) -> bool:
    """Return whether a scale has one number, or one for each entry that is normalised together."""
    inner = made.factor.ndim
    return all(all(n == 1 for n in array.shape[:-inner]) for array in scale.parameters.values())


def _last(shape: Shape, axes: int) -> Shape:
    return shape[-axes:] if len(shape) >= axes else shape


def _by_output(offset: Array, before: Piece, outputs: int) -> Array | None:
    """Return an offset as one number an output of a layer; None if it is more than that."""
    axis = -1 if isinstance(before.operation, Dense) else -len(before.shape)
    shape = (1,) * (len(before.shape) - offset.ndim) + offset.shape
    if any(n != 1 for i, n in zip(range(-len(shape), 0), shape, strict=True) if i != axis):
        return None
    return np.array(np.broadcast_to(offset.reshape(-1), (outputs,)))
