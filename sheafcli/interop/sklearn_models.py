"""scikit-learn: MLPClassifier and MLPRegressor as skops writes them, behind scalers or not."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.errors import InputError
from sheafcli.interop.chain import Affine, Array, Chain, Relu, Scale, Step
from sheafcli.interop.contents import SKLEARN_SNIPPET, library
from sheafcli.interop.npz import DAMAGE, check_member

TRUSTED = [
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
]
"""The types of a fitted MLP that skops does not know by itself; they are plain data."""

OUTPUTS = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax"}
"""The values of `out_activation_`, and the outputs they are."""


def read_skops(path: Path) -> Chain:
    """Read the chain of an MLP, or of a Pipeline of StandardScalers and an MLP, from a .skops file."""
    skops = library("skops.io", "sklearn", "reading .skops files")
    _check_arrays(path)
    try:
        with warnings.catch_warnings():
            # A model of another scikit-learn makes it warn; the arrays read here mean what they meant.
            warnings.simplefilter("ignore")
            if untrusted := sorted(set(skops.get_untrusted_types(file=path)) - set(TRUSTED)):
                raise ValueError(f"it holds {untrusted[0]}, which no MLP needs")
            model = skops.load(path, trusted=TRUSTED)
    except Exception as error:  # damage shows as anything: KeyError, JSONDecodeError, RecursionError, ...
        raise InputError(
            f"not a .skops file of an MLP ({error or type(error).__name__}); "
            f"write the fitted MLP again with skops.io.dump, or with NumPy:\n\n{SKLEARN_SNIPPET}",
            path=path,
        ) from error
    try:
        return _chain(model)
    except (AttributeError, TypeError) as error:  # an attribute that no fitted model has, or not so
        raise ValueError(f"the model in it is not as scikit-learn makes it ({error})") from error


def _chain(model: Any) -> Chain:
    """Return the chain of a model, or ValueError that names what a sheaf does not cover."""
    pipeline = library("sklearn.pipeline", "sklearn", "reading .skops files").Pipeline
    scaler = library("sklearn.preprocessing", "sklearn", "reading .skops files").StandardScaler
    neural = library("sklearn.neural_network", "sklearn", "reading .skops files")
    *before, last = [step for _, step in model.steps] if isinstance(model, pipeline) else [model]
    steps: list[Step] = []
    for step in before:
        if isinstance(step, scaler):
            steps += _standard_scaler(step)
        elif step not in (None, "passthrough"):
            raise ValueError(
                f"the pipeline has a {type(step).__name__} before the MLP; "
                "only a StandardScaler can be folded"
            )
    if not isinstance(last, neural.MLPClassifier | neural.MLPRegressor):
        raise ValueError(f"it holds a {type(last).__name__}; sheafcli reads MLPClassifier and MLPRegressor")
    return _mlp(last, steps)


def _check_arrays(path: Path) -> None:
    """Raise InputError unless the arrays in a .skops file are what their headers announce."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    check_member(archive, member, path)
    except DAMAGE as error:
        raise InputError(
            f"not a whole .skops file ({error or type(error).__name__}); write it again with skops.io.dump",
            path=path,
        ) from error


def _standard_scaler(scaler: Any) -> list[Step]:
    """Return (x - mean) / scale; with_mean and with_std say which of them it uses, if any."""
    _check_fitted(scaler, "mean_", "scale_")
    if not (scaler.with_mean or scaler.with_std):
        return []
    mean = _numbers(scaler.mean_) if scaler.with_mean else np.zeros_like(_numbers(scaler.scale_))
    divisor = _numbers(scaler.scale_) if scaler.with_std else np.ones_like(mean)
    if mean.shape != divisor.shape or not np.all(divisor):
        raise ValueError("the StandardScaler needs as many means as scales, and no scale of zero")
    return [Scale("StandardScaler", 1.0 / divisor, -mean / divisor)]


def _mlp(model: Any, before: list[Step]) -> Chain:
    """Return the chain of a fitted MLP behind the steps before it; scikit-learn has W as n_in x n_out."""
    _check_fitted(model, "coefs_", "intercepts_", "out_activation_")
    kind = type(model).__name__
    if model.activation not in ("relu", "identity"):
        raise ValueError(
            f"the {kind} has activation {model.activation!r}; a sheaf covers relu (and identity)"
        )
    if model.out_activation_ not in OUTPUTS:
        raise ValueError(
            f"the {kind} ends in {model.out_activation_!r}; a sheaf covers {', '.join(OUTPUTS)} at the end"
        )
    steps, notes = list(before), []
    for layer, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), start=1):
        if layer > 1 and model.activation == "relu":
            steps.append(Relu())
        steps.append(Affine(f"layer {layer}", _numbers(W).T, _numbers(b)))
    if model.out_activation_ == "logistic" and np.size(getattr(model, "classes_", ())) == 2:
        notes.append(f"the one output is the probability of class {np.ravel(model.classes_)[1]}")
    return Chain(tuple(steps), OUTPUTS[model.out_activation_], tuple(notes))


def _check_fitted(model: Any, *attributes: str) -> None:
    for attribute in attributes:
        if not hasattr(model, attribute):
            raise ValueError(f"the {type(model).__name__} has no {attribute}: fit it before it is written")


def _numbers(array: Any) -> Array:
    """Return an array of real numbers as float64, and raise ValueError for all else."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        raise ValueError(f"an array of numbers was expected, not {type(array).__name__}")
    return array.astype(np.float64)
