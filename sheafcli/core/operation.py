"""What a network is made of: operations, and what they are at given values.

To add an operation, write a frozen dataclass that has the four members of `Operation`, in the file of its
family in `operations/`; its `at` returns a `Restriction`, mostly `Maps` of two functions and a bound. Add it
to the names in `operations/__init__.py` and to the table in tests/core/operations/operation_cases.py, and
the suite checks it. Nothing else needs to know of it.

Values are arrays of samples x stalk: a vector is samples x features, an image samples x channels x rows x
columns. Shapes are those of stalks, without the samples. Axes of a stalk are counted from the end, -1 is
the last. What comes out has the precision of what goes in, float32 or float64, whatever that of the
parameters.

What only some operations can do is asked of them apart: `isinstance(operation, Learnable)`.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.types import Array, Shape

Kind = Literal["affine", "activation", "pool", "normalisation", "multiply", "exact"]


class Restriction(Protocol):
    """An operation g at given values x: the affine map that it is there, without its constant.

    For a piecewise linear operation the linear map A_p of parent p is that of the current piece, for a smooth
    one the derivative. Where pieces meet, the slope is that of the piece to the right, as z = 0 counts as
    active; a maximum that several entries share belongs to the first.

    The arrays given to `jvp` and `vjp` may have any number of axes before that of the samples: many
    directions at once, each treated alike.
    """

    def jvp(self, *dx: Any, **_: Any) -> Array:
        """Return sum_p A_p dx_p, one dx a parent, each (...) x samples x the parent's stalk."""

    def vjp(self, v: Array) -> tuple[Array, ...]:
        """Return A_p^T v for every parent p, of v (...) x samples x the operation's own stalk.

        What is returned may share memory with v.
        """

    def norm(self) -> tuple[float, ...]:
        """Return a bound of the spectral norm of A_p over all samples, for every parent."""


class Operation(Protocol):
    """A map g that makes one value of the values of its parents, sample by sample.

    `kind` says what its edge is called in tables. An operation is `exact` if it is linear and has no
    parameters: then it has no edge, since nothing can give way there, and is composed into what reads it.

    The members take as many positional arguments as the operation has parents: an implementation names them,
    as in `def forward(self, x: Array) -> Array`.
    """

    @property
    def kind(self) -> Kind:
        """One of affine, activation, pool, normalisation, multiply and exact."""

    def shape(self, *parents: Any, **_: Any) -> Shape:
        """Return the shape of g(x) for the shapes of its parents; raise ValueError where they do not fit."""

    def forward(self, *x: Any, **_: Any) -> Array:
        """Return g(x), samples x stalk, from one x a parent; it is a new array, or a view of x."""

    def at(self, *x: Any, **_: Any) -> Restriction:
        """Return what g is at these values. It keeps what its maps need, and no more."""


@runtime_checkable
class Learnable(Protocol):
    """An operation of one parent that has parameters: fields of its dataclass.

    `dataclasses.replace(operation, **changed)` is the operation with other parameters.
    """

    @property
    def parameters(self) -> dict[str, Array]:
        """The parameters by the names of their fields."""

    def gradient(self, x: Array, v: Array) -> dict[str, Array]:
        """Return the gradient of sum(v * g(x)) in every parameter, summed over the samples.

        With x the edge's own input and v minus its own residual, it is the step that its discord asks for.
        """


@runtime_checkable
class Designed(Learnable, Protocol):
    """An operation that is linear in its weights, so that least squares can mend them: dense, convolution.

    A layer of a network begins at every such operation.
    """

    def design(self, x: Array) -> Array:
        """Return what the weights multiply: samples x groups x columns x positions.

        `weight`, as groups x outputs a group x columns, times the design is g(x) without its bias, samples x
        groups x outputs a group x positions.
        """

    def by_group(self, v: Array) -> Array:
        """Return v, directions x samples x own stalk, with the stalk laid out like that product."""


@runtime_checkable
class Patterned(Protocol):
    """An operation that is linear in pieces: activations with kinks, and the pooling of maxima."""

    def pattern(self, x: Array) -> NDArray[np.integer[Any]]:
        """Return a number for the piece that every entry of g(x) lies on, samples x stalk."""


@runtime_checkable
class Kinked(Patterned, Operation, Protocol):
    """An activation, entry by entry, whose pieces meet at kinks, along which an equilibrium may slide."""

    @property
    def knots(self) -> tuple[float, ...]:
        """Where the pieces meet, ascending; piece i lies from knot i - 1, which it owns, to knot i."""
