"""Which operations of another run to keep as the network has them, so that most of its difference goes.

With the operations K kept, and all others erring as they did, the output is f_K. What has gone is

    1 - |f_A - f_K|^2 / |f_A - f_B|^2,

which is 0 for none and 1 for all. Operations are kept in the order of their shares of the output difference,
until that is reached; how far each brings it is a run of its own. Where the other run is a network, f_K is
its output with these operations replaced. Where it is recorded, the others err by what was recorded, which is
to first order what they would err by on other inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sheafcli.core.difference import Difference, mended
from sheafcli.core.graph import Graph
from sheafcli.core.network import AnyNetwork, as_inputs
from sheafcli.core.sweep import output
from sheafcli.core.types import Array
from sheafcli.diagnostics.difference import Comparison


@dataclass(frozen=True, eq=False)
class Advice:
    """What to keep: a row each operation kept, in order, of so many, and the share that was to go.

    `kept` has `operation`, `segment`, `share`, and `reached`, what has gone with those before it kept, too.
    """

    kept: pd.DataFrame
    asked: float
    of: int

    @property
    def reached(self) -> float:
        """What has gone with all of them kept."""
        return float(self.kept["reached"].iloc[-1]) if len(self.kept) else 0.0

    @property
    def sentence(self) -> str:
        """The advice in a sentence."""
        n = len(self.kept)
        if n == 0:
            return "nothing to keep: the outputs do not differ"
        shares = float(self.kept["share"].sum())
        missed = "" if self.reached >= self.asked else ", and no other operation brings it nearer"
        return (
            f"keep {n} of {self.of} operations: {self.reached:.1%} of the squared output difference goes "
            f"({self.asked:.1%} asked, {shares:.1%} by their shares){missed}"
        )


def advise(
    network: AnyNetwork, X: Array, comparison: Comparison, asked: float, other: AnyNetwork | None = None
) -> Advice:
    """Return what to keep of a comparison on X so that a share, `asked`, of the output difference goes."""
    X = as_inputs(network, X).astype(np.float64)
    there = comparison.difference
    rows = comparison.operations.sort_values("share", ascending=False, kind="stable")
    whole = float(np.vdot(there.output, there.output))
    own = output(network.graph, X)
    kept: list[dict[str, object]] = []
    for row in rows[rows["share"] > 0.0].to_dict("records") if whole else ():
        names = [*(str(before["operation"]) for before in kept), str(row["operation"])]
        left = own - _with(network, X, there, names, other)
        reached = 1.0 - float(np.vdot(left, left)) / whole
        kept.append({**{key: row[key] for key in ("operation", "segment", "share")}, "reached": reached})
        if reached >= asked:
            break
    columns = ["operation", "segment", "share", "reached"]
    return Advice(pd.DataFrame(kept, columns=columns), asked, len(rows))


def _with(
    network: AnyNetwork, X: Array, there: Difference, names: Iterable[str], other: AnyNetwork | None
) -> Array:
    """Return f_K, samples x outputs."""
    if other is None:
        return mended(network.graph, X, there, set(names))
    places = {vertex.name: vertex.index - 1 for vertex in network.graph.vertices[1:]}
    own, nodes = network.graph.nodes, list(other.graph.nodes)
    for name in names:
        nodes[places[name]] = replace(nodes[places[name]], operation=own[places[name]].operation)
    return output(Graph(other.graph.input_shape, tuple(nodes)), X)
