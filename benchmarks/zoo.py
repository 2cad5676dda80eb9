"""Known architectures with random weights, read from ONNX: predictions, theorems, and the pinned equilibrium.

Seventeen networks of torchvision and a transformer encoder of two blocks are exported by PyTorch, their batch
normalisations left as they are, and read. A row has

    the sheaf            vertices, edges, and free coordinates of a sample
    ONNX Runtime         the largest difference of an output, in double precision, as a share of the largest
                         output; that computes in single precision
    theorems             with random stalks: the largest entry of sampled columns of delta above the
                         diagonal, and of their diagonal plus 1; and how far the harmonic extension is
                         from the forward pass, as a share of its largest coordinate
    pinned               CPU seconds of the pinned equilibrium of all samples, single precision, on one
                         thread, and what resident memory grew by at most

Each row runs in a process of its own.

    python benchmarks/zoo.py [--write] [ROW ...]

`--write` keeps the table as benchmarks/results/zoo.csv.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from sheafcli.core.outputs import Softmax
from sheafcli.core.pinned import pinned
from sheafcli.core.sweep import linearize
from sheafcli.core.theorems import forward_coordinates, harmonic_extension, sampled_triangularity
from sheafcli.interop.models import read_model
from sheafcli.interop.onnx_runtime import difference
from sheafcli.render.house_table import house_table

RESULTS = Path(__file__).parent / "results" / "zoo.csv"
MEGABYTE = 1e6
SAMPLES = 2
COLUMNS = 3

# torchvision's own operators, which it wants as it is loaded. Beside a CPU build of PyTorch they may be
# missing; none of these networks calls one.
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
)


class Row(NamedTuple):
    """A network: its builder in torchvision, what that is given, and the side of its images."""

    builder: str
    side: int = 64
    options: Mapping[str, Any] = MappingProxyType({})


# Of a vision transformer, two small blocks.
TWO_BLOCKS = {
    "image_size": 64,
    "patch_size": 16,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 64,
    "mlp_dim": 128,
}

ROWS = {
    "AlexNet": Row("alexnet", 224),
    "VGG11": Row("vgg11", 224),
    "ResNet-18": Row("resnet18", 224),
    "ResNeXt-50": Row("resnext50_32x4d"),
    "Wide ResNet-50": Row("wide_resnet50_2"),
    "DenseNet-121": Row("densenet121"),
    "SqueezeNet 1.1": Row("squeezenet1_1"),
    "GoogLeNet": Row("googlenet", options={"aux_logits": False, "init_weights": True}),
    "Inception v3": Row("inception_v3", 96, {"init_weights": True}),
    "MobileNetV2": Row("mobilenet_v2"),
    "MobileNetV3 small": Row("mobilenet_v3_small"),
    "MNASNet 1.0": Row("mnasnet1_0"),
    "ShuffleNetV2": Row("shufflenet_v2_x1_0"),
    "EfficientNet-B0": Row("efficientnet_b0"),
    "RegNetX-400MF": Row("regnet_x_400mf"),
    "RegNetY-400MF": Row("regnet_y_400mf"),
    "ConvNeXt tiny": Row("convnext_tiny"),
    "ViT, two blocks": Row("VisionTransformer", options=TWO_BLOCKS),
}

COLUMN_NAMES = (
    *("network", "side", "vertices", "edges", "coordinates", "difference", "above", "diagonal", "extension"),
    *("pinned_s", "memory_mb"),
)


def exported(row: Row, path: Path) -> None:
    """Write the network of a row, with random weights and statistics, as an ONNX file."""
    import torch  # noqa: PLC0415

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in OPERATORS:
        if not hasattr(torch.ops.torchvision, operator.partition("(")[0]):
            library.define(operator)
    from torchvision import models  # noqa: PLC0415

    torch.manual_seed(0)
    options = row.options if row.builder[0].isupper() else {"weights": None, **row.options}
    model = getattr(models, row.builder)(**options).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
        # Where the last layer starts at zero, all outputs would be the same.
        if isinstance(module, torch.nn.Linear) and not module.weight.any():
            module.reset_parameters()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(SAMPLES, 3, row.side, row.side),),
            str(path),
            input_names=["image"],
            dynamic_axes={"image": {0: "samples"}},
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamo=False,
        )


def measure(name: str) -> dict[str, float]:
    """Return the figures of a row."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        # In a process of its own, so that PyTorch's memory is not counted.
        subprocess.run([sys.executable, __file__, "--export", name, str(path)], check=True)
        model = read_model(path)
        network, graph = model.network, model.network.graph
        rng = np.random.default_rng(1)
        X = rng.normal(size=(SAMPLES, *graph.input_shape))
        y = np.eye(network.n_outputs)[rng.integers(0, network.n_outputs, SAMPLES)]
        before, start = _peak(), time.process_time()
        pinned(graph, Softmax(), X.astype(np.float32), y)
        seconds, grown = time.process_time() - start, _peak() - before
        assert model.interface is not None
        found = difference(path, model.interface, network, X.reshape(SAMPLES, -1))
    if found is None:
        raise SystemExit("the zoo needs onnxruntime: make zoo installs it")
    passed = forward_coordinates(graph, X[:1])
    extension = np.max(np.abs(harmonic_extension(graph, X[:1]) - passed)) / np.max(np.abs(passed))
    stalks = passed + np.std(passed) * rng.normal(size=passed.shape)
    figures = sampled_triangularity(linearize(graph, X[:1], held=graph.split(stalks)), COLUMNS)
    return {
        "side": ROWS[name].side,
        "vertices": len(graph.vertices),
        "edges": len(graph.edges),
        "coordinates": graph.dimension,
        "difference": found.relative,
        "above": figures.above,
        "diagonal": figures.diagonal,
        "extension": float(extension),
        "pinned_s": seconds,
        "memory_mb": grown,
    }


def _peak() -> float:
    """Return the largest resident size so far, in megabytes; Linux counts in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--measure", metavar="ROW", help=argparse.SUPPRESS)
    parser.add_argument("--export", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.export:
        exported(ROWS[given.export[0]], Path(given.export[1]))
        return
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return
    unknown = [name for name in given.rows if name not in ROWS]
    if unknown:
        raise SystemExit(f"no row is called {unknown[0]!r}; there are: {'; '.join(ROWS)}")
    console = Console()
    title = f"Known architectures as sheaves, {SAMPLES} samples (NumPy {np.__version__})"
    table = house_table(title, spare=("vertices", "edges"))
    for name in COLUMN_NAMES:
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=name != "network")
    rows = []
    with Progress(console=console) as progress:
        for name in progress.track(given.rows or list(ROWS), description="networks"):
            progress.console.print(f"{name} ...")
            command = [sys.executable, __file__, "--measure", name]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures = json.loads(printed.splitlines()[-1])
            rows.append([name, *figures.values()])
            shown = (f"{value:,}" if isinstance(value, int) else f"{value:.2g}" for value in figures.values())
            table.add_row(name, *shown)
    console.print(table)
    if given.write:
        with RESULTS.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMN_NAMES, *rows])
        console.print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
