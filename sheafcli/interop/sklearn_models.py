"""scikit-learn: MLPClassifier and MLPRegressor as skops writes them, and what stands around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.core.types import Array
from sheafcli.errors import InputError
from sheafcli.interop.chain import MAX_ENTRIES, Affine, Chain, Relu, Scale, Step, class_name
from sheafcli.interop.contents import SKLEARN_SNIPPET
from sheafcli.interop.skops_files import Stored, stored_object

OUTPUTS = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax"}
"""The values of `out_activation_`, and the outputs they are."""

SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
SCALERS = ("StandardScaler", "MinMaxScaler", "RobustScaler", "MaxAbsScaler")
CENTRES = {"StandardScaler": ("with_mean", "mean_"), "RobustScaler": ("with_centering", "center_")}
DIVISORS = {
    "StandardScaler": ("with_std", "scale_"),
    "RobustScaler": ("with_scaling", "scale_"),
    "MaxAbsScaler": ("", "scale_"),
}
"""What a scaler subtracts and divides by: the option that leaves it out, and the attribute that holds it."""


def read_skops(path: Path) -> Chain:
    """Read the chain of an MLP from a .skops file: alone, or as the last step of a pipeline.

    The steps before it are folded if they are scalers (of single columns too, by a ColumnTransformer);
    of a search the best estimator is read, and a scaler of the target is folded into the last layer. No
    code in the file runs, and neither skops nor scikit-learn is needed.
    """
    model = stored_object(path)
    try:
        return _chain(model)
    except InputError:
        raise
    except (AttributeError, LookupError, TypeError) as error:  # an attribute that is not as it should be
        raise ValueError(
            f"the model in it is not as scikit-learn makes it ({error}); "
            f"write the fitted MLP again with skops.io.dump, or with NumPy:\n\n{SKLEARN_SNIPPET}"
        ) from error


def _chain(model: Any) -> Chain:
    """Return the chain of a model, or ValueError that names what a sheaf does not cover."""
    kind = _kind(model)
    if kind in SEARCHES:
        chain = _chain(model["best_estimator_"])
        return replace(chain, notes=(f"of the {kind} the best estimator is read", *chain.notes))
    if kind == "Pipeline":
        return _pipeline(model)
    if kind == "TransformedTargetRegressor":
        return _with_target(_chain(model["regressor_"]), model["transformer_"])
    if kind in ("MLPClassifier", "MLPRegressor"):
        return _mlp(model)
    raise ValueError(f"it holds a {_shown(model)}; sheafcli reads MLPClassifier and MLPRegressor")


def _pipeline(model: Stored) -> Chain:
    *before, last = [step for _, step in model["steps"]]
    before = [step for step in before if step not in (None, "passthrough")]
    steps = [step for transformer in before for step in _transformation(transformer)]
    chain = _chain(last)
    return replace(
        chain,
        steps=(*steps, *chain.steps),
        features=_features(before[0]) if before else chain.features,
        scales_inputs=bool(steps) or chain.scales_inputs,
    )


def _transformation(transformer: Any) -> list[Step]:
    """Return a step of a pipeline before its last as steps of a chain."""
    match _kind(transformer):
        case "Pipeline":
            inner = [step for _, step in transformer["steps"]]
            return [step for each in inner for step in _transformation(each)]
        case "ColumnTransformer":
            return [_by_column(transformer)]
        case "FunctionTransformer" if transformer["func"] is None:
            return []
        case kind if kind in SCALERS:
            return _scaling(transformer)
        case None if transformer in (None, "passthrough"):
            return []
    raise ValueError(
        f"a {_shown(transformer)} stands before the MLP; a scaler can be folded: {', '.join(SCALERS)}"
    )


def _scaling(scaler: Stored) -> list[Step]:
    """Return what a scaler does, x -> scale * x + shift by column; nothing where it does nothing."""
    kind = scaler.kind
    if scaler.get("clip"):
        raise ValueError(f"the {kind} has clip=True, which no linear layer does; fit it without")
    if kind == "MinMaxScaler":  # the one that stores a factor
        return [Scale(kind, _numbers(scaler["scale_"]), _numbers(scaler["min_"]))]
    centre, divisor = (_of_scaler(scaler, stored) for stored in (CENTRES, DIVISORS))
    if centre is None and divisor is None:
        return []
    if centre is None:
        centre = np.zeros_like(divisor)
    if divisor is None:
        divisor = np.ones_like(centre)
    if centre.shape != divisor.shape or not np.all(divisor):
        raise ValueError(f"the {kind} needs as many centres as scales, and no scale of zero")
    return [Scale(kind, 1.0 / divisor, -centre / divisor)]


def _of_scaler(scaler: Stored, stored: Mapping[str, tuple[str, str]]) -> Array | None:
    """Return what a scaler subtracts or divides by; None if its options, or its kind, leave that out."""
    option, attribute = stored.get(scaler.kind, ("", ""))
    if not attribute or (option and not scaler[option]):
        return None
    return _numbers(scaler[attribute])


def _by_column(transformer: Stored) -> Affine:
    """Return a ColumnTransformer of scalers as one affine map: it selects columns, and scales some."""
    if transformer["transformer_weights"] is not None:
        raise ValueError("the ColumnTransformer has transformer_weights; fit it without")
    n_inputs = int(transformer["n_features_in_"])
    columns: list[int] = []
    scales, shifts = [np.zeros(0)], [np.zeros(0)]
    for name, step, _ in transformer["transformers_"]:
        taken = [int(column) for column in transformer["_transformer_to_input_indices"][name]]
        if step == "drop" or not taken:
            continue
        scale, shift = np.ones(len(taken)), np.zeros(len(taken))
        for each in _transformation(step):
            if not isinstance(each, Scale):
                raise ValueError("a ColumnTransformer stands within another; use one")
            scale, shift = each.scale * scale, each.scale * shift + each.shift
        columns += taken
        scales.append(scale)
        shifts.append(shift)
    if len(columns) * n_inputs > MAX_ENTRIES:
        raise ValueError(
            f"the ColumnTransformer makes {len(columns)} of {n_inputs} columns, which is too many"
        )
    W = np.zeros((len(columns), n_inputs))
    W[np.arange(len(columns)), columns] = np.concatenate(scales)
    return Affine("ColumnTransformer", W, np.concatenate(shifts))


def _with_target(chain: Chain, transformer: Stored) -> Chain:
    """Return a regressor's chain with what is done to its predictions: the target's scalers, inverted."""
    steps = _transformation(transformer)
    inverted: list[Step] = []
    for step in reversed(steps):
        if not isinstance(step, Scale) or not np.all(step.scale):
            raise ValueError(
                f"the target is transformed by a {_shown(transformer)}, which cannot be inverted"
            )
        inverted.append(Scale(f"the {step.name} of the target", 1.0 / step.scale, -step.shift / step.scale))
    return replace(chain, steps=(*chain.steps, *inverted), scales_targets=bool(inverted))


def _mlp(model: Stored) -> Chain:
    """Return the chain of a fitted MLP; scikit-learn has W as n_in x n_out."""
    weights, biases = model["coefs_"], model["intercepts_"]
    kind, activation, ending = model.kind, model["activation"], model["out_activation_"]
    if activation not in ("relu", "identity"):
        raise ValueError(f"the {kind} has activation {activation!r}; a sheaf covers relu (and identity)")
    if ending not in OUTPUTS:
        raise ValueError(f"the {kind} ends in {ending!r}; a sheaf covers {', '.join(OUTPUTS)} at the end")
    steps: list[Step] = []
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
        if layer > 1 and activation == "relu":
            steps.append(Relu())
        steps.append(Affine(f"layer {layer}", _numbers(W).T, _numbers(b)))
    # Of several labels classes_ numbers the columns: it has no names.
    one_label = ending == "softmax" or (ending == "logistic" and np.size(biases[-1]) == 1)
    classes = tuple(map(class_name, np.ravel(model["classes_"]))) if one_label else ()
    return Chain(tuple(steps), OUTPUTS[ending], features=_features(model), classes=classes)


def _features(model: Stored) -> tuple[str, ...]:
    """Return the names of the columns that a model was fitted on; nothing if they had none."""
    if _kind(model) == "Pipeline":
        named = [step for _, step in model["steps"] if step not in (None, "passthrough")]
        return _features(named[0]) if named else ()
    if "feature_names_in_" not in model:
        return ()
    return tuple(str(name) for name in np.ravel(model["feature_names_in_"]))


def _kind(model: Any) -> str | None:
    """Return the name of a class of scikit-learn; None for anything else."""
    is_sklearn = isinstance(model, Stored) and model.module.partition(".")[0] == "sklearn"
    return model.kind if is_sklearn else None


def _shown(model: Any) -> str:
    """Name an object's class for an error, and its module where that is not scikit-learn."""
    if not isinstance(model, Stored):
        return type(model).__name__
    return model.kind if _kind(model) else f"{model.kind} of {model.module}"


def _numbers(array: Any) -> Array:
    """Return an array of real numbers as float64, and raise ValueError for all else."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        raise ValueError(f"an array of numbers was expected, not {_shown(array)}")
    return array.astype(np.float64)
