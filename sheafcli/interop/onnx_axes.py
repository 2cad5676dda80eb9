"""ONNX operators that move entries about: shapes, the order of axes, parts of values and their assembly."""

from __future__ import annotations

import math

import numpy as np

from sheafcli.core.operations import Concatenate, Flatten, Slice, Transpose, Upsample
from sheafcli.interop.onnx_constants import FREE_ENTRIES
from sheafcli.interop.onnx_draft import Made, Piece, Site
from sheafcli.interop.onnx_draft import stalk as stalk_of
from sheafcli.interop.onnx_shapes import in_range, permutation, whole_numbers
from sheafcli.interop.onnx_sizes import SAMPLES, Shape

MOST_RUNS = 64
"""So many runs of neighbouring entries a Gather may put together."""


def passed(at: Site) -> Made:
    """Return the values as they are."""
    return at.piece()


def dropout(at: Site) -> Made:
    """Return the values as they are, as inference does."""
    if at.node.has_input(2) and (not at.is_constant(2) or np.any(at.constant(2))):
        raise ValueError(f"{at.node.label} is in training mode; export the model after model.eval()")
    return at.piece()


def cast(at: Site) -> Made:
    """Return the values as they are, in a float type or, before any computation, as whole numbers."""
    kind, types = at.node.integer("to", 0), at.draft.types
    if kind in types.floats:
        at.draft.note_precision(kind)
    elif not (at.node.inputs[0] in at.draft.whole_numbers and kind in types.wide_integers):
        raise ValueError(f"{at.node.label} makes numbers that are no floats; a network is made of floats")
    return at.piece()


def reshaped(at: Site) -> Made:
    """Return the same entries in the shape that the rules say."""
    shape, x = stalk_of(at.made, at.draft.sizes), at.piece()
    if len(shape) == 1 and len(x.shape) > 1:
        return at.make(Flatten(), x)
    return at.shaped(x, shape)


def transposed(at: Site) -> Made:
    """Return the axes of a sample in another order, where it is another."""
    full, x = at.full(), at.piece()
    samples = at.samples_axis(full)
    order = [axis for axis in permutation(at.node, len(full)) if axis != samples]
    places = [axis - (samples is not None and axis > samples) - len(x.shape) for axis in order]
    if places == sorted(places):
        return x
    moved = [axis for axis in places if x.shape[axis] != 1]
    if moved == sorted(moved):  # only axes of length 1 change places
        return at.shaped(x, tuple(x.shape[axis] for axis in places))
    return at.make(Transpose(tuple(places)), x)


def sliced(at: Site) -> Made:
    """Return some of the entries along some axes."""
    node, full, x = at.node, at.full(), at.piece()
    if at.opset < 10:
        starts, ends, axes = ([int(n) for n in node.numbers(name)] for name in ("starts", "ends", "axes"))
        steps = [1] * len(starts)
    else:
        starts, ends = (list(whole_numbers(node, at.constant(slot))) for slot in (1, 2))
        axes = list(whole_numbers(node, at.constant(3))) if node.has_input(3) else []
        steps = list(whole_numbers(node, at.constant(4))) if node.has_input(4) else [1] * len(starts)
    axes = axes or list(range(len(starts)))
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ValueError(f"{node.label} has starts, ends, axes and steps of other lengths, or a step of 0")
    parts = [slice(None)] * len(x.shape)
    after = list(full)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = in_range(node, axis, len(full))
        if at.draft.sizes.holds_samples(full[place]) and start == 0 and step == 1 and end >= 2**31 - 1:
            continue
        own = at.axis(place)
        n = x.shape[own]
        # Beyond the first entry, backwards, there is no number for the end.
        part = slice(start, None if step < 0 and end < -n else end, step)
        parts[own], after[place] = part, len(range(n)[part])
    return _part(at, x, parts), tuple(after)


def split(at: Site) -> Made:
    """Return parts one after the other along an axis."""
    node, full, x = at.node, at.full(), at.piece()
    place = in_range(node, node.integer("axis", 0), len(full))
    own = at.axis(place)
    n = x.shape[own]
    if at.opset < 13:
        lengths = [int(length) for length in node.numbers("split")]
    else:
        lengths = list(whole_numbers(node, at.constant(1))) if node.has_input(1) else []
    if not lengths:
        each = math.ceil(n / len(node.outputs))
        lengths = [each] * (len(node.outputs) - 1)
        lengths.append(n - sum(lengths))
    if sum(lengths) != n or min(lengths) < 1 or len(lengths) != len(node.outputs):
        raise ValueError(f"{node.label} splits {n} entries into {lengths}")
    made, begin = list[tuple[Piece, Shape]](), 0
    for length in lengths:
        parts = [slice(None)] * len(x.shape)
        parts[own] = slice(begin, begin + length)
        made.append((_part(at, x, parts), (*full[:place], length, *full[place + 1 :])))
        begin += length
    return made


def gathered(at: Site) -> Made:
    """Return the entries at constant places along an axis."""
    node, full = at.node, at.full()
    place = in_range(node, node.integer("axis", 0), len(full))
    if at.is_constant(0) or not at.is_constant(1):
        raise ValueError(f"{node.label} looks entries up by what the network computes; no operation does")
    index, own, x = at.constant(1), at.axis(place), at.piece()
    n = x.shape[own]
    if index.dtype.kind not in "iu" or index.ndim > 1 or np.any(index < -n) or np.any(index >= n):
        raise ValueError(f"{node.label} must take a row of whole numbers below {n}, got shape {index.shape}")
    runs = _runs([int(i) % n for i in index.ravel()])
    if len(runs) > MOST_RUNS:
        raise ValueError(f"{node.label} puts {len(runs)} parts together; at most {MOST_RUNS} are read")
    taken = []
    for run in runs:
        parts = [slice(None)] * len(x.shape)
        parts[own] = run
        taken.append(_part(at, x, parts))
    y = taken[0] if len(taken) == 1 else at.make(Concatenate(own), *taken)
    if index.ndim == 1:
        return y, (*full[:place], index.size, *full[place + 1 :])
    left = tuple(m for axis, m in zip(range(-len(y.shape), 0), y.shape, strict=True) if axis != own)
    return at.shaped(y, left), (*full[:place], *full[place + 1 :])


def _runs(places: list[int]) -> list[slice]:
    """Return places as parts of an axis, each with one step."""
    runs = list[slice]()
    begin = 0
    while begin < len(places):
        step = places[begin + 1] - places[begin] if begin + 1 < len(places) else 1
        end = begin + 1
        while step and end < len(places) and places[end] - places[end - 1] == step:
            end += 1
        first, last = places[begin], places[end - 1]
        step = step if end - begin > 1 else 1
        stop: int | None = last + (1 if step > 0 else -1)
        runs.append(slice(first, None if stop == -1 else stop, step))
        begin = end
    return runs


def _part(at: Site, x: Piece, parts: list[slice]) -> Piece:
    """Return a slice of a value, itself if that is all of it."""
    if all(range(n)[part] == range(n) for n, part in zip(x.shape, parts, strict=True)):
        return x
    return at.make(Slice(tuple(parts)), x)


def concatenated(at: Site) -> Made:
    """Return values side by side along an axis."""
    node, slots = at.node, range(len(at.node.inputs))
    varying = [slot for slot in slots if not at.is_constant(slot)]
    full = at.full(varying[0])
    samples = at.samples_axis(full)
    place = in_range(node, node.integer("axis", 0), len(full))
    own = at.axis(place, varying[0])
    pieces = [at.aligned(slot, len(full), samples) for slot in slots]
    y = pieces[0] if len(pieces) == 1 else at.make(Concatenate(own), *pieces)
    return y, (*full[:place], y.shape[own], *full[place + 1 :])


def expanded(at: Site) -> Made:
    """Return values repeated along axes of length 1; a constant, once for every sample."""
    node = at.node
    target = whole_numbers(node, at.constant(1))
    full = at.full()
    rank = max(len(target), len(full))
    target, full = (1,) * (rank - len(target)) + target, (1,) * (rank - len(full)) + full
    if at.is_constant(0):
        samples = target.index(SAMPLES) if SAMPLES in target else None
        array = at.beside(0, rank, samples)
        shape = stalk_of(target, at.draft.sizes)
        if math.prod(shape) > FREE_ENTRIES:
            raise ValueError(f"{node.label} repeats a constant to {math.prod(shape):,} numbers, too many")
        whole = np.broadcast_to(array, np.broadcast_shapes(array.shape, shape))
        return at.fixed(np.array(whole)), (
            whole.shape if samples is None else (*whole.shape[:samples], SAMPLES, *whole.shape[samples:])
        )
    samples = at.samples_axis(full)
    x = at.aligned(0, rank, samples)
    after = tuple(n if t == 1 else t for n, t in zip(full, target, strict=True))
    if any(n not in (1, m) for n, m in zip(full, after, strict=True)):
        raise ValueError(f"{node.label} repeats values of {full} to {target}, which does not fit")
    return _repeated(at, x, stalk_of(after, at.draft.sizes)), after


def tiled(at: Site) -> Made:
    """Return values repeated along axes of length 1."""
    node, full, x = at.node, at.full(), at.piece()
    repeats = whole_numbers(node, at.constant(1))
    if len(repeats) != len(full) or any(r != 1 and n != 1 for n, r in zip(full, repeats, strict=True)):
        raise ValueError(f"{node.label} repeats whole values; axes of length 1 may be repeated")
    after = tuple(n * r for n, r in zip(full, repeats, strict=True))
    return _repeated(at, x, stalk_of(after, at.draft.sizes)), after


def _repeated(at: Site, x: Piece, shape: Shape) -> Piece:
    if x.shape == shape:
        return x
    return at.make(Upsample(tuple(m // n for n, m in zip(x.shape, shape, strict=True))), x)
