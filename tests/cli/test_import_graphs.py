"""`sheaf import` of ONNX files that are no chains: what it says, and what the run holds."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from sheafcli.core.network import GraphNetwork
from sheafcli.runs import RunDirectory

RNG = np.random.default_rng(0)
WEIGHTS = {
    "K": RNG.normal(size=(4, 2, 3, 3)),
    "factor": RNG.uniform(0.5, 1.5, size=4),
    "offset": RNG.normal(size=4),
    "mean": RNG.normal(size=4),
    "variance": RNG.uniform(0.5, 1.5, size=4),
    "W": RNG.normal(size=(4, 3)),
}
BODY = """
    c = Conv<pads = [1, 1, 1, 1]>(x, K)
    n = BatchNormalization(c, factor, offset, mean, variance)
    r = Relu(n) a = Add(r, c) g = GlobalAveragePool(a) f = Flatten(g)
    z = MatMul(f, W) y = Softmax(z) t = Tanh(f) u = MatMul(t, W)
"""


@pytest.fixture
def imported(sheaf):
    X = RNG.normal(size=(30, 32))
    np.savez("data.npz", X_train=X, y_train=np.arange(30) % 3, X_test=X[:9], y_test=np.arange(9) % 3)
    return lambda *words: sheaf("import", *words)


def written(name, outputs):
    graph = onnx.parser.parse_graph(f"g (float[N,2,4,4] x) => ({outputs}) {{ {BODY} }}")
    graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), key) for key, array in WEIGHTS.items()
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), name)


def test_a_graph_becomes_a_run_and_is_compared_with_onnx_runtime(imported, folder):
    pytest.importorskip("onnxruntime")
    written("model.onnx", "float[N,3] y")
    outcome = imported("model.onnx", "--data", "data.npz", "--output", "run")
    assert (outcome.code, "a sample is 2 x 4 x 4" in outcome.err) == (0, True)
    (line,) = (line for line in outcome.out.splitlines() if line.startswith("ONNX Runtime"))
    assert float(line.split()[4]) < 1e-5
    assert "30 samples" in line
    network = RunDirectory(folder / "run").network()
    assert isinstance(network, GraphNetwork)
    assert [edge.name for edge in network.edges] == ["c", "n", "r", "z", "output"]
    assert network.output.name == "softmax"


def test_without_data_random_samples_are_compared(imported, folder):
    pytest.importorskip("onnxruntime")
    written("model.onnx", "float[N,3] y")
    outcome = imported("model.onnx", "--output", "run")
    assert outcome.code == 0
    assert "16 random samples" in outcome.out


def test_folding_leaves_out_the_batch_normalisation(imported, folder):
    written("model.onnx", "float[N,3] y")
    model = onnx.load("model.onnx")
    model.graph.node[3].input[1] = "r"
    onnx.save(model, "model.onnx")
    outcome = imported("model.onnx", "--output", "run", "--fold")
    assert (outcome.code, "folded into the layers beside them: n" in outcome.err) == (0, True)
    assert [edge.name for edge in RunDirectory(folder / "run").network().edges] == ["c", "r", "z", "output"]


def test_ending_names_the_output_of_several(imported, folder):
    written("model.onnx", "float[N,3] y, float[N,3] u")
    outcome = imported("model.onnx", "--output", "run")
    assert (outcome.code, "choose one with --ending" in outcome.err) == (2, True)
    assert imported("model.onnx", "--output", "run", "--ending", "u").code == 0
    assert [edge.name for edge in RunDirectory(folder / "run").network().edges] == ["c", "n", "r", "t", "u"]


def test_data_of_another_shape_is_refused_with_both(imported, folder):
    written("model.onnx", "float[N,3] y")
    X = RNG.normal(size=(9, 30))
    np.savez("other.npz", X_train=X, y_train=np.arange(9) % 3, X_test=X, y_test=np.arange(9) % 3)
    outcome = imported("model.onnx", "--data", "other.npz", "--output", "run")
    assert outcome.code == 2
    assert "takes 32 inputs, the data has 30 columns" in outcome.err


def test_another_ending_is_refused(imported, folder):
    written("model.onnx", "float[N,3] y")
    outcome = imported("model.onnx", "--output", "run", "--ending", "scores")
    assert (outcome.code, "has no output 'scores'; its outputs are y" in outcome.err) == (2, True)
