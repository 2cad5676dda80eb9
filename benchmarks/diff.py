"""Does `sheaf diff` name the operation in which a difference was planted? Beside what is done without it.

Networks (an MLP with batch normalisation, a LeNet, a small residual network) have random weights. A copy in
which one operation is changed is run by ONNX Runtime in float32; its values at all vertices are compared with
the network. Kinds of change:

- transposed, permuted: the weights of a layer (rows of a layer that is not square are permuted instead);
- missing: an activation gives its input;
- bias: 0.1 is added to the bias of a layer, or to that of one output of it;
- flipped: one weight has the other sign;
- epsilon: a batch normalisation has 1e-3 for 1e-5;
- int8, float16: the weights of a layer are rounded.

Counted is whether the operation named first is the one that was changed, and whether it exceeds rounding at
all; beside it the vertex with the largest difference of values, the lowest cosine, and the first that is not
np.allclose (rtol 1e-3, atol 1e-5). Of healthy pairs none may have a significant operation.

    python benchmarks/diff.py [--seeds 15]

Writes benchmarks/results/diff.csv, a row a planted difference.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from sheafcli.core.difference import values_of
from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operation import Operation
from sheafcli.core.operations import (
    Add,
    BatchNormalization,
    Convolution,
    Dense,
    Flatten,
    Identity,
    MaxPooling,
    Mean,
    ReLU,
)
from sheafcli.core.outputs import Identity as NoFunction
from sheafcli.diagnostics.difference import Comparison, compare
from sheafcli.interop.onnx_export import graph_bytes
from sheafcli.interop.recording import record_onnx
from sheafcli.render.tables import frame_table

RESULTS = Path(__file__).parent / "results" / "diff.csv"
KINDS = ("transposed", "permuted", "missing", "bias", "flipped", "epsilon", "int8", "float16")
SAMPLES, HEALTHY = 32, 17


class Draw:
    """Operations with random weights, all from one seed."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def dense(self, inputs: int, outputs: int) -> Dense:
        """Return a dense layer."""
        W = self.rng.normal(size=(outputs, inputs)) * np.sqrt(2.0 / inputs)
        return Dense(W, 0.1 * self.rng.normal(size=outputs))

    def conv(self, channels: int, outputs: int, kernel: int = 3, padding: int = 1) -> Convolution:
        """Return a convolution."""
        size = (outputs, channels, kernel, kernel)
        W = self.rng.normal(size=size) * np.sqrt(2.0 / (channels * kernel**2))
        return Convolution(W, 0.1 * self.rng.normal(size=outputs), 1, padding)

    def norm(self, channels: int) -> BatchNormalization:
        """Return a batch normalisation with variances from 0.05 to 2."""
        factor, offset, mean = 0.2 * self.rng.normal(size=(3, channels))
        return BatchNormalization(1.0 + factor, offset, mean, np.exp(self.rng.uniform(-3.0, 0.7, channels)))


def mlp(draw: Draw) -> Graph:
    """Return an MLP of four layers of 32."""
    path: dict[str, Operation] = {}
    for i in range(1, 5):
        path |= {f"fc{i}": draw.dense(32, 32), f"norm{i}": draw.norm(32), f"relu{i}": ReLU()}
    return Graph.path((32,), path | {"fc5": draw.dense(32, 10)})


def lenet(draw: Draw) -> Graph:
    """Return a LeNet for images of 16 x 16, with batch normalisation."""
    path: dict[str, Operation] = {
        "conv1": draw.conv(1, 6, 5, 2),
        "norm1": draw.norm(6),
        "relu1": ReLU(),
        "pool1": MaxPooling((2, 2)),
        "conv2": draw.conv(6, 16, 5, 0),
        "norm2": draw.norm(16),
        "relu2": ReLU(),
        "pool2": MaxPooling((2, 2)),
        "flatten": Flatten(),
        "fc1": draw.dense(64, 48),
        "relu3": ReLU(),
        "fc2": draw.dense(48, 32),
        "relu4": ReLU(),
        "fc3": draw.dense(32, 10),
    }
    return Graph.path((1, 16, 16), path)


def residual(draw: Draw) -> Graph:
    """Return a network of three residual blocks of 8 channels, for images of 8 x 8."""
    nodes, last = [Node("stem", draw.conv(3, 8), ("x",)), Node("relu", ReLU(), ("stem",))], "relu"
    for i in range(1, 4):
        made: dict[str, Operation] = {
            "conv1": draw.conv(8, 8),
            "norm1": draw.norm(8),
            "relu1": ReLU(),
            "conv2": draw.conv(8, 8),
            "norm2": draw.norm(8),
        }
        parent = last
        for name, operation in made.items():
            nodes.append(Node(f"block{i}.{name}", operation, (parent,)))
            parent = f"block{i}.{name}"
        nodes.append(Node(f"block{i}.add", Add(), (last, parent)))
        nodes.append(Node(f"block{i}.relu2", ReLU(), (f"block{i}.add",)))
        last = f"block{i}.relu2"
    nodes += [Node("pool", Mean((-1, -2)), (last,)), Node("flatten", Flatten(), ("pool",))]
    nodes.append(Node("fc", draw.dense(8, 10), ("flatten",)))
    return Graph((3, 8, 8), tuple(nodes))


NETWORKS: dict[str, Callable[[Draw], Graph]] = {"MLP": mlp, "LeNet": lenet, "residual": residual}


def planted(graph: Graph, kind: str, rng: np.random.Generator) -> tuple[Graph, str]:
    """Return the graph with a change of this kind in one operation, and which one it is."""
    wanted = {"missing": ReLU, "epsilon": BatchNormalization}.get(kind, Dense | Convolution)
    places = [i for i, node in enumerate(graph.nodes) if isinstance(node.operation, wanted)]
    if kind == "transposed":
        square = [i for i in places if len(set(graph.nodes[i].operation.weight.shape[:2])) == 1]  # type: ignore[union-attr]
        places = square or places
    place = int(rng.choice(places))
    node = graph.nodes[place]
    other = replace(node, operation=_changed(node.operation, kind, rng))
    return Graph(graph.input_shape, (*graph.nodes[:place], other, *graph.nodes[place + 1 :])), node.name


def _changed(operation: object, kind: str, rng: np.random.Generator) -> Operation:
    if kind == "missing":
        return Identity()
    if isinstance(operation, BatchNormalization):
        return replace(operation, epsilon=1e-3)
    assert isinstance(operation, Dense | Convolution)
    W, b = operation.weight.copy(), operation.bias
    if kind == "bias":
        assert b is not None
        one = np.eye(len(b))[rng.integers(len(b))]
        return replace(operation, bias=b + 0.1 * (one if rng.random() < 0.5 else 1.0))
    if kind == "transposed" and W.shape[0] == W.shape[1]:
        W = np.swapaxes(W, 0, 1)
    elif kind in ("transposed", "permuted"):
        order = rng.permutation(len(W))
        while np.all(order == np.arange(len(W))):
            order = rng.permutation(len(W))
        W = W[order]
    elif kind == "flipped":
        W.flat[rng.integers(W.size)] *= -1.0
    elif kind == "int8":
        step = np.max(np.abs(W)) / 127.0
        W = np.rint(W / step) * step
    else:
        W = W.astype(np.float16).astype(np.float64)
    return replace(operation, weight=W)


def run(graph: Graph, X: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """Return what ONNX Runtime computes in float32, by vertex."""
    path = folder / "network.onnx"
    path.write_bytes(graph_bytes(GraphNetwork(graph, NoFunction()), np.dtype(np.float32)))
    names = {vertex.name for vertex in graph.vertices[1:]}
    return {name: value for name, value in record_onnx(path, X).items() if name in names}


def by_values(found: Comparison, own: dict[str, np.ndarray]) -> dict[str, str]:
    """Return which operation is named by the values alone: their difference, cosine, and tolerance."""
    largest, cosine, first = {}, {}, ""
    for local in found.difference.operations:
        name, b = local.vertex.name, local.recorded
        a = own[name]
        largest[name] = float(np.max(np.abs(a - b)))
        cosine[name] = float(np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b) or 1.0))
        if not first and not np.allclose(a, b, rtol=1e-3, atol=1e-5):
            first = name
    return {
        "largest difference": max(largest, key=largest.__getitem__),
        "lowest cosine": min(cosine, key=cosine.__getitem__),
        "first above tolerance": first,
    }


def main() -> None:
    """Plant differences, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=15)
    seeds = parser.parse_args().seeds
    rows, alarms, pairs, began = [], 0, 0, time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network_name, build in NETWORKS.items():
            for seed in range(max(seeds, HEALTHY)):
                rng = np.random.default_rng(seed)
                graph = build(Draw(rng))
                network = GraphNetwork(graph, NoFunction())
                X = rng.normal(size=(SAMPLES, *graph.input_shape)).astype(np.float32)
                own = values_of(graph, X.astype(np.float64))
                if seed < HEALTHY:
                    pairs += 1
                    alarms += not compare(network, X, run(graph, X, folder)).significant.empty
                for kind in KINDS if seed < seeds else ():
                    other, place = planted(graph, kind, rng)
                    found = compare(network, X, run(other, X, folder))
                    first = found.leading.iloc[0]
                    row = found.operations.set_index("operation").loc[place]
                    shares = float(found.operations["share"].sum())
                    rows.append(
                        {
                            "network": network_name,
                            "kind": kind,
                            "seed": seed,
                            "planted": place,
                            "exceeds": bool(row["significant"]),
                            "significant": int(found.operations["significant"].sum()),
                            "diff": first["operation"] if first["significant"] else "",
                            "told": first["kind"],
                            "shares off by": abs(shares - 1.0),
                            **by_values(found, own),
                        }
                    )
    table = pd.DataFrame(rows)
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)
    methods = ["diff", "largest difference", "lowest cosine", "first above tolerance"]
    right = pd.DataFrame({method: table[method] == table["planted"] for method in methods})
    shown = pd.concat([table[["kind", "exceeds"]], right], axis=1).groupby("kind", sort=False).mean()
    shown.loc["all"] = pd.concat([table["exceeds"], right], axis=1).mean()
    console = Console()
    console.print(frame_table(shown.round(3).reset_index()))
    console.print(pd.crosstab(table["kind"], table["told"]).to_string())
    exceeding = table["exceeds"]
    console.print(
        f"{len(table)} planted; of {int(exceeding.sum())} that exceed rounding "
        f"{int((right['diff'] & exceeding).sum())} named first; {alarms} of {pairs} healthy pairs have a "
        f"significant operation; shares sum to 1 within {table['shares off by'].max():.1e}; "
        f"{time.process_time() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
