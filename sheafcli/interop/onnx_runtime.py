"""How far a network that was read from an ONNX file is from what ONNX Runtime computes of the same file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.core.network import AnyNetwork
from sheafcli.core.outputs import output_named
from sheafcli.core.types import Array
from sheafcli.interop.chain import Interface
from sheafcli.interop.onnx_sizes import SAMPLES, is_open

ENTRIES = 2**24
"""The most numbers that all samples together make on their way through the network."""

MOST_SAMPLES = 256

KINDS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class Difference:
    """The largest difference of a prediction, as a share of the largest one, on so many samples."""

    relative: float
    n_samples: int


def few_samples(network: AnyNetwork, X: Array | None) -> Array:
    """Return the first of some samples, as many as are quickly computed; normal ones where there are none."""
    entries = sum(vertex.size for vertex in network.graph.vertices)
    n = max(1, min(MOST_SAMPLES, ENTRIES // entries))
    if X is not None:
        return X[:n]
    size = int(np.prod(network.input_shape, dtype=int))
    return np.random.default_rng(0).normal(size=(min(n, 16), size))


def difference(path: Path, interface: Interface, network: AnyNetwork, X: Array) -> Difference | None:
    """Return how far a network is from its file on samples X; None where ONNX Runtime is not installed.

    X is samples x features. ValueError if ONNX Runtime cannot run the file, with what it says.
    """
    try:
        import onnxruntime  # noqa: PLC0415
    except ImportError:
        return None
    try:
        expected = _run(onnxruntime, path, interface, X)
    except Exception as error:  # of a class of its own, whatever is wrong
        reason = (str(error).strip().splitlines() or ["without a word"])[0]
        raise ValueError(f"ONNX Runtime does not run the file, and nothing is compared: {reason}") from None
    z = network.logits(X)
    made = z if interface.function is None else output_named(interface.function).value(z)
    made = np.log(made) if interface.logarithm else made
    if expected.shape != made.shape:
        raise ValueError(
            f"ONNX Runtime gives {expected.shape[1]} numbers a sample, and the network {made.shape[1]}: "
            "they are not compared"
        )
    size = max(float(np.max(np.abs(expected))), float(np.finfo(np.float32).tiny))
    return Difference(float(np.max(np.abs(made - expected))) / size, len(X))


def _run(onnxruntime: Any, path: Path, interface: Interface, X: Array) -> Array:
    """Return what ONNX Runtime makes of samples, one row each."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = next(value for value in session.get_inputs() if value.name == interface.input)
    sizes = tuple(-1 if is_open(size) else size for size in interface.shape if size != SAMPLES)
    values = X.reshape(len(X), *sizes).astype(KINDS.get(given.type, np.int64))
    if SAMPLES in interface.shape:
        axis = interface.shape.index(SAMPLES)
        fixed = given.shape[axis]
        n = fixed if isinstance(fixed, int) else len(X)
        # A file for so many samples at a time is given the last one again where they run out.
        padded = np.concatenate([values, np.repeat(values[-1:], -len(X) % n, axis=0)])
        groups = [np.moveaxis(padded[i : i + n], 0, axis) for i in range(0, len(padded), n)]
    else:
        groups, n = list(values), 1
    made = [session.run([interface.output], {interface.input: group})[0] for group in groups]
    rows = [np.asarray(part, dtype=np.float64).reshape(n, -1) for part in made]
    return np.concatenate(rows)[: len(X)]
