"""From the named tensors of a PyTorch module, a state_dict, to the chain of its steps.

A state_dict tells the weights of every module and says nothing of what has none: of ReLU, Dropout and
Flatten only the gap remains that they leave in the numbers of an nn.Sequential. So the network is an
assumption, and it is spelt out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.types import Array
from sheafcli.interop.chain import Affine, Chain, Scale, batch_norm
from sheafcli.interop.families import residual_blocks, several_networks
from sheafcli.interop.order import Place, numbers, settled, template
from sheafcli.interop.relus import assumed_steps, beside_norm
from sheafcli.interop.state import StateDict, Tensor
from sheafcli.interop.strangers import (
    COVERS,
    EXPORT,
    MAX_NAME,
    betrayed,
    no_part_of_the_network,
    other_activation,
    said_activation,
    stranger,
)

EPS = 1e-5
"""The eps of PyTorch's BatchNorm unless one asks for another; a state_dict does not hold it."""

MAX_MODULES = 1000
"""The most layers that a network is read with."""

MAX_ENTRIES = 2**26
"""The most numbers, 512 MB in float64, that a network is read with."""

FLOATS = ("float64", "float32", "float16", "bfloat16")
"""The types of weights that are read; all numbers of each are float64s."""

_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What torch.compile, FSDP and checkpointed activations put into names, anywhere in them."""

_PARALLEL = "module."
"""What DataParallel, DistributedDataParallel and AveragedModel put before all names."""


@dataclass(frozen=True, eq=False)
class Module:
    """A Linear or BatchNorm by name, with its parameters; `kind` is one of the two words."""

    name: str
    kind: str
    parameters: Mapping[str, Tensor]
    place: Place

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"{self.kind} {self.name}".rstrip()


def state_chain(state: StateDict, order: Sequence[str] = ()) -> Chain:
    """Return the chain that a state_dict is assumed to be; ValueError names what is no part of one.

    `order` names its modules, or what they lie below, as `forward` calls them; what it does not name is
    left out. Without it the order is that of `order.settled`. Between two Linear a ReLU is assumed; beside a
    BatchNorm only where the numbers of an nn.Sequential leave one place for it. `notes` say all that.
    """
    for name in state.tensors:
        if len(name) > MAX_NAME:
            raise ValueError(f"a tensor's name has {len(name):,} characters, and at most {MAX_NAME} are read")
    state, left_out = _plain(state)
    parameters = _parameters(state.tensors)
    if len(parameters) > MAX_MODULES:
        raise ValueError(
            f"it has {len(parameters):,} modules with weights, and at most {MAX_MODULES:,} are read"
        )
    if said := said_activation(state.beside):
        key, name = said
        raise ValueError(f"{key}, beside the weights, says that the activation is {name}; {COVERS}")
    if order:
        modules, notes = _asked(parameters, [_unwrapped(name) for name in order], state)
        chosen = {module.name for module in modules}
        left_out += [name for name in parameters if name not in chosen]
    else:
        modules, notes = _found(parameters, state)
    if left_out:
        listed = ", ".join(name if len(name) < 60 else f"{name[:60]}..." for name in left_out[:8]) + (
            f" and {len(left_out) - 8} more" if len(left_out) > 8 else ""
        )
        notes.insert(0, f"left out, as no part of the network: {listed}")
    notes += [
        f"{name} is not in the file: it is {other}, which it shared its numbers with"
        for name, other in state.tied.items()
    ]
    _check_size(modules)
    steps = {module.name: _step(module) for module in modules}
    if not order:
        _check_copies(modules, steps)
    notes += [
        f"eps of {module.label} is not in the file: PyTorch's default {EPS:g} is assumed"
        for module in modules
        if module.kind == "BatchNorm"
    ]
    row, assumed = assumed_steps(
        [module.name for module in modules], [steps[module.name] for module in modules], state.modules
    )
    return Chain(tuple(row), state.output, (*assumed, *notes), assumed=True)


def state_tensors(network: Network) -> dict[str, Array]:
    """Return 0.weight, 0.bias, 2.weight, ...: the state_dict of an nn.Sequential of Linear and ReLU."""
    tensors: dict[str, Array] = {}
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        tensors |= {f"{2 * layer}.weight": W, f"{2 * layer}.bias": b}
    return tensors


def _unwrapped(name: str) -> str:
    return ".".join(segment for segment in name.split(".") if segment not in _WRAPPERS)


def _plain(state: StateDict) -> tuple[StateDict, list[str]]:
    """Return the state_dict of the network alone, without what wraps it, and the names of all else."""
    named = {_unwrapped(name): tensor for name, tensor in state.tensors.items()}
    tensors = named if len(named) == len(state.tensors) else dict(state.tensors)
    out = [
        name for name, tensor in tensors.items() if no_part_of_the_network(name, tensor.shape, tensor.dtype)
    ]
    tensors = {name: tensor for name, tensor in tensors.items() if name not in set(out)}
    modules = [_unwrapped(name) for name in state.modules]
    while tensors and all(name.startswith(_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
        modules = [name.removeprefix(_PARALLEL) for name in modules]
    return replace(state, tensors=tensors, modules=tuple(modules)), [*state.beside, *out]


def _parameters(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the parameters of every module by their names within it."""
    parameters: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        parametrized = re.fullmatch(r"(?:(.*)\.)?(parametrizations\..*)", key)
        module, parameter = (parametrized[1] or "", parametrized[2]) if parametrized else _split(key)
        parameters.setdefault(module, {})[parameter] = tensor
    return parameters


def _split(key: str) -> tuple[str, str]:
    module, _, parameter = key.rpartition(".")
    return module, parameter


def _found(parameters: Mapping[str, dict[str, Tensor]], state: StateDict) -> tuple[list[Module], list[str]]:
    """Return all modules in their order, and notes; ValueError if they are no chain, or may be none."""
    _check_activations(state.modules)
    modules = _plainly_named(parameters, state.modules)
    linear = [module.place for module in modules if module.kind == "Linear"]
    for doubt in (several_networks(linear), residual_blocks(linear)):
        if doubt:
            raise ValueError(doubt)
    return _in_order(modules, state.ordered)


def _asked(
    parameters: Mapping[str, dict[str, Tensor]], order: Sequence[str], state: StateDict
) -> tuple[list[Module], list[str]]:
    """Return the modules that `order` names, in its order, and notes on what lies below a name of it."""
    modules: list[Module] = []
    notes: list[str] = []
    for name in order:
        if name in parameters:
            modules.append(_module(name, parameters[name]))
            continue
        below = {key: found for key, found in parameters.items() if key.startswith(f"{name}.")}
        if not below:
            known = ", ".join(list(parameters)[:12]) + (", ..." if len(parameters) > 12 else "")
            raise ValueError(f"--order: {name!r} is no module with weights; there are {known}")
        row = _plainly_named(below, [key for key in state.modules if key.startswith(f"{name}.")])
        more, said = _in_order(row, state.ordered)
        modules += more
        notes += said
    parents = {_split(module.name)[0] for module in modules}
    _check_activations([key for key in state.modules if _split(key)[0] in parents])
    return modules, notes


def _check_activations(modules: Sequence[str]) -> None:
    """Raise ValueError if a module, one without parameters too, is by its name no ReLU."""
    if other := other_activation(modules):
        raise ValueError(f"module {other!r} is, by its name, another activation than ReLU; {COVERS}")


def _plainly_named(parameters: Mapping[str, dict[str, Tensor]], known: Sequence[str]) -> list[Module]:
    """Return the modules of parameters; ValueError if one, or a known one without any, has a telling name."""
    for name in dict.fromkeys([*parameters, *known]):
        bare = name in parameters and "bias" not in parameters[name]
        if what := betrayed(name, has_bias=not bare):
            raise ValueError(
                f"module {name!r} is, by its name, {what}: how it is used is not in a state_dict; {EXPORT}"
            )
    return [_module(name, found) for name, found in parameters.items()]


def _module(name: str, parameters: dict[str, Tensor]) -> Module:
    """Return what a module is, by the names and shapes of its parameters; ValueError if it is another."""
    if what := stranger(name, parameters):
        raise ValueError(f"module {name!r} is {what}; {COVERS}")
    shapes = {key: tensor.shape for key, tensor in parameters.items()}
    if "running_mean" in shapes or "running_var" in shapes:
        kind, known = "BatchNorm", {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
        width = shapes.get("running_mean", shapes.get("running_var", ()))
        place = Place(name, *(math.prod(width),) * 2)
    else:
        kind, known = "Linear", {"weight", "bias"}
        place = Place(name, *_widths(name, shapes)) if set(shapes) <= known else Place(name, 0, 0)
    for key in sorted(set(shapes) - known):
        full = ".".join(filter(None, (name, key)))
        raise ValueError(
            f"unknown parameter {full!r}; {COVERS}: weight and bias, and the running statistics of the last"
        )
    return Module(name, kind, parameters, place)


def _widths(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Return the numbers of inputs and outputs of a Linear; ValueError if the weight is that of another."""
    if "weight" not in shapes:
        raise ValueError(f"module {name!r} has a bias and no weight; a Linear has both, or a weight alone")
    weight = shapes["weight"]
    if len(weight) == 2:
        return weight[1], weight[0]
    if len(weight) > 2:
        what = f"Conv{len(weight) - 2}d, a convolution{', or Bilinear' if len(weight) == 3 else ''}"
    elif "bias" in shapes:
        what = "LayerNorm or GroupNorm, or BatchNorm without running statistics, which cannot be folded"
    else:
        what = "PReLU or another layer with one weight a feature"
    raise ValueError(f"module {name!r} is {what}; a sheaf covers Linear, ReLU and foldable BatchNorm")


def _in_order(modules: Sequence[Module], ordered: bool) -> tuple[list[Module], list[str]]:
    """Return modules in their order, as far as it is told; a BatchNorm goes with the Linear beside it."""
    several = len({_split(module.name)[0] for module in modules}) > 1
    pairs = [(one.name, other.name) for one, other in pairwise(modules) if _alike(one, other)]
    if several and any(numbers(one) > numbers(other) for one, other in pairs):
        # Keys sorted as text: the order of definition is lost, and a BatchNorm not beside its Linear.
        ordered = False
        modules = sorted(modules, key=lambda module: (template(module.name), numbers(module.name)))
    units: list[list[Module]] = []
    for module in modules:
        last = units[-1][-1] if units else None
        if several and last and _beside(last.name, module.name) and "BatchNorm" in (last.kind, module.kind):
            units[-1].append(module)
        else:
            units.append([module])
    for unit in units:
        if several and all(module.kind == "BatchNorm" for module in unit):
            raise beside_norm(unit[0].label)
    heads = {unit[0].name: unit for unit in units}
    places = [Place(unit[0].name, unit[0].place.n_in, unit[-1].place.n_out) for unit in units]
    order = settled(places, ordered)
    return [module for place in order.places for module in heads[place.name]], list(order.notes)


def _alike(one: Module, other: Module) -> bool:
    """Tell whether two modules are named alike but for their numbers."""
    return template(one.name) == template(other.name)


def _beside(one: str, other: str) -> bool:
    """Tell whether two modules stand side by side in one nn.Sequential."""
    (parent, at), (parent_2, at_2) = _split(one), _split(other)
    return parent == parent_2 and at.isdecimal() and at_2.isdecimal() and int(at_2) == int(at) + 1


def _check_size(modules: Sequence[Module]) -> None:
    """Raise ValueError if weights are no floats, or too many."""
    count = 0
    for module in modules:
        for key, tensor in module.parameters.items():
            if key == "num_batches_tracked":
                continue
            count += math.prod(tensor.shape)
            if tensor.dtype not in FLOATS:
                raise ValueError(
                    f"{module.label} has weights of type {tensor.dtype}; save the model in a float type "
                    f"({', '.join(FLOATS)})"
                )
    if count > MAX_ENTRIES:
        raise ValueError(
            f"the network has {count:,} parameters, {count / 2**17:,.0f} MB in double precision; "
            f"at most {MAX_ENTRIES / 2**17:,.0f} MB are read"
        )


def _step(module: Module) -> Affine | Scale:
    """Return what a module computes."""
    arrays = {key: tensor.read() for key, tensor in module.parameters.items() if key != "num_batches_tracked"}
    if module.kind == "Linear":
        W = arrays["weight"]
        return Affine(module.label, W, arrays.get("bias", np.zeros(len(W))))
    if not {"running_mean", "running_var"} <= set(arrays):
        raise ValueError(f"{module.label} lacks one of its running statistics and cannot be folded")
    mean, variance = arrays["running_mean"], arrays["running_var"]
    gamma, beta = arrays.get("weight", np.ones_like(mean)), arrays.get("bias", np.zeros_like(mean))
    return batch_norm(module.label, gamma, beta, mean, variance, EPS)


def _check_copies(modules: Sequence[Module], steps: Mapping[str, Affine | Scale]) -> None:
    """Raise ValueError if two layers have the same weights and their names do not say that both count."""
    known: dict[bytes, Module] = {}
    for module in modules:
        step = steps[module.name]
        if not isinstance(step, Affine) or step.W.size == 0 or step.W.min() == step.W.max():
            continue
        twin = known.setdefault(step.W.tobytes(), module)
        if twin.place.n_in == module.place.n_in and not _alike(twin, module):
            raise ValueError(
                f"{twin.name} and {module.name} have the same weights: one layer under two names, or a layer "
                "that stands in the network twice? Name the layers as forward() calls them with --order NAMES"
            )
