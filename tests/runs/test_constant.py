"""The best constant: a minimiser from SciPy is the oracle, and networks whose worth is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import output_named
from sheafcli.runs.constant import best_constant, compared, doubts
from sheafcli.tasks import TaskData

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
TARGETS = {
    "identity": X[:, :2] @ np.array([[2.0, 1.0], [0.0, 3.0]]) + 5.0,
    "sigmoid": (X[:, :1] > 0.3).astype(float),
    "softmax": np.eye(3)[np.digitize(X[:, 0], [-0.5, 1.0])],
}


def network(output, slope):
    """A linear network of the first columns; with a slope of 0 a constant."""
    W = {
        "identity": np.array([[2.0, 0.0, 0.0], [1.0, 3.0, 0.0]]),
        "sigmoid": np.array([[9.0, 0.0, 0.0]]),
        "softmax": np.array([[-9.0, 0, 0], [0.0, 0, 0], [9.0, 0, 0]]),
    }[output]
    b = {"identity": [5.0, 5.0], "sigmoid": [-2.7], "softmax": [-4.5, 0.0, -9.0]}[output]
    return Network((slope * W,), (np.array(b) * (slope != 0),), output_named(output))


@pytest.mark.parametrize("name", TARGETS)
def test_no_constant_has_a_smaller_loss(name):
    output, y = output_named(name), TARGETS[name]
    least = minimize(lambda z: output.loss(np.broadcast_to(z, y.shape), y), np.zeros(y.shape[1])).fun
    assert output.loss(best_constant(output, y), y) == pytest.approx(least, rel=1e-6)


def task(name):
    """All samples, cut in two."""
    y, classes = TARGETS[name], {"identity": (), "sigmoid": ("no", "yes"), "softmax": ("a", "b", "c")}[name]
    targets = ("one", "two") if name == "identity" else ("label",)
    return TaskData(X[:80], y[:80], X[80:], y[80:], name, ("p", "q", "r"), targets, classes)


@pytest.mark.parametrize("name", TARGETS)
def test_a_network_that_has_learned_is_better_and_one_that_is_turned_round_is_not(name):
    assert doubts(network(name, 1.0), task(name), assumed=False) == []
    [known] = doubts(network(name, 1.0), task(name), assumed=True)
    assert "compare the figures below" in known
    for slope in (-1.0, 0.0):
        for assumed in (False, True):
            [note] = doubts(network(name, slope), task(name), assumed)
            assert "no better than a constant" in note
            assert ("order or activation is probably wrong" in note) == assumed


def test_a_network_that_is_too_sure_is_doubted_only_if_it_is_assumed():
    """Its loss is that of a few great mistakes; its accuracy is 95%."""
    y = TARGETS["sigmoid"].copy()
    y[:6] = 1.0 - y[:6]
    sure = network("sigmoid", 50.0)
    comparison = compared(sure, X, y)
    assert comparison.lost
    assert comparison.found_classes
    spoilt = replace(task("sigmoid"), y_train=y[:80], y_test=y[80:])
    assert doubts(sure, spoilt, assumed=False) == []
    assert "by its loss" in doubts(sure, spoilt, assumed=True)[0]


def test_targets_that_are_all_alike_tell_nothing():
    ones = replace(task("sigmoid"), y_train=np.ones((80, 1)), y_test=np.ones((40, 1)))
    assert doubts(network("sigmoid", 1.0), ones, assumed=False) == []
