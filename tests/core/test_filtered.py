"""Pulls along a path by the filter, beside the matrix that they solve, assembled in full."""

import numpy as np
import pytest

from sheafcli.core import newton as newton_module
from sheafcli.core.chain.network import Network
from sheafcli.core.filtered import Held, filtered, is_cheaper
from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operations import Add, Convolution, Dense, Flatten, ReLU
from sheafcli.core.outputs import output_named
from sheafcli.core.pins import Pin
from sheafcli.core.relaxation import relax
from sheafcli.core.sweep import linearize, moved, pulled

RNG = np.random.default_rng(5)
NODES = {
    "conv": Convolution(RNG.normal(size=(2, 1, 2, 2)), RNG.normal(size=2)),
    "relu": ReLU(),
    "flat": Flatten(),
    "dense": Dense(RNG.normal(size=(5, 8)), RNG.normal(size=5)),
    "second": ReLU(),
    "out": Dense(RNG.normal(size=(3, 5)), RNG.normal(size=3)),
}
GRAPH = Graph.path((1, 3, 3), NODES)
SAMPLES = 4


def drawn(rng):
    """Draw pins, hard and soft, of some entries of some samples at every stalk, and what is wanted there."""
    pins = {}
    for vertex in GRAPH.heads:
        shape = (SAMPLES, *vertex.shape)
        soft = rng.random(shape) < 0.5
        mask = rng.random(shape) < 0.3
        give = np.where(soft & mask, np.exp(rng.normal(size=shape)), 0.0)
        pins[vertex.index] = Held(mask, give, rng.normal(size=shape) * mask)
    root = rng.normal(size=(SAMPLES, 3, 2))  # a Hessian that is singular, as that of the softmax
    return pins, root @ np.swapaxes(root, 1, 2), rng.normal(size=(SAMPLES, 3))


def test_pulls_are_those_of_the_assembled_matrix():
    rng = np.random.default_rng(11)
    at = linearize(GRAPH, rng.normal(size=(SAMPLES, 1, 3, 3)))
    pins, bend, wanted = drawn(rng)
    found = filtered(at, pins, bend, wanted)
    out = GRAPH.output.index
    # Rows: the entries of all pins, then the output. Columns by a unit pull at each in turn.
    places = [(i, place) for i, pin in pins.items() for place in np.ndindex(pin.mask.shape[1:])]
    places += [(out, (j,)) for j in range(3)]
    covariance = np.zeros((SAMPLES, len(places), len(places)))
    for column, (i, place) in enumerate(places):
        unit = np.zeros((SAMPLES, *GRAPH.vertices[i].shape))
        unit[:, *place] = 1.0
        d = moved(at, pulled(at, {i: unit}))
        covariance[:, :, column] = np.array([d[j][:, *where] for j, where in places]).T
    for sample in range(SAMPLES):
        acts = np.array([pins[i].mask[sample, *place] for i, place in places[:-3]])
        rows = np.flatnonzero(np.append(acts, [True] * 3))
        give = [pins[i].give[sample, *place] for i, place in places[:-3]]
        aim = [pins[i].wanted[sample, *place] for i, place in places[:-3]]
        # B C u + u = B b at the output: B need not have an inverse.
        whole = covariance[sample][np.ix_(rows, rows)] + np.diag(np.append(give, [0.0] * 3)[rows])
        b = np.append(aim, wanted[sample])[rows]
        whole[-3:] = bend[sample] @ whole[-3:] + np.eye(len(rows))[-3:]
        b[-3:] = bend[sample] @ wanted[sample]
        pulls = np.linalg.solve(whole, b)
        told = {i: pull[sample].copy() for i, pull in found.items()}
        expected = {i: np.zeros(GRAPH.vertices[i].shape) for i in told}
        for pull, row in zip(pulls, rows, strict=True):
            i, place = places[row]
            expected[i][place] += pull
        for i, pull in expected.items():
            np.testing.assert_allclose(told[i], pull, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_both_solvers_find_the_same_equilibrium(output, monkeypatch):
    rng = np.random.default_rng(2)
    network = Network.he([4, 7, 6, 5, 3], output, seed=1)
    X = rng.normal(size=(12, 4))
    y = np.eye(3)[rng.integers(0, 3, 12)]
    pins = [Pin("z2", 1, 0.4), Pin("a1", 2, rng.normal(size=12), 3.0), Pin("a3", 0, -0.2, 1e-3)]
    monkeypatch.setattr(newton_module, "is_cheaper", lambda graph, pinned: True)
    direct = relax(network, X, target=y, pins=pins)
    monkeypatch.setattr(newton_module, "is_cheaper", lambda graph, pinned: False)
    iterated = relax(network, X, target=y, pins=pins)
    assert direct.converged.all()
    assert iterated.converged.all()
    np.testing.assert_allclose(direct.energy, iterated.energy, rtol=1e-9)
    for name, stalk in direct.stalks.items():
        np.testing.assert_allclose(stalk, iterated.stalks[name], atol=1e-7)


def test_a_wide_input_takes_no_room(monkeypatch):
    monkeypatch.setattr(newton_module, "is_cheaper", lambda graph, pinned: True)
    network = Network.he([20_000, 3, 2], seed=1)
    X = np.random.default_rng(0).normal(size=(50, 20_000))
    assert relax(network, X, target=np.zeros((50, 2))).converged.all()


def test_beyond_floating_point_iterations_do_what_can_be_done(monkeypatch):
    def singular(*_):
        raise np.linalg.LinAlgError("Singular matrix")

    network, X = Network.he([3, 5, 4, 2], seed=1), np.ones((2, 3))
    usual = relax(network, X, target=np.zeros((2, 2)))
    monkeypatch.setattr(newton_module, "is_cheaper", lambda graph, pinned: True)
    monkeypatch.setattr(newton_module, "filtered", singular)
    np.testing.assert_array_equal(relax(network, X, target=np.zeros((2, 2))).energy, usual.energy)


@pytest.mark.parametrize("scale", [3.0, 30.0])
def test_networks_whose_resistance_explodes_end_without_a_word(scale, monkeypatch):
    monkeypatch.setattr(newton_module, "is_cheaper", lambda graph, pinned: True)
    drawn = Network.he([8] * 20 + [4], "softmax", seed=2)
    network = Network(tuple(scale * W for W in drawn.weights), drawn.biases, drawn.output)
    rng = np.random.default_rng(1)
    relaxed = relax(network, rng.normal(size=(6, 8)), target=np.eye(4)[rng.integers(0, 4, 6)])
    assert np.isfinite(relaxed.energy).all()


def test_wide_stalks_and_branches_are_left_to_conjugate_gradients():
    assert is_cheaper(Network.he([90, 8, 8, 2]).graph, 17)
    assert not is_cheaper(Network.he([90, 8, 8, 2]).graph, 16)
    assert not is_cheaper(Network.he([4, 90, 8, 2]).graph, 1000)
    nodes = (Node("z", Dense(np.eye(2)), ("x",)), Node("a", ReLU(), ("z",)), Node("sum", Add(), ("z", "a")))
    assert not is_cheaper(GraphNetwork(Graph((2,), nodes), output_named("identity")).graph, 1000)


def test_samples_that_rest_early_are_left_behind_and_come_back_in_their_places():
    rng = np.random.default_rng(9)
    network = Network.he([6, *[9] * 10, 4], "softmax", seed=3)
    X, y = 2.0 * rng.normal(size=(40, 6)), np.eye(4)[rng.integers(0, 4, 40)]
    together = relax(network, X, target=y)
    assert len(set(together.iterations.tolist())) > 3
    for i in range(0, 40, 7):
        alone = relax(network, X[i : i + 1], target=y[i : i + 1])
        assert abs(int(alone.iterations[0]) - int(together.iterations[i])) <= 2
        np.testing.assert_allclose(alone.energy[0], together.energy[i], rtol=1e-9)
        for name, stalk in alone.stalks.items():
            np.testing.assert_allclose(stalk[0], together.stalks[name][i], atol=1e-7)
