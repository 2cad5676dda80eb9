"""In which order the layers of a state_dict stand, where anything in the file or their shapes tells it.

A state_dict lists modules as they were defined, which need not be as `forward` calls them. Layers chain if
each takes as many values as the one before it gives: with the widths as vertices and the layers as edges of
a multigraph, an order that chains is an Eulerian trail. Where there is one trail only, the shapes tell the
order; numbers in names tell it too; the alphabet does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

MAX_STEPS = 5_000
"""How many layers the search for orders that chain puts one behind the other before it gives up."""

_NUMBER = re.compile(r"\d{1,9}")


@dataclass(frozen=True)
class Place:
    """Something that takes n_in values and gives n_out, under a name: a layer, or several in a fixed row."""

    name: str
    n_in: int
    n_out: int


@dataclass(frozen=True)
class Order:
    """An order of places, and what is to be said of it."""

    places: tuple[Place, ...]
    notes: tuple[str, ...] = ()


def numbers(name: str) -> tuple[int, ...]:
    """Return the numbers within a name: (3, 10) for block3.fc10."""
    return tuple(map(int, _NUMBER.findall(name)))


def template(name: str) -> str:
    """Return a name with its numbers left open: block#.fc# for block3.fc10."""
    return _NUMBER.sub("#", name)


def settled(places: Sequence[Place], defined: bool) -> Order:
    """Return the order of places; ValueError if the file and the shapes leave it open, with what to do.

    Numbers order what is named alike but for them. With other names it is the order of definition, if the
    file has it (`defined`, and `places` stand in it), or else the only one that chains and counts upwards.
    """
    families: dict[str, list[Place]] = {}
    for place in places:
        families.setdefault(template(place.name), []).append(place)
    rows = [sorted(family, key=lambda place: numbers(place.name)) for family in families.values()]
    if not rows or (len(rows) == 1 and _positions(rows[0])):
        return Order(tuple(rows[0]) if rows else ())
    if len(rows) == 1 and chains(rows[0]):
        moved = defined and rows[0] != list(places)
        return Order(tuple(rows[0]), (_counted(rows[0]),) if moved else ())
    # Keys sorted as text (fc1, fc10, fc2) have lost the order of definition.
    defined = defined and all(row == family for row, family in zip(rows, families.values(), strict=True))
    if defined and chains(places):
        others = [order for order in islice(_trails(rows), 2) if order != tuple(places)]
        return Order(tuple(places), tuple(_defined(places, other) for other in others[:1]))
    free = [[place] for place in places]
    # A decoder may count down while its encoder counts up: several families tell no order by their numbers.
    counted = rows if sum(len(row) > 1 for row in rows) == 1 else free
    orders = list(islice(_trails(counted), 2)) or list(islice(_trails(free), 2))
    if len(orders) == 1:
        return Order(orders[0], (f"only one order of the layers fits their shapes: {_listed(orders[0])}",))
    if orders:
        raise ValueError(
            f"more than one order of its layers fits their shapes ({_listed(orders[0])}; "
            f"{_listed(orders[1])}), and the file does not say which: name them in the order in which "
            "forward() calls them, with --order NAMES"
        )
    shapes = ", ".join(f"{place.name} ({place.n_in} -> {place.n_out})" for place in islice(places, 8))
    raise ValueError(
        f"no order of its layers makes one chain: {shapes}{', ...' if len(places) > 8 else ''}. If the file "
        "holds several networks, or more than the one to import, name the layers of that one with --order "
        "NAMES; if values part and join, export the model with torch.onnx.export"
    )


def chains(places: Sequence[Place]) -> bool:
    """Tell whether each takes as many values as the one before it gives."""
    return all(one.n_out == other.n_in for one, other in pairwise(places))


def _positions(places: Sequence[Place]) -> bool:
    """Tell whether the names are the positions in one nn.Sequential: these cannot be put otherwise."""
    return len({place.name.rpartition(".")[0] for place in places}) == 1 and all(
        _NUMBER.fullmatch(place.name.rpartition(".")[2]) for place in places
    )


def _trails(rows: Sequence[Sequence[Place]]) -> Iterator[tuple[Place, ...]]:
    """Yield the orders of all places that chain and keep each row's own; ValueError if there are too many.

    Depth first; a state (how far each row is used, the width reached) that led nowhere is not tried again.
    """
    total = sum(map(len, rows))
    used = [0] * len(rows)
    trail: list[Place] = []
    barren: set[tuple[tuple[int, ...], int]] = set()
    steps = 0

    def fitting() -> Iterator[int]:
        width = trail[-1].n_out if trail else None
        heads = [i for i, row in enumerate(rows) if used[i] < len(row)]
        return iter([i for i in heads if width is None or rows[i][used[i]].n_in == width])

    choices: list[tuple[Iterator[int], int]] = [(fitting(), 0)]  # with the number of trails found before
    taken: list[int] = []
    found = 0
    while choices:
        row = next(choices[-1][0], None)
        if row is None:
            _, before = choices.pop()
            if trail:
                if found == before:
                    barren.add((tuple(used), trail[-1].n_out))
                trail.pop()
                used[taken.pop()] -= 1
            continue
        steps += 1
        if steps > MAX_STEPS:
            raise ValueError(
                f"its {total} layers may stand in more orders than can be tried: name them as forward() "
                "calls them with --order NAMES"
            )
        trail.append(rows[row][used[row]])
        used[row] += 1
        taken.append(row)
        if len(trail) == total:
            found += 1
            yield tuple(trail)
        state = (tuple(used), trail[-1].n_out)
        choices.append((iter(()) if state in barren else fitting(), found))


def _counted(places: Sequence[Place]) -> str:
    return f"the order is that of the numbers in the names, {_listed(places)}, and not that of the file"


def _defined(places: Sequence[Place], other: Sequence[Place]) -> str:
    return (
        f"the order is that of the file, in which the modules were defined: {_listed(places)}; others fit "
        f"too, such as {_listed(other)}: if forward() calls them so, say --order {_named(other)}"
    )


def _listed(places: Sequence[Place]) -> str:
    return _short([place.name for place in places], ", ")


def _named(places: Sequence[Place]) -> str:
    return _short([place.name for place in places], ",")


def _short(names: Sequence[str], between: str) -> str:
    shown = list(names) if len(names) <= 8 else [*names[:6], "...", names[-1]]
    return between.join(shown)
