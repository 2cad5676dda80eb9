"""Four model files to import: a digits network of PyTorch in three formats, and one of scikit-learn.

Both learn the arrays of the task digits with seed 0, which `sheaf import FILE --data digits` reads again: the
accuracy that is printed here is to appear there. All weights are float32.

    python benchmarks/imported_models.py [FOLDER]

Writes digits.pt, digits.onnx, digits.safetensors and digits.skops into FOLDER, results/models unless given.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import skops.io
import torch
from safetensors.torch import save_file
from sklearn.neural_network import MLPClassifier
from torch import nn

from sheafcli.config import Config
from sheafcli.runs import Experiment
from sheafcli.tasks import TaskData

HIDDEN = (32, 32)
EPOCHS, BATCH, RATE = 30, 64, 0.003


def digits() -> TaskData:
    """Return the data of the task digits as a run of seed 0 has it."""
    return Experiment.prepare(
        Config.model_validate({"name": "digits", "task": {"kind": "digits"}, "network": {"hidden": HIDDEN}})
    ).task


def torch_network(task: TaskData) -> nn.Sequential:
    """Train a network that ends in logits, by Adam in mini-batches."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    X = torch.tensor(task.X_train, dtype=torch.float32)
    labels = torch.tensor(task.y_train.argmax(axis=1))
    widths = (X.shape[1], *HIDDEN, task.n_outputs)
    layers: list[nn.Module] = []
    for n_in, n_out in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    rule, loss = torch.optim.Adam(model.parameters(), lr=RATE), nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(X)).split(BATCH):
            rule.zero_grad()
            loss(model(X[rows]), labels[rows]).backward()
            rule.step()
    return model.eval()


def sklearn_network(task: TaskData) -> MLPClassifier:
    """Fit a classifier of the same widths."""
    model = MLPClassifier(
        HIDDEN,
        learning_rate_init=RATE,
        batch_size=BATCH,
        max_iter=EPOCHS,
        n_iter_no_change=EPOCHS,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wants to be told to converge
        return model.fit(task.X_train.astype(np.float32), task.y_train.argmax(axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("results/models"), help="where to write (%(default)s)"
    )
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    task = digits()
    X, labels = task.X_test.astype(np.float32), task.y_test.argmax(axis=1)

    network = torch_network(task)
    torch.save(network.state_dict(), folder / "digits.pt")
    save_file(network.state_dict(), folder / "digits.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the other exporter needs one more package
        torch.onnx.export(network, (torch.zeros(1, X.shape[1]),), folder / "digits.onnx", dynamo=False)
    with torch.no_grad():
        found = network(torch.from_numpy(X)).argmax(dim=1).numpy()
    print(f"PyTorch: {np.mean(found == labels):.2%} of {len(X)} test samples")

    model = sklearn_network(task)
    skops.io.dump(model, folder / "digits.skops")
    print(f"scikit-learn: {model.score(X, labels):.2%} of {len(X)} test samples")
    print(
        f"wrote {', '.join(f'digits{end}' for end in ('.pt', '.safetensors', '.onnx', '.skops'))} in {folder}"
    )


if __name__ == "__main__":
    main()
