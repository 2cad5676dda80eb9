"""What the tests of all formats share: networks, samples, and what a refusal must look like."""

import numpy as np
import pytest

from sheafcli.core.chain.network import Network
from sheafcli.errors import InputError
from sheafcli.interop.models import model_bytes, read_model


def samples(width, count=50, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def biased(widths, output):
    """A network whose biases are no zeros."""
    drawn = Network.he(widths, output, seed=3)
    biases = tuple(np.linspace(-1.0, 1.0, len(b)) / 3.0 for b in drawn.biases)
    return Network(drawn.weights, biases, drawn.output)


def written(path, network):
    path.write_bytes(model_bytes(path, network))
    return path


def assert_same(found, network):
    assert found.output.name == network.output.name
    assert found.widths == network.widths
    for one, other in zip(found.weights + found.biases, network.weights + network.biases, strict=True):
        assert one.tobytes() == other.tobytes()


def refusal(path, output=None):
    with pytest.raises(InputError) as caught:
        read_model(path, output)
    assert caught.value.path == path
    return caught.value.message


def damaged(content, count, seed=0):
    """Yield copies of a file that are cut short, or have some bytes changed."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        if i % 3 == 0:
            yield content[: rng.integers(len(content))]
        else:
            copy = bytearray(content)
            for _ in range(rng.integers(1, 4)):
                copy[rng.integers(len(copy))] = rng.integers(256)
            yield bytes(copy)


def assert_damage_is_refused_or_harmless(path, content, count):
    refused = 0
    for copy in damaged(content, count):
        path.write_bytes(copy)
        try:
            model = read_model(path)
        except InputError:
            refused += 1
        else:
            parameters = model.network.graph.parameters.values()
            assert all(np.isfinite(array).all() for fields in parameters for array in fields.values())
    assert refused > count / 4
