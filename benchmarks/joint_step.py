"""One joint Euler step of `Heat` against the same step written plainly, out of place, in PyTorch eager.

Both run in one process on one thread, in float64, on the same data, in turns (A B A B ...), and the medians
over the rounds are compared. Before that, both must agree after 50 steps. The second table shows that the
memory of a session grows linearly in the samples.

    python benchmarks/joint_step.py [--write]

`--write` keeps the first table as benchmarks/results/joint_step.csv.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import csv
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.training.heat import Heat, HeatSession

torch.set_num_threads(1)

# Widths, and the share of PyTorch's time that a step may take.
BARS = {(2, 30, 1): 0.55, (2, 10, 8, 1): 0.45, (784, 128, 10): 0.85}
SAMPLES = 300
DT = 1e-4
AGREEMENT = 1e-10
ROUNDS = 15
SECONDS_A_TURN = 0.2
MEMORY_SAMPLES = (300, 3_000, 30_000)
RESULTS = Path(__file__).parent / "results" / "joint_step.csv"
ENDLESS = 10**9


@dataclass
class Problem:
    """A network with start stalks and seeded data, for both contestants."""

    network: Network
    stalks: dict[str, np.ndarray]
    X: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, widths: tuple[int, ...], samples: int) -> Problem:
        """Draw a regression problem."""
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(samples, widths[0])), rng.normal(size=(samples, widths[-1]))
        return cls(Network.he(widths, seed=rng), Cochain.random(widths, samples, rng).stalks(), X, y)

    def session(self) -> HeatSession:
        """Return our contestant."""
        return Heat(steps=ENDLESS, dt=DT, stalks=self.stalks).start(self.network, self.X, self.y)


class Plain:
    """The joint flow in PyTorch, features x samples.

    That is the order in which the formulas are written, and the faster one for PyTorch.
    """

    def __init__(self, problem: Problem):
        layers = range(1, problem.network.depth + 2)
        self.X, self.y = torch.tensor(problem.X.T.copy()), torch.tensor(problem.y.T.copy())
        self.W = [torch.tensor(W) for W in problem.network.weights]
        self.b = [torch.tensor(b[:, None]) for b in problem.network.biases]
        self.z = [torch.tensor(problem.stalks[f"z{layer}"].T.copy()) for layer in layers]
        self.a = [torch.tensor(problem.stalks[f"a{layer}"].T.copy()) for layer in layers[:-1]]
        self.beta = 1.0 / len(problem.X)

    def step(self) -> None:
        """Take one forward Euler step, all forces from the old state."""
        before = [self.X, *self.a]
        r = [W @ a + b - z for W, b, z, a in zip(self.W, self.b, self.z, before, strict=True)]
        R = [(z >= 0).to(z.dtype) for z in self.z[:-1]]
        s = [R_l * z - a for R_l, z, a in zip(R, self.z, self.a, strict=False)]
        dz = [r_l - R_l * s_l for r_l, R_l, s_l in zip(r, R, s, strict=False)]
        dz.append(r[-1] - (self.z[-1] - self.y))
        da = [s_l - W.T @ r_after for s_l, r_after, W in zip(s, r[1:], self.W[1:], strict=True)]
        rate = DT * self.beta
        self.W = [W - rate * (r_l @ a.T) for W, r_l, a in zip(self.W, r, before, strict=True)]
        self.b = [b - rate * r_l.sum(dim=1, keepdim=True) for b, r_l in zip(self.b, r, strict=True)]
        self.z = [z + DT * d for z, d in zip(self.z, dz, strict=True)]
        self.a = [a + DT * d for a, d in zip(self.a, da, strict=True)]

    @torch.no_grad()
    def advance(self, steps: int) -> None:
        """Take so many steps."""
        for _ in range(steps):
            self.step()

    def arrays(self) -> list[np.ndarray]:
        """Return all weights, biases and stalks, these as samples x features."""
        biases = [b[:, 0] for b in self.b]
        return [tensor.numpy() for tensor in (*self.W, *biases, *(v.T for v in (*self.z, *self.a)))]


def arrays_of(session: HeatSession) -> list[np.ndarray]:
    """Return the same of a session, in the same order."""
    network, stalks = session.network(), session.stalks()
    named = {kind: [view for name, view in stalks.items() if name[0] == kind] for kind in "za"}
    return [*network.weights, *network.biases, *named["z"], *named["a"]]


def check_agreement(problem: Problem) -> None:
    """Raise unless both end 50 steps at the same weights and stalks."""
    session, plain = problem.session(), Plain(problem)
    session.advance(50)
    plain.advance(50)
    for ours, theirs in zip(arrays_of(session), plain.arrays(), strict=True):
        difference = np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs))
        if not difference <= AGREEMENT:
            raise SystemExit(f"{problem.network.widths}: the two steps differ by {difference:.1e} relative")


def seconds(advance: Callable[[int], None], steps: int) -> float:
    """Time one turn, per step."""
    start = time.perf_counter()
    advance(steps)
    return (time.perf_counter() - start) / steps


def race(problem: Problem, console: Console) -> tuple[float, float]:
    """Return the median seconds a step takes, ours and PyTorch's."""
    contestants = (problem.session().advance, Plain(problem).advance)
    turns = [max(100, int(SECONDS_A_TURN / seconds(advance, 100))) for advance in contestants]
    times: tuple[list[float], list[float]] = ([], [])
    label = f"{list(problem.network.widths)}"
    for _ in track(range(ROUNDS), label, console=console, transient=True, disable=not console.is_terminal):
        for advance, steps, found in zip(contestants, turns, times, strict=True):
            found.append(seconds(advance, steps))
    return statistics.median(times[0]), statistics.median(times[1])


def peak_bytes(samples: int) -> int:
    """Return the most memory a session of [2, 30, 1] holds at once, its data not counted."""
    problem = Problem.of((2, 30, 1), samples)
    tracemalloc.start()
    session = problem.session()
    session.advance(5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    write = parser.parse_args().write
    console = Console()

    header = ["widths", "samples", "sheafcli_us", "torch_us", "ratio", "bar"]
    rows = []
    for widths, bar in BARS.items():
        problem = Problem.of(widths, SAMPLES)
        check_agreement(problem)
        ours, theirs = (1e6 * value for value in race(problem, console))
        rows.append(["-".join(map(str, widths)), SAMPLES, ours, theirs, ours / theirs, bar])

    table = Table(
        title="One joint Euler step on one thread",
        caption=f"NumPy {np.__version__}, PyTorch {torch.__version__}",
    )
    for name in ("widths", "samples", "sheafcli", "PyTorch", "ratio", "bar"):
        table.add_column(name, justify="right")
    for widths_name, samples, ours, theirs, ratio, bar in rows:
        mark = "[green]" if ratio <= bar else "[red]"
        times = f"{ours:,.1f} us", f"{theirs:,.1f} us"
        table.add_row(widths_name, str(samples), *times, f"{mark}{ratio:.3f}", f"{bar:.2f}")
    console.print(table)

    table = Table(title="Memory of a session at 2-30-1")
    for name in ("samples", "peak", "bytes a sample"):
        table.add_column(name, justify="right")
    for samples in MEMORY_SAMPLES:
        peak = peak_bytes(samples)
        table.add_row(f"{samples:,}", f"{peak / 1e6:.2f} MB", f"{peak / samples:,.0f}")
    console.print(table)

    if write:
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        console.print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
