"""What kind of difference an operation has: the simplest change of it that explains what the other run has.

Every kind is a value c that the changed operation would have. It explains 1 - |c - x^B|^2 / |r|^2 of the
local difference r = g(x^B_pa) - x^B, squares summed over samples and entries. The first of the list that
explains EXPLAINED, or leaves no more than rounding, is told, from the most particular to the most general:

    missing       c is the operation's own input
    transposed, flipped, permuted   c has the weights so (rows, or channels of the input, matched one to one)
    rounded       c has the weights in 8 bits, float16 or bfloat16, or weights and input in 8 bits
    epsilon       c has another epsilon, the one that fits best
    one weight    r is one column of the design in one channel
    saturated     c is g cut at the least and the largest of x^B
    bias, gain    c is g + b, s g, or s g + b, of the whole or channel by channel
    one channel   r is zero in all other channels
    coarse        x^B has at most 256 values, or is in a format coarser than the rest of that run
    weights       c has the weights that fit best, where there are rows enough to say so
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy

from sheafcli.core.difference import LocalDifference
from sheafcli.core.operations import BatchNormalization, Convolution, Dense, LayerNormalization
from sheafcli.core.rounding import LEVELS, PRECISIONS, Precision, lies_in
from sheafcli.core.types import Array

EXPLAINED = 0.95
SURE = 0.99
"""What a change of the weights as a whole must explain."""
LEAST_SAMPLES = 2
MOST_COLUMNS, MOST_ROWS = 1024, 4096
"""Least squares are solved for at most so many weights of an output, from at most so many rows."""
COARSE = ("int8", "bfloat16", "float16")
EIGHT = "8 bits"


class Kind(NamedTuple):
    """A kind of difference in one word, how it reads in a sentence, and the share of r^2 it explains."""

    name: str
    sentence: str
    explained: float


UNCLEAR = Kind("unclear", "what kind of difference it is cannot be told", 0.0)


def kind_of(local: LocalDifference, precision: Precision) -> Kind:
    """Return the kind of a local difference; one sample is too few to tell most kinds apart."""
    size = float(np.sum(local.residual**2))
    if size == 0.0:
        return Kind("none", "it computes the same", 1.0)
    for name, sentence, value, needed in _candidates(local):
        left = value - local.recorded
        explained = 1.0 - float(np.sum(left**2)) / size
        if explained >= needed or local.rounding.times(left) <= local.rounding.factor:
            return Kind(name, sentence, explained)
    for coarse in COARSE:
        finer = PRECISIONS[coarse].unit > precision.unit or coarse == "int8"
        if finer and precision.name != coarse and lies_in(local.recorded, PRECISIONS[coarse]):
            what = "has at most 256 values, as of 8 bits" if coarse == "int8" else f"is in {coarse}"
            return Kind("coarse", f"its value {what}", 1.0)
    return UNCLEAR


Candidate = tuple[str, str, Array, float]


def _candidates(local: LocalDifference) -> Iterator[Candidate]:
    operation, made, recorded = local.vertex.operation, local.made, local.recorded
    for x in local.parents:
        if x.shape == made.shape:
            yield "missing", "it looks left out: its value is its input", x, SURE
    if len(made) < LEAST_SAMPLES and made[0].size < 2 * LEAST_SAMPLES:
        return
    if isinstance(operation, Dense | Convolution):
        yield from _other_weights(local, operation)
    if isinstance(operation, BatchNormalization | LayerNormalization):
        yield _other_epsilon(local, operation)
    low, high = float(np.min(recorded)), float(np.max(recorded))
    if np.any(made > high) or np.any(made < low):
        sentence = f"it looks saturated, cut at {low:.3g} and {high:.3g}"
        yield "saturated", sentence, np.clip(made, low, high), SURE
    if len(made) < LEAST_SAMPLES:
        return
    yield from _affine(local)
    g, r = _by_channel(local, made), _by_channel(local, local.residual)
    worst = int(np.argmax(np.sum(r**2, axis=1)))
    if len(r) > 1:
        alone = g.copy()
        alone[worst] -= r[worst]
        yield "one channel", f"it differs in channel {worst} alone", _back(local, alone), SURE
    if isinstance(operation, Dense | Convolution):
        yield from _fitted(local, operation)


def _other_weights(local: LocalDifference, operation: Dense | Convolution) -> Iterator[Candidate]:
    """Yield the values with the weights transposed, flipped, permuted and rounded; and with one changed."""
    W, (x,) = operation.weight, local.parents
    if operation.bias is not None:
        yield "bias", "its bias looks left out", replace(operation, bias=None).forward(x), SURE

    def candidate(name: str, sentence: str, weight: Array) -> Candidate:
        return name, sentence, replace(operation, weight=weight).forward(x), SURE

    if W.shape[0] == W.shape[1]:
        yield candidate("transposed", "its weights look transposed", np.swapaxes(W, 0, 1))
    if W.ndim > 3 and W.shape[-1] == W.shape[-2]:
        yield candidate("transposed", "its kernel looks transposed", np.swapaxes(W, -1, -2))
    if W.ndim > 2:
        flipped = np.flip(W, axis=tuple(range(2, W.ndim)))
        yield candidate("flipped", "its kernel looks turned round", flipped)
    inside = _on_steps(x)
    for name, weight in _rounded(W):
        yield candidate("rounded", f"its weights look rounded to {name}", weight)
        if name == EIGHT:
            value = replace(operation, weight=weight).forward(inside)
            yield "rounded", f"its weights and what it reads look rounded to {name}", value, SURE
    yield from _permuted(local, operation)
    yield from _one_weight(local, operation)


def _permuted(local: LocalDifference, operation: Dense | Convolution) -> Iterator[Candidate]:
    """Yield the value with its channels in the order that fits best, with their biases or without."""
    g, b = _by_channel(local, local.made), _by_channel(local, local.recorded)
    offsets = np.zeros((len(g), 1)) if operation.bias is None else operation.bias[:, None]
    fits = []
    for moved, what in (
        (offsets, "the rows of its weights look permuted"),
        (0.0, "its outputs look permuted"),
    ):
        rows, other = g - moved, b - moved
        distances = np.sum(other**2, axis=1)[:, None] - 2.0 * other @ rows.T + np.sum(rows**2, axis=1)
        _, order = scipy.optimize.linear_sum_assignment(distances)
        if np.any(order != np.arange(len(order))):
            value = rows[order] + moved
            fits.append((float(np.sum((value - b) ** 2)), what, value))
    for _, what, value in sorted(fits, key=lambda fit: fit[0]):
        yield "permuted", what, _back(local, value), SURE


def _on_steps(x: Array) -> Array:
    """Return values rounded to the 256 steps from the least to the largest, with 0 among them."""
    low, high = min(float(np.min(x)), 0.0), max(float(np.max(x)), 0.0)
    step = (high - low) / (LEVELS - 1) or 1.0
    zero = np.rint(-low / step)
    return np.asarray((np.clip(np.rint(x / step) + zero, 0, LEVELS - 1) - zero) * step)


def _rounded(W: Array) -> Iterator[tuple[str, Array]]:
    """Yield weights in formats of fewer bits: integers by one scale, or one an output; short floats."""
    single = W.astype(np.float32)
    bits = single.view(np.uint32)
    short = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    yield "bfloat16", short.view(np.float32).astype(np.float64)
    with np.errstate(over="ignore"):
        half = single.astype(np.float16).astype(np.float64)
    if np.isfinite(half).all():
        yield "float16", half
    for axes in (None, tuple(range(1, W.ndim))):
        step = np.maximum(np.max(np.abs(W), axis=axes, keepdims=True), np.finfo(np.float64).tiny) / 127.0
        yield EIGHT, np.rint(W / step) * step


def _one_weight(local: LocalDifference, operation: Dense | Convolution) -> Iterator[Candidate]:
    r = _by_channel(local, local.residual)
    worst = int(np.argmax(np.sum(r**2, axis=1)))
    groups = operation.groups if isinstance(operation, Convolution) else 1
    group = worst // (len(operation.weight) // groups)
    design = operation.design(local.parents[0])[:, group]
    columns = np.moveaxis(design, 1, 0).reshape(design.shape[1], -1)
    norms = np.sum(columns**2, axis=1)
    along = columns @ r[worst]
    gains = np.divide(along**2, norms, out=np.zeros_like(norms), where=norms > 0.0)
    best = int(np.argmax(gains))
    if norms[best] == 0.0 or columns.shape[1] < LEAST_SAMPLES:
        return
    changed = _by_channel(local, local.made).copy()
    by = -along[best] / norms[best]
    changed[worst] += by * columns[best]
    place = np.unravel_index(best, operation.weight.shape[1:])
    index = ", ".join(map(str, (worst, *place)))
    was = float(operation.weight[(worst, *place)])
    sentence = f"one weight looks changed: [{index}] is {was + by:.4g}, not {was:.4g}"
    yield "one weight", sentence, _back(local, changed), SURE


def _other_epsilon(local: LocalDifference, operation: BatchNormalization | LayerNormalization) -> Candidate:
    (x,) = local.parents
    least = 0.0
    if isinstance(operation, BatchNormalization):
        least = max(0.0, -float(np.min(operation.variance)))

    def changed(exponent: float) -> Array:
        return replace(operation, epsilon=least + 10.0**exponent).forward(x)

    def left(exponent: float) -> float:
        return float(np.sum((changed(exponent) - local.recorded) ** 2))

    # The sum has one valley in practice, which a coarse grid finds and the search inside it settles.
    grid = np.arange(-13.0, 2.0)
    start = float(grid[int(np.argmin([left(exponent) for exponent in grid]))])
    best = scipy.optimize.minimize_scalar(
        left, bounds=(start - 1.0, start + 1.0), method="bounded", options={"xatol": 1e-6}
    )
    epsilon = least + 10.0**best.x
    sentence = f"its epsilon looks to be {epsilon:.3g}, not {operation.epsilon:.3g}"
    return "epsilon", sentence, changed(best.x), SURE


def _affine(local: LocalDifference) -> Iterator[Candidate]:
    """Yield g + b, s g and s g + b: of the whole, then by channel."""
    g, b = _by_channel(local, local.made), _by_channel(local, local.recorded)
    squares = np.sum((g - b) ** 2, axis=1)
    worst = int(np.argmax(squares))
    where = f" in channel {worst} alone" if squares[worst] > SURE * np.sum(squares) else " by channel"
    for by, of_g, of_b in (("", g.reshape(1, -1), b.reshape(1, -1)), (where, g, b)):
        if of_g.shape[1] < 2 * LEAST_SAMPLES:
            continue
        offset = np.mean(of_b - of_g, axis=1, keepdims=True)
        told = f" ({float(offset[0, 0]):.3g} is added)" if not by else ""
        yield "bias", f"its bias looks changed{by}{told}", _back(local, of_g + offset), EXPLAINED
        square = np.sum(of_g**2, axis=1, keepdims=True)
        factor = np.divide(
            np.sum(of_g * of_b, axis=1, keepdims=True), square, out=np.ones_like(square), where=square > 0.0
        )
        told = f" ({float(factor[0, 0]):.3g} times)" if not by else ""
        yield "gain", f"its value looks scaled{by}{told}", _back(local, factor * of_g), EXPLAINED
        centred = of_g - np.mean(of_g, axis=1, keepdims=True)
        square = np.sum(centred**2, axis=1, keepdims=True)
        slope = np.divide(
            np.sum(centred * of_b, axis=1, keepdims=True),
            square,
            out=np.ones_like(square),
            where=square > 0.0,
        )
        value = slope * centred + np.mean(of_b, axis=1, keepdims=True)
        yield "gain", f"its value looks scaled and shifted{by}", _back(local, value), EXPLAINED


def _fitted(local: LocalDifference, operation: Dense | Convolution) -> Iterator[Candidate]:
    """Yield the value with the channels of the input permuted, then with the weights that fit best."""
    if isinstance(operation, Convolution) and operation.groups > 1:
        return
    W, (x,) = operation.weight, local.parents
    design = np.moveaxis(operation.design(x)[:, 0], 1, 2)
    rows = design.reshape(-1, design.shape[-1])
    if rows.shape[1] > MOST_COLUMNS or len(rows) < rows.shape[1]:
        return
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(rows), MOST_ROWS, replace=False) if len(rows) > MOST_ROWS else slice(None)
    r = _by_channel(local, local.residual)
    change = np.linalg.lstsq(rows[chosen], -r.T[chosen], rcond=None)[0].T
    fitted = W + change.reshape(W.shape)
    blocks, of_fit = (np.moveaxis(w, 1, 0).reshape(W.shape[1], -1) for w in (W, fitted))
    distances = np.sum(of_fit**2, axis=1)[:, None] - 2.0 * of_fit @ blocks.T + np.sum(blocks**2, axis=1)
    _, order = scipy.optimize.linear_sum_assignment(distances)
    if np.any(order != np.arange(len(order))):
        value = replace(operation, weight=W[:, order]).forward(x)
        yield "permuted", "its inputs look permuted", value, SURE
    if len(rows) >= 2 * rows.shape[1]:
        value = replace(operation, weight=fitted).forward(x)
        yield "weights", "its weights look to be others", value, EXPLAINED


def _by_channel(local: LocalDifference, value: Array) -> Array:
    """Return a value of the vertex as channels x (samples and positions): of images the first axis."""
    axis = local.channel_axis
    return np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)


def _back(local: LocalDifference, channels: Array) -> Array:
    """Return channels x (samples and positions), or 1 x all of that, as a value of the vertex."""
    shape = local.made.shape
    axis = local.channel_axis
    moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    return np.moveaxis(channels.reshape(moved), 0, axis)
