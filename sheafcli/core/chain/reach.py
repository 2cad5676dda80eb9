"""How large numbers become on their way through a network, before anything is computed that may overflow.

With F the largest Euclidean norm of a sample's input, target, or value at a layer of the forward pass, and

    G = prod_l max(1, ||W_l||_2),

every product of weights along a stretch of the chain has norm at most G, and so every stalk between two of
which one is moved, every pull on it, and every entry of an effective resistance's factor is at most

    reach = F G.

As `sheafcli.core.magnitude` shows, all that core computes stays finite while that is below LARGEST. G holds
for every activation pattern; of a deep network it is large only if its layers amplify: 64 layers of
norm 12 reach 1e69.
"""

from __future__ import annotations

import numpy as np

from sheafcli.core.blocks import blocks
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.stability import spectral_norm
from sheafcli.core.magnitude import LARGEST, MEND, SMALLEST
from sheafcli.core.types import Array


def reach(network: Network, X: Array, y: Array) -> float:
    """Return F G for samples X, samples x n_0, with targets y; infinity where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        scales, units = _scaled(network)
        total = _largest_norm(network, X, y) * _product(scales, [spectral_norm(unit) for unit in units])
    return float(total) if np.isfinite(total) else np.inf


def bound(network: Network, X: Array, y: Array) -> float:
    """Return a bound of `reach` that takes no forward pass.

    ||W||_2 is at most sqrt(||W||_1 ||W||_inf), and a value at a layer at most G (|x| + sum_l |b_l|).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scales, units = _scaled(network)
        norms = [np.sqrt(np.linalg.norm(unit, 1) * np.linalg.norm(unit, np.inf)) for unit in units]
        gain = _product(scales, norms)
        biases = sum(_row_norm(b[np.newaxis]) for b in network.biases)
        return gain * (1.0 + _row_norm(y) + gain * (_row_norm(X) + biases))


def check_reach(network: Network, X: Array, y: Array) -> None:
    """Raise ValueError where reach is beyond LARGEST, or where inputs, targets or weights all but vanish.

    It names the largest of weights and inputs.
    """
    parts = {"inputs": X, "targets": y}
    parts |= {f"entries of W{i}": W for i, W in enumerate(network.weights, start=1)}
    for name, array in parts.items():
        if 0.0 < (top := float(np.abs(array).max())) < SMALLEST:
            raise ValueError(
                f"all {name} are at most {top:.3g} in size, below {SMALLEST:g}: squares and products of such "
                "numbers vanish; give them in another unit"
            )
    if bound(network, X, y) <= LARGEST or (total := reach(network, X, y)) <= LARGEST:
        return
    largest = {f"an entry of W{i}": np.abs(W).max() for i, W in enumerate(network.weights, start=1)}
    largest |= {f"an entry of b{i}": np.abs(b).max() for i, b in enumerate(network.biases, start=1)}
    largest |= {"an input": np.abs(X).max(), "a target": np.abs(y).max()}
    name = max(largest, key=lambda name: float(largest[name]))
    mend = MEND if name.startswith("an entry") else "scale the inputs down, as by task.standardize"
    size = "more than 1e308" if np.isinf(total) else f"{total:.0e}"
    raise ValueError(
        f"numbers of up to {size} arise on the way of these samples through the network, beyond {LARGEST:g}: "
        f"their squares and products overflow ({name} is {largest[name]:.3g} in size); {mend}"
    )


def _largest_norm(network: Network, X: Array, y: Array) -> float:
    """Return F, at least 1; NaN or infinity where the forward pass overflows."""
    norms = [1.0, _row_norm(X), _row_norm(y), *(_row_norm(b[np.newaxis]) for b in network.biases)]
    for block in blocks(len(X), sum(network.widths)):
        norms += map(_row_norm, network.pre_activations(X[block]))
    return float(np.max(norms))


def _row_norm(rows: Array) -> float:
    """Bound the Euclidean norm of any row, without a square that overflows."""
    return float(np.sqrt(rows.shape[1]) * max(rows.max(), -rows.min()))


def _scaled(network: Network) -> tuple[list[float], list[Array]]:
    """Return the size of every layer's largest weight, and the weights in units of it."""
    scales = [float(np.abs(W).max()) or 1.0 for W in network.weights]
    return scales, [W / scale for W, scale in zip(network.weights, scales, strict=True)]


def _product(scales: list[float], norms: list[float]) -> float:
    """Return prod_l max(1, scale_l norm_l)."""
    return float(np.prod([max(1.0, scale * norm) for scale, norm in zip(scales, norms, strict=True)]))
