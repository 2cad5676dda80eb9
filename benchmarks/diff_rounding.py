"""How often a local difference in units of rounding names the operation, where the other run has few bits.

MLPs of three hidden layers of 32 to 64 with random weights. A copy in which one operation is changed is run
in float32, bfloat16 or 8-bit integers, simulated: parameters and the input are rounded, then the value of
each operation. (Of 8 bits there is one scale for the weights of a layer, and one for a value, from its least
to its largest on these samples.) Ten kinds of change, a tenth of all each:

- transposed, permuted, missing, bias, flipped, epsilon: as in benchmarks/diff.py;
- gain: the values of a layer are 1.2 times as large;
- channel: one output of a layer has its weights permuted;
- silent: one output of a layer is 0;
- saturated: an activation is cut at half of its largest value.

`named` counts where the operation with the largest local difference in units of rounding is the one that was
changed, `exceeds` where that difference is beyond rounding. Of healthy copies none may have one.

    python benchmarks/diff_rounding.py [--planted 1000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import diff
import numpy as np
import pandas as pd
from diff_networks import Draw
from numpy.typing import NDArray
from rich.console import Console

from sheafcli.core.difference import difference
from sheafcli.core.graph import Graph
from sheafcli.core.operation import Learnable, Operation
from sheafcli.core.operations import Clip, Dense, ReLU
from sheafcli.core.sweep import forward
from sheafcli.render.tables import frame_table

KINDS = (
    *("transposed", "permuted", "missing", "bias", "gain"),
    *("channel", "silent", "flipped", "saturated", "epsilon"),
)
OWN = ("gain", "channel", "silent", "saturated")
SAMPLES = 64
Array = NDArray[np.float64]


def mlp(rng: np.random.Generator) -> Graph:
    """Return an MLP with batch normalisation."""
    draw, width = Draw(rng), int(rng.integers(32, 65))
    path: dict[str, Operation] = {}
    for i in range(1, 4):
        path |= {f"fc{i}": draw.dense(width, width), f"norm{i}": draw.norm(width), f"relu{i}": ReLU()}
    return Graph.path((width,), path | {"fc4": draw.dense(width, 10)})


def single(x: Array) -> Array:
    return x.astype(np.float32).astype(np.float64)


def bfloat16(x: Array) -> Array:
    bits = x.astype(np.float32).view(np.uint32)
    bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def steps(x: Array) -> Array:
    """Return values on 256 steps, 0 among them."""
    low, high = min(float(np.min(x)), 0.0), max(float(np.max(x)), 0.0)
    step = (high - low) / 255.0 or 1.0
    zero = np.rint(-low / step)
    return np.asarray((np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step)


def weights(x: Array) -> Array:
    """Return weights on steps to both sides of 0."""
    step = np.max(np.abs(x)) / 127.0
    return np.asarray(np.rint(x / step) * step)


FORMATS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "float32": (single, single),
    "bfloat16": (bfloat16, bfloat16),
    "int8": (steps, weights),
}


def run(graph: Graph, X: Array, name: str) -> dict[str, Array]:
    """Return what a graph computes in a format, by vertex, the input too."""
    value, parameter = FORMATS[name]
    nodes = []
    for node in graph.nodes:
        operation = node.operation
        if name != "int8" and isinstance(operation, Learnable):
            changed = {field: parameter(array) for field, array in operation.parameters.items()}
            operation = replace(operation, **changed)  # type: ignore[type-var]
        elif isinstance(operation, Dense):
            operation = replace(operation, weight=parameter(operation.weight))
        nodes.append(replace(node, operation=operation))
    rounded = Graph(graph.input_shape, tuple(nodes))
    held: dict[int, Array] = {}
    values = {"x": value(X)}
    for step in forward(rounded, values["x"], held):
        values[step.vertex.name] = held[step.vertex.index] = value(single(step.value))
    return values


def planted(graph: Graph, kind: str, rng: np.random.Generator, X: Array) -> tuple[Graph, str]:
    """Return the graph with a change of this kind in one operation, and which one it is."""
    if kind not in OWN:
        return diff.planted(graph, kind, rng)
    wanted = ReLU if kind == "saturated" else Dense
    place = int(rng.choice([i for i, node in enumerate(graph.nodes) if isinstance(node.operation, wanted)]))
    node = graph.nodes[place]
    if kind == "saturated":
        value = next(step.value for step in forward(graph, X) if step.vertex.name == node.name)
        other: Operation = Clip(0.0, 0.5 * float(np.max(value)))
    else:
        operation = node.operation
        assert isinstance(operation, Dense)
        assert operation.bias is not None
        W, b = operation.weight.copy(), operation.bias.copy()
        row = int(rng.integers(len(W)))
        if kind == "gain":
            W, b = 1.2 * W, 1.2 * b
        elif kind == "channel":
            W[row] = rng.permutation(W[row])
        else:
            W[row], b[row] = 0.0, 0.0
        other = replace(operation, weight=W, bias=b)
    nodes = (*graph.nodes[:place], replace(node, operation=other), *graph.nodes[place + 1 :])
    return Graph(graph.input_shape, nodes), node.name


def main() -> None:
    """Plant differences, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--planted", type=int, default=1000)
    n = parser.parse_args().planted
    rows, alarms, healthy, began = [], dict.fromkeys(FORMATS, 0), 0, time.process_time()
    for seed in range(n):
        rng, kind = np.random.default_rng(seed), KINDS[seed % len(KINDS)]
        graph = mlp(rng)
        X = rng.normal(size=(SAMPLES, *graph.input_shape))
        other, place = planted(graph, kind, rng, X)
        for name in FORMATS:
            there = difference(graph, X, run(other, X, name), name, most_hybrids=0)
            worst = max(there.operations, key=lambda local: local.times)
            own = next(local for local in there.operations if local.vertex.name == place)
            rows.append(
                {
                    "format": name,
                    "kind": kind,
                    "named": worst.vertex.name == place,
                    "exceeds": own.is_significant,
                    "times": own.times / own.rounding.factor,
                    "false": sum(local.is_significant for local in there.operations) - own.is_significant,
                }
            )
        if seed % len(KINDS) == 0:
            healthy += 1
            for name in FORMATS:
                there = difference(graph, X, run(graph, X, name), name, most_hybrids=0)
                alarms[name] += any(local.is_significant for local in there.operations)
    table = pd.DataFrame(rows)
    for name, part in table.groupby("format", sort=False):
        shown = part.groupby("kind", sort=False)[["named", "exceeds"]].mean()
        shown.loc["all"] = part[["named", "exceeds"]].mean()
        console = Console()
        console.print(f"{name}: {alarms[str(name)]} of {healthy} healthy copies beyond rounding")
        console.print(frame_table(shown.round(3).reset_index()))
        beyond = part[part["exceeds"]]
        console.print(
            f"named of those that exceed rounding: {beyond['named'].mean():.1%}; false: {part['false'].sum()}"
        )
    print(f"{time.process_time() - began:.0f} s")


if __name__ == "__main__":
    main()
