"""Which layer is at fault, as columns beside the discord of the layers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.local_fit import local_fits
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.repair import Repair, repairs
from sheafcli.core.chain.tail import MOST_CLASSES
from sheafcli.core.fault import evidence
from sheafcli.core.network import AnyNetwork
from sheafcli.core.types import Array
from sheafcli.diagnostics.calibration import NATS, UNCERTAIN, Circumstances, calibration
from sheafcli.diagnostics.constant import relative_loss
from sheafcli.diagnostics.pinned import affordable
from sheafcli.diagnostics.scores import layer_scores

FAULT_COLUMNS = [
    "samples",
    "blame",
    "kind",
    "kind_blame",
    "evidence",
    "part",
    "order",
    "explainable",
    "loss",
    "fitted_loss",
    "repaired_loss",
]
# Of what is as likely as this we are sure.
SURE = 0.9
# Evidence that leads by NATS says a layer that is likelier at fault than not, if its repair halves the loss.
LIKELIER, HALVED = 0.5, 0.5
# To first order evidence is known worse: of a network of five convolutions, layers whose kernels had changed
# signs or places had up to a tenth less than another layer.
LINEARISED = 0.1
# Repairs are tried on so many samples at most, spread evenly over all, and of a large network on fewer: the
# sensitivities of the outputs to all stalks have at most so many entries and take at most so many products,
# unless FEWEST_SAMPLES have more. Of 34 faults in networks of width 256 and 512 on digits 33 samples named
# 29, and 76 named 28.
MOST_SAMPLES, MOST_ENTRIES, MOST_PRODUCTS, FEWEST_SAMPLES = 300, 1_200_000, 90_000_000, 30
# Repairs whose evidence differs by fewer nats are equally likely.
TOO_CLOSE = 0.01


def fault_table(
    network: AnyNetwork, X: Array, y: Array, advance: Callable[[], object] = lambda: None
) -> pd.DataFrame:
    """Return a row a layer: how well a fault there would explain the error, and what repairs do to the loss.

    Columns, all measured on some of the samples, `samples_tried` of them:

    - samples: how many these are;
    - blame: the probability that the fault is in this layer alone, which `sheafcli.diagnostics.calibration`
      has from the scores of all layers; what is missing to 1 is that of no such fault;
    - kind, kind_blame: the likeliest kind of a fault there, and its probability if the fault is there;
    - evidence: the log evidence, in nats, for a fault in the layer's likeliest part against none;
    - part: that part: `layer`, `neuron 3`, `input 5`, or what was rearranged, as `weight 3,5`, `transposed`;
    - order: of inputs, outputs or weights in other places, the numbers of those that belong in each place;
    - explainable: the share of the affine edge's residual that is linear in what enters the layer;
    - loss, fitted_loss, repaired_loss: the loss as it is, after this layer alone is moved by local least
      squares, and after it alone is repaired as a whole.

    Of a network that is not a plain chain blame follows from the evidence alone, as `posterior` has it, if
    no fault and a fault in each layer were equally likely before. The part is the layer's likeliest edge, by
    its name, `kind` is None, `order`, `kind_blame`, `explainable` and `fitted_loss` are NaN, and
    `repaired_loss` is that of the network linearised in the edge's parameters; layers without parameters
    have no row. `advance` is called after every layer.
    """
    if not isinstance(network, Network):
        return layers_of(edge_faults(network, X, y, advance))
    some = evenly(len(X), samples_tried(network, len(X)))
    X, y = X[some], y[some]
    settled = extend(network, X, target=y).cochain
    loss = network.output.loss(network.logits(X), y)
    tried, fits = [], local_fits(network, X, y, settled)
    for repaired in repairs(network, X, y):
        tried.append(repaired)
        advance()
    about = Circumstances(network.output.name, relative_loss(network.output, network.logits(X), y))
    blame = calibration()(layer_scores(network, X, y, tried, fits, settled), about)
    likeliest = [likeliest_of(repaired) for repaired in tried]
    return pd.DataFrame(
        {
            "layer": [fit.layer for fit in fits],
            "samples": len(X),
            "blame": blame.layers,
            "kind": np.array(calibration().kinds)[blame.kinds.argmax(axis=1)],
            "kind_blame": blame.kinds.max(axis=1),
            "evidence": [repair.evidence for repair in likeliest],
            "part": [repair.part for repair in likeliest],
            "order": [np.nan if one.order is None else " ".join(map(str, one.order)) for one in likeliest],
            "explainable": [fit.explainable for fit in fits],
            "loss": loss,
            "fitted_loss": [fit.loss for fit in fits],
            "repaired_loss": [min(repaired[0].loss, loss) for repaired in tried],
        }
    )


def edge_faults(
    network: AnyNetwork, X: Array, y: Array, advance: Callable[[], object] = lambda: None
) -> pd.DataFrame:
    """Return a row an edge that has parameters: layer, edge, samples, evidence, blame, loss, repaired_loss.

    The columns are those of `fault_table`, for a fault in this edge's parameters alone.
    """
    some = evenly(len(X), evidence.samples_tried(network, len(X)))
    X, y = X[some], y[some]
    loss = network.output.loss(network.logits(X), y)
    rows = [
        {
            "layer": one.edge.layer,
            "edge": one.edge.name,
            "samples": len(X),
            "evidence": one.evidence,
            "loss": loss,
            "repaired_loss": min(one.loss, loss),
        }
        for one in evidence.blame(network, affordable(network, X), y, advance)
    ]
    table = pd.DataFrame(rows)
    return table.assign(blame=evidence.posterior(table["evidence"].to_numpy(), LINEARISED))


def layers_of(edges: pd.DataFrame) -> pd.DataFrame:
    """Return the likeliest edge of every layer as its row, with the blame of the layer among layers."""
    likeliest = edges.loc[edges.groupby("layer")["evidence"].idxmax()].reset_index(drop=True)
    table = likeliest.rename(columns={"edge": "part"}).assign(
        kind=None, order=np.nan, kind_blame=np.nan, explainable=np.nan, fitted_loss=np.nan
    )
    blame = evidence.posterior(table["evidence"].to_numpy(), LINEARISED)
    return table.assign(blame=blame)[["layer", *FAULT_COLUMNS]]


def evenly(available: int, tried: int) -> NDArray[np.intp]:
    """Return the numbers of so many samples, spread evenly over all."""
    return np.unique(np.linspace(0, available - 1, tried).astype(np.intp))


def likeliest_of(tried: list[Repair]) -> Repair:
    """Return the repair with the most evidence; of those that nothing tells apart the first.

    In a layer of one neuron that neuron is the layer: rounding alone would choose.
    """
    most = max(repair.evidence for repair in tried)
    return next(repair for repair in tried if repair.evidence >= most - TOO_CLOSE)


def samples_tried(network: Network, available: int) -> int:
    """Return on how many of the available samples repairs are tried.

    The work on a sample grows as r sum_l l n_l, l = 1..k+1: the sensitivities of the outputs to every stalk
    from each repaired layer on, of which r rows are kept. They take r sum_l l n_l n_{l+1} products, l = 1..k.
    """
    widths = network.widths
    rows = min(network.n_outputs, MOST_CLASSES if network.output.classifies else widths[-2])
    entries = rows * sum(layer * n for layer, n in enumerate(widths))
    products = rows * sum(layer * n * after for layer, (n, after) in enumerate(pairwise(widths)))
    allowed = min(MOST_ENTRIES // entries, MOST_PRODUCTS // max(products, 1))
    return min(available, MOST_SAMPLES, max(FEWEST_SAMPLES, allowed))


def suspected(fault: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the layer at fault, or of two if it is not sure which; none without a sure fault.

    A layer is sure by its blame, unless evidence clearly says another: then that is the second. And where it
    is likelier than not, evidence clearly says it, too, and its repair halves the loss.
    """
    ranked = fault.sort_values("blame", ascending=False, kind="stable")
    first, rival = ranked.iloc[0], ranked["evidence"].idxmax()
    highest = float(ranked["evidence"].max())
    lead = first["evidence"] - max([0.0, *ranked["evidence"].iloc[1:]])
    mends = first["repaired_loss"] <= HALVED * first["loss"]
    if first["blame"] >= LIKELIER and lead >= max(NATS, UNCERTAIN * highest) and mends:
        return ranked.iloc[:1]
    if ranked["blame"].sum() < SURE:
        return ranked.iloc[:0]
    if first["blame"] < SURE:
        return ranked.iloc[:2]
    if highest - first["evidence"] <= max(NATS, UNCERTAIN * highest):
        return ranked.iloc[:1]
    return ranked.loc[[ranked.index[0], rival]]
