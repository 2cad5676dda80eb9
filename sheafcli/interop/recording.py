"""What a model computes on its way, recorded where it runs: by ONNX Runtime, or by PyTorch.

Values are by the names that the file or the module gives them, samples first; the input is among them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheafcli.core.graph import INPUT
from sheafcli.errors import InputError
from sheafcli.interop.contents import library
from sheafcli.interop.npz import MAX_LOADED
from sheafcli.interop.onnx_model import load_model
from sheafcli.interop.onnx_runtime import KINDS
from sheafcli.interop.quantised import read_through_steps

PROVIDER = "CPUExecutionProvider"
Arrays = dict[str, NDArray[Any]]


def record_onnx(path: Path, X: NDArray[Any], provider: str = PROVIDER) -> Arrays:
    """Return every value that ONNX Runtime computes of samples X, by the names in the file.

    X is samples x features, or of the shape of the input. Values without an axis of samples in front, and
    those that are no real numbers, are left out. Integers of a quantised graph are recorded as what they
    stand for, too: see `read_through_steps`. InputError where the file cannot be run.
    """
    try:
        onnx = library("onnx", "onnx", "reading .onnx files")
        runtime = library("onnxruntime", "onnx", "running .onnx files")
    except ImportError as error:
        raise InputError(str(error), path=path) from error
    providers = runtime.get_available_providers()
    if provider not in providers:
        raise InputError(f"ONNX Runtime here has no {provider}; it has {', '.join(providers)}")
    try:
        model = load_model(path, onnx)
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
        outputs = {value.name for value in model.graph.output}
        known = outputs | read_through_steps(model, onnx)
        made = [name for node in model.graph.node for name in node.output if name and name not in known]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=[provider])
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs, and networks of one are recorded")
        return _run(session, inputs[0], X)
    except InputError:
        raise
    except Exception as error:  # of a class of its own, whatever is wrong
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"ONNX Runtime does not run the file: {reason}", path=path) from error


def record(model: Any, X: Any) -> Arrays:
    """Return what every module of a torch.nn.Module without modules of its own gives on X, by its name.

    X is a tensor or an array, samples first; it is recorded as x. What `forward` computes by functions, such
    as sums and torch.relu, no module gives, and counts to the next that does. Of a module that is called more
    than once the first call counts. The model is run as at evaluation, and left as it was.

    Examples
    --------
    >>> import numpy as np, torch, sheafcli as sc
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    >>> values = sc.record(model, np.ones((3, 2)))
    >>> {name: value.shape for name, value in values.items()}
    {'x': (3, 2), '0': (3, 5), '1': (3, 5), '2': (3, 1)}
    """
    torch = library("torch", "torch", "recording a live module")
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"record takes a torch.nn.Module, got {type(model).__name__}")
    parameter = next(iter(model.parameters()), None)
    given = torch.as_tensor(X)
    if parameter is not None:
        given = given.to(device=parameter.device, dtype=parameter.dtype)
    values: Arrays = {INPUT: _array(torch, given)}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: Any, _given: Any, made: Any) -> None:
            if isinstance(made, torch.Tensor) and made.ndim and len(made) == len(given):
                values.setdefault(name, _array(torch, made))

        return hook

    leaves = [(name, part) for name, part in model.named_modules() if name and not any(part.children())]
    hooks = [part.register_forward_hook(keep(name)) for name, part in leaves]
    training = {part: part.training for part in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            model(given)
    finally:
        for hook in hooks:
            hook.remove()
        for part, was in training.items():
            part.training = was
    return values


def _run(session: Any, given: Any, X: NDArray[Any]) -> Arrays:
    """Run samples, in groups where the file fixes how many there are; values of groups are put together."""
    if given.type not in KINDS:
        raise ValueError(f"its input is {given.type}, and real numbers are recorded")
    first, *sizes = given.shape
    shape = [size if isinstance(size, int) else -1 for size in sizes]
    if X.ndim != len(given.shape):
        if shape.count(-1) > 1:
            raise ValueError(f"it leaves sizes of its input open, {given.shape}: give X in its shape")
        X = X.reshape(len(X), *shape)
    n = first if isinstance(first, int) and first > 0 else len(X)
    values = X.astype(KINDS[given.type])
    padded = np.concatenate([values, np.repeat(values[-1:], -len(X) % n, axis=0)])
    names = [value.name for value in session.get_outputs()]
    parts: dict[str, list[NDArray[Any]]] = {given.name: [padded]}
    room = MAX_LOADED
    for start in range(0, len(padded), n):
        for name, value in zip(
            names, session.run(names, {given.name: padded[start : start + n]}), strict=True
        ):
            if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.shape[:1] == (n,):
                parts.setdefault(name, []).append(value)
                room -= 8 * value.size
        if room < 0:
            raise ValueError(
                f"the values take more than {MAX_LOADED >> 20} MB; record fewer samples with --limit"
            )
    return {name: np.concatenate(part)[: len(X)] for name, part in parts.items()}


def _array(torch: Any, tensor: Any) -> NDArray[Any]:
    """Return a tensor as an array; bfloat16, which NumPy has not, as float32."""
    tensor = tensor.detach().cpu()
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()
    return array
