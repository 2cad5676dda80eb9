"""A network as other tools write it, a chain of steps, and the same function as a Network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import output_named
from sheafcli.core.types import Array

MAX_ENTRIES = 2**28
"""The most entries (2 GB) of a matrix that the file itself does not hold: a product or an identity."""


class NotAChain(ValueError):
    """What a chain of layers and ReLU does not have, and a graph of operations may."""


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> W x + b, with W of shape n_out x n_in; `name` is what the file calls it."""

    name: str
    W: Array
    b: Array


@dataclass(frozen=True, eq=False)
class Scale:
    """x -> scale * x + shift by coordinate: BatchNorm in inference, a standard scaler, a lone bias."""

    name: str
    scale: Array
    shift: Array


@dataclass(frozen=True)
class Relu:
    """x -> max(x, 0) by coordinate."""


@dataclass(frozen=True)
class Ending:
    """The output function that ends the network: `output` is one of ours, `name` what the file calls it."""

    name: str
    output: str


Step = Affine | Scale | Relu | Ending


@dataclass(frozen=True)
class Interface:
    """What the program that a file is written for gives it, and what it gets: the names, and the function.

    `shape` is that of the input, with the size SAMPLES of `onnx_sizes` along the samples. What comes out is
    the `function` of the network's last value, or that itself; or the logarithm.
    """

    input: str
    output: str
    shape: tuple[int, ...]
    function: str | None = None
    logarithm: bool = False


@dataclass(frozen=True, eq=False)
class Chain:
    """What a file holds: its steps in order, the output it states beside them, what reading it assumed.

    `features` and `classes` are the names of the inputs and of the classes, in the file's order, empty where
    it has none; of two classes and one output the second is the one whose probability the output is.
    `scales_inputs` and `scales_targets` say that the steps take data as it is, and predict targets as
    they are: a scaler of them is among the steps.
    `beside` are the other files that it was read from, `interface` is how it is run elsewhere, if it can be.
    `tensors` are the vertices of the network by what the file calls their values, where it names them.
    `assumed` tells that the file does not record the steps between its layers, or their order.
    """

    steps: tuple[Step, ...]
    output: str | None = None
    notes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    scales_inputs: bool = False
    scales_targets: bool = False
    assumed: bool = False
    beside: tuple[Path, ...] = ()
    interface: Interface | None = None
    tensors: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        endings = [step for step in self.steps if isinstance(step, Ending)]
        if endings and endings != [self.steps[-1]]:
            raise NotAChain(
                f"{endings[0].name} stands before other layers; sheafcli has {endings[0].output} "
                "at the end of a network only"
            )
        if not any(isinstance(step, Affine) for step in self.steps):
            raise ValueError("there is no linear layer in it; a network needs at least one")

    @property
    def n_outputs(self) -> int:
        """The number of outputs: the rows of the last layer."""
        return next(len(step.b) for step in reversed(self.steps) if isinstance(step, Affine))

    @property
    def says(self) -> str | None:
        """The output function that the file says the network ends in; None if it says nothing."""
        last = self.steps[-1]
        return last.output if isinstance(last, Ending) else self.output


def class_name(label: object) -> str:
    """Return a class as text; a whole number is written without a point, whatever its type."""
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)


def batch_norm(name: str, gamma: Array, beta: Array, mean: Array, variance: Array, eps: float) -> Scale:
    """Return gamma (x - mean) / sqrt(variance + eps) + beta, the inference of BatchNorm, as one Scale."""
    if len({np.shape(array) for array in (gamma, beta, mean, variance)}) > 1 or np.ndim(mean) != 1:
        raise ValueError(f"the arrays of {name} differ in shape; each must have one entry a feature")
    if not np.all(variance + eps > 0.0):
        raise ValueError(f"{name} has a running variance that is negative or not a number")
    scale = gamma / np.sqrt(variance + eps)
    return Scale(name, scale, beta - mean * scale)


def to_network(steps: Iterable[Step], output: str) -> tuple[Network, tuple[str, ...]]:
    """Return the Network that computes what the steps compute, and notes on what was folded.

    Between two ReLUs stands exactly one affine map: adjacent maps are composed, scales are folded
    into the map before them or, behind a ReLU, into the one after. Where a ReLU or the end finds no
    affine map, a diagonal one is put in. Raises ValueError where shapes do not chain.
    """
    folding = _Folding()
    for step in steps:
        match step:
            case Affine():
                folding.affine(step)
            case Scale():
                folding.scale(step)
            case Relu():
                folding.relu()
    folding.close("the end")
    weights = tuple(np.ascontiguousarray(W) for W, _ in folding.layers)
    biases = tuple(b for _, b in folding.layers)
    return Network(weights, biases, output_named(output)), tuple(folding.notes)


@dataclass
class _Folding:
    """The layers so far, and the map under way since the last ReLU.

    The map under way is W x + b: `W` a matrix, or a vector that stands for a diagonal matrix, or None
    while there is nothing since the last ReLU.
    """

    layers: list[tuple[Array, Array]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    W: Array | None = None
    b: Array = field(default_factory=lambda: np.zeros(0))
    names: list[str] = field(default_factory=list)
    width: int | None = None
    relu_first: bool = False

    def affine(self, step: Affine) -> None:
        """Compose W (W' x + b') + b."""
        if step.W.ndim != 2 or 0 in step.W.shape or step.b.shape != step.W.shape[:1]:
            raise ValueError(
                f"{step.name} must have a matrix and one bias a row, "
                f"got shapes {step.W.shape} and {step.b.shape}"
            )
        _check_finite(step.name, step.W, step.b)
        self._arrive(step.name, step.W.shape[1])
        if self.W is None:
            self.W, self.b = step.W, step.b
        elif self.W.ndim == 1:
            self._note(self.names, f"folded into {step.name}, the layer after it")
            with np.errstate(over="ignore", invalid="ignore"):  # Network refuses what is not finite
                self.W, self.b = step.W * self.W, step.W @ self.b + step.b
        else:
            self.notes.append(
                f"nothing stands between {self.names[0]} and {step.name}: they are one layer here"
            )
            _check_size(step.W.shape[0], self.W.shape[1], step.name)
            with np.errstate(over="ignore", invalid="ignore"):
                self.W, self.b = step.W @ self.W, step.W @ self.b + step.b
        self.names, self.width = [step.name], step.W.shape[0]

    def scale(self, step: Scale) -> None:
        """Compose scale * (W' x + b') + shift."""
        if step.scale.ndim != 1 or step.scale.size == 0 or step.shift.shape != step.scale.shape:
            raise ValueError(f"{step.name} must have one scale and one shift a feature")
        _check_finite(step.name, step.scale, step.shift)
        self._arrive(step.name, step.scale.size)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.W is None:
                self.W, self.b = step.scale, step.shift
            elif self.W.ndim == 1:
                self.W, self.b = step.scale * self.W, step.scale * self.b + step.shift
            else:
                self._note([step.name], f"folded into {self.names[0]}, the layer before it")
                self.W, self.b = step.scale[:, None] * self.W, step.scale * self.b + step.shift
                return
        self.names.append(step.name)

    def relu(self) -> None:
        """Close the layer; a ReLU behind a ReLU changes nothing."""
        if self.W is not None:
            self.close("a ReLU")
        elif not self.layers:
            self.relu_first = True

    def close(self, behind: str) -> None:
        """Let the map under way be a layer, made a matrix if it is none: the identity if it is nothing."""
        if self.W is None or self.W.ndim == 1:
            self._put_in(self.width or 0, behind)
        assert self.W is not None
        self.layers.append((self.W, self.b))
        self.W, self.names = None, []

    def _arrive(self, name: str, width: int) -> None:
        """Check that a step takes what the one before it gives, and settle a ReLU before all layers."""
        if self.width is not None and width != self.width:
            before = self.names[-1] if self.names else "the layer before it"
            raise ValueError(f"{name} takes {width} inputs, {before} gives {self.width}")
        self.width = width
        if self.relu_first:
            self.relu_first = False
            self.close("a ReLU")

    def _put_in(self, width: int, behind: str) -> None:
        """Make the map under way a diagonal matrix."""
        _check_size(width, width, behind)
        if self.W is None:
            self.W, self.b = np.eye(width), np.zeros(width)
            self.notes.append(
                f"the network {'begins' if not self.layers else 'ends'} with a ReLU: "
                f"an identity layer is put {'before' if not self.layers else 'behind'} it"
            )
        else:
            self._note(
                self.names, f"made a diagonal layer: between it and {behind} is no layer to fold it into"
            )
            self.W = np.diag(self.W)

    def _note(self, names: list[str], what: str) -> None:
        self.notes.extend(f"{name} is {what}" for name in names)


def _check_finite(name: str, *arrays: Array) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"{name} holds NaN or infinite numbers; a network needs finite ones")


def _check_size(rows: int, columns: int, where: str) -> None:
    if rows * columns > MAX_ENTRIES:
        raise ValueError(
            f"folding at {where} would make a matrix of {rows} x {columns}, more than {MAX_ENTRIES} entries"
        )
