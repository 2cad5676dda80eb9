"""Files to begin with, of every kind that is read, and ways to damage them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from fuzz_texts import Draw, pick

from sheafcli.core.chain.network import Network
from sheafcli.interop.models import model_bytes
from sheafcli.runs.loading import load

CONFIG = """\
task: {kind: csv, path: ../data.csv, target: kind}
network: {hidden: [5, 4]}
training: {steps: 60, dt: 0.02, log_every: 20}
baseline: {epochs: 20, log_every: 10}
diagnostics: {spectrum: true}
"""
NUMBERS = ("1e200", "-1e155", "1e-320", "123456789", "0", "1e30", "-0.0", "1e15", "0.5", "2")
HOSTILE = (
    "1e999",
    "-1",
    "9" * 40,
    "nan",
    "inf",
    "",
    " ",
    "0x1f",
    "1,5",
    '"',
    "猫",
    "\x1b[31m",
    "a" * 300,
    "[]",
)
WORDS = (*HOSTILE, *NUMBERS)


def make_models(folder: Path) -> None:
    """Write a model of each format into a folder."""
    import skops.io  # noqa: PLC0415  # models alone need these
    import torch  # noqa: PLC0415
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    network = Network.he([3, 6, 5, 2], "softmax", seed=1)
    for suffix in ("npz", "pt", "safetensors", "onnx"):
        (folder / f"model.{suffix}").write_bytes(model_bytes(folder / f"model.{suffix}", network))
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Linear(6, 2)
    )
    torch.save({"epoch": 3, "model": module.state_dict()}, folder / "checkpoint.pt")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    warnings.simplefilter("ignore", ConvergenceWarning)
    classifier = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=5)).fit(X, X[:, 0] > 0)
    skops.io.dump(classifier, folder / "model.skops")


def make_data(folder: Path) -> None:
    """Write a table and arrays of three inputs and two classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    rows = [f"{a:.4f},{b:.4f},{c:.4f},{'yes' if a > b else 'no'}" for a, b, c in X]
    (folder / "data.csv").write_text("\n".join(["first,second,third,kind", *rows]) + "\n")
    y = np.stack([X[:, 0] > 0, X[:, 0] <= 0], axis=1).astype(float)
    np.savez(folder / "data.npz", X_train=X[:40], y_train=y[:40], X_test=X[40:], y_test=y[40:])
    np.savez(folder / "samples.npz", X=X, y=(X[:, :1] > 0).astype(float))


def make_run(folder: Path) -> None:
    """Train a run, and diagnose it, so that all files are there that a run may have."""
    (folder / "run.yaml").write_text(CONFIG.replace("../", ""))
    for arguments in (
        ("train", "run.yaml", "--output", "run", "--quiet"),
        ("diagnose", "run", "--format", "csv"),
        ("spectrum", "run", "--format", "csv"),
        ("diffuse", "run", "--format", "csv"),
    ):
        sheaf(folder, *arguments)


def make_references(folder: Path) -> None:
    """Write what a run can be compared with: its network, another one, and recorded values."""
    sheaf(folder, "export", "run", "reference.onnx", "--network-only")
    network = load(folder / "run" / "network.npz")
    assert isinstance(network, Network)
    rng = np.random.default_rng(0)
    weights = [W + 0.01 * rng.normal(size=W.shape) for W in network.weights]
    other = Network(weights, network.biases, network.output)
    for suffix in ("npz", "pt"):
        (folder / f"other.{suffix}").write_bytes(model_bytes(folder / f"other.{suffix}", other))
    sheaf(folder, "record", "reference.onnx", "--data", "samples.npz", "--output", "activations.npz")
    (folder / "map.yaml").write_text("a1: a1\nz1: z1\n")


def sheaf(folder: Path, *arguments: str) -> None:
    """Run a command that must succeed."""
    command = [sys.executable, "-m", "sheafcli", *arguments]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def cut(draw: Draw, content: bytes) -> bytes:
    """Cut a file short."""
    return content[: draw.integers(len(content) + 1)]


def flip(draw: Draw, content: bytes) -> bytes:
    """Change some bits, here and there or near the beginning, where headers are."""
    copy = bytearray(content)
    end = len(copy) if draw.random() < 0.5 else min(len(copy), 400)
    for _ in range(int(draw.integers(1, 6)) if end else 0):
        copy[int(draw.integers(end))] ^= 1 << int(draw.integers(8))
    return bytes(copy)


def splice(draw: Draw, content: bytes) -> bytes:
    """Put bytes of one place into another, or noise, or repeat a part."""
    start, end = sorted(int(n) for n in draw.integers(len(content) + 1, size=2))
    end = min(end, start + 64)
    piece = pick(draw, (content[start:end], draw.bytes(16), b"\0" * 8, b"\xff" * 8, content[start:end] * 3))
    at = int(draw.integers(len(content) + 1))
    return content[:at] + piece + content[at + (len(piece) if draw.random() < 0.5 else 0) :]


def change_words(draw: Draw, content: bytes) -> bytes:
    """Replace values of a text file, take lines out, double or swap them."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(int(draw.integers(1, 4))):
        at = int(draw.integers(len(lines)))
        how = draw.integers(6)
        if how == 0:
            del lines[at]
        elif how == 1:
            lines.insert(at, lines[int(draw.integers(len(lines)))])
        elif how == 2 and lines[at]:
            place = int(draw.integers(len(lines[at])))
            lines[at] = lines[at][:place] + pick(draw, tuple("x9-.e, :\"'{}[]\0é")) + lines[at][place + 1 :]
        else:
            separator = "," if "," in lines[at] else ":" if ":" in lines[at] else " "
            parts = lines[at].split(separator)
            parts[int(draw.integers(len(parts)))] = pick(draw, WORDS)
            lines[at] = separator.join(parts)
        lines = lines or [""]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def change_arrays(draw: Draw, content: bytes) -> bytes:
    """Write an .npz file anew with an array that is of another shape or kind, extreme, or not there."""
    with np.load(BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    name = pick(draw, list(arrays))
    array = arrays.pop(name)
    made: list[Callable[[], object]] = [
        lambda: array.astype("f4"),
        array.ravel,
        lambda: array[None],
        lambda: array.T,
        lambda: np.array(pick(draw, ("text", "", 1, 10**18, 2.5, True))),
        lambda: np.full_like(array, pick(draw, (np.nan, np.inf, 1e308, 1e200, -1e160, 1e-320)), dtype=float),
        lambda: np.zeros((0, *array.shape[1:])),
        lambda: np.zeros(array.shape, dtype=pick(draw, ("i1", "u8", "c16", "?", "M8[s]", "U3", "f2", "S4"))),
        lambda: np.zeros(50_000_000, dtype="i1"),
    ]
    if draw.random() < 0.9:
        arrays[pick(draw, (name, name, name, f"{name}x", "W99"))] = pick(draw, made)()
    stream = BytesIO()
    (np.savez_compressed if draw.random() < 0.3 else np.savez)(stream, **arrays)
    return stream.getvalue()


def change_members(draw: Draw, content: bytes) -> bytes:
    """Write a zip archive anew with a member that is damaged, doubled, renamed or empty."""
    stream = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as archive, zipfile.ZipFile(stream, "w") as made:
        names = archive.namelist()
        chosen = pick(draw, names)
        for name in names:
            member = archive.read(name)
            if name != chosen:
                made.writestr(name, member)
                continue
            how = draw.integers(5)
            if how < 3:
                damage = pick(draw, (flip, splice, cut))
                made.writestr(name, damage(draw, member))
            elif how == 3:
                made.writestr(f"../{name}" if draw.random() < 0.5 else name[::-1], member)
    return stream.getvalue()


def damaged(draw: Draw, path: Path) -> bytes:
    """Return the contents of a file, damaged in one of the ways that its kind allows."""
    content = path.read_bytes()
    ways: list[Callable[[Draw, bytes], bytes]] = [cut, flip, flip, splice]
    if path.suffix in (".csv", ".yaml", ".json", ".html"):
        ways += [change_words] * 8
    if path.suffix == ".npz":
        ways += [change_arrays] * 6
    if path.suffix in (".npz", ".pt", ".skops"):
        ways += [change_members] * 4
    return pick(draw, ways)(draw, content)


def damage_run(draw: Draw, folder: Path) -> None:
    """Damage one or two files of a run in place: what they hold, or what they are."""
    done: list[Path] = []
    for _ in range(int(draw.integers(1, 3))):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        # What was damaged before may be no archive any more.
        readable = [path for path in files if path.suffix != ".png" and path not in done]
        path = pick(draw, readable)
        done.append(path)
        how = draw.random()
        if how < 0.85:
            path.write_bytes(damaged(draw, path))
        elif how < 0.9:
            path.unlink()
            path.mkdir()
        elif how < 0.93:
            path.unlink()
        elif how < 0.96:
            other = pick(draw, readable)
            if other != path:
                path.write_bytes(other.read_bytes())
        elif how < 0.98:
            shutil.rmtree(folder / "figures", ignore_errors=True)
            (folder / "figures").write_text("a file")
        else:
            path.unlink()
            path.symlink_to(path.name)
        if not (folder / "config.yaml").exists():
            break
