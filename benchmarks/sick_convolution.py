"""The convolutional network of docs/diagnostics.md: trained on digits, then a layer's biases far below zero.

python benchmarks/sick_convolution.py

Writes experiments/data/sick_convolution.npz. Seeds are fixed: it is the same network every time.
"""

from __future__ import annotations

from pathlib import Path

from sick_network import tell

from sheafcli.core.network import GraphNetwork
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.fit import train
from sheafcli.core.training.optimizers import Adam
from sheafcli.interop.networks import network_arrays
from sheafcli.runs import Experiment
from sheafcli.runs.files import write_npz

ROOT = Path(__file__).resolve().parent.parent / "experiments"
PLACE = ROOT / "data" / "sick_convolution.npz"
LAYER, BELOW = "conv_2", 100.0


def main() -> None:
    """Train the network, move the biases of one layer, write the file."""
    experiment = Experiment.load(ROOT / "networks" / "residual.yaml")
    task, start = experiment.task, experiment.network
    method = Backprop(epochs=15, batch_size=64, optimizer=Adam(0.003), schedule="cosine")
    healthy = train(start, task.X_train, task.y_train, method, seed=0).network
    assert isinstance(healthy, GraphNetwork)
    fields = healthy.graph.parameters[LAYER]
    changed = {LAYER: {"bias": fields["bias"] - BELOW}}
    sick = GraphNetwork(healthy.graph.with_parameters(changed), healthy.output)
    write_npz(PLACE, network_arrays(sick))
    tell(task, healthy=healthy, sick=sick)


if __name__ == "__main__":
    main()
