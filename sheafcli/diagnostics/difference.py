"""Where another run of a network computes something else: a table of its operations, and the sentence of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sheafcli.core.difference import Difference, LocalDifference, difference
from sheafcli.core.graph import Graph
from sheafcli.core.network import AnyNetwork, as_inputs
from sheafcli.core.sweep import forward
from sheafcli.core.types import Array
from sheafcli.diagnostics.difference_kind import Kind, kind_of

MOST_KINDS = 30
"""The kind is told of so many operations, those furthest beyond rounding."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A network and another run of it: the table of operations in order, and what leads.

    `operations` has a row a recorded vertex: `operation` (its name), `type`, `mean_square` and `largest` of the
    local difference, `times_rounding`, `significant`, `share` of the output difference, `kind` and `kind_says`,
    and `cumulative`, the root mean square of x^A - x^B. Where the other run is a network, `reversed_times` and
    `reversed_share` are those of this network in the other's sheaf.
    """

    operations: pd.DataFrame
    difference: Difference
    n_samples: int

    @property
    def significant(self) -> pd.DataFrame:
        """The rows beyond rounding, the largest share first; without a difference at the output, by rounding."""
        rows = self.operations[self.operations["significant"]]
        size = rows["share"].abs()
        return (
            rows.assign(size=size)
            .sort_values(["size", "times_rounding"], ascending=False)
            .drop(columns="size")
        )

    @property
    def relative(self) -> float:
        """The size of the output difference as a share of the other run's last recorded values."""
        last = self.difference.operations[-1].recorded
        size = float(np.linalg.norm(last))
        return float(np.linalg.norm(self.difference.output)) / size if size else float("nan")

    @property
    def sentence(self) -> str:
        """The whole in a sentence."""
        rows = self.significant
        n = len(self.operations)
        if rows.empty:
            return (
                f"no operation differs beyond rounding in {self.difference.precision.name} "
                f"({n} compared on {self.n_samples} samples)"
            )
        first = rows.iloc[0]
        share = float(first["share"])
        about = "" if len(rows) == 1 else f"; {len(rows)} of {n} operations differ beyond rounding"
        says = f": {first['kind_says']}{about}"
        if not np.any(self.difference.output):
            return f"{first['operation']} computes something else, which the output does not show{says}"
        alone = "alone " if abs(1.0 - share) < 0.5 else ""
        return f"{first['operation']} {alone}explains {share:.0%} of the output difference{says}"


def compare(
    network: AnyNetwork,
    X: Array,
    recorded: Mapping[str, Array],
    precision: str | None = None,
    other: AnyNetwork | None = None,
    advance: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Compare a network on X, samples x features, with another run's values at vertices, by name.

    `other` is the network of that run where there is one; then its sheaf is asked as well, by the values of
    the network here. ValueError says what does not fit.
    """
    X = as_inputs(network, X)
    advance("local differences")
    there = difference(network.graph, X, recorded, precision)
    own = values_of(network.graph, X, {local.vertex.name for local in there.operations})
    advance("kinds")
    told = sorted(there.operations, key=lambda local: local.times, reverse=True)[:MOST_KINDS]
    kinds = {local.vertex.name: kind_of(local, there.precision) for local in told if local.is_significant}
    rows = [_row(local, own[local.vertex.name], kinds.get(local.vertex.name)) for local in there.operations]
    table = pd.DataFrame(rows)
    if other is not None:
        back = difference(other.graph, X, own, there.precision.name)
        table["reversed_times"] = [local.times for local in back.operations]
        table["reversed_share"] = [local.share for local in back.operations]
    return Comparison(table, there, len(X))


def values_of(graph: Graph, X: Array, names: set[str] | None = None) -> dict[str, Array]:
    """Return the values of vertices by name, samples x stalk; of all operations where no names are given."""
    return {
        step.vertex.name: step.value
        for step in forward(graph, X)
        if names is None or step.vertex.name in names
    }


def first_unlike(network: AnyNetwork, other: AnyNetwork) -> str | None:
    """Say where two graphs first part, vertex by vertex in order; None where they are the same but for numbers."""
    if network.input_shape != other.input_shape:
        return f"the input has shape {network.input_shape} here and {other.input_shape} there"
    for own, its in zip(network.graph.vertices[1:], other.graph.vertices[1:], strict=False):
        kinds = type(own.operation).__name__, type(its.operation).__name__
        if kinds[0] != kinds[1]:
            return f"{own.name} is {kinds[0]} here, and {its.name} is {kinds[1]} there"
        if own.shape != its.shape:
            return f"{own.name} has shape {own.shape} here, and {its.name} {its.shape} there"
        if own.parents != its.parents:
            return f"{own.name} reads other vertices here than {its.name} there"
    here, there = len(network.graph.vertices), len(other.graph.vertices)
    return None if here == there else f"it has {here - 1} operations here and {there - 1} there"


def _row(local: LocalDifference, own: Array, kind: Kind | None) -> dict[str, object]:
    return {
        "operation": local.vertex.name,
        "type": type(local.vertex.operation).__name__,
        "mean_square": local.mean_square,
        "largest": local.largest,
        "times_rounding": local.times,
        "significant": local.is_significant,
        "share": local.share,
        "kind": "" if kind is None else kind.name,
        "kind_says": "" if kind is None else kind.sentence,
        "cumulative": float(np.sqrt(np.mean((own - local.recorded) ** 2))),
    }
