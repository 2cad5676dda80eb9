"""Pinned discord: where a network, however it was trained, carries its prediction error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sheafcli.core.chain.extension import Extension, extend
from sheafcli.core.chain.network import Network
from sheafcli.core.discord import residuals
from sheafcli.core.edge import Edge
from sheafcli.core.graph import Graph
from sheafcli.core.network import AnyNetwork, GraphNetwork, as_inputs
from sheafcli.core.pinned import Pinned, pinned
from sheafcli.core.resistance import FEW, resistance_traces
from sheafcli.core.types import Array
from sheafcli.diagnostics.discord import (
    Statistics,
    class_table,
    edge_table,
    layer_table,
    neuron_table,
    operation_table,
    sample_table,
    squared_residuals,
    unit_table,
)
from sheafcli.diagnostics.units import active_shares, positions, unit_axes

# The sweeps of larger graphs are in single precision, which halves time and memory: tables show fewer digits.
DOUBLE = 4_000
# What the balance at the output of a graph may lack, as a share of it.
BALANCED = 1e-3


@dataclass(frozen=True, eq=False)
class PinnedDiscord:
    """The pinned equilibrium of some samples, and where its discord sits.

    Attributes
    ----------
    equilibrium : the equilibrium itself, with its certificate: the exact one of a plain chain, that on the
        forward pattern of any other network.
    edges, layers : a row each in order: the statistics and the share of the discord; `resistance`,
        the share of the effective resistance, which is where a prediction error settles if nothing
        is the matter; and `excess`, discord share / resistance share, NaN where there is no resistance.
    operations, neurons : a row each: the statistics and the share of the discord.
    samples : a row a sample: discord, share, worst edge, loss, target and prediction (where a number or a
        class says them), for a graph `leaving`, the share of its neurons that would leave the piece of their
        activation that the forward pass is on, and the discord of every edge.
    classes : a row a class: samples, statistics, share, loss, accuracy; None for a regression.
    """

    equilibrium: Extension | Pinned
    edges: pd.DataFrame
    layers: pd.DataFrame
    operations: pd.DataFrame
    neurons: pd.DataFrame
    samples: pd.DataFrame
    classes: pd.DataFrame | None

    @property
    def settled(self) -> NDArray[np.bool_]:
        """Which samples reached the tolerance."""
        if isinstance(self.equilibrium, Extension):
            return self.equilibrium.converged
        return np.asarray(self.equilibrium.left <= BALANCED)

    @property
    def unsettled(self) -> list[int]:
        """Which samples did not reach the tolerance."""
        return np.flatnonzero(~self.settled).tolist()


def diagnose(network: AnyNetwork, X: Array, y: Array, classes: Sequence[str] = ()) -> PinnedDiscord:
    """Pin the input to X and the output to the true y, solve, and read the discord of every edge.

    X is samples x features, y is samples x outputs; `classes` are the names of the classes, their codes
    unless given.
    """
    equilibrium: Extension | Pinned
    if isinstance(network, Network):
        equilibrium = extend(network, X, target=y)
        squared = squared_residuals(residuals(network, X, equilibrium.cochain))
        resistance, neurons = resistance_shares(network, X), neuron_table(network, X, equilibrium.cochain)
    else:
        equilibrium = settled_graph(network, X, y)
        squared = squares_by_edge(equilibrium)
        resistance = equilibrium.resistance_shares
        neurons = unit_table(
            _units(network, equilibrium), active_shares(network.graph, as_inputs(network, X))
        )
    by_edge = edge_table(squared)
    by_layer = layer_table(squared)
    z = network.logits(X)
    samples = sample_table(squared).assign(
        loss=network.output.potential(z, y) * network.output.loss_scale(z.shape[1])
    )
    codes = class_codes(network, y)
    by_class = None
    if codes is not None:
        names = tuple(classes) or tuple(map(str, range(max(2, y.shape[1]))))
        predicted = _class_of(network.output.value(z))
        samples = samples.assign(target=np.take(names, codes), predicted=np.take(names, predicted))
        right = pd.DataFrame({"class": samples["target"], "accuracy": predicted == codes})
        means = right.assign(loss=samples["loss"]).groupby("class")[["loss", "accuracy"]].mean()
        by_class = class_table(squared, codes, names).join(means, on="class")
    elif z.shape[1] == 1:
        samples = samples.assign(target=y[:, 0], predicted=network.output.value(z)[:, 0])
    if isinstance(equilibrium, Pinned):
        samples = samples.assign(leaving=equilibrium.leaving)
    by_edge_columns = [f"discord_{edge.name}" for edge in squared]
    samples = samples[[*samples.columns.difference(by_edge_columns, sort=False), *by_edge_columns]]
    return PinnedDiscord(
        equilibrium,
        _with_excess(by_edge, [resistance[edge] for edge in squared]),
        _with_excess(by_layer, [_layer_sum(resistance, layer) for layer in by_layer["layer"]]),
        operation_table(squared),
        neurons,
        samples,
        by_class,
    )


def settled_graph(network: GraphNetwork, X: Array, y: Array) -> Pinned:
    """Return the pinned equilibrium on the forward pattern, of inputs samples x features."""
    return pinned(network.graph, network.output, as_inputs(network, affordable(network, X)), y)


def affordable(network: AnyNetwork, X: Array) -> Array:
    """Return inputs in the precision in which sweeps through a network are affordable."""
    return X if network.graph.dimension <= DOUBLE else X.astype(np.float32)


def bytes_of_sample(graph: Graph) -> int:
    """Return how much memory the equilibrium and the evidence of one sample take, about.

    All stalks and what their restrictions keep, and three of the largest for as many outputs as are pulled
    at once.
    """
    sizes = [vertex.size for vertex in graph.vertices]
    outputs = min(graph.output.size, FEW)
    return (8 if graph.dimension <= DOUBLE else 4) * (3 * sum(sizes) + 3 * outputs * max(sizes))


def squares_by_edge(equilibrium: Pinned) -> dict[Edge, Array]:
    """Return the discord of every edge, sample by sample."""
    return dict(zip(equilibrium.edges, equilibrium.squares.T, strict=True))


def _units(network: GraphNetwork, equilibrium: Pinned) -> Mapping[Edge, Statistics]:
    """Return the means of the squared residuals, summed over the positions of every unit."""
    axes = unit_axes(network.graph)
    units: dict[Edge, Statistics] = {}
    for vertex in network.graph.heads:
        assert vertex.edge is not None
        along = positions(vertex, axes[vertex.index])
        units[vertex.edge] = {"discord": equilibrium.units[vertex.edge][None].sum(axis=along)}
    if network.has_output_vertex:
        units[network.graph.output_edge] = {"discord": np.mean(equilibrium.multipliers**2, axis=0)}
    return units


def resistance_shares(network: Network, X: Array) -> dict[Edge, float]:
    """Return each edge's share of the effective resistance between input and output, a mean over samples.

    The parts of S = I + sum_l J_l D_l J_l^T by edge, their traces over the trace of all. At an equilibrium an
    edge's discord is lambda^T (its part) lambda, sample by sample: the shares say where the discord sits
    if the pull lambda has no preferred direction. An output edge, whose residual is lambda itself, has
    the part I.
    """
    total = dict(zip(network.edges, resistance_traces(network.graph, X).sum(axis=0).tolist(), strict=False))
    if network.has_output_vertex:
        total[network.edges[-1]] = float(len(X) * network.n_outputs)
    everything = sum(total.values())
    return {edge: value / everything for edge, value in total.items()}


def class_codes(network: AnyNetwork, y: Array) -> NDArray[np.intp] | None:
    """Return the class of every target, 0, 1, ...; None for a regression, or several yes-or-no outputs."""
    if not network.output.classifies or (network.output.name == "sigmoid" and y.shape[1] > 1):
        return None
    return _class_of(y)


def _class_of(chances: Array) -> NDArray[np.intp]:
    """Return the likeliest class; one column is the chance of class 1."""
    if chances.shape[1] == 1:
        return (chances[:, 0] >= 0.5).astype(np.intp)
    return np.asarray(np.argmax(chances, axis=1))


def _layer_sum(values: dict[Edge, float], layer: int) -> float:
    return sum(value for edge, value in values.items() if edge.layer == layer)


def _with_excess(table: pd.DataFrame, resistance: Sequence[float]) -> pd.DataFrame:
    """Add both columns; where the resistance is zero any discord is rounding error, and none is in excess."""
    possible = np.where(np.asarray(resistance) > 0.0, resistance, np.nan)
    return table.assign(resistance=resistance, excess=table["share"] / possible)
