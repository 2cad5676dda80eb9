"""The target of a table: from its cells to what a network learns, from outputs to the target's units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from sheafcli.core.types import Array
from sheafcli.tasks.cells import is_number
from sheafcli.tasks.columns import numbers
from sheafcli.tasks.encoding import OutputName, encode_classes


class TargetColumn(BaseModel):
    """What a network of output `output` predicts.

    Attributes
    ----------
    names : the target of each output column (identity, sigmoid), or the one name of what the classes say.
    output : identity for quantities, sigmoid or softmax for classes.
    classes : the name of each class, in the order of the codes 0, 1, ...; empty for quantities.
    means, scales : of quantities, one a target: output = (y - mean) / scale. A scale of 0 says that the
        target is the same throughout the training part, and the output 0. Empty for classes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    names: tuple[str, ...]
    output: OutputName
    classes: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether quantities are left in their own units."""
        return not any(self.means) and all(scale == 1.0 for scale in self.scales)

    def values(self, outputs: Array) -> Array:
        """Return quantities as a network gives them, rows x targets, in the target's own units."""
        return np.asarray(outputs * np.array(self.scales) + np.array(self.means))

    def scaled(self, values: Array) -> Array:
        """Return quantities in the target's own units, rows x targets, as a network gives them."""
        scales = np.array(self.scales)
        constant = scales == 0.0
        return np.where(constant, 0.0, (values - np.array(self.means)) / np.where(constant, 1.0, scales))

    def probabilities(self, outputs: Array) -> Array:
        """Return the probability of every class, rows x classes, from the values of the output function.

        For one yes-or-no target, or classes of which each row has one; several yes-or-no targets have a
        column each already.
        """
        if self.output == "sigmoid" and outputs.shape[1] == 1:
            return np.hstack([1.0 - outputs, outputs])
        return outputs

    def labels(self, outputs: Array) -> list[str]:
        """Return the most probable class of every row."""
        return [self.classes[code] for code in self.probabilities(outputs).argmax(axis=1)]

    def encode(self, cells: Sequence[Sequence[str]]) -> tuple[Array, NDArray[np.bool_]]:
        """Return the cells of every target as what a network is to give: y, rows x outputs.

        The second array says which rows are known: all targets are given, and the class is one of
        `classes`. Of the others y is NaN.
        """
        if self.output == "identity":
            columns = [numbers(column)[0] for column in cells]
            y = self.scaled(np.array(columns).T)
            return y, np.asarray(~np.isnan(y).any(axis=1))
        codes = {name: code for code, name in enumerate(self.classes)}
        if len(self.names) > 1:
            y = np.array([[codes.get(_plain(cell), np.nan) for cell in column] for column in cells]).T
            return y, np.asarray(~np.isnan(y).any(axis=1))
        found = np.array([codes.get(cell, codes.get(_plain(cell), -1)) for cell in cells[0]], dtype=np.intp)
        known = found >= 0
        y = encode_classes(np.where(known, found, 0), len(self.classes), self.output)
        y[~known] = np.nan
        return y, known


def _plain(cell: str) -> str:
    """Return a whole number as classes are called: 1 for 1.0 and +1; any other cell as it is."""
    if not is_number(cell):
        return cell
    value = float(cell)
    return str(int(value)) if value.is_integer() else cell
