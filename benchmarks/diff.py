"""Does `sheaf diff` name the operation in which a difference was planted? Beside what is done without it.

Networks (an MLP with batch normalisation, a LeNet, a ResNet-20 and a MobileNetV2 of few channels) have
random weights. A copy in which one operation is changed is run by ONNX Runtime, and its values are compared
with the network, in double precision. It runs in float32 and float16, and in 8 bits by ONNX Runtime's own
quantisation: static, of the graph with its normalisations folded in, and dynamic. Kinds of change:

- transposed, permuted: the weights of a layer (rows of a layer that is not square are permuted instead);
- missing: an activation gives its input;
- bias: 0.1 is added to the bias of a layer, or to that of one output of it;
- flipped: one weight has the other sign;
- epsilon: a batch normalisation has 1e-3 for 1e-5;
- int8, float16: the weights of a layer are rounded;
- one layer: ONNX Runtime quantises that layer alone. (In float32 and float16 alone, as int8 and float16 are.)

Counted is whether the operation named first (of those beyond rounding, where there are any) is the one that
was changed, and whether it exceeds rounding at all; beside it the vertex with the largest difference of
values, the lowest cosine, and the first that is not np.allclose (rtol 1e-3, atol 1e-5). Where operations are
fused, or some were not recorded, the operation is all that the recorded value stands for. Of healthy pairs in
float32, by two exporters (ours and PyTorch's) and two runtimes (ONNX Runtime and PyTorch), none may have a
significant operation.

    python benchmarks/diff.py [--seeds 9]

Writes benchmarks/results/diff.csv, a row a planted difference.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from diff_networks import NETWORKS, Draw, module
from numpy.typing import NDArray
from rich.console import Console

from sheafcli.core.difference import values_of
from sheafcli.core.graph import Graph
from sheafcli.core.network import AnyNetwork, GraphNetwork
from sheafcli.core.operation import Operation
from sheafcli.core.operations import BatchNormalization, Clip, Convolution, Dense, Identity, ReLU
from sheafcli.core.outputs import Identity as NoFunction
from sheafcli.diagnostics.difference import Comparison, compare
from sheafcli.interop.models import read_model
from sheafcli.interop.onnx_export import graph_bytes
from sheafcli.interop.recorded import recorded_of
from sheafcli.interop.recording import record, record_onnx
from sheafcli.interop.shared_ends import at_shared_ends
from sheafcli.render.progress import working
from sheafcli.render.tables import frame_table

RESULTS = Path(__file__).parent / "results" / "diff.csv"
SAME = ("transposed", "permuted", "missing", "bias", "flipped", "epsilon")
KINDS = {
    "float32": (*SAME, "int8", "float16", "one layer"),
    "float16": SAME,
    "static int8": SAME,
    "dynamic int8": SAME,
}
PRECISION = {"static int8": "int8", "dynamic int8": "int8"}
METHODS = ("diff", "largest difference", "lowest cosine", "first above tolerance")
SHORT = dict(zip(METHODS[1:], ("largest", "cosine", "first"), strict=True))
SAMPLES, HEALTHY = 16, 4
Values = Mapping[str, NDArray[Any]]


class Folder(NamedTuple):
    """Where files are written; what they are called does not matter."""

    path: Path

    def exported(self, graph: Graph, dtype: type = np.float32) -> Path:
        """Write a graph as ONNX."""
        path = self.path / "network.onnx"
        path.write_bytes(graph_bytes(GraphNetwork(graph, NoFunction()), np.dtype(dtype)))
        return path

    def quantised(self, graph: Graph, X: NDArray[Any], form: str, only: str | None = None) -> Path:
        """Write a graph as ONNX Runtime quantises it, whole or one node alone."""
        from onnxruntime import quantization  # noqa: PLC0415
        from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.batches: Iterator[dict[str, Any]] = iter([{"input": X}])

            def get_next(self) -> dict[str, Any] | None:
                return next(self.batches, None)

        plain, path = self.exported(graph), self.path / "quantised.onnx"
        if form == "dynamic int8":
            quantization.quantize_dynamic(str(plain), str(path))
            return path
        folded = plain
        if only is None:
            folded = self.path / "folded.onnx"
            quant_pre_process(str(plain), str(folded), skip_symbolic_shape=True)
        nodes = {} if only is None else {"nodes_to_quantize": [only]}
        quantization.quantize_static(str(folded), str(path), Reader(), **nodes)
        return path


def planted(graph: Graph, kind: str, rng: np.random.Generator) -> tuple[Graph, str]:
    """Return the graph with a change of this kind in one operation, and which one it is."""
    wanted = {"missing": ReLU | Clip, "epsilon": BatchNormalization}.get(kind, Dense | Convolution)
    places = [i for i, node in enumerate(graph.nodes) if isinstance(node.operation, wanted)]
    if kind == "transposed":
        square = [i for i in places if len(set(graph.nodes[i].operation.weight.shape[:2])) == 1]  # type: ignore[union-attr]
        places = square or places
    place = int(rng.choice(places))
    node = graph.nodes[place]
    if kind == "one layer":
        return graph, node.name
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


def compared(
    network: AnyNetwork, arrays: Values, tensors: Mapping[str, str], precision: str | None = None
) -> Comparison:
    """Compare a network with what was recorded, on the input that was."""
    graph = network.graph
    found = recorded_of(arrays, graph, tensors, Path("recorded"))
    assert found.input is not None
    values, _ = at_shared_ends(graph, found.input, found.values, arrays)
    return compare(network, found.input, values, precision)


def by_values(found: Comparison, own: Values) -> dict[str, str]:
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


def measured(
    network: GraphNetwork, X: NDArray[Any], form: str, kind: str, seed: int, folder: Folder
) -> dict[str, Any]:
    """Return a row: a difference of this kind, run in this form."""
    graph, last = network.graph, network.graph.output.name
    rng = np.random.default_rng([seed, *map(ord, kind)])
    other, place = planted(graph, kind, rng)
    if kind == "one layer":
        path = folder.quantised(other, X, "static int8", place)
    elif form in PRECISION:
        path = folder.quantised(other, X, form)
    else:
        path = folder.exported(other, np.float16 if form == "float16" else np.float32)
    found = compared(network, record_onnx(path, X), {"input": "x", "output": last}, PRECISION.get(form))
    rows = found.operations
    segments = dict(zip(rows["operation"], rows["segment"].str.split(), strict=True))
    first = (found.leading if found.significant.empty else found.significant).iloc[0]
    own = values_of(graph, X.astype(np.float64)) | {"x": X.astype(np.float64)}
    named = {"diff": first["operation"], **by_values(found, own)}
    its = rows[[place in segments[name] for name in rows["operation"]]]
    return {
        "planted": place,
        "exceeds": bool(its["significant"].any()),
        "significant": int(rows["significant"].sum()),
        "told": first["kind"] if first["significant"] else "",
        "shares off by": abs(float(rows["share"].sum()) - 1.0),
        **{f"{method} names": name for method, name in named.items()},
        **{method: bool(name) and place in segments[name] for method, name in named.items()},
    }


def healthy_pairs(graph: Graph, X: NDArray[Any], folder: Folder) -> Iterator[tuple[str, Comparison]]:
    """Yield comparisons of a network with itself in float32, by both exporters and both runtimes."""
    import torch  # noqa: PLC0415

    network, named = GraphNetwork(graph, NoFunction()), {"input": "x", "output": graph.output.name}
    yield "ours, ONNX Runtime", compared(network, record_onnx(folder.exported(graph), X), named)
    walk = module(graph)
    hooks = record(walk, X)
    dotted = {vertex.name.replace(".", "_"): vertex.name for vertex in graph.vertices}
    yield "ours, PyTorch", compared(network, {dotted[name]: value for name, value in hooks.items()}, {})
    for way in ("PRESERVE", "EVAL"):
        path = folder.path / "torch.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                walk,
                (torch.tensor(X),),
                str(path),
                input_names=["input"],
                dynamic_axes={"input": {0: "samples"}},
                training=getattr(torch.onnx.TrainingMode, way),
                dynamo=False,
            )
        model = read_model(path)
        if isinstance(model.network, GraphNetwork):
            recorded = record_onnx(path, X)
            yield f"PyTorch's {way}, ONNX Runtime", compared(model.network, recorded, model.tensors)


def quantised_pairs(graph: Graph, X: NDArray[Any], folder: Folder) -> Iterator[tuple[str, Comparison]]:
    """Yield comparisons of a network with itself in 16 and 8 bits."""
    network, named = GraphNetwork(graph, NoFunction()), {"input": "x", "output": graph.output.name}
    yield "float16", compared(network, record_onnx(folder.exported(graph, np.float16), X), named)
    for form in PRECISION:
        yield form, compared(network, record_onnx(folder.quantised(graph, X, form), X), named, "int8")


def main() -> None:
    """Plant differences, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=9)
    seeds = parser.parse_args().seeds
    logging.disable(logging.WARNING)
    rows, alarms, began = [], [], time.process_time()
    few = max(1, seeds // 2)
    count = len(NETWORKS) * max(seeds, HEALTHY)
    with tempfile.TemporaryDirectory() as name, working(count) as advance:
        folder = Folder(Path(name))
        for network_name, build in NETWORKS.items():
            for seed in range(max(seeds, HEALTHY)):
                advance(f"{network_name} {seed}")
                rng = np.random.default_rng(seed)
                graph = build(Draw(rng))
                network = GraphNetwork(graph, NoFunction())
                X = rng.normal(size=(SAMPLES, *graph.input_shape)).astype(np.float32)
                if seed < HEALTHY:
                    for way, found in (*healthy_pairs(graph, X, folder), *quantised_pairs(graph, X, folder)):
                        alarms.append((way, not found.significant.empty))
                for form, kinds in KINDS.items():
                    for kind in kinds if seed < (seeds if form == "float32" else few) else ():
                        row = {"network": network_name, "run": form, "kind": kind, "seed": seed}
                        rows.append(row | measured(network, X, form, kind, seed, folder))
    table = pd.DataFrame(rows)
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)
    console = Console()
    _show(console, table)
    pairs = pd.DataFrame(alarms, columns=["healthy pair", "significant"]).groupby("healthy pair", sort=False)
    console.print(frame_table(pairs["significant"].agg(["size", "sum"]).reset_index()))
    console.print(f"{time.process_time() - began:.0f} s")


def _show(console: Console, table: pd.DataFrame) -> None:
    for form, part in table.groupby("run", sort=False):
        shown = part.groupby("kind", sort=False)[["exceeds", *METHODS]].mean()
        shown.loc["all"] = part[["exceeds", *METHODS]].mean()
        shown = shown.map(lambda share: f"{share:.0%}").rename(columns=SHORT)
        beyond = part[part["exceeds"]]
        console.print(
            f"\n{form}: {len(part)} planted; of {len(beyond)} beyond rounding "
            f"{int(beyond['diff'].sum())} named first"
        )
        console.print(frame_table(shown.reset_index()))
        wrong = beyond[~beyond["diff"]]
        if len(wrong):
            console.print(wrong[["network", "kind", "seed", "planted", "diff names"]].to_string())
    console.print(f"shares sum to 1 within {table['shares off by'].max():.1e}")


if __name__ == "__main__":
    main()
