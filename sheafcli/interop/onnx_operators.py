"""The operators of ONNX that a graph of operations is read from, each with the function that reads it."""

from __future__ import annotations

from collections.abc import Callable

from sheafcli.interop import onnx_affine, onnx_axes, onnx_pointwise, onnx_windows
from sheafcli.interop.onnx_draft import Made, Site

OPERATORS: dict[str, Callable[[Site], Made]] = {
    "Gemm": onnx_affine.gemm,
    "MatMul": onnx_affine.matmul,
    "Conv": onnx_affine.convolution,
    "Add": onnx_affine.add,
    "Sum": onnx_affine.add,
    "Sub": onnx_affine.subtract,
    "Mul": onnx_affine.multiply,
    "Div": onnx_affine.divide,
    "Neg": onnx_affine.negative,
    "ai.onnx.ml.Scaler": onnx_affine.scaler,
    "BatchNormalization": onnx_affine.batch_normalization,
    "LayerNormalization": onnx_affine.layer_normalization,
    "InstanceNormalization": onnx_affine.instance_normalization,
    **dict.fromkeys(onnx_pointwise.SIMPLE, onnx_pointwise.simple),
    "PRelu": onnx_pointwise.p_relu,
    "Clip": onnx_pointwise.clip,
    "Max": onnx_pointwise.bounded,
    "Min": onnx_pointwise.bounded,
    "Gelu": onnx_pointwise.gelu,
    "Swish": onnx_pointwise.swish,
    "Celu": onnx_pointwise.celu,
    "Selu": onnx_pointwise.selu,
    "Softmax": onnx_pointwise.softmax,
    "LogSoftmax": onnx_pointwise.log_softmax,
    "Pow": onnx_pointwise.power,
    **dict.fromkeys(onnx_pointwise.FUNCTIONS, onnx_pointwise.function),
    "MaxPool": onnx_windows.max_pool,
    "AveragePool": onnx_windows.average_pool,
    "GlobalAveragePool": onnx_windows.global_average,
    "GlobalMaxPool": onnx_windows.global_maximum,
    "ReduceMean": onnx_windows.reduced,
    "ReduceMax": onnx_windows.reduced,
    "Pad": onnx_windows.pad,
    "Resize": onnx_windows.resize,
    "Upsample": onnx_windows.resize,
    "DepthToSpace": onnx_windows.depth_to_space,
    "SpaceToDepth": onnx_windows.space_to_depth,
    "Concat": onnx_axes.concatenated,
    "Slice": onnx_axes.sliced,
    "Split": onnx_axes.split,
    "Gather": onnx_axes.gathered,
    "Transpose": onnx_axes.transposed,
    "Expand": onnx_axes.expanded,
    "Tile": onnx_axes.tiled,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), onnx_axes.reshaped),
    "Cast": onnx_axes.cast,
    "Dropout": onnx_axes.dropout,
    "CastLike": onnx_axes.passed,
    "Identity": onnx_axes.passed,
}
"""Operators by their name, with the domain before it unless it is ONNX's own."""
