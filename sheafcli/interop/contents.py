"""What a model file holds, by its content: checked against its name before any library opens it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from sheafcli.errors import InputError
from sheafcli.interop.npz import DAMAGE, MAX_BYTES, check_archive, open_bounded

FORMATS = {
    ".npz": "npz",
    ".pt": "pytorch",
    ".pth": "pytorch",
    ".ckpt": "pytorch",
    ".bin": "pytorch",
    ".safetensors": "safetensors",
    ".onnx": "onnx",
    ".skops": "scikit-learn",
}
"""The suffixes of model files, each with the name of its format."""

STATE_DICT_SNIPPET = 'torch.save(model.state_dict(), "model.pt")'
"""The line of PyTorch that writes what `read_model` reads."""

ONNX_SNIPPET = """\
model.eval()
torch.onnx.export(model, (X[:1],), "model.onnx", dynamo=False)  # X: samples as a tensor"""
"""Two lines of PyTorch that write a model with all of its steps."""

SKLEARN_SNIPPET = """\
layers = enumerate(zip(model.coefs_, model.intercepts_), 1)
np.savez("model.npz", output=model.out_activation_.replace("logistic", "sigmoid"),
         **{k: v for i, (W, b) in layers for k, v in ((f"W{i}", W.T), (f"b{i}", b))})"""
"""Two lines that write a fitted MLPClassifier or MLPRegressor with activation="relu" as plain NPZ."""

KERAS_SNIPPET = """\
dense = enumerate((layer.get_weights() for layer in model.layers if layer.weights), 1)
np.savez("model.npz", **{k: v for i, (W, b) in dense for k, v in ((f"W{i}", W.T), (f"b{i}", b))})"""
"""Two lines that write a Keras model of Dense layers with activation="relu" as plain NPZ."""

HDF5 = "an HDF5 file"

PICKLES = (".pkl", ".pickle", ".joblib")

_ZIPPED = ("npz", "pytorch", "scikit-learn")


def format_of(path: Path) -> str:
    """Return the format that a suffix names; InputError if it names none, or a pickle."""
    if path.suffix.lower() in PICKLES:
        raise InputError(_PICKLE, path=path)
    if path.suffix.lower() not in FORMATS:
        advice = _ADVICE.get(path.suffix.lower(), "name the file after its format, or convert it")
        raise InputError(
            f"unknown suffix {path.suffix!r}; the formats are {', '.join(FORMATS)}; {advice}",
            path=path,
        )
    return FORMATS[path.suffix.lower()]


def check_content(path: Path, format: str) -> None:
    """Raise InputError if a file is missing, too large, a zip bomb, a pickle, or of another format."""
    with open_bounded(path, MAX_BYTES) as file:
        kind = _kind(file, path)
    if kind == format or (kind is None and format not in _ZIPPED):
        return
    suffixes = [suffix for suffix, known in FORMATS.items() if known == kind]
    if kind == "pickle":
        raise InputError(_OLD_PYTORCH if format == "pytorch" else _PICKLE, path=path)
    if suffixes:
        message = f"the file is named {path.suffix} and holds {kind}; rename it to end in {suffixes[0]}"
    elif kind == "TorchScript":
        message = (
            "the file holds a TorchScript program, which is not run; write its weights with: "
            f'torch.save(torch.jit.load("{path.name}").state_dict(), "weights.pt")'
        )
    else:
        what = f"is {kind}, not" if kind else "is not"
        advice = _KERAS if kind == HDF5 else "write it again or check where it comes from"
        message = f"the file {what} a whole {path.suffix} file; {advice}"
    raise InputError(message, path=path)


def library(module: str, extra: str, doing: str) -> Any:
    """Import a library that only some files need; ImportError names the extra that installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{doing} needs {package}; install it with: pip install 'sheafcli[{extra}]'"
        ) from error


def _kind(file: BinaryIO, path: Path) -> str | None:
    """Return the format that the first bytes, or the members of an archive, tell; None if they tell none."""
    head = file.read(16)
    if not head:
        return "empty"
    if head.startswith(b"PK"):
        file.seek(0)
        try:
            with zipfile.ZipFile(file) as archive:
                check_archive(archive, path)
                return _archive_kind(archive.namelist())
        except DAMAGE as error:
            raise InputError(
                f"a damaged or truncated archive ({error or type(error).__name__}); "
                "write the file again or check where it comes from",
                path=path,
            ) from error
    if head[8:9] == b"{":  # behind the length of the header, 8 bytes that may look like a pickle's first two
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    return HDF5 if head.startswith(b"\x89HDF") else None


def _archive_kind(names: Iterable[str]) -> str:
    files = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in files:
        return "TorchScript"
    if "data.pkl" in files:
        return "pytorch"
    if "schema.json" in files:
        return "scikit-learn"
    return "npz" if files and all(name.endswith(".npy") for name in files) else "a zip archive"


_KERAS = f"""\
where Keras is, write the model as ONNX, with model.export("model.onnx", format="onnx"), or as NPZ:

{KERAS_SNIPPET}"""

_TABLE = "a table is trained on: `sheaf init --data FILE` writes a configuration for it"
_ADVICE = {".h5": _KERAS, ".hdf5": _KERAS, ".keras": _KERAS} | dict.fromkeys(
    (".csv", ".tsv", ".txt", ".parquet"), _TABLE
)
"""What to do with files of suffixes that are not read."""

_PICKLE = f"""\
a pickle runs code when it is opened, so none is read. Where the model lives, write it
with skops (skops.io.dump(model, "model.skops")), or with NumPy, if its activation is relu:

{SKLEARN_SNIPPET}

From PyTorch: {STATE_DICT_SNIPPET}"""

_OLD_PYTORCH = f"""\
a bare pickle, or written by PyTorch before 1.6, and neither is read. Where the model lives,
write it with a newer PyTorch:

{STATE_DICT_SNIPPET}"""
