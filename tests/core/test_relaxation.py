"""The equilibrium of any graph with pins: the gradient of the true energy, a minimiser, the flow."""

import numpy as np
import pytest
from graphs import SMOOTH, graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from strategies import networks, seeds

from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import diffuse
from sheafcli.core.graph import Graph, Node
from sheafcli.core.integrators import Chebyshev
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operations import Add, Clip, Convolution, Dense, Flatten, LeakyReLU, MaxPooling, Mean, ReLU
from sheafcli.core.outputs import output_named
from sheafcli.core.pins import Pin
from sheafcli.core.relaxation import relax
from sheafcli.core.sweep import forward
from sheafcli.core.theorems import energy

ONE = Dense(np.ones((1, 1)))
OUTPUTS = ["identity", "sigmoid", "softmax"]


def drawn_pins(rng, network, most=3):
    """Draw hard and soft pins on different coordinates."""
    pins = {}
    for _ in range(rng.integers(1, most + 1)):
        names = list(network.stalks)
        name = names[rng.integers(len(names) - 1)] if len(names) > 1 else names[0]
        place = tuple(int(rng.integers(n)) for n in network.stalks[name])
        soft = None if rng.random() < 0.5 else float(np.exp(rng.normal()))
        pins[name, place] = Pin(name, place, float(rng.normal()), soft)
    return list(pins.values())


def targets(name, rng, samples, outputs):
    if name == "identity":
        return rng.normal(size=(samples, outputs))
    if name == "sigmoid":
        return rng.integers(0, 2, size=(samples, outputs)).astype(float)
    return np.eye(outputs)[rng.integers(0, outputs, samples)]


def total(network, X, y, gamma, pins, coordinates):
    """Return energy and gradient with springs and the output's edge, and which coordinates are held."""
    graph = network.graph
    E, gradient = energy(graph, X, coordinates)
    held = np.zeros(coordinates.shape, dtype=bool)
    stalks = graph.split(coordinates)
    moved = graph.split(np.array(gradient))
    masks = graph.split(held)
    for pin in pins:
        index = next(v.index for v in graph.heads if v.name == pin.stalk)
        if pin.hard:
            masks[index][pin.index] = True
            np.testing.assert_array_equal(stalks[index][pin.index], pin.value)
        else:
            off = stalks[index][pin.index] - pin.value
            moved[index][pin.index] += pin.stiffness * off
            E = E + 0.5 * pin.stiffness * off**2
    if y is not None:
        z = stalks[graph.output.index]
        if gamma is None:
            masks[graph.output.index][:] = True
            np.testing.assert_array_equal(z, y)
        else:
            moved[graph.output.index] += gamma * (network.output.value(z) - y)
            E = E + gamma * network.output.potential(z, y)
    return E, np.where(graph.join(masks), 0.0, graph.join(moved))


@settings(max_examples=40, deadline=None)
@given(graphs(activations=SMOOTH), st.sampled_from(OUTPUTS), st.booleans(), seeds)
def test_no_force_of_the_true_energy_is_left(graph, name, with_target, seed):
    rng = np.random.default_rng(seed)
    network, X = GraphNetwork(graph, output_named(name)), rng.normal(size=(2, *graph.input_shape))
    pins = drawn_pins(rng, network)
    y = targets(name, rng, 2, network.n_outputs) if with_target else None
    gamma = None if y is None or name == "identity" else 1.0
    if y is not None and gamma is None:
        pins = [pin for pin in pins if pin.stalk != graph.output.name]
    relaxed = relax(network, X, target=y, pins=pins)
    coordinates = np.concatenate([stalk.reshape(2, -1) for stalk in relaxed.stalks.values()], axis=1)
    E, force = total(network, X, y, gamma, pins, coordinates)
    np.testing.assert_allclose(relaxed.energy, E, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        relaxed.certificate, np.max(np.abs(force), axis=1), rtol=1e-3, atol=1e-9 * (1 + np.max(E))
    )
    for i in np.flatnonzero(relaxed.converged):
        assert np.max(np.abs(force[i])) <= 1.01e-10 * max(1.0, np.sqrt(2 * E[i]))


def test_it_is_where_a_minimiser_that_knows_no_sheaf_ends():
    rng = np.random.default_rng(1)
    graph = Graph(
        (1, 4, 4),
        (
            Node("conv", Convolution(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2), padding=1), ("x",)),
            Node("relu", LeakyReLU(0.3), ("conv",)),
            Node("mix", Convolution(0.5 * rng.normal(size=(2, 2, 3, 3)), padding=1), ("relu",)),
            Node("add", Add(), ("mix", "relu")),
            Node("mean", Mean((-1, -2)), ("add",)),
            Node("flat", Flatten(), ("mean",)),
            Node("dense", Dense(rng.normal(size=(3, 2)), rng.normal(size=3)), ("flat",)),
        ),
    )
    network = GraphNetwork(graph, output_named("softmax"))
    X, y = rng.normal(size=(1, 16)), np.eye(3)[:1]
    pins = [Pin("conv", (1, 2, 2), 0.5), Pin("mix", (0, 1, 3), -1.0, 2.0), Pin("dense", 1, 0.2, 0.5)]
    relaxed = relax(network, X, target=y, pins=pins)
    assert relaxed.converged.all()
    image = X.reshape(1, 1, 4, 4)
    start = graph.join({s.vertex.index: s.value for s in forward(graph, image)})
    place = graph.places[graph.heads[0].index].start + 1 * 16 + 2 * 4 + 2
    start[0, place] = 0.5

    def value(x):
        E, force = total(network, image, y, 1.0, pins, x[None])
        return E[0], force[0]

    ended = minimize(value, start[0], jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-15})
    assert relaxed.energy[0] == pytest.approx(ended.fun, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(networks(scales=st.floats(0.3, 1.5)), st.sampled_from(OUTPUTS), seeds)
def test_under_other_names_a_chain_has_the_same_equilibrium(network, name, seed):
    """Which is what the flow says, where it comes to rest."""
    rng = np.random.default_rng(seed)
    network = Network(network.weights, network.biases, output_named(name))
    X, y = rng.normal(size=(2, network.widths[0])), targets(name, rng, 2, network.widths[-1])
    chain = relax(network, X, target=y)
    graph = relax(GraphNetwork(network.graph, network.output), X, target=y)
    assert list(chain.stalks) == list(network.stalks)
    for one, other in zip(chain.stalks.values(), graph.stalks.values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert chain.converged.all()
    flow = diffuse(network, X, start="forward", target=y, integrator=Chebyshev(), steps=4000, tolerance=1e-9)
    if flow.converged.all() and network.depth < 2:
        for layer, z in flow.cochain.z.items():
            np.testing.assert_allclose(chain.stalks[f"z{layer}"], z, atol=1e-5)


def test_kinks_of_any_activation_hold():
    """A clipped stalk is pulled to both of its ends, and rests there: neither piece pulls it away."""
    graph = Graph.path((1,), {"in": Dense(np.eye(1)), "clip": Clip(-1.0, 1.0), "out": Dense(np.eye(1))})
    network = GraphNetwork(graph, output_named("identity"))
    # Above 1 the clip is flat, below it has slope 1: z = h = 1.5 rests there however low the output is, and
    # where z would come in from 0.5, its piece ends at 1.
    relaxed = relax(network, np.array([[0.5], [-0.5], [0.2]]), target=np.array([[9.0], [-9.0], [0.3]]))
    assert relaxed.converged.all()
    np.testing.assert_allclose(relaxed.stalks["in"][:, 0], [1.0, -1.0, 0.2 + 0.1 / 3], atol=1e-9)
    np.testing.assert_array_equal(relaxed.kinks["in"][:, 0], [True, True, False])


def test_samples_are_relaxed_alone_and_in_blocks_alike(monkeypatch):
    rng = np.random.default_rng(3)
    network = Network.he([3, 6, 5, 2], "softmax", seed=2)
    X, y = rng.normal(size=(9, 3)), np.eye(2)[rng.integers(0, 2, 9)]
    pins = [Pin("a1", 2, rng.normal(size=9)), Pin("z2", 0, 0.3, 2.0)]
    whole = relax(network, X, target=y, pins=pins)
    pairs = lambda n, entries, limit: (slice(i, i + 2) for i in range(0, n, 2))  # noqa: E731
    monkeypatch.setattr("sheafcli.core.relaxation.blocks", pairs)
    parts = relax(network, X, target=y, pins=pins)
    for name, stalk in whole.stalks.items():
        np.testing.assert_allclose(parts.stalks[name], stalk, atol=1e-8)
    np.testing.assert_array_equal(parts.converged, whole.converged)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pins": [Pin("flat", 0, 1.0)]}, "no free stalk 'flat'; there are conv, relu"),
        ({"pins": [Pin("conv", 0, 1.0)]}, r"stalk conv is 2 x 3 x 3: give one number an axis, got conv\[0\]"),
        ({"pins": [Pin("conv", (0, 3, 0), 1.0)]}, "stalk conv has coordinates 0 to 2, got 3"),
        ({"stiffness": 1.0}, "stiffness needs a target"),
        ({"target": np.zeros((1, 3))}, r"the target must have shape \(1, 18\)"),
        (
            {"target": np.zeros((1, 18))},
            "flat, the output, is exact: it has no stalk to hold; give a stiffness",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, says):
    nodes = {"conv": Convolution(np.ones((2, 1, 2, 2))), "relu": ReLU(), "flat": Flatten()}
    network = GraphNetwork(Graph.path((1, 4, 4), nodes), output_named("identity"))
    with pytest.raises(ValueError, match=says):
        relax(network, np.ones((1, 16)), **options)


def test_an_exact_output_is_pulled_through_what_makes_it():
    nodes = {"dense": Dense(np.eye(2)), "relu": ReLU(), "flat": Flatten()}
    network = GraphNetwork(Graph.path((2,), nodes), output_named("identity"))
    relaxed = relax(network, np.array([[1.0, 2.0]]), target=np.array([[4.0, 2.0]]), stiffness=1.0)
    # Three springs in series, from 1 to 4: each is stretched by 1.
    np.testing.assert_allclose(relaxed.stalks["relu"], [[3.0, 2.0]], atol=1e-10)


def test_tied_entries_of_a_maximum_share_its_pull():
    """A maximum pinned low lowers its largest entries to one level t, sum (h - t)+ = t - p."""
    graph = Graph.path(
        (1, 2, 2),
        {"in": Convolution(np.ones((1, 1, 1, 1))), "pool": MaxPooling((2, 2)), "flat": Flatten(), "out": ONE},
    )
    relaxed = relax(
        GraphNetwork(graph, output_named("identity")),
        np.array([[4.0, 3.0, 1.0, 0.0], [4.0, 0.0, 0.0, 0.0]]),
        pins=[Pin("pool", (0, 0, 0), np.array([0.0, 6.0]))],
    )
    assert relaxed.converged.all()
    np.testing.assert_allclose(
        relaxed.stalks["in"].reshape(2, 4), [[7 / 3, 7 / 3, 1.0, 0.0], [5.0, 0.0, 0.0, 0.0]], atol=1e-9
    )
    np.testing.assert_allclose(relaxed.energy, [(25 / 9 + 4 / 9 + 49 / 9) / 2, 1.0], rtol=1e-9)


def test_an_activation_of_a_sum_rests_at_its_kink():
    """The sum s of two stalks costs (2 x - s)^2 / 4 + (max(s, 0) + 1)^2 / 2.

    That is least at (2 x - 2) / 3 where x > 1, at 0 where 0 <= x <= 1, else at 2 x.
    """
    nodes = (Node("one", ONE, ("x",)), Node("two", ONE, ("x",)), Node("add", Add(), ("one", "two")))
    graph = Graph((1,), (*nodes, Node("relu", ReLU(), ("add",)), Node("out", ONE, ("relu",))))
    network = GraphNetwork(graph, output_named("identity"))
    relaxed = relax(network, np.array([[0.5], [2.5], [-0.5]]), pins=[Pin("relu", 0, -1.0)])
    assert relaxed.converged.all()
    np.testing.assert_allclose(relaxed.stalks["one"][:, 0], [0.0, 0.5, -0.5], atol=1e-9)
    np.testing.assert_array_equal(relaxed.stalks["one"], relaxed.stalks["two"])


def convolution(rng, inputs, outputs):
    """Return He-normal kernels of 3 x 3."""
    weights = rng.normal(size=(outputs, inputs, 3, 3))
    return Convolution(weights * np.sqrt(2 / 9 / inputs), rng.normal(size=outputs) / 9, padding=1)


def pooled(rng):
    """Return a convolutional network with pooling in windows that overlap."""

    return Graph.path(
        (1, 8, 8),
        {
            "conv1": convolution(rng, 1, 4),
            "relu1": ReLU(),
            "pool1": MaxPooling((3, 3), 2, 1),
            "conv2": convolution(rng, 4, 8),
            "relu2": ReLU(),
            "pool2": MaxPooling((2, 2)),
            "flat": Flatten(),
            "dense": Dense(rng.normal(size=(5, 32)) / 4, rng.normal(size=5) / 9),
        },
    )


def residual(rng):
    """Return a network of two residual blocks."""

    nodes = [Node("stem", convolution(rng, 1, 4), ("x",)), Node("relu0", ReLU(), ("stem",))]
    for block in (1, 2):
        before = f"relu{block - 1}" if block == 1 else "out1"
        nodes += [
            Node(f"a{block}", convolution(rng, 4, 4), (before,)),
            Node(f"relu{block}", ReLU(), (f"a{block}",)),
            Node(f"b{block}", convolution(rng, 4, 4), (f"relu{block}",)),
            Node(f"add{block}", Add(), (f"b{block}", before)),
            Node(f"out{block}", ReLU(), (f"add{block}",)),
        ]
    nodes += [Node("mean", Mean((-1, -2)), ("out2",)), Node("flat", Flatten(), ("mean",))]
    return Graph((1, 8, 8), (*nodes, Node("dense", Dense(rng.normal(size=(5, 4)), None), ("flat",))))


@pytest.mark.parametrize(("build", "name"), [(pooled, "softmax"), (residual, "identity")])
def test_a_convolutional_network_comes_to_rest_where_a_minimiser_finds_nothing_lower(build, name):
    rng = np.random.default_rng(4)
    graph = build(rng)
    network, X, y = GraphNetwork(graph, output_named(name)), rng.normal(size=(2, 64)), np.eye(5)[[1, 3]]
    head = graph.heads[0]
    pins = [Pin(head.name, (1, 3, 3), 1.5), Pin(head.name, (2, 5, 5), -1.0, 2.0)]
    relaxed = relax(network, X, target=y, stiffness=2.0, pins=pins)
    assert relaxed.converged.all()
    coordinates = np.concatenate([stalk.reshape(2, -1) for stalk in relaxed.stalks.values()], axis=1)
    images = X.reshape(2, 1, 8, 8)
    E, _ = total(network, images, y, 2.0, pins, coordinates)
    np.testing.assert_allclose(relaxed.energy, E, rtol=1e-9)

    def value(x, i):
        x = x.copy()
        x[graph.places[head.index].start + 64 + 27] = 1.5
        E, force = total(network, images[[i]], y[[i]], 2.0, pins, x[None])
        return E[0], force[0]

    for i in range(2):
        for spread in (0.0, 1e-2):
            start = coordinates[i] + spread * rng.normal(size=coordinates.shape[1])
            ended = minimize(value, start, (i,), jac=True, method="L-BFGS-B", options={"maxiter": 150})
            assert ended.fun >= relaxed.energy[i] * (1 - 1e-8)
