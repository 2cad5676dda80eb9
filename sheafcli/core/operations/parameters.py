"""What operations are made with: their parameters, and checks of the shapes that they meet."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sheafcli.core.types import Array, Shape


def as_parameter(name: str, array: Array, shape: Shape | None = None) -> Array:
    """Return an array of parameters as it is, or as float64 if it holds whole numbers.

    Raises ValueError where it is not of real numbers, empty, not finite, or not of the `shape` asked for.
    """
    array = np.asarray(array)
    if array.dtype.kind in "biu":
        array = array.astype(np.float64)
    if array.dtype.kind != "f" or array.size == 0:
        raise ValueError(f"{name} must be an array of real numbers, got {array.dtype} of shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    return array


class Parametrised:
    """An operation with the parameters that `learned` names: its fields, of which those left out are None."""

    learned: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        for name, array in self.parameters.items():
            object.__setattr__(self, name, as_parameter(name, array))

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters that there are, by the names of their fields."""
        named = {name: getattr(self, name) for name in self.learned}
        return {name: array for name, array in named.items() if array is not None}


def like(array: Array, x: Array) -> Array:
    """Return an array in the precision of x; no copy where it has that already."""
    return array.astype(x.dtype, copy=False)


def check_axis(axis: int, shape: Shape) -> None:
    """Raise ValueError unless `axis`, counted from the end, is one of the stalk's."""
    if not -len(shape) <= axis < 0:
        raise ValueError(
            f"axis {axis} is none of {', '.join(map(str, range(-len(shape), 0)))} of shape {shape}"
        )


def check_broadcast(name: str, array: Array, shape: Shape) -> None:
    """Raise ValueError unless an array broadcasts over a stalk of this shape, and leaves it as it is."""
    pairs = zip(array.shape[::-1], shape[::-1], strict=False)
    if array.ndim > len(shape) or any(have not in (1, want) for have, want in pairs):
        raise ValueError(f"{name} of shape {array.shape} does not broadcast over a value of shape {shape}")


def narrowed(v: Array, shape: Shape) -> Array:
    """Return v, (...) x stalk, summed over the axes of the stalk that are of length 1 in `shape`."""
    first = v.ndim - len(shape)
    repeated = tuple(first + i for i, n in enumerate(shape) if n == 1 and v.shape[first + i] != 1)
    return np.asarray(v.sum(axis=repeated, keepdims=True)) if repeated else v


def summed_to(array: Array, shape: Shape) -> Array:
    """Return an array summed over the axes along which one of this shape would broadcast to it."""
    return np.asarray(narrowed(array, shape).sum(axis=tuple(range(array.ndim - len(shape)))))
