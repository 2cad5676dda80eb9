"""Where the ReLUs of a state_dict are assumed: between any two Linear, in the one place there is for it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sheafcli.interop.chain import Affine, Relu, Scale, Step
from sheafcli.interop.strangers import EXPORT

SIDE, GAP, JOIN = "side by side", "a gap", "two parents"
"""How two modules follow each other: in one nn.Sequential, without and with a place between; or otherwise."""


def assumed_steps(
    names: Sequence[str], layers: Sequence[Affine | Scale], modules: Sequence[str] = ()
) -> tuple[list[Step], list[str]]:
    """Return layers with ReLU between them, and notes that spell the network out.

    `modules` are the names of all modules, if they are known. ValueError where a ReLU may stand in more
    places than one: before or behind a BatchNorm.
    """
    links = [_link(one, other) for one, other in pairwise(names)]
    linear = [i for i, layer in enumerate(layers) if isinstance(layer, Affine)]
    if not linear:
        raise ValueError("there is no linear layer in it; a network needs at least one")
    relus: set[int] = set()  # the links at which one stands
    side: list[int] = []
    for one, other in pairwise(linear):
        places = [i for i in range(one, other) if links[i] != SIDE]
        if len(places) > 1 or (not places and other > one + 1):
            raise _beside_norm(layers[one + 1])
        relus.add(places[0] if places else one)
        side += [] if places else [one]
    before = [i for i in range(linear[0]) if links[i] != SIDE]
    behind = [i for i in range(linear[-1], len(links)) if links[i] != SIDE]
    if before:
        raise _beside_norm(layers[before[0]])
    if len(behind) > 1 or any(links[i] == JOIN for i in behind):
        raise _beside_norm(layers[linear[-1] + 1])
    relus |= set(behind)
    _check_side(names, links, side)
    steps: list[Step] = []
    for i, layer in enumerate(layers):
        steps += [layer, Relu()] if i in relus else [layer]
    notes = [_network(steps)]
    if relus:
        notes.append("a state_dict does not say what stands between its layers: ReLU is assumed")
    if side:
        notes.append(
            f"{names[side[0]]} and {names[side[0] + 1]} stand side by side; with nothing between, two "
            "linear layers are one, so a ReLU is assumed there, as is usual with an nn.ModuleList"
        )
    return steps, notes + _open_ends(names, links, modules)


def _link(one: str, other: str) -> str:
    (parent, _, at), (parent_2, _, at_2) = one.rpartition("."), other.rpartition(".")
    if parent != parent_2 or not (at.isdecimal() and at_2.isdecimal()) or int(at_2) <= int(at):
        return JOIN
    return SIDE if int(at_2) == int(at) + 1 else GAP


def _check_side(names: Sequence[str], links: Sequence[str], side: Sequence[int]) -> None:
    """Raise ValueError if Linear stand side by side where others beside them have a gap between."""
    gaps = {names[i].rpartition(".")[0] for i, link in enumerate(links) if link == GAP}
    for i in side:
        if names[i].rpartition(".")[0] in gaps:
            raise ValueError(
                f"Linear {names[i]} and Linear {names[i + 1]} stand side by side, and other layers of theirs "
                f"have a place for a ReLU between: whether one is here is not in a state_dict; {EXPORT}"
            )


def _beside_norm(layer: Affine | Scale) -> ValueError:
    return ValueError(f"whether {layer.name} stands before or behind a ReLU is not in a state_dict; {EXPORT}")


def _network(steps: Sequence[Step]) -> str:
    """Return the line that spells out a network, of which a long one is shown at both ends."""
    linear = [step for step in steps if isinstance(step, Affine)]
    shown = [step.name if isinstance(step, Affine | Scale) else "ReLU" for step in steps]
    if len(shown) > 24:
        shown = [*shown[:12], "...", *shown[-6:]]
    widths = [str(W.shape[side]) for W, side in ((linear[0].W, -1), (linear[-1].W, 0))]
    return "assumed network: " + " -> ".join((widths[0], *shown, widths[1]))


def _open_ends(names: Sequence[str], links: Sequence[str], modules: Sequence[str]) -> list[str]:
    """Return notes on places where a ReLU is less sure than elsewhere, and on what ends the network."""
    notes = []
    gaps = {names[i].rpartition(".")[0] for i, link in enumerate(links) if link == GAP}
    for i, link in enumerate(links):
        parent = names[i].rpartition(".")[0]
        if link == JOIN and parent in gaps and not _follows(names[i], modules):
            notes.append(
                f"nothing in the file says that a ReLU stands between {names[i]} and {names[i + 1]}: "
                f"if none does, {EXPORT}"
            )
    if last := _follows(names[-1], modules):
        notes.append(
            f"module {last} stands behind the last layer and has no parameters: if it is a Sigmoid or "
            f"Softmax, say --ending; if it is another function, {EXPORT}"
        )
    return notes


def _follows(name: str, modules: Sequence[str]) -> str | None:
    """Return the module that follows a layer in its nn.Sequential, if the file names one."""
    parent, dot, at = name.rpartition(".")
    following = f"{parent}{dot}{int(at) + 1}" if at.isdecimal() else None
    return following if following in modules else None
