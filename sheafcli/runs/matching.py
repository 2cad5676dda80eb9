"""A network's inputs and classes brought into the order of the data's, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.network import AnyNetwork
from sheafcli.errors import InputError
from sheafcli.interop.models import Model
from sheafcli.tasks import TaskData

MOST_NAMED = 12


def matched(model: Model, task: TaskData) -> tuple[AnyNetwork, tuple[str, ...]]:
    """Return a model's network with inputs and outputs in the order of the data's, and what to say of it.

    Names that both sides have, in whatever order, are matched. A side whose names are numbers only is taken
    by position: data without names, and classes 0, 1, ... of a file whose data has words for them.
    InputError, without a place, where the names differ.
    """
    network, notes = model.network, list[str]()
    if model.features:
        order, note = _order("inputs", model.features, task.features, by_name=task.named)
        network = _with_inputs(network, order)
        notes += note
    if model.classes and not task.classes:
        raise InputError(
            f"the file names classes, {_listed(model.classes)}, and the data has a quantity to predict: "
            "give the data that the network was trained on"
        )
    if model.classes:
        of_file = _spelt_as(task.classes, model.classes)
        by_name = task.named and (not _are_codes(of_file) or all(map(_is_number, task.classes)))
        order, note = _order("classes", of_file, task.classes, by_name=by_name)
        network = _with_classes(network, order)
        notes += note
        if network.n_outputs == 1:
            notes += meanings((), task.classes, network)
    return network, tuple(notes)


def meanings(features: Sequence[str], classes: Sequence[str], network: AnyNetwork) -> list[str]:
    """Say what the inputs and outputs of a network are, where there are names for them."""
    notes = [f"the inputs are {_listed(features)}, in this order"] if features else []
    if classes and network.n_outputs == 1:
        notes.append(f"the one output is the probability of class {classes[1]}")
    elif classes:
        notes.append(f"the outputs are the classes {_listed(classes)}, in this order")
    return notes


def _order(
    what: str, of_file: Sequence[str], of_data: Sequence[str], *, by_name: bool
) -> tuple[list[int], list[str]]:
    """Return where each name of the data stands in the file, and what there is to say of that."""
    as_they_stand = list(range(len(of_file)))
    if list(of_file) == list(of_data):
        return as_they_stand, []
    if not by_name:
        note = f"{_listed(of_file)} of the file are {_listed(of_data)} of the data"
        return as_they_stand, [f"the {what} are taken by position: {note}"]
    if sorted(of_file) != sorted(of_data):
        raise InputError(
            f"{_difference(what, of_file, of_data)}: give the data that the network was trained on, or "
            "the same names on both sides"
        )
    return [list(of_file).index(name) for name in of_data], [
        f"the {what} are put in the data's order, {_listed(of_data)}; the file has {_listed(of_file)}"
    ]


def _difference(what: str, of_file: Sequence[str], of_data: Sequence[str]) -> str:
    """Say how names differ: all of few, of many those that only one side has."""
    if max(len(of_file), len(of_data)) <= MOST_NAMED:
        return f"the file's {what} are {_listed(of_file)}; the data's are {_listed(of_data)}"
    only = (
        _listed([name for name in one if name not in other]) or "none"
        for one, other in ((of_file, set(of_data)), (of_data, set(of_file)))
    )
    return (
        f"the file's {what} are not the data's: the file alone has {next(only)}, the data alone {next(only)}"
    )


def _with_inputs(network: AnyNetwork, order: list[int]) -> AnyNetwork:
    network = _to_reorder(network, "inputs", order)
    if not isinstance(network, Network):
        return network
    first, *rest = network.weights
    return replace(network, weights=(np.ascontiguousarray(first[:, order]), *rest))


def _with_classes(network: AnyNetwork, order: list[int]) -> AnyNetwork:
    """Put the outputs into an order; of one output for two classes, 1 - sigmoid(z) is sigmoid(-z)."""
    network = _to_reorder(network, "classes", order)
    if not isinstance(network, Network):
        return network
    W, b = network.weights[-1], network.biases[-1]
    if network.n_outputs > 1:
        W, b = W[order], b[order]
    elif order == [1, 0]:
        W, b = -W, -b
    return replace(network, weights=(*network.weights[:-1], W), biases=(*network.biases[:-1], b))


def _to_reorder(network: AnyNetwork, what: str, order: list[int]) -> AnyNetwork:
    """Return the network; InputError where it is no plain chain, and `what` would need another order."""
    if not isinstance(network, Network) and order != sorted(order):
        raise InputError(
            f"the file has the {what} in another order than the data, and only those of a plain chain of "
            "dense layers and ReLUs are put into another order: give the data in the file's order"
        )
    return network


def _spelt_as(of_data: Sequence[str], of_file: Sequence[str]) -> tuple[str, ...]:
    """Return a file's classes False and True as the data spells them: true, FALSE, 0, 1."""
    if sorted(of_file) != ["False", "True"]:
        return tuple(of_file)
    spelt = {name.lower(): name for name in of_data}
    return tuple(
        spelt.get(name.lower(), spelt.get(code, name)) for name, code in zip(of_file, "01", strict=True)
    )


def _are_codes(classes: Sequence[str]) -> bool:
    """Tell whether classes are numbers 0, 1, ... that may stand for names."""
    return list(classes) == [str(code) for code in range(len(classes))]


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
