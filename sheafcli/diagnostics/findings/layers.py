"""Rules on whole layers: those that learn far less, or far more, than the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from sheafcli.diagnostics.calibration import KINDS, NATS
from sheafcli.diagnostics.fault import SURE, suspected
from sheafcli.diagnostics.findings.examined import Examined
from sheafcli.diagnostics.findings.finding import Finding, listed

# In trained networks the gains of all layers lie within a factor of 40 of each other, and of 1. At a thousand
# times less, a layer stands still while the others learn; at a thousand times more it alone limits the step.
FAR = 1e3
# With a loss that is still a tenth of a constant prediction's something is broken; below that it is how any
# training looks that is not over yet.
MISSED = 0.1
# Of an order so many names are told; layers.csv has all.
MOST_NAMED = 16


def layer_at_fault(examined: Examined) -> Iterator[Finding]:
    """Find the layer that alone is at fault, and the kind of the fault, each where that is sure.

    Where it is sure that one layer is at fault, but not which one, the two likeliest are told. Not of graphs:
    there evidence is of first order, and what later layers could mend often outweighs what an earlier one has
    broken.
    """
    if examined.fault is None or examined.chain is None:
        return
    suspects = suspected(examined.fault)
    if suspects.empty:
        return
    row = suspects.iloc[0]
    layer = int(row["layer"])
    broken = examined.relative_loss >= MISSED
    told = _told(suspects, broken) + (_order(examined, row) if broken else "")
    yield Finding(
        "warning" if broken else "info",
        "layer-at-fault",
        layer,
        "affine",
        _neurons(row),
        f"{told} Repaired alone, layer {layer} takes the loss from {row['loss']:.3g} to "
        f"{row['repaired_loss']:.3g}; its evidence is {row['evidence']:.0f} nats.",
        _advice(layer, str(row["kind"]) if _sure_of_kind(row) else None)
        if broken
        else "The loss is so small that nothing is broken: train further, this layer has most to gain.",
    )


def _told(suspects: pd.DataFrame, broken: bool) -> str:
    """Return what is sure: the layer with the kind of its fault, the layer alone, or neither.

    Where nothing is broken, it is no fault that the layer explains.
    """
    first = suspects.iloc[0]
    if not broken and len(suspects) == 1:
        return f"A change of layer {first['layer']} alone explains the error ({first['blame']:.1%})."
    if len(suspects) > 1:
        both = ", ".join(f"layer {row.layer} ({row.blame:.1%})" for row in suspects.itertuples())
        return f"One layer is at fault, but which one cannot be told: most likely {both}."
    where = f"Layer {first['layer']} is at fault ({first['blame']:.1%})"
    if _sure_of_kind(first):
        return f"{where}: {KINDS[str(first['kind'])]}."
    return f"{where}; of what kind the fault is cannot be told."


def _order(examined: Examined, row: pd.Series) -> str:
    """Return which inputs or outputs seem to stand where others belong, where that is the fault."""
    named = {"permuted_inputs": examined.name_of_input, "permuted_outputs": examined.name_of_output}.get(
        row["kind"]
    )
    if named is None or pd.isna(row["order"]) or not _sure_of_kind(row):
        return ""
    order = [int(place) for place in str(row["order"]).split()]
    moved = [named(place) for place, belongs in enumerate(order) if place != belongs]
    if len(moved) == 2:
        return f" It fits best if {moved[0]} and {moved[1]} change places."
    return f" It fits best in the order {listed([named(belongs) for belongs in order], MOST_NAMED)}."


def _neurons(row: pd.Series) -> tuple[int, ...]:
    """Return the neuron that evidence names, if it names one."""
    kind, _, index = str(row["part"]).partition(" ")
    return (int(index),) if kind == "neuron" and row["evidence"] >= NATS else ()


def _advice(layer: int, kind: str | None) -> str:
    """Name what feeds the layer, too: inputs in another scale or order are as good a fault of layer 1.

    And of outputs in another order what reads them.
    """
    if kind == "permuted_outputs":
        return (
            "Look at what the classes or columns of the targets are called and in which order, now and in "
            "training; then at what was done to the last layer's weights."
        )
    before = (
        "Look first at what feeds it, the inputs: their order, their units, their scaling. If these are as "
        "in training, look"
        if layer == 1
        else f"Look at what layer {layer - 1} gives it, and"
    )
    return f"{before} at what was done to its weights; then train the network further."


def _sure_of_kind(row: pd.Series) -> bool:
    return bool(row["blame"] * row["kind_blame"] >= SURE)


def vanishing_updates(examined: Examined) -> Iterator[Finding]:
    """Find layers whose weights move, relative to their size, FAR less than a typical layer's."""
    for layer, gain, typical in _gains(examined):
        if gain < typical / FAR:
            yield Finding(
                "warning",
                "vanishing-updates",
                layer,
                "affine",
                (),
                f"The pull on the output moves W{layer} by {gain:.2g} of its norm a unit, a typical layer by "
                f"{typical:.2g}: {typical / gain:.3g} times as far.",
                "Give every layer weights of the size a fresh start has (start: he), standardise the "
                "inputs, or use optimizer: adam, which scales each weight's updates.",
            )


def exploding_updates(examined: Examined) -> Iterator[Finding]:
    """Find layers whose weights move, relative to their size, FAR more than a typical layer's."""
    for layer, gain, typical in _gains(examined):
        if gain > typical * FAR:
            yield Finding(
                "warning",
                "exploding-updates",
                layer,
                "affine",
                (),
                f"The pull on the output moves W{layer} by {gain:.2g} of its norm a unit, "
                f"{gain / typical:.3g} times as far as a typical layer ({typical:.2g}).",
                "Give every layer weights of the size a fresh start has (start: he), and standardise the "
                "inputs; until then the learning rate must suit this layer alone.",
            )


def _gains(examined: Examined) -> Iterator[tuple[int, float, float]]:
    """Yield layer, gain and the typical gain: the median of all, and of the 1 of a fresh He network.

    The 1 decides between two layers which of them is far off. A layer that no pull reaches at all has a dead
    one behind it, or weights of 0, which are findings of their own.
    """
    gains = examined.update_gains
    if gains is None or len(gains) < 2 or not gains.any():
        return
    typical = float(np.exp(np.median(np.log([*gains[gains > 0.0], 1.0]))))
    for layer, gain in enumerate(gains.tolist(), start=1):
        if gain > 0.0:
            yield layer, gain, typical
