"""ONNX: a graph that is a chain of layers and ReLU, read; and such a graph, written in double."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sheafcli.core.chain.network import Network
from sheafcli.interop.chain import Chain, NotAChain
from sheafcli.interop.contents import library
from sheafcli.interop.graph_file import GraphFile, chain_tensors
from sheafcli.interop.onnx_draft import Draft, Made, Site
from sheafcli.interop.onnx_graph import Graph
from sheafcli.interop.onnx_model import load_model
from sheafcli.interop.onnx_network import graph_of
from sheafcli.interop.onnx_operators import OPERATORS
from sheafcli.interop.onnx_outputs import network_of
from sheafcli.interop.onnx_sizes import SAMPLES, Shape, Sizes
from sheafcli.interop.onnx_tensors import Tensors
from sheafcli.interop.onnx_values import Values, known_values

OPSET, IR_VERSION = 17, 8
"""The operator set and file version that are written: onnxruntime reads them from 1.12 (2022) on."""

File = TypeVar("File", Chain, GraphFile)

MAX_AXES = 64
"""The most axes of an input, as NumPy has it."""


def read_onnx(path: Path, wanted: str | None = None) -> Chain | GraphFile:
    """Read the network of a graph from its input to its output, or to the one that is wanted.

    Constants are folded, and what only makes sizes, before the way is walked; what the output does not
    depend on is left away. A chain of layers and ReLU is read as one, everything else as a graph of
    operations. Raises InputError or ValueError with what is wrong with the file.
    """
    onnx = library("onnx", "onnx", "reading .onnx files")
    graph = Graph(load_model(path, onnx), onnx)
    if wanted is not None:
        graph.choose(wanted)
    tensors = Tensors(path.parent, onnx)

    def read_chain(shapes: dict[str, Shape], sizes: Sizes) -> Chain:
        values = _settled(graph, tensors, onnx, shapes, sizes)[0]
        return network_of(graph, values, tensors.held, path.name)

    def read_graph(shapes: dict[str, Shape], sizes: Sizes) -> GraphFile:
        sizes.merged = True
        values, draft = _settled(graph, tensors, onnx, shapes, sizes, OPERATORS)
        assert draft is not None
        return graph_of(graph, values, draft)

    file: Chain | GraphFile
    try:
        file = _read(graph, read_chain)
        with suppress(ValueError):  # a chain that is no graph of ours, such as one with several inputs
            file = replace(file, tensors=chain_tensors(_read(graph, read_graph)))
    except NotAChain:
        file = _read(graph, read_graph)
    return replace(file, beside=tensors.external.files)


def _read(graph: Graph, reader: Callable[[dict[str, Shape], Sizes], File]) -> File:
    """Return what a reader makes of the graph, with an axis of samples in its inputs or, failing that, none.

    ValueError if neither can be read, with what is wrong with the first.
    """
    refusal: ValueError | None = None
    for one_sample in (False, True):
        shapes, sizes = _inputs(graph, one_sample=one_sample)
        if one_sample and any(size < 0 for shape in shapes.values() for size in shape):
            break
        try:
            return reader(shapes, sizes)
        except ValueError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _inputs(graph: Graph, *, one_sample: bool) -> tuple[dict[str, Shape], Sizes]:
    """Return the shapes of a graph's inputs, with the sample axis in them.

    It is the first axis, or the only one that is open. An array of one axis is a sample, and so is one
    whose sizes are all fixed if `one_sample` says so.
    """
    sizes, shapes, batches = Sizes(), {}, set[int | None]()
    for name, kind in graph.inputs.items():
        tensor = kind.tensor_type
        known = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
        names = [dim.dim_param or f"{name}, axis {axis}" for axis, dim in enumerate(tensor.shape.dim)]
        if not tensor.HasField("shape"):
            known, names = [None, None], ["", f"{name}, axis 1"]
        if len(known) > MAX_AXES:
            raise ValueError(f"the input {name!r} has {len(known)} axes; at most {MAX_AXES} are read")
        shape = [sizes.named(names[axis]) if size is None else size for axis, size in enumerate(known)]
        if len(known) > 1 and not one_sample:
            opened = [axis for axis, size in enumerate(known) if size is None]
            axis = opened[0] if len(opened) == 1 and known[0] not in (1, None) else 0
            batches.add(known[axis])
            shape[axis] = SAMPLES
        shapes[name] = tuple(shape)
    sizes.batch = batches.pop() if len(batches) == 1 else None
    return shapes, sizes


def _settled(
    graph: Graph,
    tensors: Tensors,
    onnx: Any,
    shapes: dict[str, Shape],
    sizes: Sizes,
    operators: Mapping[str, Callable[[Site], Made]] | None = None,
) -> tuple[Values, Draft | None]:
    """Return the values of a graph, with sizes of inputs that it leaves open settled by its weights.

    With `operators` the others become vertices on the way.
    """
    while True:
        draft = None if operators is None else Draft(sizes, graph.types, graph.opset, operators)
        if draft is None:
            values = known_values(graph, tensors, onnx, shapes, sizes)
        else:
            for name, shape in shapes.items():
                draft.begin(name, shape, graph.inputs[name].tensor_type.elem_type)
            values = known_values(graph, tensors, onnx, shapes, sizes, draft.add)
        settled = {
            name: tuple(sizes.known.get(size, size) for size in shape) for name, shape in shapes.items()
        }
        if settled == shapes:
            return values, draft
        shapes = settled


def onnx_bytes(network: Network) -> bytes:
    """Return the ONNX file of a network: Gemm and Relu in turn, then its output, all in double."""
    onnx = library("onnx", "onnx", "writing .onnx files")
    helper, double = onnx.helper, onnx.TensorProto.DOUBLE
    nodes, tensors, at = [], [], "input"
    for layer, (W, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
        if layer > 1:
            nodes.append(helper.make_node("Relu", [at], [f"a{layer - 1}"], name=f"relu{layer - 1}"))
            at = f"a{layer - 1}"
        names = [f"W{layer}", f"b{layer}"]
        tensors += [
            onnx.numpy_helper.from_array(array, name) for array, name in zip((W, b), names, strict=True)
        ]
        nodes.append(helper.make_node("Gemm", [at, *names], [f"z{layer}"], name=f"layer{layer}", transB=1))
        at = f"z{layer}"
    operator = {"identity": "Identity", "sigmoid": "Sigmoid", "softmax": "Softmax"}[network.output.name]
    nodes.append(helper.make_node(operator, [at], ["output"], name="output_function"))
    graph = helper.make_graph(
        nodes,
        "sheafcli",
        [helper.make_tensor_value_info("input", double, ["samples", network.widths[0]])],
        [helper.make_tensor_value_info("output", double, ["samples", network.widths[-1]])],
        tensors,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name="sheafcli", opset_imports=opset, ir_version=IR_VERSION)
    content: bytes = model.SerializeToString()
    return content
