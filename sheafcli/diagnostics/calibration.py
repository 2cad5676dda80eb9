"""How sure blame may be: P(layer, kind | scores), fitted once on faults planted in many networks.

A network has a row of scores a layer (`sheafcli.diagnostics.scores`). In two steps,

    t_l = a forest's log odds that layer l is at fault, from its plain scores as they are, standardised within
          the network, and less the largest of the others,
    P(l) = exp(w . u_l) / (exp(v . u_0) + sum_m exp(w . u_m)),        P(none) = 1 - sum_l P(l),

u_l holding t_l and what repairs say of the layer, u_0 the largest of these and the size of the error: a
conditional logit (McFadden 1974). A second forest gives P(kind | layer l at fault); but where evidence
says by NATS that no more than the order of weights is wrong, that is the kind, as often as it was so in the
fit. Forests are boosted trees (Friedman 2001). All numbers are those of `blame.npz`, which
`benchmarks/blame.py` makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from sheafcli.core.types import Array

FILE = Path(__file__).with_name("blame.npz")
# What scores are standardised by is at least so much: a score that is alike in all layers says nothing.
ALIKE = 0.05
# Margins and standardised scores beyond these say no more than that they are far.
FAR, FARTHEST, TINY = 20.0, 30.0, 1e-30
# Evidence says one thing rather than another by odds that no noise gives (e^10).
NATS = 10.0
# Evidence is known to a share of the highest; a temperature of so much of it.
UNCERTAIN = 0.01
# Evidence that leads by more nats than these says no more; what is a share of it is one of FEW nats at least.
FARTHEST_LEAD, FEW = 1000.0, 10.0
# Losses this far below a constant's, as logarithms, are alike; from POOR on they are near it.
FAR_BELOW, POOR = 6.0, 1.5


@dataclass(frozen=True, eq=False)
class Forest:
    """Boosted trees: their nodes in arrays, the root and class of every tree, and where all classes start."""

    feature: Array
    threshold: Array
    left: Array
    right: Array
    value: Array
    roots: Array
    classes: Array
    start: Array

    def __call__(self, X: Array) -> Array:
        """Return the logits, rows x classes."""
        at = np.broadcast_to(self.roots, (len(X), len(self.roots)))
        rows = np.arange(len(X))[:, None]
        while (self.left[at] >= 0).any():
            here = X[rows, self.feature[at]] <= self.threshold[at]
            at = np.where(self.left[at] < 0, at, np.where(here, self.left[at], self.right[at]))
        logits = np.tile(self.start, (len(X), 1)).astype(np.float64)
        for one in range(len(self.start)):
            logits[:, one] += self.value[at[:, self.classes == one]].sum(axis=1)
        return logits


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What is known of the network as a whole: its output's name, and its loss over a constant's."""

    output: str
    relative_loss: float

    @property
    def loss(self) -> float:
        """The logarithm of the relative loss."""
        return float(np.clip(np.log(max(self.relative_loss, TINY)), -FARTHEST, FARTHEST))


@dataclass(frozen=True, eq=False)
class Blame:
    """The probability of a fault in each layer, and that of each kind if it is there, layers x kinds."""

    layers: Array
    kinds: Array

    @property
    def none(self) -> float:
        """The probability that no layer alone is at fault."""
        return max(0.0, 1.0 - float(self.layers.sum()))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Both forests, the weights w and v of the logit, and the names of the kinds.

    `order` is the probability that an order which leads says the kind.
    """

    where: Forest
    what: Forest
    layer_weights: Array
    none_weights: Array
    order: float
    kinds: tuple[str, ...]

    def __call__(self, scores: Sequence[Mapping[str, float]], about: Circumstances) -> Blame:
        """Return the blame of the layers of a network, in order."""
        plain = plain_features(scores, about)
        u, u_none = repair_features(scores, self.where(plain)[:, 0], about)
        logits = np.append(u @ self.layer_weights, u_none @ self.none_weights)
        kinds = np.exp(log_softmax(self.what(plain), axis=1))
        for layer in np.flatnonzero(order_leads(scores)).tolist():
            kind = int(scores[layer]["order"])
            kinds[layer] *= (1.0 - self.order) / (1.0 - kinds[layer, kind])
            kinds[layer, kind] = self.order
        return Blame(np.exp(log_softmax(logits))[:-1], kinds)


@cache
def calibration() -> Calibration:
    """Return the calibration that comes with the package."""
    with np.load(FILE, allow_pickle=False) as file:
        where, what = (
            Forest(**{part: file[f"{name}_{part}"] for part in Forest.__dataclass_fields__})
            for name in ("where", "what")
        )
        kinds = tuple(file["kinds"].tolist())
        order = float(file["order"])
        return Calibration(where, what, file["layer_weights"], file["none_weights"], order, kinds)


PARTS = ("layer", "neuron", "input", "rearranged")
"""What repairs may change of a layer."""

KINDS = {
    "noise": "its weights look noisy",
    "scrambled": "the weights into one neuron look drawn anew",
    "killed": "one neuron looks switched off by its bias",
    "saturated": "the bias of one output looks far too large",
    "shuffled": "the weights out of one input look permuted",
    "scaled_inputs": "inputs seem to come in another unit than in training",
    "permuted_inputs": "inputs seem to come in another order than in training",
    "permuted_outputs": "the outputs seem to stand in another order than in training",
    "quantised": "its weights look rounded to a few values",
    "pruned": "its small weights look set to zero",
    "reinitialised": "its weights look drawn anew",
    "transposed": "its weights look transposed",
    "bias_dropped": "its biases look left out",
    "missing_activation": "it looks like two layers with no activation between them",
    "stale_normalisation": "its neurons look scaled and shifted, as by a stale batch normalisation",
    "bit_flip": "one weight looks far off, as by a flipped bit",
    "high_rate": "its weights look thrown off by too high a learning rate",
}
"""The kinds of faults that were planted, and how each looks."""

ORDERS = {
    "inputs shuffled": "permuted_inputs",
    "outputs shuffled": "permuted_outputs",
    "sign flipped": "permuted_outputs",
    "transposed": "transposed",
}
"""The kinds that rearrangements undo; of the weights out of one input it is `shuffled`."""

PLAIN = (
    "gradient",
    "relative_gradient",
    "coherence",
    "pulled_neuron",
    "pulled_input",
    "pulled_bias",
    "weight_norm",
    "activation_scale",
    "aligned",
    "least_aligned_row",
    "aligned_behind",
    "least_aligned_column",
    "row_spread",
    "column_spread",
    "row_outlier",
    "column_outlier",
    "entry_outlier",
    "kurtosis",
    "distinct",
    "zeros",
    "effective_rank",
    "leading",
    "balance_spread",
    "balance",
    "zero_biases",
    "bias_size",
    "bias_outlier",
    "stalk_outlier",
    "stalk_spread",
    "never_active",
    "always_active",
)
"""The scores that the forests see."""


def plain_features(scores: Sequence[Mapping[str, float]], about: Circumstances) -> Array:
    """Return a row a layer: the plain scores in three forms, where the layer is, and the circumstances."""
    raw = np.array([[one[name] for name in PLAIN] for one in scores])
    layers = np.arange(len(raw))
    whole = [about.loss, float(about.output == "identity"), float(about.output == "softmax"), float(len(raw))]
    return np.column_stack(
        [
            raw,
            standardised(raw),
            margins(raw),
            layers == 0,
            layers == len(raw) - 1,
            layers / max(len(raw) - 1, 1),
            np.tile(whole, (len(raw), 1)),
        ]
    )


def repair_features(
    scores: Sequence[Mapping[str, float]], odds: Array, about: Circumstances
) -> tuple[Array, Array]:
    """Return u_l, a row a layer, and u_0, from the forest's log odds and what repairs say."""
    evidence = evidence_of(scores)
    highest = max(0.0, float(evidence.max()))
    first, lead = led(evidence)
    rearranged = np.array([one["evidence_rearranged"] for one in scores])
    moved, moved_lead = led(rearranged)
    nats = (evidence - highest) / max(1.0, UNCERTAIN * highest)
    fitted = np.array([one["fitted"] for one in scores])
    regression = float(about.output == "identity")
    told = np.log1p(np.maximum(evidence, 0.0))
    u = np.column_stack(
        [
            odds,
            np.maximum(nats, -FAR),
            regression * np.maximum(nats, -FAR),
            standardised(told[:, None])[:, 0],
            margins(told[:, None])[:, 0],
            min(lead, FARTHEST_LEAD) * first,
            np.log1p(lead) * first,
            # A whole layer mends much that is not its own; a neuron, an input or an order mends little else.
            np.log1p(lead) * first * (evidence > [one["evidence_layer"] for one in scores]),
            lead / max(highest, FEW) * first,
            # Of a true rearrangement no other layer has a likeness.
            min(moved_lead, FARTHEST_LEAD) * moved_lead / max(float(rearranged.max()), FEW) * moved,
            margins(-fitted[:, None])[:, 0],
            [one["explainable"] for one in scores],
            margins(np.array([[one["discord"]] for one in scores]))[:, 0],
            np.full(len(odds), -np.log(len(odds))),
        ]
    )
    # A network that is no better than a constant is not merely trained too little, or for too short a time.
    worse = max(0.0, about.loss + POOR)
    u_none = np.array(
        [
            1.0,
            regression,
            max(about.loss, -FAR_BELOW),
            worse,
            np.log1p(highest),
            np.log1p(max(0.0, float(rearranged.max()))),
            logsumexp(odds),
            odds.max(),
        ]
    )
    return u, u_none


def order_undone(change: str) -> float:
    """Return the number among KINDS of what a rearrangement undoes; -1 for a weight, which is no order."""
    if change.startswith("weight"):
        return -1.0
    return float(list(KINDS).index(ORDERS.get(change, "shuffled")))


def order_leads(scores: Sequence[Mapping[str, float]]) -> NDArray[np.bool_]:
    """Return of which layers evidence says that the order of weights is wrong, rather than any weights."""
    others = np.array([[0.0, *(one[f"evidence_{part}"] for part in PARTS[:-1])] for one in scores])
    lead = np.array([one["evidence_rearranged"] for one in scores]) - others.max(axis=1)
    return np.asarray((lead >= NATS) & np.array([one["order"] >= 0.0 for one in scores]))


def led(evidence: Array) -> tuple[Array, float]:
    """Return where the highest evidence is, as 0 and 1, and by how many nats it leads all others and none."""
    first = int(evidence.argmax())
    lead = max(0.0, float(evidence[first]) - np.delete(evidence, first).max(initial=0.0))
    return np.asarray(np.arange(len(evidence)) == first, dtype=np.float64), lead


def evidence_of(scores: Sequence[Mapping[str, float]]) -> Array:
    """Return the evidence for each layer's likeliest part, in nats."""
    return np.array([max(one[f"evidence_{part}"] for part in PARTS) for one in scores])


def standardised(scores: Array) -> Array:
    """Return the scores, a row a layer, less their mean over the layers, in units of their deviation."""
    centred = scores - scores.mean(axis=0)
    return np.asarray(np.clip(centred / (scores.std(axis=0) + ALIKE), -FAR, FAR))


def margins(scores: Array) -> Array:
    """Return the scores, a row a layer, less the largest of all other layers'; zeros where there are none."""
    if len(scores) == 1:
        return np.zeros_like(scores)
    second, first = np.sort(scores, axis=0)[-2:]
    return np.asarray(np.clip(scores - np.where(scores == first, second, first), -FAR, FAR))
