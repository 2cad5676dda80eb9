"""Networks that training has left healthy, and what is planted in them to make them sick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

import sheafcli as sc
from sheafcli.config.training import BackpropSpec, HeatSpec, TrainingSpec
from sheafcli.diagnostics.findings import Examined
from sheafcli.diagnostics.pinned import diagnose
from sheafcli.tasks import TASKS, TaskData


@dataclass(frozen=True, eq=False)
class Case:
    """All that a diagnosis knows of a run, before it is diagnosed."""

    task: TaskData
    network: sc.Network
    history: pd.DataFrame
    training: TrainingSpec
    status: str = "finished"

    def examined(self, part: str = "test") -> Examined:
        parts = {
            "test": (self.task.X_test, self.task.y_test),
            "train": (self.task.X_train, self.task.y_train),
        }
        X, y = parts.pop(part)
        (other_part, other), *_ = parts.items()
        return Examined(
            network=self.network,
            X=X,
            y=y,
            diagnosis=diagnose(self.network, X, y, self.task.classes),
            other=other,
            part=part,
            other_part=other_part,
            features=self.task.features,
            history=self.history,
            status=self.status,
            training=self.training,
        )


def _equilibrium(steps, learning_rate=0.01, gamma=1e-5):
    return sc.Equilibrium(steps=steps, optimizer=sc.Adam(learning_rate), schedule="cosine", gamma=gamma)


def _backprop(steps, learning_rate=0.01):
    return sc.Backprop(steps=steps, optimizer=sc.Adam(learning_rate), schedule="cosine")


# Task, hidden widths, method, seed: every task and method, one to three hidden layers, eight to sixty wide.
HEALTHY = {
    "paraboloid, equilibrium": ("paraboloid", [30], _equilibrium(2000), 0),
    "paraboloid, backprop": ("paraboloid", [30], _backprop(2000), 1),
    "paraboloid, heat": ("paraboloid", [30], sc.Heat(time=300.0), 2),
    "paraboloid, two layers": ("paraboloid", [12, 10], _equilibrium(2000), 3),
    "paraboloid, gamma 1": ("paraboloid", [20], _equilibrium(2000, 0.03, 1.0), 4),
    "saddle, equilibrium": ("saddle", [30], _equilibrium(2000), 105),
    "saddle, two layers": ("saddle", [12, 12], _backprop(2000), 6),
    "saddle, heat": ("saddle", [30], sc.Heat(time=300.0), 7),
    "saddle, wide": ("saddle", [60], _backprop(1000), 8),
    "saddle, three layers": ("saddle", [16, 16, 16], _equilibrium(1000), 9),
    "circular, equilibrium": ("circular", [25], _equilibrium(1000), 10),
    "circular, two layers": ("circular", [12, 12], _backprop(1000), 11),
    "circular, heat": ("circular", [25], sc.Heat(time=300.0), 12),
    "blobs, equilibrium": ("blobs", [25], _equilibrium(300), 13),
    "blobs, two layers": ("blobs", [12, 8], _backprop(300), 14),
    "blobs, heat": ("blobs", [25], sc.Heat(time=300.0), 15),
    "digits, equilibrium": ("digits", [32], _equilibrium(150), 16),
    "digits, two layers": ("digits", [32, 16], _backprop(150), 17),
    "breast cancer, equilibrium": ("breast_cancer", [20], _equilibrium(100), 18),
    "breast cancer, two layers": ("breast_cancer", [16, 8], _backprop(100), 19),
    "diabetes, equilibrium": ("diabetes", [10], _equilibrium(200), 20),
    "diabetes, two layers": ("diabetes", [8, 8], _backprop(200), 21),
}


@lru_cache(None)
def healthy(name: str) -> Case:
    kind, hidden, method, seed = HEALTHY[name]
    task = TASKS[kind](kind=kind).load(np.random.SeedSequence(seed), None)
    return train(task, hidden, method, seed)


def train(task: TaskData, hidden, method, seed: int) -> Case:
    start = sc.Network.he([task.n_features, *hidden, task.n_outputs], task.output, seed)
    test = {"X_test": task.X_test, "y_test": task.y_test}
    fit = sc.train(start, task.X_train, task.y_train, method, **test, seed=seed, log_every=100)
    training = HeatSpec(time=method.time) if isinstance(method, sc.Heat) else BackpropSpec()
    return Case(task, fit.network, pd.DataFrame([asdict(row) for row in fit.history]), training)


@dataclass(frozen=True, eq=False)
class Plant:
    """What makes a healthy case sick, which must be found, and what else it may bring about.

    `told` is part of the evidence.
    """

    base: str
    sicken: Callable[[Case], Case]
    severity: str
    rule: str
    layer: int | None
    neurons: tuple[int, ...] = ()
    part: str = "test"
    brings: frozenset[str] = frozenset()
    told: str = ""


def weights(case: Case, *, W=None, b=None) -> Case:
    """Return the case with some weights changed: functions by layer, of copies of W_l or b_l, in place."""
    network = case.network
    new_W, new_b = ([array.copy() for array in arrays] for arrays in (network.weights, network.biases))
    for arrays, changes in ((new_W, W or {}), (new_b, b or {})):
        for layer, change in changes.items():
            arrays[layer - 1] = change(arrays[layer - 1])
    return replace(case, network=sc.Network(tuple(new_W), tuple(new_b), network.output))


def put(index, value):
    """Return a function that sets entries of an array."""

    def change(array):
        array[index] = value
        return array

    return change


def everywhere(case: Case) -> np.ndarray:
    return np.concatenate([case.task.X_train, case.task.X_test])


def pushed(layer: int, neurons, sign: float):
    """Shift biases so that the neurons are active on all samples (sign 1), or on none (-1), by a half."""

    def sicken(case: Case) -> Case:
        z = case.network.pre_activations(everywhere(case))[layer - 1][:, neurons]
        shift = -z.min(axis=0) + 0.5 if sign > 0 else -z.max(axis=0) - 0.5
        b = case.network.biases[layer - 1].copy()
        b[neurons] += shift
        return weights(case, b={layer: lambda _: b})

    return sicken


def copied(layer: int, pairs):
    """Make neurons positive multiples of others."""

    def sicken(case: Case) -> Case:
        W, b = case.network.weights[layer - 1].copy(), case.network.biases[layer - 1].copy()
        for copy, original in pairs:
            W[copy], b[copy] = 1.7 * W[original], 1.7 * b[original]
        return weights(case, W={layer: lambda _: W}, b={layer: lambda _: b})

    return sicken


def scaled(layer: int, factor: float, **changes):
    return lambda case: replace(weights(case, W={layer: lambda W: factor * W}), **changes)


def data(case: Case, **arrays) -> Case:
    return replace(case, task=replace(case.task, **arrays))


def in_raw_units(case: Case) -> Case:
    """Give the inputs in units 10,000 times smaller; the network undoes it, and predicts the same."""
    scaled_inputs = {name: 1e4 * getattr(case.task, name) for name in ("X_train", "X_test")}
    return data(weights(case, W={1: lambda W: 1e-4 * W}), **scaled_inputs)


def wrong_numbers(case: Case) -> Case:
    y = case.task.y_train.copy()
    y[NOISY] += 4.0 * y.std()
    return data(case, y_train=y)


def wrong_labels(case: Case) -> Case:
    y = case.task.y_train.copy()
    y[NOISY] = 1.0 - y[NOISY]
    return data(case, y_train=y)


def by_heart(hidden, seed):
    """Train to the end on few samples, half of whose targets are another's."""

    def sicken(case: Case) -> Case:
        task = case.task
        y = task.y_train[:60].copy()
        y[::2] = np.roll(y[::2], 1, axis=0)
        few = replace(task, X_train=task.X_train[:60], y_train=y)
        return train(few, hidden, _backprop(2000, 0.03), seed)

    return sicken


def losing(case: Case) -> Case:
    return replace(case, status="diverged", history=case.history.iloc[:3])


def rising(case: Case) -> Case:
    rise = case.history["train_loss"].iloc[0] * np.array([0.3, 0.5, 0.7])
    more = pd.DataFrame({"step": [10_000, 11_000, 12_000], "train_loss": rise})
    return replace(case, history=pd.concat([case.history, more], ignore_index=True))


NOISY = [4, 40, 77, 123, 200, 281]
ONE, TWO, DISK, RINGS, BLOBS = (
    "paraboloid, equilibrium",
    "paraboloid, two layers",
    "circular, equilibrium",
    "circular, two layers",
    "blobs, equilibrium",
)
HALF = list(range(0, 30, 2))
FEW = [1, 4, 7]
EVEN_COLUMNS = (slice(None), list(range(0, 30, 2)))
# What becomes of a network that is cut through, or whose predictions are spoilt, wherever it is cut.
SPOILT = frozenset(
    {
        *("no-better-than-constant", "parts-apart", "class-discord", "saturated-output", "sample-discord"),
        "out-of-range",
    }
)
CUT = SPOILT | {"constant-output", "vanishing-updates", "exploding-updates"}

PLANTS = {
    "half a layer dead": Plant(
        ONE, pushed(1, HALF, -1), "warning", "dead-relu", 1, tuple(HALF), brings=SPOILT
    ),
    "a layer dead": Plant(
        TWO, pushed(2, range(10), -1), "error", "dead-relu", 2, tuple(range(10)), brings=CUT
    ),
    "a layer linear": Plant(
        DISK, pushed(1, range(25), 1), "warning", "always-active", 1, tuple(range(25)), brings=CUT
    ),
    "a second layer linear": Plant(
        TWO, pushed(2, range(10), 1), "warning", "always-active", 2, tuple(range(10)), brings=SPOILT
    ),
    "half a layer at the kink": Plant(
        ONE,
        lambda case: weights(case, W={1: put(HALF, 0.0)}, b={1: put(HALF, 0.0)}),
        *("warning", "held-at-kink", 1, tuple(HALF)),
        brings=SPOILT,
    ),
    "a third of a second layer at the kink": Plant(
        RINGS,
        lambda case: weights(case, W={2: put([0, 3, 6, 9], 0.0)}, b={2: put([0, 3, 6, 9], 0.0)}),
        *("warning", "held-at-kink", 2, (0, 3, 6, 9)),
        brings=SPOILT,
    ),
    "ten copies of a neuron": Plant(
        ONE,
        copied(1, [(copy, 3) for copy in range(10, 20)]),
        *("warning", "duplicate-neurons", 1, (3, *range(10, 20))),
        brings=SPOILT,
    ),
    "copies in pairs in a second layer": Plant(
        TWO,
        copied(2, [(7, 1), (8, 2), (9, 3)]),
        *("warning", "duplicate-neurons", 2, (1, 2, 3, 7, 8, 9)),
        brings=SPOILT,
    ),
    "half a layer unread": Plant(
        ONE,
        lambda case: weights(case, W={2: put((slice(None), HALF), 0.0)}),
        *("warning", "unread-neurons", 1, tuple(HALF)),
        brings=SPOILT,
    ),
    "a quarter of a second layer unread": Plant(
        RINGS,
        lambda case: weights(case, W={3: put((slice(None), FEW), 0.0)}),
        *("warning", "unread-neurons", 2, tuple(FEW)),
        brings=SPOILT,
    ),
    "an input unread": Plant(
        ONE,
        lambda case: weights(case, W={1: put((slice(None), 1), 0.0)}),
        *("warning", "unread-inputs", 0, (1,)),
        brings=SPOILT,
        told="x2",
    ),
    "half of thirty inputs unread": Plant(
        "breast cancer, equilibrium",
        lambda case: weights(case, W={1: put(EVEN_COLUMNS, 0.0)}),
        *("warning", "unread-inputs", 0, tuple(range(0, 30, 2))),
        brings=SPOILT,
        told="mean radius",
    ),
    "a chance sure to be wrong": Plant(
        DISK, scaled(2, -100.0), "warning", "saturated-output", 2, brings=SPOILT
    ),
    "classes sure to be wrong": Plant(
        BLOBS,
        lambda case: weights(
            case, W={2: lambda W: 100.0 * W[[1, 0, 2, 3]]}, b={2: lambda b: 100.0 * b[[1, 0, 2, 3]]}
        ),
        *("warning", "saturated-output", 2),
        brings=SPOILT,
    ),
    "weights of a second layer that are tiny": Plant(
        TWO,
        lambda case: weights(case, W={2: lambda W: 1e-5 * W}, b={2: lambda b: 1e-5 * b}),
        *("warning", "vanishing-updates", 1),
        brings=CUT | {"held-at-kink"},
    ),
    "inputs in raw units": Plant(DISK, in_raw_units, "warning", "exploding-updates", 1),
    "heat with a large last layer": Plant(
        ONE,
        scaled(2, 20.0, training=HeatSpec()),
        *("warning", "exploding-resistance", 2),
        brings=SPOILT | {"slow-settling"},
    ),
    "heat with a large second layer": Plant(
        TWO,
        scaled(2, 50.0, training=HeatSpec()),
        *("warning", "exploding-resistance", 2),
        brings=SPOILT | {"slow-settling"},
    ),
    "a dt too large for the last layer": Plant(
        ONE,
        lambda case: replace(case, training=HeatSpec(dt=0.5)),
        *("error", "unstable-step", 2),
    ),
    "a dt too large for the second layer": Plant(
        TWO,
        scaled(2, 20.0, training=HeatSpec(dt=0.01)),
        *("error", "unstable-step", 2),
        brings=SPOILT | {"exploding-resistance", "slow-settling"},
    ),
    "numbers that are wrong": Plant(
        ONE, wrong_numbers, "warning", "sample-discord", None, part="train", told=str(NOISY[-1])
    ),
    "labels that are wrong": Plant(
        DISK, wrong_labels, "warning", "sample-discord", None, part="train", told=str(NOISY[-1])
    ),
    "a class never chosen": Plant(
        BLOBS,
        lambda case: weights(case, b={2: lambda b: b - np.array([0.0, 0.0, 50.0, 0.0])}),
        *("warning", "class-discord", 2, (2,)),
        brings=frozenset({"constant-output", "saturated-output", "no-better-than-constant"}),
    ),
    "a chance never high": Plant(
        DISK,
        lambda case: weights(case, b={2: lambda b: b - 60.0}),
        *("warning", "class-discord", 2, (0,)),
        brings=frozenset({"constant-output", "saturated-output", "no-better-than-constant"}),
    ),
    "targets learnt by heart": Plant(
        *(ONE, by_heart([60], 30), "warning", "parts-apart", None),
        told="of train",
        brings=SPOILT | {"duplicate-neurons"},  # so many neurons find the same few directions
    ),
    "classes learnt by heart": Plant(
        DISK, by_heart([60], 31), "warning", "parts-apart", None, told="of train", brings=SPOILT
    ),
    "a run that diverged": Plant(ONE, losing, "error", "diverging-run", None),
    "a loss that rises": Plant(BLOBS, rising, "warning", "diverging-run", None),
}
