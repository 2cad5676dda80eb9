"""Where another run of a network computes something else: a table of its operations, and a sentence."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sheafcli.core.difference import Difference, LocalDifference, difference, values_of
from sheafcli.core.graph import INPUT
from sheafcli.core.network import AnyNetwork, as_inputs
from sheafcli.core.sweep import output
from sheafcli.core.types import Array
from sheafcli.diagnostics.difference_kind import Kind, kind_of
from sheafcli.interop.shared_ends import at_shared_ends

VISIBLE = 1e-4
"""A relative output difference from which on the largest share is told although nothing is significant."""

ALONE = 0.1
"""An operation whose share is so near to 1 explains the output difference alone."""

HALF, LEAST_TOLD = 0.5, 0.005

MOST_KINDS = 30
"""The kind is told of so many operations, those furthest beyond rounding."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A network and another run of it: the table of operations in order, and what leads.

    `operations` has a row a recorded vertex: `operation` (its name), `type`, `mean_square` and `largest` of
    the local difference, `times_rounding`, `significant`, `share` of the output difference, `kind` and
    `kind_says`, `cumulative`, the root mean square of x^A - x^B, and `segment`, the operations that the row
    is of: where values were not recorded, those on the way to it. Where the other run is a network,
    `reversed_times` and `reversed_share` are those of this network in the other's sheaf.
    """

    operations: pd.DataFrame
    difference: Difference
    n_samples: int
    changed: int | None = None
    """On how many samples the other run predicts another class; None where there are no classes."""

    def __repr__(self) -> str:
        return f"Comparison({self.n_samples} samples: {self.sentence})"

    def __str__(self) -> str:
        return f"{self.sentence}\n{self._shown.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return (
            f"<p>{escape(self.sentence)}</p>{self._shown.to_html(index=False, float_format='{:.4g}'.format)}"
        )

    @property
    def _shown(self) -> pd.DataFrame:
        return self.leading[["operation", "type", "mean_square", "times_rounding", "share", "kind"]]

    @property
    def leading(self) -> pd.DataFrame:
        """All rows: one that explains the output difference alone, those beyond rounding, then the others.

        Each by their shares, then by how near they come to rounding. Of an output difference that is no more
        than rounding in single precision, shares say nothing.
        """
        rows, is_visible = self.operations, self.relative > VISIBLE
        order = rows.assign(
            alone=is_visible & ((1.0 - rows["share"]).abs() < ALONE),
            size=rows["share"].abs().round(3) * (rows["significant"] | is_visible),
        )
        by = ["alone", "significant", "size", "times_rounding"]
        return order.sort_values(by, ascending=False, kind="stable").drop(columns=["alone", "size"])

    @property
    def significant(self) -> pd.DataFrame:
        """The rows beyond rounding, in that order."""
        return self.leading[self.leading["significant"]]

    @property
    def relative(self) -> float:
        """The size of the output difference as a share of the other run's last recorded values."""
        last = self.difference.operations[-1].recorded
        size = float(np.linalg.norm(last))
        return float(np.linalg.norm(self.difference.output)) / size if size else float("nan")

    @property
    def sentence(self) -> str:
        """The whole in a sentence."""
        first, beyond = self.leading.iloc[0], self.significant
        share, rounding = float(first["share"]), f"the rounding of {self.difference.precision.name}"
        alone = "alone " if abs(1.0 - share) < ALONE else ""
        explains = f"{_named(first)} {alone}explains {_percent(share)} of the output difference"
        if beyond.empty:
            says = f"no operation differs beyond {rounding}"
            if self.relative <= VISIBLE:
                return says
            if alone:
                return f"{says}; {explains}"
            return (
                f"{says}; the largest part of the output difference, {_percent(share)}, is of {_named(first)}"
            )
        n = len(beyond)
        if not first["significant"]:
            next_ = beyond.iloc[0]
            others = f"{n} of {len(self.operations) - 1} others differ beyond it, first {next_['operation']}"
            return f"{explains}, within {rounding}; {others}: {next_['kind_says']}"
        about = "" if n == 1 else f"; {n} of {len(self.operations)} operations differ beyond rounding"
        says = f": {first['kind_says']}{about}"
        if not np.any(self.difference.output):
            return f"{_named(first)} computes something else, which the output does not show{says}"
        return f"{explains}{says}"


def _percent(share: float) -> str:
    return "less than 1%" if abs(share) < LEAST_TOLD else f"{share:.0%}"


def _named(row: pd.Series[Any]) -> str:
    """Return the name of an operation, with those that it stands for."""
    *others, name = str(row["segment"]).split()
    if not others:
        return name
    return f"{name} (with {others[0]}{f' to {others[-1]}' if len(others) > 1 else ''})"


def diff(network: AnyNetwork, other: AnyNetwork | Mapping[str, NDArray[Any]], X: Array) -> Comparison:
    """Return where another run of a network on X computes something else.

    Parameters
    ----------
    network
        The network whose sheaf is asked.
    other
        A network of the same graph and names, or values by vertex as `record` gives them, in the order in
        which they were computed. Where one of the two has fused what the other computes apart, values are
        matched at the ends that they share. Those of names that the network does not have are left out. A
        warning says which.
    X
        The inputs of both, samples x features.

    Returns
    -------
    Comparison
        With `operations`, a row each; printed, it says which differ and what that does to the output.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    >>> network = sc.Network.he([2, 8, 1])
    >>> other = sc.Network([network.weights[0], 2 * network.weights[1]], network.biases, "identity")
    >>> sc.diff(network, other, X)  # doctest: +ELLIPSIS
    Comparison(50 samples: affine_2 alone explains 100% of the output difference...)
    """
    if not isinstance(other, Mapping):
        inputs = as_inputs(network, X)
        return compare(network, X, values_of(other.graph, inputs), other=other)
    known = {vertex.name for vertex in network.graph.vertices[1:]}
    named = {name: array for name, array in other.items() if name in known}
    values, moved = at_shared_ends(network.graph, as_inputs(network, X), named, other)
    unknown = [name for name in other if name not in (INPUT, *named, *moved.values())]
    told = [f"{name} is taken for {vertex}" for vertex, name in moved.items()]
    if told := [*told, *(f"the network has no vertex {name}" for name in unknown)]:
        warnings.warn("; ".join(told), stacklevel=2)
    return compare(network, X, values)


def compare(
    network: AnyNetwork,
    X: Array,
    recorded: Mapping[str, NDArray[Any]],
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
    names = {local.vertex.name for local in there.operations}
    own = values_of(network.graph, X, names) | {INPUT: X}
    advance("kinds")
    told = sorted(there.operations, key=lambda local: local.times, reverse=True)[:MOST_KINDS]
    kinds = {local.vertex.name: kind_of(local, there.precision) for local in told if local.is_significant}
    rows = [_row(local, own[local.vertex.name], kinds.get(local.vertex.name)) for local in there.operations]
    table = pd.DataFrame(rows)
    if other is not None:
        places = zip(network.graph.vertices[1:], other.graph.vertices[1:], strict=True)
        reversed_ = {its.name: own[vertex.name] for vertex, its in places if vertex.name in own}
        back = difference(other.graph, X, reversed_, there.precision.name)
        table["reversed_times"] = [local.times for local in back.operations]
        table["reversed_share"] = [local.share for local in back.operations]
    return Comparison(table, there, len(X), _changed(network, X, there))


def _changed(network: AnyNetwork, X: Array, there: Difference) -> int | None:
    if not network.output.classifies:
        return None
    z = output(network.graph, X)
    own, other = (network.output.value(logits) for logits in (z, z - there.output))
    if own.shape[1] == 1:
        return int(np.sum((own > HALF) != (other > HALF)))
    return int(np.sum(np.argmax(own, axis=1) != np.argmax(other, axis=1)))


def _row(local: LocalDifference, own: Array, kind: Kind | None) -> dict[str, object]:
    return {
        "operation": local.vertex.name,
        "type": "Input" if local.vertex.operation is None else type(local.vertex.operation).__name__,
        "mean_square": local.mean_square,
        "largest": local.largest,
        "times_rounding": local.times,
        "significant": local.is_significant,
        "share": local.share,
        "kind": "" if kind is None else kind.name,
        "kind_says": "" if kind is None else kind.sentence,
        "cumulative": float(np.sqrt(np.mean((own - local.recorded) ** 2))),
        "segment": " ".join(local.segment),
    }
