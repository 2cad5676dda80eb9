"""From the named tensors of a PyTorch module, a state_dict, to the chain of its steps.

A state_dict tells the weights of every module and says nothing of what has none: of ReLU, Dropout and
Flatten only the gap remains that they leave in the numbers of an nn.Sequential.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sheafcli.core.network import Network
from sheafcli.interop.chain import Affine, Array, Chain, Relu, Scale, Step, batch_norm

EPS = 1e-5
"""The eps of PyTorch's BatchNorm unless one asks for another; a state_dict does not hold it."""

Tensors = Mapping[str, Array]

_EXPORT = "export the model with torch.onnx.export, which records the order of all steps"

_STRANGERS = {
    "weight_ih": "a recurrent layer (LSTM, GRU or RNN)",
    "in_proj": "an attention layer",
    "weight_g": "a layer with weight norm (take it off with torch.nn.utils.remove_weight_norm)",
    "weight_v": "a layer with weight norm (take it off with torch.nn.utils.remove_weight_norm)",
    "original": "a parametrized layer (take it off with torch.nn.utils.parametrize.remove_parametrizations)",
    "weight_orig": "a pruned layer (make it plain with torch.nn.utils.prune.remove)",
}
"""How the parameters of some modules begin that a sheaf does not cover, and what they are."""


@dataclass(frozen=True, eq=False)
class _Module:
    """A Linear or BatchNorm, and its position where it stands in an nn.Sequential."""

    name: str
    step: Affine | Scale


def state_chain(tensors: Tensors, output: str | None = None) -> Chain:
    """Return the chain of a state_dict whose modules stand in order; ValueError names what does not fit.

    With numbers as names, as in nn.Sequential, one gap between two layers is where the ReLU stands. With
    other names a ReLU is assumed between any two Linear. `notes` say what was assumed.
    """
    parameters: dict[str, dict[str, Array]] = {}
    for key, tensor in tensors.items():
        module, _, parameter = key.rpartition(".")
        for beginning, what in _STRANGERS.items():
            if parameter.startswith(beginning):
                raise ValueError(f"module {module!r} is {what}; a sheaf covers Linear, ReLU and BatchNorm")
        parameters.setdefault(module, {})[parameter] = tensor
    modules = [_Module(name, _step(name, arrays)) for name, arrays in parameters.items()]
    scales = [module.step.name for module in modules if isinstance(module.step, Scale)]
    notes = [f"eps of {name} is not in the file: PyTorch's default {EPS:g} is assumed" for name in scales]
    positions = _positions([module.name for module in modules])
    steps = _by_name(modules) if positions is None else _by_position(modules, positions)
    if any(isinstance(step, Relu) for step in steps):
        notes.append("a state_dict does not say what stands between its layers: ReLU is assumed")
    pairs = zip(steps, steps[1:], strict=False)
    if any(isinstance(one, Affine) and isinstance(other, Affine) for one, other in pairs):
        notes.append(
            "no ReLU is assumed between modules whose numbers follow each other, as in nn.Sequential: "
            f"if they are an nn.ModuleList, {_EXPORT}"
        )
    return Chain(tuple(steps), output, tuple(notes))


def state_tensors(network: Network) -> dict[str, Array]:
    """Return 0.weight, 0.bias, 2.weight, ...: the state_dict of an nn.Sequential of Linear and ReLU."""
    tensors: dict[str, Array] = {}
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        tensors |= {f"{2 * layer}.weight": W, f"{2 * layer}.bias": b}
    return tensors


def natural_order(name: str) -> list[tuple[int, int | str]]:
    """Return the key that sorts names with the numbers inside them as numbers: 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part)) if part.isdecimal() else (0, part) for part in parts]


def _step(name: str, arrays: dict[str, Array]) -> Affine | Scale:
    """Return what a module computes, by the names and shapes of its parameters."""
    shown = f" {name}" if name else ""
    if "running_mean" in arrays or "running_var" in arrays:
        return _batch_norm(f"BatchNorm{shown}", arrays)
    if unknown := sorted(set(arrays) - {"weight", "bias"}):
        key = ".".join(filter(None, (name, unknown[0])))
        raise ValueError(
            f"unknown parameter {key!r}; a sheaf covers Linear (weight, bias), ReLU and BatchNorm"
        )
    if "weight" not in arrays:
        raise ValueError(f"module {name!r} has a bias and no weight; a Linear has both, or a weight alone")
    W = arrays["weight"]
    if W.ndim == 2:
        return Affine(f"Linear{shown}", W, arrays.get("bias", np.zeros(len(W))))
    if W.ndim > 2:
        what = f"Conv{W.ndim - 2}d, a convolution"
    elif "bias" in arrays:
        what = "LayerNorm or GroupNorm, or BatchNorm without running statistics, which cannot be folded"
    else:
        what = "PReLU or another layer with one weight a feature"
    raise ValueError(f"module {name!r} is {what}; a sheaf covers Linear, ReLU and foldable BatchNorm")


def _batch_norm(name: str, arrays: dict[str, Array]) -> Scale:
    known = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    if strange := sorted(set(arrays) - known):
        raise ValueError(f"{name} has an unknown parameter {strange[0]!r}")
    if not {"running_mean", "running_var"} <= set(arrays):
        raise ValueError(f"{name} lacks one of its running statistics and cannot be folded")
    mean, variance = arrays["running_mean"], arrays["running_var"]
    gamma, beta = arrays.get("weight", np.ones_like(mean)), arrays.get("bias", np.zeros_like(mean))
    return batch_norm(name, gamma, beta, mean, variance, EPS)


def _positions(names: list[str]) -> list[int] | None:
    """Return the numbers of the modules of one nn.Sequential, or None if names say that it is none."""
    split = [name.rpartition(".") for name in names]
    if len({parent for parent, _, _ in split}) > 1 or not all(
        re.fullmatch(r"\d{1,9}", last) for *_, last in split
    ):
        return None
    return [int(last) for *_, last in split]


def _by_position(modules: list[_Module], positions: list[int]) -> list[Step]:
    """Put a ReLU where positions leave a gap between two layers; more gaps than one are ambiguous."""
    steps: list[Step] = []
    last = at = None  # position of the module before, and where the ReLU since the last Linear stands
    for module, position in zip(modules, positions, strict=True):
        if last is not None and position <= last:
            raise ValueError(f"module {module.name!r} stands behind {last}; nn.Sequential counts upwards")
        if last is not None and position > last + 1:
            if at is not None or not any(isinstance(step, Affine) for step in steps):
                first = "the start" if at is None else f"position {at}"
                raise ValueError(
                    f"whether the ReLU stands at {first} or at position {last + 1} "
                    f"is not in a state_dict; {_EXPORT}"
                )
            steps.append(Relu())
            at = last + 1
        steps.append(module.step)
        last = position
        if isinstance(module.step, Affine):
            at = None
    return steps


def _by_name(modules: list[_Module]) -> list[Step]:
    """Put a ReLU between any two Linear; where it stands beside a BatchNorm, names do not tell."""
    steps: list[Step] = []
    for module in modules:
        if isinstance(module.step, Scale):
            raise ValueError(
                f"whether {module.step.name} stands before or behind a ReLU is not in a state_dict "
                f"whose names are not the positions in one nn.Sequential; {_EXPORT}"
            )
        steps += [Relu(), module.step] if steps else [module.step]
    return steps
