"""Watching a network while somebody else trains it: a plain loop of PyTorch, Lightning, Hugging Face."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController

from sheafcli.api.callbacks import ending, lightning_callback, transformers_callback
from sheafcli.api.html import shown
from sheafcli.api.training import targets
from sheafcli.core.edge import Edge
from sheafcli.core.graph import Graph
from sheafcli.core.network import AnyNetwork, as_inputs, check_samples
from sheafcli.core.operation import Patterned
from sheafcli.core.pinned import pinned
from sheafcli.core.sweep import forward
from sheafcli.core.training.fit import Data
from sheafcli.core.types import Array
from sheafcli.diagnostics.findings import COLUMNS, Examined, Finding, examine, findings_frame
from sheafcli.diagnostics.pinned import diagnose
from sheafcli.errors import InputError
from sheafcli.interop.contents import library
from sheafcli.interop.tracking import Tracked
from sheafcli.runs.monitored import MonitoredRun
from sheafcli.threads import chosen

MOST_SAMPLES = 32
"""So many samples of each part are watched, evenly spread: means of discord need no more."""

SHARE = 0.04
"""Findings are looked for during training when all that is done here stays below this share of its time."""

FIRST_LOOK_SECONDS = 0.3
"""What the first look is thought to take."""


class Monitor:
    """Records discord, resistance and findings by layer while a PyTorch module trains.

    Call `step` after every step of the optimizer, and `close` in the end; as a context manager it closes by
    itself. `lightning` and `transformers` give callbacks that do both. What was recorded is in `history`,
    `discord` and `findings`, and in the run directory, which `sheaf report` and `sheaf compare` read.

    Attributes
    ----------
    path : the run directory.
    seconds : the CPU time that the monitor itself took so far, without its beginning.

    Examples
    --------
    >>> with sc.monitor(model, X, y, every=100) as watch:  # doctest: +SKIP
    ...     for _ in range(1000):
    ...         ...  # a step of your optimizer
    ...         watch.step()
    >>> watch.discord[["step", "edge", "share"]]  # doctest: +SKIP
    """

    def __init__(self, tracked: Tracked, samples: Data, path: Path, every: int, *, overwrite: bool):
        self.path, self.seconds = path, 0.0
        self._tracked, self._samples, self._every = tracked, samples, every
        self._steps, self._is_open = 0, True
        self._controller = None if chosen() else ThreadpoolController()
        self._history: list[dict[str, Any]] = []
        self._discord: list[dict[str, Any]] = []
        self._findings: list[pd.DataFrame] = []
        self._a_look = FIRST_LOOK_SECONDS
        graph = tracked.graph()
        self._activations = {v.name for v in graph.vertices if isinstance(v.operation, Patterned) and v.edge}
        self._run = MonitoredRun(path, tracked.network(), samples, overwrite=overwrite)
        self._began, self._began_cpu = time.perf_counter(), time.process_time()
        self._record()

    def step(self, number: int | None = None) -> None:
        """Count a step of the optimizer, or take its number; every so many steps something is recorded."""
        before, self._steps = self._steps, self._steps + 1 if number is None else number
        if not self._is_open or self._steps // self._every == before // self._every:
            return
        with self._taking_time(), self._ending_on_trouble():
            self._record()
            # On a busy machine the clock runs ahead of the training; several threads run ahead of the clock.
            elapsed = min(time.perf_counter() - self._began, time.process_time() - self._began_cpu)
            if self.seconds + self._a_look <= SHARE * elapsed:
                self._look()

    def close(self, status: str = "finished", message: str | None = None) -> None:
        """Record the last step, look for findings once more, and say in the run directory how it ended."""
        if not self._is_open:
            return
        with self._taking_time(), self._ending_on_trouble():
            if self._history[-1]["step"] != self._steps:
                self._record()
            self._look()
            self._end(status, message)

    @property
    def history(self) -> pd.DataFrame:
        """Losses, and accuracies of classes, on the samples that are watched, a row a record."""
        return pd.DataFrame(self._history)

    @property
    def discord(self) -> pd.DataFrame:
        """Pinned discord and resistance, a row a record and edge, with the shares of both.

        `inactive` is the share of an activation's units that are zero on all samples.
        """
        return pd.DataFrame(self._discord)

    @property
    def findings(self) -> pd.DataFrame:
        """What the rules found, with the step at which they looked."""
        return pd.concat(self._findings, ignore_index=True) if self._findings else _no_findings()

    def lightning(self) -> Any:
        """Return a callback for Lightning: ``Trainer(callbacks=[monitor.lightning()])``."""
        return lightning_callback(self)

    def transformers(self) -> Any:
        """Return a callback for Hugging Face: ``Trainer(..., callbacks=[monitor.transformers()])``."""
        return transformers_callback(self)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(*ending(error))

    def __repr__(self) -> str:
        last = self._history[-1]
        return f"Monitor(step {last['step']:,}: loss {last['train_loss']:.4g}; run directory {self.path})"

    def _repr_html_(self) -> str:
        last = self.discord[self.discord["step"] == self._history[-1]["step"]]
        tables = {"History": self.history.tail(5), "Pinned discord": last.drop(columns=["step", "operation"])}
        if self._findings:
            tables["Findings"] = self._findings[-1].drop(columns="neurons")
        return shown(repr(self), tables)

    @contextmanager
    def _taking_time(self) -> Iterator[None]:
        begun = time.thread_time()
        try:
            if self._controller is None:
                yield
            else:
                with self._controller.limit(limits=1, user_api="blas"):
                    yield
        finally:
            self.seconds += time.thread_time() - begun

    @contextmanager
    def _ending_on_trouble(self) -> Iterator[None]:
        """Stop recording where the module cannot be followed any more, and let the training go on."""
        try:
            yield
        except (ArithmeticError, InputError, OSError, ValueError) as error:
            message = f"nothing is recorded from step {self._steps} on: {error}"
            warnings.warn(message, stacklevel=4)
            with suppress(OSError):
                self._end("failed" if isinstance(error, OSError) else "diverged", message)

    def _end(self, status: str, message: str | None) -> None:
        self._is_open = False
        self._run.end(status, self._history[-1] | {"time": float(self._steps)}, message)

    def _record(self) -> None:
        samples, graph, output = self._samples, self._tracked.graph(), self._tracked.output
        figures: dict[str, Any] = {
            "step": self._steps,
            "seconds": round(time.perf_counter() - self._began, 6),
            "train_loss": None,
            "test_loss": None,
            "energy": None,
        }
        inactive: dict[str, float] = {}
        for part, X, y in (("train", samples.X, samples.y), ("test", samples.X_test, samples.y_test)):
            if X is not None and y is not None:
                z, off = _passed(graph, X, self._activations)
                if part == "train":
                    inactive = off
                figures |= {f"{part}_loss": output.loss(z, y)}
                if output.classifies:
                    figures |= {f"{part}_accuracy": output.accuracy(z, y)}
            elif output.classifies:
                figures |= {f"{part}_accuracy": None}
        equilibrium = pinned(graph, output, samples.X, samples.y)
        discord, resistance = equilibrium.discord, equilibrium.resistance_shares
        total = sum(discord.values())
        figures["energy"] = 0.5 * total
        rows = [
            _edge_row(self._steps, edge, value, total) | {
                "resistance": resistance[edge],
                "inactive": inactive.get(edge.name),
            }
            for edge, value in discord.items()
        ]  # fmt: skip
        self._run.record(figures, rows)
        self._history.append(figures)
        self._discord += rows

    def _look(self) -> None:
        """Look for findings, and write them and the network."""
        begun = time.thread_time()
        samples, network = self._samples, self._tracked.network()
        X, y = _flat(samples.X), samples.y
        other = None
        if samples.X_test is not None and samples.y_test is not None:
            other = (X, y)
            X, y = _flat(samples.X_test), samples.y_test
        table = findings_frame(_found(network, X, y, other))
        self._findings.append(table.assign(step=self._steps)[["step", *COLUMNS]])
        told = {"findings": table, "findings_history": self.findings}
        self._run.look(network, {name: frame.to_csv(index=False) for name, frame in told.items()})
        self._a_look = time.thread_time() - begun


def monitor(
    model: Any,
    X: Any,
    y: Any,
    directory: Path | str = "results/monitored",
    *,
    every: int = 100,
    X_test: Any = None,
    y_test: Any = None,
    output: str | None = None,
    overwrite: bool = False,
) -> Monitor:
    """Watch a PyTorch module while you train it: where it disagrees with itself, layer by layer.

    Every so many steps the pinned discord and the resistance of each edge are recorded, with the loss and the
    share of units that are never active; now and then, and in the end, the rules of `sheaf diagnose` look for
    findings. The training itself is not touched.

    Parameters
    ----------
    model
        The torch.nn.Module, from a tensor to a tensor. It must be one that `from_torch` can read.
    X, y
        Samples that it trains on, and their targets: arrays or tensors, samples first. For class numbers
        give ``output="softmax"``. 32 of them, evenly spread, are watched.
    directory
        The run directory to write. `sheaf report`, `sheaf compare` and `sheaf diagnose` read it.
    every
        So many steps lie between two records.
    X_test, y_test
        Samples that it does not train on, if there are some to watch as well.
    output
        The output function where the module ends in values without one, as classifiers do that are trained by
        the cross-entropy of their logits: "softmax" or "sigmoid".
    overwrite
        Whether an earlier run in the directory may go.

    Returns
    -------
    Monitor
        Call its `step` after each step of the optimizer.

    Examples
    --------
    >>> with sc.monitor(model, X, y, every=100) as watch:  # doctest: +SKIP
    ...     for inputs, labels in loader:
    ...         optimizer.zero_grad()
    ...         loss = criterion(model(inputs), labels)
    ...         loss.backward()
    ...         optimizer.step()
    ...         watch.step()
    >>> trainer = lightning.Trainer(callbacks=[watch.lightning()])  # doctest: +SKIP
    >>> trainer = transformers.Trainer(model, callbacks=[watch.transformers()])  # doctest: +SKIP
    """
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}")
    if (X_test is None) != (y_test is None):
        raise ValueError("give X_test and y_test, or neither")
    torch = library("torch", "torch", "watching a module")
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"monitor takes a torch.nn.Module, got {type(model).__name__}")
    parameter = next(iter(model.parameters()), None)
    example = torch.as_tensor(np.asarray(_spread(X)[:1]))
    if parameter is not None:
        example = example.to(device=parameter.device, dtype=parameter.dtype)
    tracked = Tracked(model, example, output)
    network = tracked.network()
    seen = _watched(network, X, y, "y")
    unseen = (None, None) if X_test is None else _watched(network, X_test, y_test, "y_test")
    return Monitor(tracked, Data(*seen, *unseen), Path(directory), every, overwrite=overwrite)


def _spread(samples: Any) -> Any:
    """Return at most MOST_SAMPLES samples, evenly spread, on the processor."""
    samples = samples.detach().cpu().numpy() if hasattr(samples, "detach") else np.asarray(samples)
    return samples[np.linspace(0, len(samples) - 1, min(len(samples), MOST_SAMPLES)).astype(int)]


def _watched(network: AnyNetwork, X: Any, y: Any, name: str) -> tuple[Array, Array]:
    """Return the samples that are watched, in the shape of the network's and in single precision."""
    if len(X) != len(y):
        raise ValueError(f"there are {len(X)} samples and {len(y)} targets in {name}; they must agree")
    outputs = targets(network, _spread(y), name)
    inputs = as_inputs(network, _spread(X)).astype(np.float32)
    check_samples(network, _flat(inputs).astype(np.float64), outputs)
    return inputs, outputs


def _flat(X: Array) -> Array:
    return X.reshape(len(X), -1).astype(np.float64)


def _passed(graph: Graph, X: Array, activations: Collection[str]) -> tuple[Array, dict[str, float]]:
    """Return the last vertex of the forward pass, and of activations the share of units that are never on."""
    inactive = {}
    for step in forward(graph, X):
        if step.vertex.name in activations:
            inactive[step.vertex.name] = 1.0 - float(step.value.any(axis=0).mean())
    return step.value.astype(np.float64), inactive


def _edge_row(step: int, edge: Edge, discord: float, total: float) -> dict[str, Any]:
    return {
        "step": step,
        "layer": edge.layer,
        "operation": edge.operation,
        "edge": edge.name,
        "discord": discord,
        "share": discord / total if total > 0 else 0.0,
    }


def _found(network: AnyNetwork, X: Array, y: Array, other: tuple[Array, Array] | None) -> list[Finding]:
    """Return what the rules find; nothing of a network whose numbers are out of range."""
    try:
        check_samples(network, X, y)
    except ValueError:
        return []
    part = ("test", "train") if other is not None else ("train", "test")
    examined = Examined(
        network,
        X,
        y,
        diagnose(network, X, y),
        other=other,
        part=part[0],
        other_part=part[1],
        status="running",
    )
    return examine(examined)


def _no_findings() -> pd.DataFrame:
    return pd.DataFrame(columns=["step", *COLUMNS])
