"""Discord as tables: by edge, layer, operation, neuron, sample and class.

A sample's discord on an edge is the squared 2-norm of its residual there. In every table `discord`, `std`,
`median` and `max` are over samples, and `share` is of the sum of the table's discord.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.chain.sheaf import pattern_of
from sheafcli.core.discord import residuals
from sheafcli.core.edge import Edge
from sheafcli.core.types import Array

# Discord within this of each other, relatively, is the same but for rounding and what solvers leave.
ALIKE = 1e-5
STATISTICS = ["discord", "std", "median", "max"]
EDGE_COLUMNS = ["layer", "operation", "edge", *STATISTICS, "share"]
NEURON_COLUMNS = ["layer", "operation", "edge", "neuron", *STATISTICS, "share", "active"]

SquaredResiduals = Mapping[Edge, Array]
"""The discord of every edge, sample by sample, in order: the squared 2-norms of its residuals."""

Statistics = Mapping[str, Any]
"""Statistics over samples by their names, as far as they are known; `discord`, the mean, always is."""


def squared_residuals(residual: Mapping[Edge, Array]) -> dict[Edge, Array]:
    """Return the discord of every edge, sample by sample."""
    return {edge: np.asarray(np.sum(r * r, axis=1)) for edge, r in residual.items()}


def discord_table(network: Network, X: Array, cochain: Cochain) -> pd.DataFrame:
    """Return the discord of every edge of a cochain, a row an edge in path order.

    Parameters
    ----------
    network, X
        A plain chain, and the inputs, samples x n_0.
    cochain
        Values at all free vertices, such as `extend(...).cochain`.

    Returns
    -------
    pandas.DataFrame
        With layer, operation, edge; `discord`, the mean over samples of the squared residual, with its
        standard deviation, median and largest; and the edge's `share` of all.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> network, X = sc.Network.he([2, 5, 1]), np.ones((4, 2))
    >>> settled = sc.extend(network, X, target=np.zeros((4, 1)))
    >>> sc.discord(network, X, settled.cochain)["edge"].tolist()
    ['affine_1', 'activation_1', 'affine_2']
    """
    return edge_table(squared_residuals(residuals(network, X, cochain)))


def edge_table(squared: SquaredResiduals) -> pd.DataFrame:
    """Return a row an edge, in order: layer, operation, edge, statistics, share."""
    rows = [_edge_columns(edge) | _statistics(values) for edge, values in squared.items()]
    return with_share(pd.DataFrame(rows))[EDGE_COLUMNS]


def layer_table(squared: SquaredResiduals) -> pd.DataFrame:
    """Return a row a layer: the statistics of the sum of its edges' discord, sample by sample."""
    return _grouped(squared, "layer")


def operation_table(squared: SquaredResiduals) -> pd.DataFrame:
    """Return a row an operation: the statistics of the sum of its edges' discord, sample by sample."""
    return _grouped(squared, "operation")


def neuron_table(network: Network, X: Array, cochain: Cochain) -> pd.DataFrame:
    """Return the discord of every coordinate of every edge of a cochain, in path order."""
    units = {edge: _statistics(r * r) for edge, r in residuals(network, X, cochain).items()}
    active = {
        edge: pattern_of(cochain.z[edge.layer]).mean(axis=0) for edge in units if edge.layer in cochain.a
    }
    return unit_table(units, active)


def unit_table(units: Mapping[Edge, Statistics], active: Mapping[Edge, Array]) -> pd.DataFrame:
    """Return a row a unit of every edge, in order: a neuron of a vector, a channel of an image.

    `units` are the statistics of the squared residual, summed over a unit's positions, so that an edge's
    units sum to the edge; those that are not known are NaN. `active` is the share of samples and positions
    with z >= 0 there, of edges for which that means something.
    """
    tables = [
        pd.DataFrame(
            _edge_columns(edge)
            | {"neuron": np.arange(len(statistics["discord"]))}
            | dict(statistics)
            | {"active": active.get(edge, np.nan)}
        )
        for edge, statistics in units.items()
    ]
    return with_share(pd.concat(tables, ignore_index=True)).reindex(columns=NEURON_COLUMNS)


def sample_table(squared: SquaredResiduals) -> pd.DataFrame:
    """Return a row a sample: its discord, its share of all, the edge that carries most, and each edge's.

    The last columns are `discord_EDGE`, one an edge in order.
    """
    by_edge = pd.DataFrame({f"discord_{edge.name}": values for edge, values in squared.items()})
    names = np.array([edge.name for edge in squared])
    table = pd.DataFrame({"sample": np.arange(len(by_edge)), "discord": by_edge.sum(axis=1)})
    # Edges in a row may carry the same tension; which is larger is then a matter of rounding.
    values = by_edge.to_numpy()
    least = values.max(axis=1, keepdims=True) * (1.0 - ALIKE)
    table["worst_edge"] = names[(values >= least).argmax(axis=1)]
    table = with_share(table)[["sample", "discord", "share", "worst_edge"]]
    return pd.concat([table, by_edge], axis=1)


def most_first(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the most discord first; those that are alike to six digits stay in their order."""
    told_apart = table["discord"].map(lambda discord: float(f"{discord:.5e}"))
    return table.loc[told_apart.sort_values(ascending=False, kind="stable").index]


def class_table(squared: SquaredResiduals, codes: NDArray[np.intp], classes: Sequence[str]) -> pd.DataFrame:
    """Return a row a class: its number of samples, the statistics of their discord, its share of all.

    `codes` says which class each sample is of. A class without samples has no statistics.
    """
    total = np.sum([*squared.values()], axis=0)
    rows = []
    for code, name in enumerate(classes):
        values = total[codes == code]
        statistics = _statistics(values) if len(values) else {}
        rows.append({"class": name, "samples": len(values), **statistics, "share": values.sum()})
    table = pd.DataFrame(rows, columns=["class", "samples", *STATISTICS, "share"])
    everything = float(total.sum())
    return table.assign(share=table["share"] / everything if everything > 0 else 0.0)


def with_share(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with each row's share of the sum of its discord."""
    total = float(table["discord"].sum())
    return table.assign(share=table["discord"] / total if total > 0 else 0.0)


def _grouped(squared: SquaredResiduals, by: str) -> pd.DataFrame:
    groups: dict[object, list[Array]] = {}
    for edge, values in squared.items():
        groups.setdefault(getattr(edge, by), []).append(values)
    rows = [{by: key, **_statistics(np.sum(parts, axis=0))} for key, parts in groups.items()]
    return with_share(pd.DataFrame(rows))


def _statistics(values: Array) -> dict[str, Any]:
    """Return mean, standard deviation, median and maximum over the samples, the first axis."""
    return {
        "discord": values.mean(axis=0),
        "std": values.std(axis=0),
        "median": np.median(values, axis=0),
        "max": values.max(axis=0),
    }


def _edge_columns(edge: Edge) -> dict[str, object]:
    return {"layer": edge.layer, "operation": edge.operation, "edge": edge.name}
