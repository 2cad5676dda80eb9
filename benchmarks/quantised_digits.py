"""The quantised network of docs/diagnostics.md: digits in 8 bits, where one channel of a layer has died.

A small network of depthwise convolutions is trained on the bundled digits by PyTorch. The normalisation in
front of the first of them starts channel DEAD far below zero, so that it is never active, and the
normalisation behind it sees no variance in that channel. Folded into the convolution it makes weights there
that are 1 / sqrt(epsilon) = 316 times as large. Nothing but zeros is read by them, and float32 does not mind.
In 8 bits they set the scale of all weights of that layer.

    python benchmarks/quantised_digits.py

Writes experiments/data/digits.onnx, digits_int8.onnx, and digits_mixed.onnx, in which that layer is left in
float32. Seeds are fixed; another version of PyTorch or ONNX Runtime may give other numbers.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from rich.console import Console
from rich.progress import track
from torch import nn

from sheafcli.runs import Experiment

ROOT = Path(__file__).resolve().parent.parent / "experiments"
CALIBRATION, EPOCHS, BATCH, DEAD = 200, 25, 64, 5
LAYER = ("/block1/depthwise/Conv", "/block1/cut2/Clip")
# With this on, ONNX Runtime rounds the weights of a layer in float32 between two that are in 8 bits.
OPTIMIZER = "WeightBiasQuantization"


def block(channels: int, outputs: int) -> nn.Sequential:
    """Return a block of a convolution that widens, one by channel, and one that narrows."""
    inner = 2 * channels
    block = nn.Sequential()
    block.add_module("expand", nn.Conv2d(channels, inner, 1, bias=False))
    block.add_module("norm1", nn.BatchNorm2d(inner))
    block.add_module("cut1", nn.ReLU6())
    block.add_module("depthwise", nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False))
    block.add_module("norm2", nn.BatchNorm2d(inner))
    block.add_module("cut2", nn.ReLU6())
    block.add_module("project", nn.Conv2d(inner, outputs, 1, bias=False))
    block.add_module("norm3", nn.BatchNorm2d(outputs))
    return block


class Digits(nn.Module):
    """A stem, three blocks, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.cut = (
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
        )
        self.block1, self.block2, self.block3 = block(8, 8), block(8, 12), block(12, 12)
        self.pool, self.flat, self.dense = nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 10)
        with torch.no_grad():
            self.block1.norm1.weight[DEAD], self.block1.norm1.bias[DEAD] = 0.2, -4.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = self.block3(self.block2(self.block1(self.cut(self.norm(self.conv(x))))))
        logits: torch.Tensor = self.dense(self.flat(self.pool(x)))
        return logits


def trained(X: NDArray[Any], classes: NDArray[Any]) -> Digits:
    """Train a network by AdamW with a learning rate that rises and falls."""
    torch.manual_seed(0)
    network = Digits()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    steps = -(-len(X) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs=EPOCHS, steps_per_epoch=steps)
    for _ in track(range(EPOCHS), "training"):
        for rows in torch.randperm(len(X)).split(BATCH):
            loss = nn.functional.cross_entropy(network(torch.tensor(X[rows])), torch.tensor(classes[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Gives the samples that the ranges of values are measured on, once."""

    def __init__(self, X: NDArray[Any]) -> None:
        self.batches: Iterator[dict[str, Any]] = iter([{"image": X}])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, None after the last."""
        return next(self.batches, None)


def accuracy(path: Path, X: NDArray[Any], classes: NDArray[Any], without: Sequence[str] = ()) -> float:
    """Return how often a file is right, run by ONNX Runtime, without some of its optimizers."""
    session = onnxruntime.InferenceSession(str(path), disabled_optimizers=list(without))
    (logits,) = session.run(None, {"image": X})
    return float(np.mean(np.argmax(logits, axis=1) == classes))


def main() -> None:
    """Train, quantise, write the files, and say how often each is right."""
    task = Experiment.load(ROOT / "networks" / "residual.yaml").task
    X, X_test = (part.reshape(-1, 1, 8, 8).astype(np.float32) for part in (task.X_train, task.X_test))
    classes, test = np.argmax(task.y_train, axis=1), np.argmax(task.y_test, axis=1)
    network = trained(X, classes)
    data = ROOT / "data"
    plain, whole, mixed = (data / f"digits{name}.onnx" for name in ("", "_int8", "_mixed"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.tensor(X[:1]),),
            str(plain),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "samples"}},
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamo=False,
        )
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        quant_pre_process(str(plain), str(folded), skip_symbolic_shape=True)
        few = X[:CALIBRATION]
        quantization.quantize_static(str(folded), str(whole), Reader(few))
        quantization.quantize_static(str(folded), str(mixed), Reader(few), nodes_to_exclude=list(LAYER))
    console = Console()
    for path in (plain, whole, mixed):
        console.print(f"{path.name:18} {accuracy(path, X_test, test):.1%} ({os.path.getsize(path):,} bytes)")
    console.print(f"{mixed.name:18} {accuracy(mixed, X_test, test, [OPTIMIZER]):.1%} without {OPTIMIZER}")


if __name__ == "__main__":
    main()
