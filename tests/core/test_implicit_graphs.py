"""Implicit steps on any graph: against PyTorch's Jacobians, normal equations, and the chain's own path."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import problem
from torch import nn
from torch.func import functional_call, jacrev

from sheafcli.core.chain.training import implicit as chain
from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operations import (
    Add,
    BatchNormalization,
    Convolution,
    Dense,
    Flatten,
    MaxPooling,
    PReLU,
    ReLU,
    Tanh,
)
from sheafcli.core.outputs import output_named
from sheafcli.core.training.cycle import CYCLE
from sheafcli.core.training.envelope import Envelope
from sheafcli.core.training.graph.implicit import GraphModel
from sheafcli.core.training.implicit import Implicit

OUTPUTS = ["identity", "sigmoid", "softmax"]


class Residual(nn.Module):
    """A residual block with a convolution in groups, a normalisation, a maximum and a learnt slope."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
        self.prelu = nn.PReLU()
        self.pool = nn.MaxPool2d(2)
        self.dense = nn.Linear(16, 3)

    def forward(self, x):
        h = torch.relu(self.norm(self.conv(x)))
        h = torch.tanh(self.inner(h)) + h
        return self.dense(self.pool(self.prelu(h)).flatten(1))


def residual(output="softmax"):
    """Return that network in PyTorch, with the names of its parameters in our order, and the same of ours."""
    torch.manual_seed(0)
    module = Residual().double().eval()
    module.norm.running_mean.normal_()
    module.norm.running_var.uniform_(0.5, 2.0)
    arrays = {name: array.detach().numpy() for name, array in module.state_dict().items()}
    norm = [arrays[f"norm.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
    nodes = [
        Node("conv", Convolution(arrays["conv.weight"], arrays["conv.bias"], padding=1), ("x",)),
        Node("norm", BatchNormalization(*norm), ("conv",)),
        Node("relu", ReLU(), ("norm",)),
        Node("inner", Convolution(arrays["inner.weight"], None, padding=1, groups=2), ("relu",)),
        Node("tanh", Tanh(), ("inner",)),
        Node("add", Add(), ("tanh", "relu")),
        Node("prelu", PReLU(arrays["prelu.weight"]), ("add",)),
        Node("pool", MaxPooling((2, 2)), ("prelu",)),
        Node("flatten", Flatten(), ("pool",)),
        Node("dense", Dense(arrays["dense.weight"], arrays["dense.bias"]), ("flatten",)),
    ]
    network = GraphNetwork(Graph((1, 4, 4), tuple(nodes)), output_named(output))
    names = {"factor": "weight", "scale": "weight", "gamma": "weight", "offset": "bias", "beta": "bias"}
    names |= {"weight": "weight", "bias": "bias", "below": "weight"}
    order = [
        f"{vertex}.{names[field]}" for vertex, fields in network.graph.parameters.items() for field in fields
    ]
    return module, order, network


def samples(n, outputs, output):
    rng = np.random.default_rng(1)
    classes = np.eye(outputs)[rng.integers(0, outputs, n)]
    return rng.normal(size=(n, 1, 4, 4)), rng.normal(size=(n, outputs)) if output == "identity" else classes


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("n", [5, 60])
@pytest.mark.parametrize(("decay", "of_others"), [(0.0, 0.0), (0.2, 0.0), (0.2, 1.0)])
def test_a_step_is_that_of_the_normal_equations_of_autograd(output, n, decay, of_others):
    """P = 133 unknowns beside 15 or 180 rows (10 or 120 for classes): both forms."""
    module, order, network = residual(output)
    X, y = samples(n, 3, output)
    model = GraphModel(network, X)
    here = model.forward()
    T, rho = Envelope(network.output, y).root(here.f)
    decays = decay * np.where(model.weighs, 1.0, of_others)
    problem_ = model.problem(here, T, rho, model.flat, decays)
    parameters = dict(module.named_parameters())
    jacobians = jacrev(lambda p: functional_call(module, p, torch.tensor(X)))(parameters)
    M = np.concatenate([jacobians[name].detach().numpy().reshape(n, 3, -1) for name in order], axis=2)
    J = np.einsum("nco,nop->ncp", T, M).reshape(rho.size, -1)
    linear = [name in ("conv.weight", "inner.weight", "dense.weight") for name in order]
    weighs = np.concatenate(
        [np.full(parameters[n].numel(), float(w)) for n, w in zip(order, linear, strict=True)]
    )
    np.testing.assert_array_equal(model.weighs, weighs)
    slope = J.T @ rho.ravel() - decays * model.flat
    for mu in (1e-3, 1.0):
        expected = np.linalg.solve(J.T @ J + np.diag(mu + decays), slope)
        actual = problem_.solution(mu)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    assert problem_.largest() == pytest.approx(np.max(np.diag(J.T @ J)))
    np.testing.assert_allclose(
        problem_.times(slope).ravel(), J @ slope, rtol=0, atol=1e-10 * np.abs(J @ slope).max()
    )


@given(
    output=st.sampled_from(OUTPUTS),
    hidden=st.sampled_from([(), (4,), (4, 3)]),
    n=st.sampled_from([4, 40]),
    kappa=st.sampled_from([0.0, 1.0]),
)
@settings(max_examples=20, deadline=None)
def test_a_chain_written_as_a_graph_takes_the_same_steps(output, hidden, n, kappa):
    """But for what readies a chain for a cycle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain.ChainModel, "prepare", lambda self: None)
        network, X, y = problem(output, hidden, n)
        method = Implicit(steps=5, kappa=kappa)
        sessions = [method.start(net, X, y) for net in (network, GraphNetwork(network.graph, network.output))]
        for session in sessions:
            session.advance(5)
        first, second = (session.network().logits(X) for session in sessions)
    np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-8)
    energies = [session.energy() for session in sessions]
    assert energies[0] == pytest.approx(energies[1], rel=1e-6, abs=1e-12)


def test_many_blocks_of_samples_make_the_same_step(monkeypatch):
    _, _, network = residual()
    X, y = samples(60, 3, "softmax")
    steps = []
    for entries in (1 << 22, 2000):
        monkeypatch.setattr("sheafcli.core.blocks.blocks.__defaults__", (entries,))
        model = GraphModel(network, X)
        here = model.forward([0.3])
        T, rho = Envelope(network.output, y).root(here.f)
        steps.append(model.problem(here, T, rho, model.flat, 0.1 * model.weighs).solution(0.1))
    np.testing.assert_allclose(steps[0], steps[1], rtol=0, atol=1e-10 * np.abs(steps[0]).max())


def test_a_residual_network_learns_its_samples_and_goes_on_bit_for_bit():
    _, _, network = residual()
    X, y = samples(30, 3, "softmax")
    method = Implicit(steps=CYCLE)
    whole = method.start(network, X, y)
    whole.advance(CYCLE // 2)
    state = whole.state()
    before = whole._least
    whole.advance(CYCLE)
    assert whole._least <= before
    fitted = whole.network()
    assert fitted.output.loss(fitted.logits(X), y) < 1e-6
    assert not any("Averaged" in type(node.operation).__name__ for node in fitted.graph.nodes)
    resumed = method.start(network, X, y)
    resumed.advance(3)
    resumed.restore(state)
    resumed.advance(CYCLE)
    for name in ("parameters", "best", "figures", "clock"):
        np.testing.assert_array_equal(resumed.state()[name], whole.state()[name], err_msg=name)
    assert (resumed.energy(), resumed.discord()) == (whole.energy(), whole.discord())
