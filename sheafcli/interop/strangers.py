"""What a name or a parameter betrays: layers that a sheaf does not cover, each with what to do.

The names are those that PyTorch, transformers, peft and the quantizing libraries give; each rule says of
one of them what it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

EXPORT = "export the model with torch.onnx.export, which records the order of all steps"

COVERS = "a sheaf covers Linear, ReLU and BatchNorm"

_LOSS = re.compile(
    r"(?:.*_)?(?:criterion|criteria|crit|loss|losses|lossfn|objective|cross_?entropy|ce|bce|nll|xent)(?:_.*)?",
    re.IGNORECASE,
)
_BUFFERS = {"n_averaged", "pos_weight", "class_weight", "class_weights", "loss_weight", "loss_weights"}

QUANTISED = "a quantised layer; save the network that it was made from, in a float type"
_ADAPTER = "a LoRA adapter; merge it into its network first (model.merge_and_unload()) and save that"

_PARAMETERS = (
    (r"(weight|bias)_[ih]h.*", "a recurrent layer (LSTM, GRU or RNN)"),
    (r"in_proj.*|bias_[kv]", "an attention layer"),
    (r"lora_.*|modules_to_save|base_layer", _ADAPTER),
    (
        r"_packed_params|zero_point|qweight|qzeros|g_idx|SCB|weight_format|absmax|quant_(map|state)"
        r"|nested_(absmax|quant_map)|(weight|input)_scale(_inv)?|W_q",
        QUANTISED,
    ),
    (r"kernel", "a layer of Keras or Flax, whose kernel is n_in x n_out; write its transpose as NPZ"),
)
"""Segments of a parameter's name, and what the module is that has such a parameter."""

_NAMES = (
    (r"shortcuts?|skips?|downsample|residuals?|res|resblocks?", "a shortcut around other layers"),
    (r"\w*attn|\w*attention|self_attn|[qkv]_proj|qkv|to_(q|k|v|qkv)|c_attn", "part of an attention layer"),
    (r"gate(_proj)?|gating|router|experts", "a gate, which multiplies other values"),
    (r"log_?var(iance)?|log_?std|log_?sigma|\w+_log_?var", "one of two branches from the same values"),
    (r"branch(es)?|tower", "one of several branches"),
)
"""Names of modules that say that values do not pass through one layer after the other."""

_EMBEDDING = r"\w*embed(ding|dings|der)?|(\w+_)?emb|w[tp]e"

_ACTIVATIONS = re.compile(
    r"(?:.*_)?(tanh|gelu|elu|selu|celu|leaky|leaky_?relu|lrelu|prelu|rrelu|relu6|silu|swish|mish|softplus"
    r"|softsign|hard_?tanh|hard_?swish|siren|sine|snake|maxout|glu|geglu|swiglu)(?:_.*)?",
    re.IGNORECASE,
)
_FURTHER_ACTIVATIONS = ("sigmoid", "logistic", "sin", "linear", "identity", "none")
_SAYS_ACTIVATION = re.compile(r"(?:.*_)?(?:activations?|act|act_?fn|act_?layer|non_?linearity)(?:_.*)?")
_SAYS_OUTPUT = re.compile("out|final|last|end")

MAX_OPTIONS = 10_000
"""How many of the options that stand beside the weights are looked at."""


def no_part_of_the_network(name: str, shape: tuple[int, ...], dtype: str) -> bool:
    """Tell whether a tensor belongs to the loss, or counts: class weights, the averages taken, steps done."""
    *modules, parameter = name.split(".")
    counts = not shape and not dtype.startswith(("float", "bfloat")) and parameter != "zero_point"
    return (
        parameter in _BUFFERS
        or any(_LOSS.fullmatch(module) for module in modules)
        or (counts and parameter != "num_batches_tracked")
    )


def stranger(module: str, parameters: Collection[str]) -> str | None:
    """Return what a module is that has such parameters and is covered by no sheaf; None if it may be."""
    if any(parameter.startswith("parametrizations.") for parameter in parameters):
        return (
            "a parametrized layer, with spectral or weight norm, say (take that off with "
            f'torch.nn.utils.parametrize.remove_parametrizations({_attribute(module)}, "weight"))'
        )
    if {"weight_orig", "weight_u"} <= set(parameters):
        return f"a layer with spectral norm (take it off with {_removed('remove_spectral_norm', module)})"
    for pruned in ("weight", "bias"):
        if {f"{pruned}_orig", f"{pruned}_mask"} & set(parameters):
            return f"a pruned layer (make it plain with {_removed('prune.remove', module, pruned)})"
    if "weight_g" in parameters:
        return f"a layer with weight norm (take it off with {_removed('remove_weight_norm', module)})"
    segments = {segment for name in (module, *parameters) for segment in name.split(".")}
    for pattern, what in _PARAMETERS:
        if any(re.fullmatch(pattern, segment) for segment in segments):
            return what
    return None


def betrayed(module: str, has_bias: bool) -> str | None:
    """Return what a module is by its name, if that is no layer in a row of layers."""
    for segment in module.split("."):
        plain = re.sub(r"_?\d+$", "", segment).lower()
        for pattern, what in _NAMES:
            if re.fullmatch(pattern, plain):
                return what
        if not has_bias and re.fullmatch(_EMBEDDING, plain):
            return "an embedding, a table of rows to look up"
    return None


def other_activation(modules: Iterable[str]) -> str | None:
    """Return the first module that is, by its name, another activation than ReLU."""
    for module in modules:
        last = re.sub(r"_?\d+$", "", module.rpartition(".")[2])
        if _ACTIVATIONS.fullmatch(last):
            return module
    return None


def said_activation(beside: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key and the name of another activation than ReLU that stands beside the weights.

    Training scripts store their options so: {"hyper_parameters": {"activation": "gelu"}}.
    """
    waiting: list[tuple[str, Any]] = list(beside.items())
    for at, (key, value) in enumerate(waiting):  # it grows on the way
        inside = value if isinstance(value, dict) else getattr(value, "__dict__", None)
        if isinstance(inside, dict) and at + len(waiting) + len(inside) < MAX_OPTIONS:
            waiting += [(f"{key}.{name}", option) for name, option in inside.items()]
        option = key.rpartition(".")[2].lower()
        if isinstance(value, str) and _SAYS_ACTIVATION.fullmatch(option) and not _SAYS_OUTPUT.search(option):
            name = value.strip().rpartition(".")[2].removesuffix("()")
            if _ACTIVATIONS.fullmatch(name) or name.lower() in _FURTHER_ACTIVATIONS:
                return key, value
    return None


def _removed(function: str, module: str, *parameter: str) -> str:
    arguments = ", ".join([_attribute(module), *(f'"{name}"' for name in parameter)])
    return f"torch.nn.utils.{function}({arguments})"


def _attribute(module: str) -> str:
    """Return a module as Python reaches it: model.body[0].fc for body.0.fc."""
    segments = [f"[{name}]" if name.isdecimal() else f".{name}" for name in filter(None, module.split("."))]
    return f"model{''.join(segments)}"
