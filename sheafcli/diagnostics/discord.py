"""Discord as tables: by edge, by layer, by operation, by neuron."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sheafcli.core.cochain import Cochain
from sheafcli.core.discord import Edge, residuals
from sheafcli.core.network import Network
from sheafcli.core.outputs import Array
from sheafcli.core.sheaf import pattern_of

EDGE_COLUMNS = ["layer", "operation", "edge", "discord", "std", "median", "max", "share"]
NEURON_COLUMNS = ["layer", "operation", "edge", "neuron", "discord", "share", "active"]


def discord_table(network: Network, X: Array, cochain: Cochain) -> pd.DataFrame:
    """Return the discord of every edge of a cochain, in path order.

    A sample's discord on an edge is the squared 2-norm of its residual. `discord`, `std`, `median` and
    `max` are over samples, `share` is of the sum of `discord`.
    """
    rows = []
    for edge, r in residuals(network, X, cochain).items():
        squared = np.sum(r * r, axis=1)
        rows.append(
            _edge_columns(edge)
            | {
                "discord": squared.mean(),
                "std": squared.std(),
                "median": np.median(squared),
                "max": squared.max(),
            }
        )
    return _with_share(pd.DataFrame(rows))[EDGE_COLUMNS]


def neuron_table(network: Network, X: Array, cochain: Cochain) -> pd.DataFrame:
    """Return the discord of every coordinate of every edge, in path order.

    `discord` is the mean of the squared coordinate of the residual, so that an edge's neurons sum to
    the edge; `active` is the share of samples with z >= 0 there, for hidden neurons.
    """
    tables = []
    for edge, r in residuals(network, X, cochain).items():
        hidden = edge.layer <= network.depth
        table = pd.DataFrame(
            _edge_columns(edge)
            | {
                "neuron": np.arange(r.shape[1]),
                "discord": np.mean(r * r, axis=0),
                "active": pattern_of(cochain.z[edge.layer]).mean(axis=0) if hidden else np.nan,
            }
        )
        tables.append(table)
    return _with_share(pd.concat(tables, ignore_index=True))[NEURON_COLUMNS]


def _edge_columns(edge: Edge) -> dict[str, object]:
    return {"layer": edge.layer, "operation": edge.operation, "edge": edge.name}


def _with_share(table: pd.DataFrame) -> pd.DataFrame:
    total = float(table["discord"].sum())
    return table.assign(share=table["discord"] / total if total > 0 else 0.0)
