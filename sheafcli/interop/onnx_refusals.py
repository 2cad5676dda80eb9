"""Why an operator of an ONNX graph is refused, and what can be done."""

from __future__ import annotations

from collections.abc import Iterable

from sheafcli.interop.onnx_graph import Node

ACTIVATIONS = {
    *("Abs", "Celu", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu"),
    *("Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu", "Shrink"),
}
CONVOLUTIONS = {
    *("Conv", "ConvTranspose", "ConvInteger", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
    *("Pad", "Resize", "Upsample"),
}
OVER_TIME = {"RNN", "LSTM", "GRU", "Attention", "Loop", "Scan"}
NORMS = {
    *("LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization", "LRN"),
    *("LpNormalization", "MeanVarianceNormalization", "ReduceMean", "ReduceL2", "ai.onnx.ml.Normalizer"),
}
ROUNDED = {"QuantizeLinear", "DynamicQuantizeLinear", "QLinearMatMul", "MatMulInteger", "QGemm"}
PREPARING = {
    *("ai.onnx.ml.Imputer", "ai.onnx.ml.OneHotEncoder", "ai.onnx.ml.LabelEncoder", "ai.onnx.ml.Binarizer"),
    *("ai.onnx.ml.FeatureVectorizer", "ai.onnx.ml.ArrayFeatureExtractor", "ai.onnx.ml.CategoryMapper"),
    *("Slice", "Gather", "Split", "Concat", "OneHot"),
}

REASONS = {
    "is another activation than ReLU; a network here has ReLU between its layers": ACTIVATIONS,
    "belongs to a convolutional network; fully connected layers are read": CONVOLUTIONS,
    "belongs to a network over time; fully connected layers are read": OVER_TIME,
    "divides each sample by a figure of its own, which no layer does; "
    "if it stands first, do this to the data and export the network without it": NORMS,
    "rounds the values on their way; import the model from before it was quantized": ROUNDED,
    "picks or recodes features, which no layer does; "
    "if it stands first, do this to the data and export the network without it": PREPARING,
}
"""What operators do that a chain of layers and ReLU does not, each with those that do it."""


def not_covered(node: Node, known: Iterable[str]) -> str:
    """Return the message for an operator that a chain cannot have."""
    for reason, kinds in REASONS.items():
        if node.kind in kinds:
            return f"{node.label} {reason}"
    if node.domain not in ("", "ai.onnx.ml"):
        return (
            f"{node.label} is of {node.domain}, not of ONNX itself; "
            "if a tool that makes models faster has put it in, import the model from before that"
        )
    return f"{node.label} is an operator that a sheaf does not cover; known: {', '.join(known)}"
