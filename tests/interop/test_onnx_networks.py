"""Networks of known architectures through ONNX: predictions of ONNX Runtime and PyTorch; the theorems."""

import importlib.util
import warnings

import numpy as np
import pytest
import torch
from torch_networks import NETWORKS, exported, seeded

from sheafcli.core.network import GraphNetwork
from sheafcli.core.outputs import Softmax
from sheafcli.core.pinned import pinned
from sheafcli.core.sweep import linearize
from sheafcli.core.theorems import forward_coordinates, harmonic_extension, sampled_triangularity
from sheafcli.interop.models import read_model
from sheafcli.interop.onnx_runtime import difference

X = np.random.default_rng(0).normal(size=(3, 3, 8, 8))
EXAMPLE = torch.tensor(X[:2], dtype=torch.float32)


def assert_predicts_alike(model, path, network):
    """Check against ONNX Runtime where it is installed, and against PyTorch in double precision."""
    with torch.no_grad():
        expected = network.double()(torch.tensor(X)).numpy()
    made = model.network.logits(X.reshape(3, -1))
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6 * np.max(np.abs(expected)))
    if importlib.util.find_spec("onnxruntime"):
        found = difference(path, model.interface, model.network, X.reshape(3, -1))
        assert found.relative < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_are_those_of_the_file(tmp_path, name):
    network = seeded(NETWORKS[name])
    path = exported(tmp_path / "model.onnx", network, EXAMPLE)
    model = read_model(path)
    assert isinstance(model.network, GraphNetwork)
    assert model.network.input_shape == (3, 8, 8)
    assert_predicts_alike(model, path, network)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_theorems_hold(tmp_path, name):
    graph = read_model(exported(tmp_path / "model.onnx", seeded(NETWORKS[name]), EXAMPLE)).network.graph
    passed = forward_coordinates(graph, X)
    np.testing.assert_allclose(
        harmonic_extension(graph, X), passed, rtol=0, atol=1e-10 * np.max(np.abs(passed))
    )
    stalks = np.random.default_rng(1).normal(size=passed.shape)
    at = linearize(graph, X, held=graph.split(stalks))
    figures = sampled_triangularity(at, columns=graph.dimension)
    assert (figures.above, figures.diagonal) == (0.0, 0.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_pinned_equilibrium_is_balanced(tmp_path, name):
    graph = read_model(exported(tmp_path / "model.onnx", seeded(NETWORKS[name]), EXAMPLE)).network.graph
    at = pinned(graph, Softmax(), X, np.eye(3))
    assert np.max(at.left) < 1e-6


@pytest.mark.parametrize("opset", [14, 15, 18, 20])
@pytest.mark.parametrize("name", NETWORKS)
def test_operator_sets_give_the_same_network(tmp_path, name, opset):
    network = seeded(NETWORKS[name])
    path = exported(tmp_path / "model.onnx", network, EXAMPLE, opset)
    assert_predicts_alike(read_model(path), path, network)


@pytest.mark.parametrize("name", ["residual", "separable", "shuffle", "concatenating", "inception"])
def test_old_operator_sets_and_fixed_batches_are_read(tmp_path, name):
    network = seeded(NETWORKS[name])
    path = exported(
        tmp_path / "model.onnx", network, EXAMPLE, 9 if name != "separable" else 13, batch="fixed"
    )
    model = read_model(path)
    assert_predicts_alike(model, path, network)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_newer_exporter_gives_the_same_network(tmp_path, name):
    network, path = seeded(NETWORKS[name]), tmp_path / "model.onnx"
    sizes = ({0: torch.export.Dim("samples", min=2, max=64)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (EXAMPLE,), str(path), dynamic_shapes=sizes, dynamo=True, verbose=False)
    assert_predicts_alike(read_model(path), path, network)


def test_batch_normalisation_is_an_edge_of_its_own_unless_it_is_folded(tmp_path):
    path = exported(tmp_path / "model.onnx", seeded(NETWORKS["residual"]), EXAMPLE)
    model, folded = read_model(path), read_model(path, fold=True)
    kinds = [
        [type(vertex.operation).__name__ for vertex in read.network.graph.vertices]
        for read in (model, folded)
    ]
    assert kinds[0].count("BatchNormalization") == 5
    assert kinds[1].count("BatchNormalization") == 0
    assert len(folded.network.edges) == len(model.network.edges) - 5
    flat = X.reshape(3, -1)
    np.testing.assert_allclose(folded.network.logits(flat), model.network.logits(flat), rtol=0, atol=1e-6)
    assert "1.one.1" in folded.notes[-1]


def test_vertices_are_called_by_the_modules_of_the_file(tmp_path):
    path = exported(tmp_path / "model.onnx", seeded(NETWORKS["residual"]), EXAMPLE)
    names = [vertex.name for vertex in read_model(path).network.graph.vertices]
    assert names[:9] == ["x", "0", "1.one.0", "1.one.1", "1.relu", "1.two.0", "1.two.1", "1.add", "1.relu_1"]


def test_batch_normalisation_in_training_mode_is_refused(tmp_path):
    network = seeded(NETWORKS["residual"]).train()
    path = exported(tmp_path / "model.onnx", network, EXAMPLE, training=torch.onnx.TrainingMode.TRAINING)
    with pytest.raises(
        Exception, match=r"BatchNormalization .* is in training mode; export the model after model\.eval"
    ):
        read_model(path)
