"""Shares of the output difference on known architectures: networks of the zoo, run by ONNX Runtime.

Every network of benchmarks/zoo.py, with random weights, is run by ONNX Runtime in single precision, and each
operation is compared with the network in double precision. A row has

    operations   those whose values were recorded, and how many of them differ at all
    output       the size of the output difference, as a share of the output
    shares       how far the shares of all operations, by hybrid runs, are from 1 together
    times        the largest local difference, in units of what is significant: above 1 is beyond rounding
    first_order  how far shares of first order are from 1 together

Each row runs in a process of its own.

    python benchmarks/diff_zoo.py [--side 32] [ROW ...]

Writes benchmarks/results/diff_zoo.csv where no rows are named.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from zoo import ROWS, exported

from sheafcli.core.difference import difference
from sheafcli.interop.models import read_model
from sheafcli.interop.recorded import recorded_of
from sheafcli.interop.recording import record_onnx
from sheafcli.interop.shared_ends import at_shared_ends
from sheafcli.render.tables import frame_table

RESULTS = Path(__file__).parent / "results" / "diff_zoo.csv"
# What images must measure at least for the poolings of some networks.
LEAST = {"AlexNet": 224, "VGG11": 224, "Inception v3": 96, "ViT, two blocks": 64}
SAMPLES = 2


def measure(name: str, side: int) -> dict[str, object]:
    """Return the figures of a row."""
    row = ROWS[name]._replace(side=max(side, LEAST.get(name, 32)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        exported(row, path)
        model = read_model(path)
        graph = model.network.graph
        X = np.random.default_rng(1).normal(size=(SAMPLES, *graph.input_shape)).astype(np.float32)
        arrays = record_onnx(path, X)
    found = recorded_of(arrays, graph, model.tensors, path)
    values, _ = at_shared_ends(graph, X, found.values, arrays)
    began = time.process_time()
    exact = difference(graph, X, values, "float32", most_hybrids=len(graph.vertices))
    first = difference(graph, X, values, "float32", most_hybrids=0)
    differing = sum(local.largest > 0.0 for local in exact.operations)
    size = float(np.linalg.norm(exact.operations[-1].recorded))
    return {
        "network": name,
        "side": row.side,
        "operations": len(exact.operations),
        "differing": differing,
        "output": float(np.linalg.norm(exact.output)) / size,
        "shares": abs(sum(local.share for local in exact.operations) - 1.0),
        "times": max(local.times / local.rounding.factor for local in exact.operations),
        "first_order": abs(sum(local.share for local in first.operations) - 1.0),
        "seconds": time.process_time() - began,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows")
    parser.add_argument("--side", type=int, default=32, help="the side of the images")
    parser.add_argument("--measure", metavar="ROW", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.side)))
        return
    rows, console = [], Console()
    for name in given.rows or ROWS:
        console.print(f"{name} ...")
        command = [sys.executable, __file__, "--side", str(given.side), "--measure", name]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append(json.loads(printed.splitlines()[-1]))
    table = pd.DataFrame(rows)
    console.print(frame_table(table))
    if not given.rows:
        table.to_csv(RESULTS, index=False)
        console.print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
