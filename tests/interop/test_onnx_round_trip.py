"""What is written as ONNX is read back as a network of the same operations that gives the same numbers."""

import numpy as np
import pytest
from test_onnx_export import CASES, network_with

from sheafcli.core.operations import Identity, LeakyReLU
from sheafcli.interop.models import model_bytes, read_model


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_operation_comes_back(tmp_path, case):
    network = network_with(case.operation, case.parents)
    path = tmp_path / "model.onnx"
    path.write_bytes(model_bytes(path, network))
    read = read_model(path).network
    X = np.random.default_rng(5).normal(size=(3, *network.input_shape))
    np.testing.assert_allclose(read.logits(X), network.logits(X), rtol=0, atol=1e-6)
    # A leak is written as slopes, and an identity passed by.
    if not isinstance(case.operation, LeakyReLU | Identity):
        kinds = {type(vertex.operation) for vertex in read.graph.vertices}
        assert type(case.operation) in kinds
