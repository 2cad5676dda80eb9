"""ONNX graphs for tests, from the text that onnx.parser reads, with arrays put in by name."""

import numpy as np
import onnx
import onnxruntime
from model_files import samples
from onnx import helper, numpy_helper

RNG = np.random.default_rng(7)


def drawn(*shape):
    return RNG.normal(size=shape)


CONSTANTS = {
    "A": drawn(4, 5),
    "a": drawn(5),
    "B": drawn(5, 3),
    "b": drawn(1, 3),
    "At": drawn(5, 4),
    "a_column": drawn(5, 1),
    "Bt": drawn(3, 5),
    "b_flat": drawn(3),
    "lone": drawn(5, 1),
    "lone_b": drawn(1),
    "A_stacked": drawn(1, 4, 5),
    "square": drawn(4, 4),
    "vector": drawn(4),
    "mean": drawn(4),
    "spread": RNG.uniform(0.5, 2.0, size=4),
    "shift5": drawn(5),
    "low": np.linspace(-0.5, -0.1, 4),
    "high": np.linspace(0.1, 0.5, 4),
    "gamma": drawn(5),
    "beta": drawn(5),
    "running_mean": drawn(5),
    "variance": RNG.uniform(0.5, 2.0, size=5),
    "half": np.array(0.5),
    "zero": np.array(0.0),
    "one": np.array(1.0),
    "six": np.array(6.0),
    "tiny_low": np.array(-3.4028235e38),
    "zeros5": np.zeros(5),
    "picture_mean": drawn(2, 1, 1),
    "acas_mean": drawn(1, 1, 1, 4),
}
WHOLE = {
    "rows": np.array([0, -1]),
    "two_axes": np.array([1, -1]),
    "width_4": np.array([-1, 4]),
    "column": np.array([4, 1]),
    "all": np.array([-1]),
    "axis_0": np.array([0]),
    "axis_1": np.array([1]),
    "first": np.array(0),
    "minus_one": np.array([-1]),
    "false": np.array(False),
    "true": np.array(True),
    "shape_5": np.array([5]),
    "shape_4_5": np.array([4, 5]),
    "labels": np.array([10, 20, 30]),
    "width_2": np.array([-1, 2]),
    "integers": np.ones((4, 5), np.int64),
}


def graph(body, given="float[N,4] x", gives="float[] y", opset=17, kind=np.float32, arrays=None):
    """A model of the nodes in `body`; the arrays that they name are put in, floats in `kind`."""
    parsed = onnx.parser.parse_graph(f"g ({given}) => ({gives}) {{ {body} }}")
    used = {name for node in parsed.node for name in node.input}
    used -= {name for node in parsed.node for name in node.output}
    floats = {name: array.astype(kind) for name, array in CONSTANTS.items() if name in used}
    held = floats | WHOLE | (arrays or {})
    parsed.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in held.items() if name in used
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(parsed, opset_imports=opsets, ir_version=10 if opset > 20 else 8)


def saved(path, model):
    path.write_bytes(model.SerializeToString())
    return path


def run(model, X):
    """What onnxruntime computes, every output."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    content = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})


def inputs(shape, kind=np.float32):
    """Samples of the shape that one has, flat and as the graph takes them."""
    rows = samples(int(np.prod(shape)), 20)
    rows = (rows * 10).astype(kind) if np.dtype(kind).kind in "iu" else rows.astype(kind)
    return rows, rows.reshape(-1, *shape)
