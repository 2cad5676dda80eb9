"""Graph networks read back as they were written; a file that is anything else is refused in words."""

import dataclasses
import json
import typing

import numpy as np
import pytest
from graphs import graphs
from hypothesis import given
from hypothesis import strategies as st

from sheafcli.core import operations
from sheafcli.core.chain.network import Network
from sheafcli.core.graph import Constant, Graph, Node
from sheafcli.core.network import GraphNetwork, network_of
from sheafcli.core.operations import (
    Add,
    BatchNormalization,
    Clip,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    LeakyReLU,
    MaxPooling,
    PReLU,
    ReLU,
    Slice,
    Upsample,
)
from sheafcli.core.outputs import OUTPUTS, output_named
from sheafcli.errors import InputError
from sheafcli.interop.networks import network_arrays, read_network
from sheafcli.runs.files import write_npz


def save(folder, arrays):
    path = folder / "made.npz"
    write_npz(path, arrays)
    return path


def small(dtype=np.float64):
    """Return a network with a constant, options of every type, and numbers of this precision."""
    rng = np.random.default_rng(0)

    def normal(*size):
        return rng.normal(size=size).astype(dtype)

    nodes = (
        Node("conv1", Convolution(normal(4, 1, 3, 3), normal(4), (1, 2), ((1, 1), (0, 2)), 1), ("x",)),
        Node("layer1.0.bn", BatchNormalization(*(abs(normal(4)) for _ in range(4)), 1e-3), ("conv1",)),
        Node("pool", MaxPooling((2, 1), ceil=True), ("layer1.0.bn",)),
        Node("half", Slice((slice(None, None, -2),)), ("pool",)),
        Node("double", Upsample((1, 2)), ("half",)),
        Node("shift", Constant(normal(4, 3, 4))),
        Node("sum", Add(), ("double", "shift")),
        Node("both/joined", Concatenate(-3), ("sum", "double")),
        Node("slopes", PReLU(normal(8, 1, 1)), ("both/joined",)),
        Node("cut", Clip(-0.1, np.inf), ("slopes",)),
        Node("flat", Flatten(), ("cut",)),
        Node("dense", Dense(normal(3, 96)), ("flat",)),
    )
    return GraphNetwork(Graph((1, 6, 8), nodes), output_named("softmax"))


@given(graph=graphs(), output=st.sampled_from(sorted(OUTPUTS)))
def test_any_network_gives_the_same_bits_when_read_back(tmp_path_factory, graph, output):
    network = network_of(graph, output_named(output))
    again = read_network(save(tmp_path_factory.mktemp("graphs"), network_arrays(network)))
    X = np.random.default_rng(1).normal(size=(3, *network.input_shape))
    assert type(again) is type(network)
    assert again.edges == network.edges
    assert again.predict(X).tobytes() == network.predict(X).tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_keep_their_precision_and_names_stay(tmp_path, dtype):
    network = small(dtype)
    again = read_network(save(tmp_path, network_arrays(network)))
    X = np.random.default_rng(1).normal(size=(2, 1, 6, 8))
    assert [node.name for node in again.graph.nodes] == [node.name for node in network.graph.nodes]
    assert again.logits(X).tobytes() == network.logits(X).tobytes()
    kept = [array for fields in again.graph.parameters.values() for array in fields.values()]
    assert {array.dtype for array in kept} == {np.dtype(dtype)}


def test_equal_networks_give_equal_files(tmp_path):
    (tmp_path / "one").mkdir()
    first = save(tmp_path, network_arrays(small())).read_bytes()
    second = save(tmp_path / "one", network_arrays(read_network(tmp_path / "made.npz"))).read_bytes()
    assert first == second


def test_the_output_asked_for_goes_before_that_of_the_file(tmp_path):
    assert read_network(save(tmp_path, network_arrays(small())), "identity").output.name == "identity"


def test_every_field_of_every_operation_is_an_array_or_plain():
    """The types that options have are all that files are written with: numbers, their sequences, slices."""
    plain = {int, float, bool, slice, type(None)}

    def leaves(hint):
        inner = [part for part in typing.get_args(hint) if part is not Ellipsis]
        return {hint} if not inner else set().union(*map(leaves, inner))

    for name in operations.__all__:
        kind = getattr(operations, name)
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if "Array" not in str(field.type):
                assert leaves(hints[field.name]) <= plain, (name, field.name)


def changed(**changes):
    """Return the arrays of a small network, and its JSON with other keys."""
    arrays = network_arrays(small())
    listing = json.loads(str(arrays["graph"]))
    return arrays | {"graph": np.array(json.dumps(listing | changes))}


def with_node(**changes):
    listing = json.loads(str(network_arrays(small())["graph"]))
    nodes = listing["nodes"]
    return changed(nodes=[nodes[0] | changes, *nodes[1:]])


def with_option(name, value):
    listing = json.loads(str(network_arrays(small())["graph"]))
    return with_node(options=listing["nodes"][0]["options"] | {name: value})


REFUSED = {
    "another format": (changed(format=2), "format 2, and this version of sheafcli reads 1"),
    "format true": (changed(format=True), "format true"),
    "no format": (changed() | {"graph": np.array('{"nodes": []}')}, "keys format"),
    "unknown key": (changed(more=1), "and no others"),
    "no JSON": (changed() | {"graph": np.array("graph!")}, "not a JSON text"),
    "a number": (changed() | {"graph": np.array("1" * 5000)}, "not a JSON text"),
    "nested": (changed() | {"graph": np.array("[" * 200_000)}, "nested too deeply"),
    "not text": (changed() | {"graph": np.ones(3)}, "must be one text"),
    "no nodes": (changed(nodes=[]), "1 to 20,000 nodes"),
    "too many nodes": (changed(nodes=[0] * 20_001), "1 to 20,000 nodes"),
    "node of another kind": (changed(nodes=[3]), "a node must be an object"),
    "unknown operation": (with_node(operation="Wormhole"), 'conv1 is of the operation "Wormhole"'),
    "operation of another type": (with_node(operation=["Dense"]), "of the operation"),
    "not an operation": (with_node(operation="__init__"), 'the operation "__init__"'),
    "unprintable name": (with_node(name="a\x1b[31m"), "printable"),
    "twice the same name": (with_node(name="pool"), "pool"),
    "unknown parent": (with_node(parents=["nobody"]), "conv1 reads nobody"),
    "cycle": (with_node(parents=["dense"]), "conv1 reads dense, which nothing before it makes"),
    "parents of another type": (with_node(parents="x"), "parents must be a list"),
    "two inputs": (with_node(parents=["x", "x"]), "conv1 reads 2 values"),
    "unknown option": (with_option("speed", 1), 'conv1 (Convolution) has no option "speed"'),
    "an array as an option": (with_option("weight", [[1.0]]), 'no option "weight"'),
    "option of text": (with_option("stride", "two"), "stride cannot be"),
    "option not a number": (with_option("groups", float("nan")), "groups cannot be"),
    "huge option": (with_option("groups", 10**30), "groups cannot be"),
    "stride of 0": (with_option("stride", 0), "stride"),
    "negative stride": (with_option("stride", [-1, 1]), "stride"),
    "huge padding": (with_option("padding", 2**24), "conv1 has 2.3e+15 entries a sample"),
    "astronomic padding": (with_option("padding", 2**62), "padding cannot be"),
    "groups that do not divide": (with_option("groups", 3), "3 groups"),
    "input of no length": (changed(input_shape=[1, 0, 8]), "input_shape must be"),
    "huge input": (changed(input_shape=[1, 10**7, 10**7]), "more than 268,435,456 entries"),
    "many large values": (changed(input_shape=[1, 20_000, 13_000]), "entries"),
    "endless input": (changed(input_shape=[10**400]), "input_shape must be"),
    "input of another kind": (changed(input_shape="1x8x8"), "input_shape must be"),
    "missing array": (
        {k: v for k, v in network_arrays(small()).items() if k != "conv1.weight"},
        "conv1 (Convolution) lacks weight",
    ),
    "unknown array": (changed() | {"conv1.more": np.ones(1)}, "unknown array 'conv1.more'"),
    "array of integers": (changed() | {"dense.weight": np.ones((3, 96), int)}, "float type, not int64"),
    "array of text": (changed() | {"dense.weight": np.array("w")}, "float type"),
    "array that does not fit": (changed() | {"dense.weight": np.ones((3, 95))}, "dense (Dense) reads flat"),
    "not finite": (changed() | {"dense.weight": np.full((3, 96), np.nan)}, "at most 1e+70 is workable"),
    "too large": (changed() | {"dense.weight": np.full((3, 96), 1e80)}, "holds 1.0e+80"),
    "unknown output": (changed() | {"output": np.array("tanh")}, "unknown output 'tanh'"),
}


@pytest.mark.parametrize(("arrays", "message"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_is_no_network_is_refused_in_words(tmp_path, arrays, message):
    path = save(tmp_path, arrays)
    with pytest.raises(InputError) as caught:
        read_network(path)
    assert caught.value.path == path
    assert message in caught.value.message


def test_a_pickled_array_is_never_loaded(tmp_path):
    path = tmp_path / "made.npz"
    np.savez(path, **(changed() | {"dense.weight": np.array([{}], dtype=object)}))
    with pytest.raises(InputError, match="never unpickled"):
        read_network(path)


def test_a_path_of_dense_layers_and_relus_becomes_a_chain(tmp_path):
    leaky = Graph.path((2,), {"a": Dense(np.ones((3, 2))), "b": LeakyReLU(), "c": Dense(np.ones((1, 3)))})
    plain = Graph.path((2,), {"a": Dense(np.ones((3, 2))), "b": ReLU(), "c": Dense(np.ones((1, 3)))})
    for graph, kind in ((leaky, GraphNetwork), (plain, Network)):
        written = network_arrays(GraphNetwork(graph, output_named("identity")))
        assert type(read_network(save(tmp_path, written))) is kind
