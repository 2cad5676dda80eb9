"""What every layer of a plain chain shows of a fault: the scores that blame is calibrated on.

For layer l with the map [W_l, b_l], inputs a_{l-1}, stalk z_l, pull g_l (the gradient of the loss in z_l,
sample by sample) and sensitivities M_l = dz_{k+1} / dz_l, all in the forward pass unless said otherwise:

- evidence of the whole layer, its likeliest neuron, input and rearrangement, and the logarithms of the
  loss that remains after each repair over the loss as it is (`sheafcli.core.chain.repair`); and what kind
  of fault the likeliest rearrangement undoes, if that is one of an order;
- local least squares at the pinned equilibrium (`sheafcli.core.chain.local_fit`), and its discord;
- the gradient: its norm, that over the weights', its coherence |sum g a^T|^2 / sum |g|^2 |a|^2 over the
  samples, the largest share of a neuron and of an input in it;
- alignment: log tr(W C W^T) / (|W|^2 tr C / m), C the second moments of the m inputs: 0 for weights
  that do not know their inputs; that of the rows one by one; the same from behind, with M^T M for C and
  columns for rows;
- weights: their norm over a He draw's, how far rows, columns and entries stand out, distinct values, zeros,
  the spectrum, the balance of every neuron's weights in and out;
- biases and stalks: zeros, how far one stands out, neurons that are never or always active.

Sizes are logarithms, so that a factor is a difference. Scores are finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.local_fit import LocalFit
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.repair import Repair
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.discord import residuals
from sheafcli.core.types import Array
from sheafcli.diagnostics.calibration import order_undone

TINY = 1e-30
# A logarithm beyond this says no more than that it is far.
FAR = 30.0
# Of more outputs than these the sensitivities are met with so many random signs.
MOST_SIGNS = 16


def layer_scores(
    network: Network,
    X: Array,
    y: Array,
    tried: Sequence[Sequence[Repair]],
    fits: Sequence[LocalFit],
    settled: Cochain,
) -> list[dict[str, float]]:
    """Return the scores of every layer from the first, on samples X with targets y.

    `tried` are the repairs of every layer, `fits` its local ones, `settled` the equilibrium pinned to both.
    """
    loss = network.output.loss(network.logits(X), y)
    repaired = [_repair_scores(some, fit, loss) for some, fit in zip(tried, fits, strict=True)]
    left = residuals(network, X, settled)
    discord = np.array(
        [
            sum(float(np.mean(r * r)) * r.shape[1] for e, r in left.items() if e.layer == n)
            for n in range(1, network.depth + 2)
        ]
    )
    shares = discord / max(float(discord.sum()), TINY)
    plain = plain_scores(network, X, y)
    return [
        scores | {"discord": _log(share)} | others
        for scores, share, others in zip(repaired, shares, plain, strict=True)
    ]


def _repair_scores(tried: Sequence[Repair], fit: LocalFit, loss: float) -> dict[str, float]:
    scores = {}
    for repair in tried:
        scores[f"evidence_{repair.kind}"] = repair.evidence
        scores[f"loss_{repair.kind}"] = _log(repair.loss / max(loss, TINY))
        if repair.change is not None:
            scores["order"] = order_undone(repair.change)
    scores["fitted"] = _log(fit.loss / max(loss, TINY))
    scores["explainable"] = float(np.nan_to_num(fit.explainable))
    return scores


def plain_scores(network: Network, X: Array, y: Array) -> list[dict[str, float]]:
    """Return the scores of every layer that take no more than a sweep forward and one back."""
    stalks = network.pre_activations(X)
    inputs = [X, *(np.maximum(z, 0.0) for z in stalks[:-1])]
    pull = network.output.value(stalks[-1]) - y
    outputs = network.n_outputs
    signs = (
        np.eye(outputs)
        if outputs <= MOST_SIGNS
        else np.random.default_rng(0).choice([-1.0, 1.0], (MOST_SIGNS, outputs))
    )
    behind = np.broadcast_to(signs[:, None, :], (len(signs), len(X), outputs))
    found = []
    for layer in range(network.depth + 1, 0, -1):
        flat = behind.reshape(-1, behind.shape[-1])
        M = flat.T @ flat / len(X)
        found.append(_scores_of(network, layer, inputs[layer - 1], stalks[layer - 1], pull, M))
        if layer > 1:
            active = pattern_of(stalks[layer - 2])
            pull = (pull @ network.weights[layer - 1]) * active
            behind = (behind @ network.weights[layer - 1]) * active
    return found[::-1]


def _scores_of(network: Network, layer: int, a: Array, z: Array, g: Array, M: Array) -> dict[str, float]:
    """Return the scores of a layer with inputs a, stalk z, pull g, and M the mean of M_l^T M_l."""
    W, b = network.weights[layer - 1], network.biases[layer - 1]
    live = a.std(axis=0) > 0.0
    G = np.hstack([g.T @ a, g.sum(axis=0)[:, None]])
    size = float(np.linalg.norm(W))
    largest = max(float(np.sum(G * G)), TINY)
    alone = float(np.sum(np.sum(g * g, axis=1) * (np.sum(a * a, axis=1) + 1.0)))
    forward, backward = _alignment(W, a.T @ a / len(a)), _alignment(W.T, M)
    rows, columns = np.linalg.norm(W, axis=1), np.linalg.norm(W[:, live], axis=0)
    moments = (W / max(size, TINY) * np.sqrt(W.size)).ravel()
    spectrum = np.linalg.svd(W, compute_uv=False)
    never = float(np.mean(~pattern_of(z).any(axis=0))) if layer <= network.depth else 0.0
    always = float(np.mean(pattern_of(z).all(axis=0))) if layer <= network.depth else 0.0
    spread = z.std(axis=0)
    sizes = [float(np.sqrt(np.mean(v * v))) for v in (a, z)]
    return {
        "gradient": _log(np.sqrt(largest) / len(a)),
        "relative_gradient": _log(np.sqrt(largest) / len(a) / max(size, TINY)),
        "coherence": _log(largest / max(alone, TINY)),
        "pulled_neuron": float(np.max(np.sum(G * G, axis=1))) / largest,
        "pulled_input": float(np.max(np.sum(G * G, axis=0)[:-1])) / largest,
        "pulled_bias": float(np.sum(G[:, -1] ** 2)) / largest,
        "weight_norm": _log(size / np.sqrt(2.0 * len(W))),
        "activation_scale": _log(sizes[1] / max(sizes[0], TINY)),
        "aligned": _log(np.sum(W * W, axis=1) @ np.exp(forward) / max(size**2, TINY)),
        "least_aligned_row": _outlier(-forward),
        "aligned_behind": _log(np.sum(W * W, axis=0) @ np.exp(backward) / max(size**2, TINY)),
        "least_aligned_column": _outlier(-backward[live]),
        "row_spread": _spread(rows),
        "column_spread": _spread(columns),
        "row_outlier": _outlier(_logs(rows)),
        "column_outlier": _outlier(_logs(columns)),
        "entry_outlier": _log(np.max(np.abs(moments))),
        "kurtosis": _log(float(np.mean(moments**4))),
        "distinct": _log(len(np.unique(np.abs(W))) / W.size),
        "zeros": float(np.mean(W == 0.0)),
        "effective_rank": _log(float(np.sum(spectrum)) ** 2 / max(size**2, TINY) / len(spectrum)),
        "leading": _log(spectrum[0] ** 2 * len(spectrum) / max(size**2, TINY)),
        "balance_spread": _spread_of_balance(network, layer),
        "balance": _balance(network, layer),
        "zero_biases": float(np.mean(b == 0.0)),
        "bias_size": _log(float(np.sqrt(np.mean(b * b))) / max(float(spread.mean()), TINY)),
        "bias_outlier": _log(np.max(np.abs(b - np.median(b))) / max(float(spread.mean()), TINY)),
        "stalk_outlier": _log(np.max(np.abs(z.mean(axis=0)) / np.maximum(spread, TINY))),
        "stalk_spread": _spread(spread),
        "never_active": never,
        "always_active": always,
    }


def _alignment(rows: Array, C: Array) -> Array:
    """Return log w^T C w / (|w|^2 tr C / m) for every row w."""
    met = np.einsum("ij,ij->i", rows @ C, rows)
    chance = np.sum(rows * rows, axis=1) * float(np.trace(C)) / len(C)
    return _logs(met / np.maximum(chance, TINY))


def _spread_of_balance(network: Network, layer: int) -> float:
    return max((float(np.std(r)) for r in _balances(network, layer)), default=0.0)


def _balance(network: Network, layer: int) -> float:
    """Return how far the neuron of the worst balance is off the median, on either side of the layer."""
    return max((_outlier(np.abs(r - np.median(r))) for r in _balances(network, layer)), default=0.0)


def _balances(network: Network, layer: int) -> list[Array]:
    """Return log |row into| / |column out of| of the neurons before and behind a layer."""
    weights = network.weights
    found: list[Array] = []
    for before in (layer - 2, layer - 1):
        if 0 <= before < network.depth:
            into = np.linalg.norm(weights[before], axis=1)
            out = np.linalg.norm(weights[before + 1], axis=0)
            found.append(_logs(into) - _logs(out))
    return found


def _outlier(values: Array) -> float:
    """Return how many median absolute deviations, and a tenth, the largest is above the median, as log1p."""
    if len(values) == 0:
        return 0.0
    middle = float(np.median(values))
    scale = 1.4826 * float(np.median(np.abs(values - middle))) + 0.1
    return float(np.log1p((np.max(values) - middle) / scale))


def _spread(values: Array) -> float:
    return float(np.std(_logs(values))) if len(values) else 0.0


def _logs(values: Array) -> Array:
    return np.clip(np.log(np.maximum(values, TINY)), -FAR, FAR)


def _log(value: float) -> float:
    return float(_logs(np.array(value)))
