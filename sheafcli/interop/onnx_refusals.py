"""Why an operator of an ONNX graph is refused, and what can be done."""

from __future__ import annotations

from collections.abc import Iterable

from sheafcli.interop.onnx_graph import Node

OVER_TIME = {"RNN", "LSTM", "GRU", "Loop", "Scan"}
NORMS = {
    *("GroupNormalization", "RMSNormalization", "LRN", "LpNormalization", "MeanVarianceNormalization"),
    *("ReduceL1", "ReduceL2", "ReduceSum", "ai.onnx.ml.Normalizer"),
}
ROUNDED = {
    *("QuantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul", "MatMulInteger", "QGemm", "ConvInteger"),
    *("QLinearConv",),
}
PREPARING = {
    *("ai.onnx.ml.Imputer", "ai.onnx.ml.OneHotEncoder", "ai.onnx.ml.LabelEncoder", "ai.onnx.ml.Binarizer"),
    *("ai.onnx.ml.FeatureVectorizer", "ai.onnx.ml.ArrayFeatureExtractor", "ai.onnx.ml.CategoryMapper"),
    "OneHot",
}

REASONS = {
    "belongs to a network over time; feed-forward networks are read": OVER_TIME,
    "divides each sample by a figure of its own, which no operation here does; "
    "if it stands first, do this to the data and export the network without it": NORMS,
    "rounds the values on their way; import the model from before it was quantized": ROUNDED,
    "picks or recodes features, which no operation here does; "
    "if it stands first, do this to the data and export the network without it": PREPARING,
}
"""What operators do that no operation of a sheaf does, each with those that do it."""


def not_covered(node: Node, known: Iterable[str]) -> str:
    """Return the message for an operator that no operation stands for."""
    for reason, kinds in REASONS.items():
        if node.kind in kinds:
            return f"{node.label} {reason}"
    if node.domain not in ("", "ai.onnx.ml"):
        return (
            f"{node.label} is of {node.domain}, not of ONNX itself; "
            "if a tool that makes models faster has put it in, import the model from before that"
        )
    return f"{node.label} is an operator that a sheaf does not cover; covered are {', '.join(known)}"
