"""Training of any graph: against the chain's fast path, PyTorch's autograd, and finite differences."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from graphs import graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import problem
from strategies import seeds

from sheafcli.core.chain.training import backprop as chain_backprop
from sheafcli.core.chain.training import equilibrium as chain_equilibrium
from sheafcli.core.chain.training.layers import Parameters
from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operation import Learnable
from sheafcli.core.operations import (
    GELU,
    Add,
    BatchNormalization,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    LayerNormalization,
    MaxPooling,
    Mean,
    PReLU,
    ReLU,
    Scale,
)
from sheafcli.core.outputs import output_named
from sheafcli.core.pinned import pinned
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.graph import parameters as graph_parameters
from sheafcli.core.training.graph.backprop import BackpropRule
from sheafcli.core.training.graph.equilibrium import EquilibriumRule
from sheafcli.core.training.graph.parameters import GraphParameters
from sheafcli.core.training.heat import Heat
from sheafcli.core.training.optimizers import SGD, Adam, Momentum
from sheafcli.core.training.protocol import Diverged

OUTPUTS = ("identity", "sigmoid", "softmax")
HIDDEN = ((), (4,), (4, 3), (3, 4, 2))
EXACT = 1e-14


def general(network):
    """Return a chain as a graph network, which the general trainers take."""
    return GraphNetwork(network.graph, network.output)


def evaluated(rule, packed, X, y, guess=None):
    """Return the rule after one evaluation, with the gradient it wrote."""
    batch = packed.batch(len(X))
    batch.load(X, y)
    offered = rule.evaluate(packed, batch, guess)
    return SimpleNamespace(rule=rule, gradient=packed.gradient.copy(), G=packed.G, guess=offered)


def targets(rng, output, samples, outputs):
    """Draw targets that fit an output function."""
    return {
        "identity": lambda: rng.normal(size=(samples, outputs)),
        "sigmoid": lambda: rng.integers(0, 2, size=(samples, outputs)).astype(float),
        "softmax": lambda: np.eye(outputs)[rng.integers(0, outputs, size=samples)],
    }[output]()


def drawn(graph, output, seed, samples=4):
    """Return a graph as a network, and data that fit it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(samples, *graph.input_shape))
    return GraphNetwork(graph, output_named(output)), X, targets(rng, output, samples, graph.output.size)


def residual_network(seed=0):
    """Return a small residual network with every kind of parameter, for images of 2 x 6 x 6."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))

    nodes = (
        Node("conv_1", Convolution(normal(4, 2, 3, 3), normal(4), padding=1), ("x",)),
        Node("norm_1", BatchNormalization(*(1 + 0.2 * rng.random((4, 4)))), ("conv_1",)),
        Node("relu_1", ReLU(), ("norm_1",)),
        Node("conv_2", Convolution(normal(4, 1, 3, 3), None, padding=1, groups=4), ("relu_1",)),
        Node("prelu", PReLU(np.full((4, 1, 1), 0.2)), ("conv_2",)),
        Node("shortcut", Convolution(normal(4, 2, 1, 1), normal(4)), ("x",)),
        Node("add", Add(), ("prelu", "shortcut")),
        Node("pool", MaxPooling((2, 2)), ("add",)),
        Node("conv_3", Convolution(normal(6, 2, 3, 3), normal(6), stride=2, padding=1, groups=2), ("pool",)),
        Node("gelu", GELU(), ("conv_3",)),
        Node("mean", Mean((-1, -2)), ("gelu",)),
        Node("flat_1", Flatten(), ("mean",)),
        Node("flat_2", Flatten(), ("pool",)),
        Node("both", Concatenate(-1), ("flat_1", "flat_2")),
        Node("layer_norm", LayerNormalization(1 + 0.1 * rng.random(42), 0.1 * rng.random(42)), ("both",)),
        Node("scale", Scale(1 + 0.1 * rng.random(42), 0.1 * rng.random(42)), ("layer_norm",)),
        Node("dense", Dense(normal(3, 42), normal(3)), ("scale",)),
    )
    return Graph((2, 6, 6), nodes)


# Against the chain.


@given(st.sampled_from(OUTPUTS), st.sampled_from(HIDDEN), seeds)
@settings(max_examples=30)
def test_back_propagation_is_the_chains(output, hidden, seed):
    network, X, y = problem(output, hidden, seed=seed)
    ours = evaluated(BackpropRule(), GraphParameters(general(network), np.float64), X, y)
    theirs = evaluated(chain_backprop.BackpropRule(), Parameters(network, np.float64), X, y)
    assert_same_step(ours, theirs)


@given(st.sampled_from(OUTPUTS), st.sampled_from(HIDDEN), seeds, st.floats(-5.0, 1.0))
@settings(max_examples=60)
def test_equilibrium_training_is_the_chains(output, hidden, seed, exponent):
    network, X, y = problem(output, hidden, seed=seed)
    gamma = 10.0**exponent
    ours = evaluated(EquilibriumRule(gamma, EXACT), GraphParameters(general(network), np.float64), X, y)
    theirs = evaluated(chain_equilibrium.EquilibriumRule(gamma, EXACT), Parameters(network, np.float64), X, y)
    assert_same_step(ours, theirs)
    np.testing.assert_allclose(ours.rule.pull, theirs.rule.pull, rtol=1e-12, atol=1e-12 * gamma)
    assert (ours.guess is None) == (theirs.guess is None)


def assert_same_step(ours, theirs):
    """Demand the same gradient, energy, loss and discord of a general and of a chain's rule."""
    for i, G in enumerate(theirs.G):
        scale = max(1.0, np.max(np.abs(G)))
        np.testing.assert_allclose(ours.G[2 * i], G[:, :-1], rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(ours.G[2 * i + 1], G[:, -1], rtol=0, atol=1e-12 * scale)
    assert ours.rule.loss() == pytest.approx(theirs.rule.loss(), rel=1e-12)
    assert ours.rule.energy() == pytest.approx(theirs.rule.energy(), rel=1e-12)
    expected = theirs.rule.discord()
    assert list(ours.rule.discord()) == list(expected)
    for edge, value in ours.rule.discord().items():
        assert value == pytest.approx(expected[edge], rel=1e-11, abs=1e-12 * sum(expected.values()))


@pytest.mark.parametrize("method", [Backprop, Equilibrium])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_sessions_of_a_graph_are_those_of_its_chain(method, batch_size):
    network, X, y = problem("softmax")
    options = {"epochs": 4, "batch_size": batch_size, "weight_decay": 0.1, "precision": "double"}
    sessions = [method(**options).start(net, X, y, 5) for net in (network, general(network))]
    for session in sessions:
        session.advance(50)
    chain, graph = (session.network() for session in sessions)
    assert isinstance(graph, GraphNetwork)
    np.testing.assert_allclose(graph.logits(X), chain.logits(X), rtol=1e-9, atol=1e-9)


@given(st.sampled_from(OUTPUTS), st.sampled_from(HIDDEN), st.integers(2, 9), seeds)
@settings(max_examples=30)
def test_heat_is_the_chains(output, hidden, features, seed):
    network, X, y = problem(output, hidden, features=features, seed=seed)
    method = Heat(steps=6, dt=0.01, alpha=1.3, beta=0.2)
    chain = method.start(network, X, y)
    stalks = {
        f"{'affine' if name[0] == 'z' else 'activation'}_{name[1:]}": stalk
        for name, stalk in chain.stalks().items()
    }
    graph = Heat(steps=6, dt=0.01, alpha=1.3, beta=0.2, stalks=stalks).start(general(network), X, y)
    for _ in range(2):
        assert graph.energy() == pytest.approx(chain.energy(), rel=1e-12)
        theirs = chain.discord()
        assert list(graph.discord()) == list(theirs)
        for edge, value in graph.discord().items():
            assert value == pytest.approx(theirs[edge], rel=1e-12, abs=1e-12 * sum(theirs.values()))
        for (name, stalk), expected in zip(graph.stalks().items(), chain.stalks().values(), strict=True):
            scale = 1e-12 * max(1.0, np.max(np.abs(expected)))
            np.testing.assert_allclose(stalk, expected, rtol=0, atol=scale, err_msg=name)
        parts = [array for fields in graph.network().graph.parameters.values() for array in fields.values()]
        pairs = zip(chain.network().weights, chain.network().biases, strict=True)
        for part, expected in zip(parts, itertools.chain.from_iterable(pairs), strict=True):
            np.testing.assert_allclose(
                part, expected, rtol=0, atol=1e-12 * max(1.0, np.max(np.abs(expected)))
            )
        chain.advance(6)
        graph.advance(6)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_the_bound_of_the_flow_is_the_chains(hidden):
    network, X, y = problem("sigmoid", hidden, samples=12)
    chain = Heat(steps=1, stalks="forward").start(network, X, y)
    graph = Heat(steps=1, stalks="forward").start(general(network), X, y)
    assert graph.largest_eigenvalue() == pytest.approx(chain.largest_eigenvalue(), rel=1e-9)


# Against autograd.


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_gradient_is_autograds(output):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    network, X, y = drawn(residual_network(), output, 3)
    packed = GraphParameters(network, np.float64)
    evaluated(BackpropRule(), packed, X, y)
    named = network.graph.parameters
    leaves = {
        name: {field: torch.tensor(array, requires_grad=True) for field, array in fields.items()}
        for name, fields in named.items()
    }

    def of(name):
        return tuple(leaves[name].values())

    x, norm = torch.tensor(X), network.graph.nodes[1].operation
    h = functional.conv2d(x, *of("conv_1"), padding=1)
    statistics = torch.tensor(norm.mean), torch.tensor(norm.variance)
    h = functional.relu(functional.batch_norm(h, *statistics, *of("norm_1"), eps=norm.epsilon))
    h = functional.conv2d(h, *of("conv_2"), padding=1, groups=4)
    h = torch.where(h >= 0, h, leaves["prelu"]["below"] * h)
    h = functional.max_pool2d(h + functional.conv2d(x, *of("shortcut")), 2)
    deep = functional.gelu(functional.conv2d(h, *of("conv_3"), stride=2, padding=1, groups=2))
    h = torch.cat([deep.mean((-1, -2)), h.flatten(1)], 1)
    h = functional.layer_norm(h, (42,), *of("layer_norm"))
    h = functional.linear(h * leaves["scale"]["factor"] + leaves["scale"]["offset"], *of("dense"))
    target = torch.tensor(y)
    loss = {
        "identity": lambda: functional.mse_loss(h, target),
        "sigmoid": lambda: functional.binary_cross_entropy_with_logits(h, target, reduction="sum") / len(X),
        "softmax": lambda: functional.cross_entropy(h, target),
    }[output]()
    loss.backward()
    expected = [leaf.grad.numpy() for fields in leaves.values() for leaf in fields.values()]
    for slope, wanted in zip(packed.G, expected, strict=True):
        np.testing.assert_allclose(slope, wanted, rtol=0, atol=1e-12 * max(1.0, np.max(np.abs(wanted))))


# Against finite differences, on any graph.


def slope_along(value, packed, direction, step=1e-6):
    """Return the slope of a value along a direction of all parameters, by a central difference."""
    start = packed.flat.copy()
    ends = []
    for sign in (1.0, -1.0):
        packed.flat[:] = start + sign * step * direction
        ends.append(value())
    packed.flat[:] = start
    return (ends[0] - ends[1]) / (2.0 * step)


@given(graphs(), st.sampled_from(OUTPUTS), seeds)
@settings(max_examples=30)
def test_the_gradient_is_the_slope_of_the_loss(graph, output, seed):
    network, X, y = drawn(graph, output, seed)
    packed = GraphParameters(network, np.float64)
    found = evaluated(BackpropRule(), packed, X, y)
    direction = np.random.default_rng(seed).normal(size=packed.flat.size)

    def loss():
        return network.output.loss(GraphNetwork(packed.graph, network.output).logits(X), y)

    slope = slope_along(loss, packed, direction)
    scale = max(1.0, abs(loss()), float(np.linalg.norm(found.gradient)))
    assert found.gradient @ direction == pytest.approx(slope, rel=1e-4, abs=1e-4 * scale)


@given(graphs(products=False), st.sampled_from(OUTPUTS), seeds, st.floats(-4.0, 0.5))
@settings(max_examples=20)
def test_equilibria_are_the_pinned_ones(graph, output, seed, exponent):
    network, X, y = drawn(graph, output, seed)
    gamma = 10.0**exponent
    found = evaluated(EquilibriumRule(gamma, EXACT), GraphParameters(network, np.float64), X, y)
    expected = pinned(graph, network.output, X, y, stiffness=gamma)
    scale = np.max(np.abs(expected.multipliers))
    np.testing.assert_allclose(found.rule.pull, expected.multipliers, rtol=0, atol=1e-9 * scale)
    discord = found.rule.discord()
    for edge in graph.edges:
        assert discord[edge] == pytest.approx(expected.discord[edge], rel=1e-8, abs=1e-14 * scale**2)


@given(graphs(), st.sampled_from(OUTPUTS), seeds)
@settings(max_examples=20)
def test_a_small_stiffness_gives_back_propagation(graph, output, seed):
    network, X, y = drawn(graph, output, seed)
    packed = GraphParameters(network, np.float64)
    limit = evaluated(BackpropRule(), packed, X, y).gradient
    near = evaluated(EquilibriumRule(1e-9, EXACT), packed, X, y).gradient
    assert np.linalg.norm(near - limit) <= 1e-3 * max(1e-3, np.linalg.norm(limit))


@given(graphs(), st.sampled_from(OUTPUTS), seeds)
@settings(max_examples=20)
def test_heat_descends_the_slope_of_its_energy(graph, output, seed):
    """A small step moves stalks and parameters along the gradient of the energy, by central differences."""
    network, X, y = drawn(graph, output, seed)
    alpha, beta, dt = 1.3, 0.7, 1e-6
    session = Heat(steps=1, dt=dt, alpha=alpha, beta=beta).start(network, X, y, seed)
    before = session.state()
    rng = np.random.default_rng(seed)
    direction = {name: rng.normal(size=before[name].size) for name in ("parameters", "stalks")}
    ends = []
    for sign in (1.0, -1.0):
        moved = {name: before[name] + sign * 1e-6 * along for name, along in direction.items()}
        session.restore(before | moved)
        ends.append(session.energy() * len(X))
    session.restore(before)
    energy = session.energy() * len(X)
    session.advance(1)
    after = session.state()
    slope = sum(
        (before[name] - after[name]) @ direction[name] / (dt * rate)
        for name, rate in (("stalks", alpha), ("parameters", beta))
    )
    expected = (ends[0] - ends[1]) / 2e-6
    assert slope == pytest.approx(expected, rel=1e-4, abs=1e-3 * max(1.0, energy))


@pytest.mark.parametrize("output", OUTPUTS)
def test_automatic_steps_of_heat_lower_the_energy(output):
    network, X, y = drawn(residual_network(), output, 1)
    session = Heat(steps=100, stalks="forward").start(network, X, y)
    before = session.energy()
    session.advance(100)
    assert session.energy() < before


@given(graphs(products=False), seeds)
@settings(max_examples=15)
def test_the_bound_of_the_flow_holds(graph, seed):
    """At zero residuals the Hessian is J^T J: its largest eigenvalue, by differences of the forces."""
    network, X, y = drawn(graph, "identity", seed, samples=2)
    y = network.logits(X)
    alpha, beta, step = 1.0, 0.5, 1e-5
    session = Heat(steps=10, dt=1e-3, alpha=alpha, beta=beta, stalks="forward").start(network, X, y)
    before = session.state()
    bound = session.largest_eigenvalue()
    sizes = {"parameters": np.sqrt(beta / alpha), "stalks": 1.0}
    rng = np.random.default_rng(seed)
    v = {name: rng.normal(size=before[name].size) for name in sizes}
    for _ in range(12):
        norm = np.sqrt(sum(part @ part for part in v.values()))
        moved = {name: before[name] + step * sizes[name] * v[name] / norm for name in sizes}
        session.restore(before | moved)
        session.advance(1)
        after = session.state()
        v = {name: (moved[name] - after[name]) / (1e-3 * sizes[name] * alpha * step) for name in sizes}
    assert np.sqrt(sum(part @ part for part in v.values())) <= bound * (1.0 + 1e-3)


# Parameters in place.


def test_parameters_are_views_of_one_array():
    network = GraphNetwork(residual_network(), output_named("softmax"))
    packed = GraphParameters(network, np.float32)
    made = {v.name: v.operation for v in packed.graph.vertices if isinstance(v.operation, Learnable)}
    arrays = [array for operation in made.values() for array in operation.parameters.values()]
    assert sum(array.size for array in arrays) == packed.flat.size
    assert all(array.dtype == np.float32 and np.shares_memory(array, packed.flat) for array in arrays)
    assert [W.shape for W in packed.W] == [(4, 2, 3, 3), (4, 1, 3, 3), (4, 2, 1, 1), (6, 2, 3, 3), (3, 42)]
    X = np.random.default_rng(0).normal(size=(3, 2, 6, 6))
    packed.flat *= 1.1
    now = packed.network()
    assert now.graph.parameters["dense"]["bias"].dtype == np.float64
    np.testing.assert_array_equal(now.logits(X), GraphNetwork(packed.graph, network.output).logits(X))
    packed.flat *= 1.1
    assert (now.logits(X) != GraphNetwork(packed.graph, network.output).logits(X)).any()
    given_network = network.graph.parameters["dense"]["bias"]
    assert not np.shares_memory(given_network, packed.flat)


def test_a_network_without_parameters_cannot_be_trained():
    network = GraphNetwork(Graph.path((3,), {"relu": ReLU()}), output_named("identity"))
    with pytest.raises(ValueError, match="nothing to train"):
        Backprop(epochs=1).start(network, np.ones((2, 3)), np.ones((2, 3)))


@pytest.mark.parametrize("rule", [BackpropRule, lambda: EquilibriumRule(0.1, EXACT)])
def test_blocks_of_samples_do_not_show(monkeypatch, rule):
    network, X, y = drawn(residual_network(), "identity", 2, samples=7)
    packed = GraphParameters(network, np.float64)
    whole = evaluated(rule(), packed, X, y)
    monkeypatch.setattr(graph_parameters, "ENTRIES", 1)
    parts = evaluated(rule(), packed, X, y)
    np.testing.assert_allclose(parts.gradient, whole.gradient, rtol=0, atol=1e-11)
    assert parts.rule.energy() == pytest.approx(whole.rule.energy(), rel=1e-10)


@pytest.mark.parametrize("what", ["parameters of the network", "inputs"])
def test_numbers_beyond_single_precision_are_named(what):
    scale = {what: 1e40}
    dense = Dense(scale.get("parameters of the network", 1.0) * np.ones((1, 2)))
    network = GraphNetwork(Graph.path((2,), {"a": dense, "b": GELU()}), output_named("identity"))
    X, y = scale.get("inputs", 1.0) * np.ones((3, 2)), np.ones((3, 1))
    with pytest.raises(OverflowError, match=what):
        Backprop(epochs=1).start(network, X, y)
    Backprop(epochs=1, precision="double").start(network, X, y)


# Sessions.


METHODS = {
    "back-propagation": Backprop(epochs=6, batch_size=3, optimizer=Adam(0.01), schedule="cosine"),
    "back-propagation, all samples": Backprop(epochs=12, optimizer=Momentum(0.01)),
    "equilibrium": Equilibrium(epochs=6, batch_size=3, weight_decay=0.1),
    "equilibrium, all samples": Equilibrium(epochs=12, gamma=1.0, optimizer=SGD(0.01)),
    "heat": Heat(steps=12, dt=0.01),
    "heat, automatic": Heat(time=0.02, reset_every=5),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_restored_session_goes_on_bit_for_bit(name):
    network, X, y = drawn(residual_network(), "softmax", 4, samples=6)
    method = METHODS[name]
    whole, restored = method.start(network, X, y, 5), method.start(network, X, y, 5)
    whole.advance(5)
    restored.restore(whole.state())
    for session in (whole, restored):
        session.advance(3)
        session.advance(1000)
        assert session.finished
    states = [session.state() for session in (whole, restored)]
    assert states[0].keys() == states[1].keys()
    for array in states[0].keys() - {"seconds"}:
        np.testing.assert_array_equal(states[1][array], states[0][array], err_msg=array)


def test_samples_come_flattened_or_in_their_shape():
    network, X, y = drawn(residual_network(), "softmax", 4)
    flat = X.reshape(len(X), -1)
    for method in METHODS.values():
        ends = []
        for given_samples in (X, flat):
            session = method.start(network, given_samples, y, 0)
            session.advance(3)
            ends.append(session.network().logits(given_samples))
        np.testing.assert_array_equal(*ends)
    with pytest.raises(ValueError, match="samples x 72 or samples x 2 x 6 x 6"):
        Backprop(epochs=1).start(network, flat[:, :-1], y)


def test_graphs_are_trained_in_single_precision_unless_told_otherwise():
    network, X, y = drawn(residual_network(), "softmax", 4)
    for precision, dtype in (("auto", np.float32), ("single", np.float32), ("double", np.float64)):
        state = Backprop(epochs=1, precision=precision).start(network, X, y).state()
        assert state["parameters"].dtype == dtype
    chain, X, y = problem()
    assert Backprop(epochs=1).start(chain, X, y).state()["parameters"].dtype == np.float64


@pytest.mark.parametrize("method", [Backprop(epochs=50, optimizer=SGD(1e20)), Heat(steps=500, dt=10.0)])
def test_divergence_leaves_the_session_where_it_was(method):
    network, X, y = drawn(residual_network(), "softmax", 4)
    session = method.start(network, X, y)
    before = session.state()
    with pytest.raises(Diverged) as raised:
        session.advance(500)
    assert raised.value.edge.name in {edge.name for edge in network.edges}
    after = session.state()
    for name in before.keys() - {"seconds"}:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_start_cochain_that_do_not_fit_a_graph():
    network, X, y = drawn(residual_network(), "softmax", 4)
    stalks = Heat(steps=1, dt=0.1).start(network, X, y).stalks()
    Heat(steps=1, dt=0.1, stalks=stalks).start(network, X, y)
    short = stalks | {"dense": stalks["dense"][:-1]}
    with pytest.raises(ValueError, match=r"dense must have shape \(4, 3\), got \(3, 3\)"):
        Heat(steps=1, dt=0.1, stalks=short).start(network, X, y)
    with pytest.raises(ValueError, match="start stalks must be conv_1, "):
        Heat(steps=1, dt=0.1, stalks={"z1": stalks["dense"]}).start(network, X, y)
