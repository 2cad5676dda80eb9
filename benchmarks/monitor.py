"""What `sheafcli.monitor` costs a PyTorch training, at a record every 100 steps.

    python benchmarks/monitor.py [--repeats 5]

Three multilayer perceptrons of three layers train by Adam, batch 64, on one thread, with the monitor and
without in turn. CPU time of the loop alone, the least of the repeats of each; what the monitor takes once, to
begin and to close, stands beside it. The overhead is the monitor's own CPU time in the loop over that of the
loop without it; the two loops' difference, which noise of the machine is in, is the last column. Writes
benchmarks/results/monitor.csv.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import sheafcli as sc

RESULTS = Path(__file__).resolve().parent / "results"
WIDTHS = ((2, 32, 32, 1), (64, 128, 128, 10), (784, 256, 256, 10))
SAMPLES, BATCH, STEPS, EVERY = 1000, 64, 2000, 100


def model(widths: tuple[int, ...]) -> torch.nn.Module:
    """Return a perceptron; the same each time."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for n, m in zip(widths, widths[1:], strict=False):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def data(widths: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random inputs, and targets that depend on them: one number, or ten classes."""
    draw = torch.Generator().manual_seed(1)
    X = torch.randn((SAMPLES, widths[0]), generator=draw)
    score = X @ torch.randn((widths[0], widths[-1]), generator=draw)
    return X, score.argmax(dim=1) if widths[-1] > 1 else score.abs()


def train(network: torch.nn.Module, X: torch.Tensor, y: torch.Tensor, watch: sc.Monitor | None) -> float:
    """Train, and return the CPU time of the loop."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss = torch.nn.functional.cross_entropy if y.ndim == 1 else torch.nn.functional.mse_loss
    draw = torch.Generator().manual_seed(2)
    begun = time.process_time()
    for _ in range(STEPS):
        rows = torch.randint(0, SAMPLES, (BATCH,), generator=draw)
        optimizer.zero_grad()
        loss(network(X[rows]), y[rows]).backward()
        optimizer.step()
        if watch is not None:
            watch.step()
    return time.process_time() - begun


def row(widths: tuple[int, ...], repeats: int) -> dict[str, object]:
    """Time both in turn."""
    X, y = data(widths)
    alone, watched, own, once, looks = [], [], [], [], []
    for _ in range(repeats):
        alone.append(train(model(widths), X, y, None))
        network = model(widths)
        with tempfile.TemporaryDirectory() as folder:
            begun = time.process_time()
            output = "softmax" if y.ndim == 1 else None
            watch = sc.monitor(network, X, y, Path(folder) / "run", every=EVERY, output=output)
            opened = time.process_time()
            watched.append(train(network, X, y, watch))
            own.append(watch.seconds)
            closing = time.process_time()
            looks.append(watch.findings["step"].nunique())
            watch.close()
            once.append(opened - begun + time.process_time() - closing)
    return {
        "network": "-".join(map(str, widths)),
        "100 steps, ms": round(min(alone) / STEPS * 1e5, 1),
        "the monitor, ms": round(min(own) / STEPS * 1e5, 2),
        "overhead": f"{min(own) / min(alone):.1%}",
        "looks for findings": int(np.median(looks)),
        "begin and close, ms": round(min(once) * 1e3),
        "loops' difference": f"{min(watched) / min(alone) - 1.0:+.1%}",
    }


def main() -> None:
    """Time all networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="how often each is timed")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    table = pd.DataFrame([row(widths, repeats) for widths in WIDTHS])
    table.to_csv(RESULTS / "monitor.csv", index=False, lineterminator="\n")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
