"""The heat equation of graphs: the chain's, the relaxed equilibrium, and bounds by dense matrices."""

import numpy as np
import pytest
from assembled import assemble
from graphs import SMOOTH, graphs
from hypothesis import given, settings
from strategies import seeds

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import HeatEquation
from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import GraphHeat, State, diffuse, start_state
from sheafcli.core.integrators import Chebyshev, Euler
from sheafcli.core.network import GraphNetwork
from sheafcli.core.outputs import Identity, Softmax
from sheafcli.core.pins import Pin
from sheafcli.core.relaxation import relax
from sheafcli.core.sweep import block_norms, linearize
from sheafcli.core.trace import Recorder


def chain(widths=(3, 5, 4, 2), seed=1):
    network = Network.he(widths, seed=seed)
    return network, GraphNetwork(network.graph, network.output)


def test_its_rate_is_that_of_the_chain():
    network, graph = chain()
    rng = np.random.default_rng(0)
    X, cochain = rng.normal(size=(4, 3)), Cochain.random(network.widths, 4, 2)
    pins = [Pin("z1", 2, 0.5), Pin("a2", 1, -0.3, 2.0)]
    names = dict(zip(network.stalks, graph.stalks, strict=True))
    renamed = [Pin(names[p.stalk], p.coordinate, p.value, p.stiffness) for p in pins]
    state = State.of(graph, {names[name]: stalk for name, stalk in cochain.stalks().items()})
    one, other = HeatEquation(network, X, cochain, pins=pins), GraphHeat(graph, X, state, pins=renamed)
    one.pin()
    other.pin()
    flow = Cochain(network.widths, 4)
    np.copyto(flow.data, one.rate())
    expected = np.concatenate(list(flow.stalks().values()), axis=1)
    np.testing.assert_allclose(other.rate(), expected, rtol=0, atol=1e-12)
    assert list(other.discord().values()) == pytest.approx(list(one.discord().values()))
    np.testing.assert_array_equal(other.output(), one.output())


def test_a_pull_on_the_output_is_part_of_the_energy_as_in_the_chain():
    network = Network.he((3, 5, 2), output="softmax", seed=1)
    graph = GraphNetwork(network.graph, network.output)
    X, y = np.random.default_rng(0).normal(size=(4, 3)), np.eye(2)[[0, 1, 1, 0]]
    cochain = Cochain.random(network.widths, 4, 2, output_vertex=True)
    one = HeatEquation(network, X, cochain, target=y)
    one.pin()
    stalks = {name: stalk for name, stalk in cochain.stalks().items() if name != "y"}
    names = dict(zip(stalks, graph.stalks, strict=True))
    state = State.of(graph, {names[name]: stalk for name, stalk in stalks.items()})
    other = GraphHeat(graph, X, state, target=y)
    assert list(other.discord().values()) == pytest.approx(list(one.discord().values()))
    assert [edge.operation for edge in other.discord()] == [edge.operation for edge in one.discord()]


def test_the_same_steps_leave_the_same_trace():
    network, graph = chain()
    X = np.random.default_rng(0).normal(size=(2, 3))
    start = Cochain.random(network.widths, 2, 3)
    names = dict(zip(network.stalks, graph.stalks, strict=True))
    goal = Cochain.forward(network, X)
    mine, theirs = Recorder(reference=State.of(graph, renamed(goal, names))), Recorder(reference=goal)
    end = diffuse(network, X, start=start, integrator=Euler(0.1), steps=60, recorder=theirs)
    found = diffuse(graph, X, start=renamed(start, names), integrator=Euler(0.1), steps=60, recorder=mine)
    for name, stalk in end.cochain.stalks().items():
        np.testing.assert_allclose(found.cochain.stalks()[names[name]], stalk, atol=1e-11)
    assert mine.crossings == theirs.crossings
    assert [s.step for s in mine.sightings] == [s.step for s in theirs.sightings]
    for one, other in zip(mine.sightings, theirs.sightings, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-12)
        np.testing.assert_allclose(one.distance, other.distance, atol=1e-11)
    np.testing.assert_array_equal(mine.met_patterns(), theirs.met_patterns())


def renamed(cochain, names):
    return {names[name]: stalk for name, stalk in cochain.stalks().items()}


@settings(max_examples=15, deadline=None)
@given(graphs(activations=SMOOTH), seeds)
def test_it_comes_to_rest_where_the_energy_is_least(graph, seed):
    """The one stationary point, the forward pass, where nothing is pinned but the input."""
    network = GraphNetwork(graph, Identity())
    X = np.random.default_rng(seed).normal(size=(1, *graph.input_shape))
    flow = diffuse(network, X, start="forward", steps=50)
    assert np.max(flow.rate) < 1e-8 * (1.0 + np.max(np.abs(flow.cochain.data)))


@pytest.mark.parametrize("integrator", [Euler(), Chebyshev()])
def test_pinned_it_rests_at_the_relaxed_equilibrium(integrator):
    _, graph = chain((2, 4, 3), seed=5)
    graph = GraphNetwork(graph.graph, Softmax())
    X, y = np.array([[0.3, -0.8]]), np.array([[0.0, 1.0, 0.0]])
    pins = [Pin("affine_1", 1, 0.7), Pin("affine_2", 0, 0.2, 0.5)]
    goal = relax(graph, X, target=y, pins=pins)
    assert not any(kinks.any() for kinks in goal.kinks.values())
    flow = diffuse(graph, X, start="forward", target=y, pins=pins, integrator=integrator, tolerance=1e-9)
    assert flow.converged.all()
    assert goal.converged.all()
    for name, stalk in goal.stalks.items():
        np.testing.assert_allclose(flow.cochain.stalks()[name], stalk, atol=1e-6)


@settings(max_examples=40)
@given(graphs(), seeds)
def test_norms_of_blocks_bound_the_largest_eigenvalue(graph, seed):
    X = np.random.default_rng(seed).normal(size=(1, *graph.input_shape))
    at = linearize(graph, X)
    exact = np.linalg.norm(assemble(at, 0).toarray(), 2)
    bounds = block_norms(at)[0] + np.eye(len(graph.heads))
    assert np.linalg.norm(bounds, 2) >= exact * (1 - 1e-12)


def test_starts():
    _, graph = chain()
    X = np.ones((2, 3))
    assert np.std(start_state(graph, X, "random", 1).data) > 0.5
    assert not start_state(graph, X, "zeros").data.any()
    np.testing.assert_allclose(start_state(graph, X, "forward").stalks()["affine_3"], graph.logits(X))
    with pytest.raises(ValueError, match="starts random, zeros, forward or from stalks, got 'warm'"):
        start_state(graph, X, "warm")
