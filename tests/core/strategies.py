"""Hypothesis strategies for networks and activation patterns."""

import numpy as np
from hypothesis import strategies as st

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import output_named

seeds = st.integers(0, 2**32 - 1)
scales = st.floats(-2.0, 1.0).map(lambda exponent: 10.0**exponent)
extreme_scales = st.floats(-3.0, 3.0).map(lambda exponent: 10.0**exponent)
widths = st.lists(st.integers(1, 5), min_size=2, max_size=8)
deep_widths = st.lists(st.integers(1, 5), min_size=2, max_size=14)


@st.composite
def networks(draw, output="identity", widths=widths, scales=scales):
    """Draw a network of depth 0 to 6 with weights and biases of one scale from 1e-2 to 10."""
    n = draw(widths)
    rng, scale = np.random.default_rng(draw(seeds)), draw(scales)
    return Network(
        tuple(scale * rng.normal(size=(after, before)) for before, after in zip(n[:-1], n[1:], strict=True)),
        tuple(scale * rng.normal(size=after) for after in n[1:]),
        output_named(output),
    )


@st.composite
def extreme_networks(draw):
    """Draw a network of up to 12 hidden layers, weights of 1e-3 to 1e3, perhaps with a dead or zero layer.

    A dead layer has biases so far below that no input wakes it; a zero layer has no weights at all.
    """
    network = draw(networks(widths=deep_widths, scales=extreme_scales))
    layer = draw(st.integers(0, network.depth))
    weights, biases = list(network.weights), list(network.biases)
    match draw(st.sampled_from(["as it is", "dead", "zero"])):
        case "dead":
            biases[layer] = np.full_like(biases[layer], -1e9)
            weights[layer] = np.clip(weights[layer], -1.0, 1.0)
        case "zero":
            weights[layer], biases[layer] = np.zeros_like(weights[layer]), np.zeros_like(biases[layer])
    return Network(tuple(weights), tuple(biases), network.output)


@st.composite
def whole_networks(draw):
    """Draw a network whose weights are whole numbers: its sheaf Laplacian is exact in integers."""
    n = draw(st.lists(st.integers(1, 4), min_size=2, max_size=6))
    rng, largest = np.random.default_rng(draw(seeds)), draw(st.integers(1, 9))

    def whole(*shape):
        return rng.integers(-largest, largest + 1, size=shape).astype(float)

    pairs = list(zip(n[:-1], n[1:], strict=True))
    return Network(
        tuple(whole(after, before) for before, after in pairs),
        tuple(whole(after) for _, after in pairs),
        output_named("identity"),
    )


def random_pattern(network, seed):
    """Draw any activation pattern of a network."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 2, size=n).astype(bool) for n in network.widths[1:-1]]
