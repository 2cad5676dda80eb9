"""The network of docs/diagnostics.md: digits, trained, then with noise in the weights of one layer.

python benchmarks/sick_network.py

Writes experiments/data/sick_digits.npz. Seeds are fixed: it is the same network every time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.network import AnyNetwork
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.fit import train
from sheafcli.core.training.optimizers import Adam
from sheafcli.interop.networks import network_arrays
from sheafcli.runs.files import write_npz
from sheafcli.tasks import TaskData
from sheafcli.tasks.bundled import Digits

PLACE = Path(__file__).resolve().parent.parent / "experiments" / "data" / "sick_digits.npz"
LAYER, SHARE = 2, 1.0


def tell(task: TaskData, **networks: AnyNetwork) -> None:
    """Print the accuracy of networks by their names."""
    for name, network in networks.items():
        shares = [
            network.output.accuracy(network.logits(X), y)
            for X, y in ((task.X_train, task.y_train), (task.X_test, task.y_test))
        ]
        print(f"{name}: train accuracy {shares[0]:.2%}, test accuracy {shares[1]:.2%}")


def main() -> None:
    """Train the network, add the noise, write the file."""
    # The split of a run with seed 0.
    task = Digits().load(np.random.SeedSequence(0).spawn(1)[0], None)
    method = Equilibrium(
        epochs=40, batch_size=64, optimizer=Adam(0.003), schedule="cosine", weight_decay=1e-4
    )
    start = Network.he((64, 32, 32, 10), task.output, 0)
    healthy = train(start, task.X_train, task.y_train, method, seed=0).network
    W = healthy.weights[LAYER - 1]
    noise = np.random.default_rng(1).standard_normal(W.shape)
    W = W + SHARE * np.linalg.norm(W) * noise / np.linalg.norm(noise)
    sick = Network((healthy.weights[0], W, *healthy.weights[2:]), healthy.biases, healthy.output)
    write_npz(PLACE, network_arrays(sick))
    tell(task, healthy=healthy, sick=sick)


if __name__ == "__main__":
    main()
