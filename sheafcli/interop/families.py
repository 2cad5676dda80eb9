"""Modules under several names: the layers of one network, copies of one, several networks, or blocks.

Names such as `ema.0` or `blocks.1.fc2` make a tree. What lies below two branches of it may be parts of one
chain; where it looks otherwise, the user is asked which layers are meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from sheafcli.interop.order import Place, template

_NETWORKS = re.compile(
    r"(?:.*_)?(ema|teacher|student|target|online|momentum|swa|averaged?|avg|shadow|generator|discriminator"
    r"|critic|actor|policy|q_?net(?:work)?)(?:_.*|\d*)"
)
"""Names of networks that stand beside another one."""

_BLOCK = re.compile(r"(?:.*_)?(blocks?|stages?|cells?|mixers?|units?)(?:_.*|\d*)")
"""Names of parts that are repeated, mostly with what goes in added to what comes out."""


def several_networks(places: Sequence[Place]) -> str | None:
    """Return why layers seem to belong to several networks, and what to do; None if they do not."""
    for branches in _forks(places).values():
        names = [name for name in branches if _NETWORKS.fullmatch(name.rpartition(".")[2].lower())]
        if names and len(branches) > 1:
            return _choose(list(branches), f"{names[0]} is the name of a network of its own")
        for (one, places_1), (other, places_2) in combinations(list(branches.items())[:50], 2):
            alike = _relative(one, places_1) == _relative(other, places_2)
            if alike and len(places_1) > 1 and template(one) != template(other):
                return _choose(list(branches), f"{one} and {other} hold layers of the same names and shapes")
    return None


def residual_blocks(places: Sequence[Place]) -> str | None:
    """Return which layers seem to be a block with a shortcut around it, and what to do; None if none do.

    Such a block gives as many values as it takes, has two layers or more, and is called so or repeated.
    """
    for branches in _forks(places).values():
        templates = [template(name) for name in branches]
        for name, below in branches.items():
            repeated = templates.count(template(name)) > 1 and name != template(name)
            called = _BLOCK.fullmatch(name.rpartition(".")[2].lower())
            if len(below) > 1 and below[0].n_in == below[-1].n_out and (repeated or called):
                return (
                    f"{name} is a block that gives as many values as it takes: whether what goes in is added "
                    "to what comes out, as in a residual network, is not in a state_dict. Export the model "
                    "with torch.onnx.export; if it is a plain chain of layers, name them with --order "
                    f"{','.join(place.name for place in below[:2])},..."
                )
    return None


def _forks(places: Sequence[Place]) -> dict[str, dict[str, list[Place]]]:
    """Return, for every name that modules lie below, its branches with what lies below each."""
    forks: dict[str, dict[str, list[Place]]] = {}
    for place in places:
        segments = place.name.split(".")
        for depth in range(len(segments)):
            parent, branch = ".".join(segments[:depth]), ".".join(segments[: depth + 1])
            forks.setdefault(parent, {}).setdefault(branch, []).append(place)
    return forks


def _relative(branch: str, places: Sequence[Place]) -> list[tuple[str, int, int]]:
    return [(place.name.removeprefix(branch), place.n_in, place.n_out) for place in places]


def _choose(branches: Sequence[str], why: str) -> str:
    shown = ", ".join(branches[:6]) + (", ..." if len(branches) > 6 else "")
    return (
        f"the file seems to hold several networks, {shown}: {why}. Name the one to import, or the layers of "
        f"one chain in their order, such as --order {branches[0]}"
    )
