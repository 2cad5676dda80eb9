"""Writing graph networks as ONNX: an operator or a few for every operation, by the names of the vertices.

Parameters are written in double precision if ONNX Runtime computes all of the network's operators in it, and
else in single: its convolutions, for one, know single precision alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sheafcli.core import operations as core
from sheafcli.core.graph import Vertex
from sheafcli.core.network import GraphNetwork
from sheafcli.core.types import Shape
from sheafcli.interop.contents import library
from sheafcli.interop.onnx_files import IR_VERSION, OPSET

INT_MIN = -(2**63)
OUTPUT = "output"
OPERATORS = {"identity": "Identity", "sigmoid": "Sigmoid", "softmax": "Softmax"}

SINGLE_ONLY: tuple[type, ...] = (
    core.Convolution,
    core.AveragePooling,
    core.ELU,
    core.GELU,
    core.HardSigmoid,
    core.HardSwish,
    core.Softplus,
    core.Upsample,
)
"""The operations that ONNX Runtime computes in single precision alone."""


def graph_bytes(network: GraphNetwork, dtype: np.dtype[Any] | None = None) -> bytes:
    """Return the ONNX file of a network, in `precision` or in another one that is given.

    ValueError names an operation that ONNX has not in this form.
    """
    onnx = library("onnx", "onnx", "writing .onnx files")
    graph = _Writer(onnx, network, precision(network) if dtype is None else dtype)
    content: bytes = graph.model().SerializeToString()
    return content


def precision(network: GraphNetwork) -> np.dtype[Any]:
    """Return the precision that a network is written in."""
    made = [vertex.operation for vertex in network.graph.vertices]
    is_single = any(isinstance(operation, SINGLE_ONLY) for operation in made)
    # The attribute epsilon is in single precision.
    epsilons = [operation.epsilon for operation in made if isinstance(operation, core.LayerNormalization)]
    is_rounded = any(float(np.float32(epsilon)) != epsilon for epsilon in epsilons)
    return np.dtype(np.float32 if is_single or is_rounded else np.float64)


class _Writer:
    """Collects the nodes and the tensors of a file. Values have the names of their vertices."""

    def __init__(self, onnx: Any, network: GraphNetwork, dtype: np.dtype[Any]) -> None:
        self.onnx = onnx
        self.network = network
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}
        taken = {vertex.name for vertex in network.graph.vertices}
        # What the file calls its input and output, and a vertex may be called so too.
        self._names = {vertex.name: vertex.name for vertex in network.graph.vertices}
        self._names[network.graph.vertices[0].name] = "input"
        for reserved in {"input", OUTPUT} & (taken - {network.graph.vertices[0].name}):
            self._names[reserved] = f"{reserved}_value"

    def model(self) -> Any:
        """Return the model."""
        helper, network = self.onnx.helper, self.network
        for vertex in network.graph.vertices:
            if vertex.constant is not None:
                self._constant(vertex)
            elif vertex.operation is not None:
                self._operation(vertex)
        last = self.name(network.graph.output)
        self.add(OPERATORS[network.output.name], [last], OUTPUT, name="output_function")
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        graph = helper.make_graph(
            self.nodes,
            "sheafcli",
            [helper.make_tensor_value_info("input", kind, ["samples", *network.input_shape])],
            [helper.make_tensor_value_info(OUTPUT, kind, ["samples", network.n_outputs])],
            list(self.tensors.values()),
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, producer_name="sheafcli", opset_imports=opset, ir_version=IR_VERSION)

    def name(self, vertex: Vertex) -> str:
        """Return what the file calls the value of a vertex."""
        return self._names[vertex.name]

    def add(
        self, operator: str, inputs: Sequence[str], output: str, *, name: str = "", **options: Any
    ) -> str:
        """Add a node and return the name of its value."""
        self.nodes.append(
            self.onnx.helper.make_node(operator, inputs, [output], name=name or output, **options)
        )
        return output

    def tensor(self, name: str, array: ArrayLike, dtype: Any = None) -> str:
        """Add a tensor, of the file's precision unless `dtype` says otherwise, and return its name."""
        values: NDArray[Any] = np.ascontiguousarray(array, dtype=self.dtype if dtype is None else dtype)
        values = values.reshape(np.shape(array))
        self.tensors[name] = self.onnx.numpy_helper.from_array(values, name)
        return name

    def _constant(self, vertex: Vertex) -> None:
        """Add a constant, once for every sample."""
        assert vertex.constant is not None
        name = self.name(vertex)
        shape = self.tensor(f"{name}.shape", vertex.shape, np.int64)
        samples = self.add("Shape", ["input"], f"{name}.samples", start=0, end=1)
        whole = self.add("Concat", [samples, shape], f"{name}.whole", axis=0)
        self.add("Expand", [self.tensor(f"{name}.value", vertex.constant), whole], name)

    def _operation(self, vertex: Vertex) -> None:
        operation, vertices = vertex.operation, self.network.graph.vertices
        parents = tuple(vertices[index] for index in vertex.parents)
        kind = next((kind for kind in WRITERS if type(operation) is kind), None)
        if kind is None:
            raise ValueError(f"{vertex.name} ({type(operation).__name__}) cannot be written as ONNX")
        WRITERS[kind](self, operation, [self.name(p) for p in parents], self.name(vertex), (vertex, *parents))


Write = Callable[[_Writer, Any, list[str], str, tuple[Vertex, ...]], object]


def _dense(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    if len(of[0].shape) == 1:
        names = [to.tensor(f"{y}.weight", made.weight)]
        names += [] if made.bias is None else [to.tensor(f"{y}.bias", made.bias)]
        to.add("Gemm", [*x, *names], y, transB=1)
        return
    product = y if made.bias is None else f"{y}.product"
    to.add("MatMul", [*x, to.tensor(f"{y}.weight", made.weight.T)], product)
    if made.bias is not None:
        to.add("Add", [product, to.tensor(f"{y}.bias", made.bias)], y)


def _scale(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    at = x[0]
    if made.factor is not None:
        at = to.add(
            "Mul", [at, to.tensor(f"{y}.factor", made.factor)], y if made.offset is None else f"{y}.scaled"
        )
    if made.offset is not None:
        to.add("Add", [at, to.tensor(f"{y}.offset", made.offset)], y)


def _pads(windows: Any) -> list[int]:
    return [low for low, _ in windows.padding] + [high for _, high in windows.padding]


def _exact_pads(windows: Any, spatial: Shape) -> list[int]:
    """Return padding with which the last window ends where the padded image does, or before."""
    spans = [d * (k - 1) + 1 for k, d in zip(windows.kernel, windows.dilation, strict=True)]
    places = zip(windows.out(spatial), windows.stride, spans, strict=True)
    ends = [(count - 1) * step + span for count, step, span in places]
    before = [low for low, _ in windows.padding]
    return before + [max(0, end - n - low) for end, n, low in zip(ends, spatial, before, strict=True)]


def _convolution(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    windows = made.windows
    names = [to.tensor(f"{y}.weight", made.weight)]
    names += [] if made.bias is None else [to.tensor(f"{y}.bias", made.bias)]
    to.add(
        "Conv",
        [*x, *names],
        y,
        kernel_shape=windows.kernel,
        strides=windows.stride,
        pads=_pads(windows),
        dilations=windows.dilation,
        group=made.groups,
    )


def _pooling(operator: str) -> Write:
    def write(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
        windows, is_last_counted = made.windows, True
        options: dict[str, Any] = {"dilations": windows.dilation}
        if operator == "AveragePool":
            if max(windows.dilation) > 1:
                raise ValueError(f"{of[0].name}: average pooling with a dilation is not written as ONNX")
            options = {"count_include_pad": int(made.count_padding)}
            is_last_counted = not made.count_padding
        pads, ceil = _pads(windows), windows.ceil
        if ceil and is_last_counted:
            # Runtimes differ on which last window counts; what it needs after the image leaves no choice.
            pads, ceil = _exact_pads(windows, of[1].shape[1:]), False
        to.add(
            operator,
            x,
            y,
            kernel_shape=windows.kernel,
            strides=windows.stride,
            pads=pads,
            ceil_mode=int(ceil),
            **options,
        )

    return write


def _batch_normalization(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    fields = ("factor", "offset", "mean", "variance")
    # The attribute epsilon is in single precision; as a part of the variance it is exact.
    is_exact = float(np.float32(made.epsilon)) == made.epsilon or to.dtype == np.float32
    values = {field: getattr(made, field) for field in fields}
    if not is_exact:
        values["variance"] = made.variance + made.epsilon
    names = [to.tensor(f"{y}.{field}", value) for field, value in values.items()]
    to.add("BatchNormalization", [*x, *names], y, epsilon=made.epsilon if is_exact else 0.0)


def _layer_normalization(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    names = [to.tensor(f"{y}.factor", made.factor)]
    names += [] if made.offset is None else [to.tensor(f"{y}.offset", made.offset)]
    to.add("LayerNormalization", [*x, *names], y, axis=-made.factor.ndim, epsilon=made.epsilon)


def _named(operator: str, **options: Callable[[Any], Any]) -> Write:
    """Return the writer of an operation that is one operator, with options read off it."""

    def write(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
        to.add(operator, x, y, **{key: read(made) for key, read in options.items()})

    return write


def _leaky(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    # The attribute alpha is in single precision.
    if to.dtype == np.float32 or float(np.float32(made.below)) == made.below:
        to.add("LeakyRelu", x, y, alpha=made.below)
    else:
        to.add("PRelu", [*x, to.tensor(f"{y}.slope", made.below)], y)


def _prelu(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    to.add("PRelu", [*x, to.tensor(f"{y}.slope", made.below)], y)


def _clip(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    to.add("Clip", [*x, to.tensor(f"{y}.low", made.low), to.tensor(f"{y}.high", made.high)], y)


def _silu(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    to.add("Mul", [x[0], to.add("Sigmoid", x, f"{y}.sigmoid")], y)


def _softplus(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    if made.beta == 1.0:
        to.add("Softplus", x, y)
        return
    beta = to.tensor(f"{y}.beta", made.beta)
    steep = to.add("Softplus", [to.add("Mul", [x[0], beta], f"{y}.scaled")], f"{y}.softplus")
    to.add("Div", [steep, beta], y)


def _gelu(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    small = to.add("Div", [x[0], to.tensor(f"{y}.root", math.sqrt(2.0))], f"{y}.small")
    error = to.add("Erf", [small], f"{y}.erf")
    twice = to.add("Add", [error, to.tensor(f"{y}.one", 1.0)], f"{y}.share")
    whole = to.add("Mul", [x[0], twice], f"{y}.whole")
    to.add("Mul", [whole, to.tensor(f"{y}.half", 0.5)], y)


def _tanh_gelu(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    square = to.add("Mul", [x[0], x[0]], f"{y}.square")
    cube = to.add("Mul", [square, x[0]], f"{y}.cube")
    cubic = to.add("Mul", [cube, to.tensor(f"{y}.cubic", made.cubic)], f"{y}.bend")
    bent = to.add("Add", [x[0], cubic], f"{y}.bent")
    inner = to.add("Mul", [bent, to.tensor(f"{y}.factor", made.factor)], f"{y}.inner")
    share = to.add("Add", [to.add("Tanh", [inner], f"{y}.tanh"), to.tensor(f"{y}.one", 1.0)], f"{y}.share")
    whole = to.add("Mul", [x[0], share], f"{y}.whole")
    to.add("Mul", [whole, to.tensor(f"{y}.half", 0.5)], y)


def _reshape(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    to.add("Reshape", [*x, to.tensor(f"{y}.shape", (-1, *of[0].shape), np.int64)], y)


def _transpose(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    axes = len(made.order) + 1
    to.add("Transpose", x, y, perm=[0, *(axes + axis for axis in made.order)])


def _pad(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    before = [0] * (1 + len(of[1].shape) - len(made.widths))
    pads = [*before, *(low for low, _ in made.widths), *before, *(high for _, high in made.widths)]
    to.add("Pad", [*x, to.tensor(f"{y}.pads", pads, np.int64)], y, mode="constant")


def _slice(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    lengths = of[1].shape[len(of[1].shape) - len(made.slices) :]
    ends = [part.indices(n) for part, n in zip(made.slices, lengths, strict=True)]
    columns = {
        "starts": [start for start, _, _ in ends],
        # An end before the first entry, of a negative step, is not -1: that is the last.
        "ends": [INT_MIN if stop < 0 else stop for _, stop, _ in ends],
        "axes": list(range(1 + len(of[1].shape) - len(ends), 1 + len(of[1].shape))),
        "steps": [step for _, _, step in ends],
    }
    to.add("Slice", [*x, *(to.tensor(f"{y}.{key}", value, np.int64) for key, value in columns.items())], y)


def _upsample(to: _Writer, made: Any, x: list[str], y: str, of: tuple[Vertex, ...]) -> None:
    scales = [1] * (1 + len(of[1].shape) - len(made.factors)) + list(made.factors)
    names = ["", to.tensor(f"{y}.scales", scales, np.float32)]
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    to.add("Resize", [*x, *names], y, **options)


WRITERS: dict[type, Write] = {
    core.Dense: _dense,
    core.Scale: _scale,
    core.Convolution: _convolution,
    core.BatchNormalization: _batch_normalization,
    core.LayerNormalization: _layer_normalization,
    core.ReLU: _named("Relu"),
    core.LeakyReLU: _leaky,
    core.PReLU: _prelu,
    core.Clip: _clip,
    core.Abs: _named("Abs"),
    core.HardSigmoid: _named("HardSigmoid", alpha=lambda made: made.alpha, beta=lambda made: made.beta),
    core.HardSwish: _named("HardSwish"),
    core.Sigmoid: _named("Sigmoid"),
    core.Tanh: _named("Tanh"),
    core.SiLU: _silu,
    core.GELU: _gelu,
    core.TanhGELU: _tanh_gelu,
    core.Softplus: _softplus,
    core.ELU: _named("Elu", alpha=lambda made: made.alpha),
    core.Softmax: _named("Softmax", axis=lambda made: made.axis),
    core.MaxPooling: _pooling("MaxPool"),
    core.AveragePooling: _pooling("AveragePool"),
    core.Mean: _named("ReduceMean", axes=lambda made: list(made.axes), keepdims=lambda _: 1),
    core.Add: _named("Sum"),
    core.Subtract: _named("Sub"),
    core.Multiply: _named("Mul"),
    core.MatrixProduct: _named("MatMul"),
    core.Concatenate: _named("Concat", axis=lambda made: made.axis),
    core.Identity: _named("Identity"),
    core.Flatten: _named("Flatten", axis=lambda _: 1),
    core.Reshape: _reshape,
    core.Transpose: _transpose,
    core.Pad: _pad,
    core.Slice: _slice,
    core.Upsample: _upsample,
}
"""How every operation is written."""
