"""A network as the drawing of its graph, prepared once: where vertices stand, how lines run, what they say.

Time runs down. A vertex stands in the row of the longest path that leads to it from the input, so that a line
always leads down; the longest path of all is the leftmost lane, and branches stand beside it. A connection
that skips rows is an arc. Long graphs go on in the next column, where they are cut with the fewest
lines: a vertex that is read beyond a cut stands above the next column once more. Coordinates are pixels, from
the upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from sheafcli.core.graph import Graph, Vertex
from sheafcli.render.numbers import percent

Point = tuple[float, float]

ROW, LANE, ARC = 26.0, 34.0, 58.0
# The width of a letter of a label, and where a label begins, beside its vertex.
LETTER, BESIDE = 7.0, 13.0
# So many rows make a column, or up to a quarter more or less where that cuts fewer lines.
ROWS, SLACK = 44, 0.25
LONGEST_NAME = 24
GAP = 26.0
INPUT, TARGET, CONSTANT, EXACT = "input", "target", "constant", "exact"
TARGET_NAME: Final = "y"


@dataclass(frozen=True)
class Mark:
    """A vertex as it is drawn: where, what kind of operation it has, and what stands beside it.

    `name` is whole, `label` what there is room for. `edge` is the name of the edge that ends there, None
    where there is none. `again` says that it stands above a column as a reminder.
    """

    name: str
    label: str
    kind: str
    shape: str
    edge: str | None
    x: float
    y: float
    again: bool = False


@dataclass(frozen=True)
class Line:
    """A connection, as points to be joined, and the edge that it belongs to, if any."""

    points: tuple[Point, ...]
    edge: str | None


@dataclass(frozen=True)
class Drawing:
    """All that is drawn of a graph, and its size in pixels."""

    marks: tuple[Mark, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


@dataclass(frozen=True)
class _Place:
    """A vertex of the drawing before it has a place in pixels: by its column, row and lane there."""

    column: int
    row: int
    lane: int


def draw_graph(graph: Graph, shares: Mapping[str, float], *, target: bool) -> Drawing:
    """Return the drawing of a graph, with the share of the discord of every edge, by name, in its labels.

    `target` says that an output edge leads on to the vertex of the target; without one the last vertex is it.
    """
    rows, lanes = _rows(graph), _lanes(graph)
    last = rows[graph.output.index]
    names = [_label(graph, vertex, shares, target) for vertex in graph.vertices]
    if target:
        rows.append(last + 1)
        lanes.append(0)
        names.append(_with_share(TARGET_NAME, shares.get(graph.output_edge.name)))
    links = [(p, v.index) for v in graph.vertices for p in dict.fromkeys(v.parents)]
    links += [(graph.output.index, len(graph.vertices))] if target else []
    starts = _columns(rows, links)
    places, ghosts = _placed(rows, lanes, links, starts)
    at = _Pixels([*places, *ghosts.values()], [*names, *(names[v] for v, _ in ghosts)])
    marks = [_mark(graph, i, names[i], *at(place)) for i, place in enumerate(places)]
    marks += [_mark(graph, v, names[v], *at(place), again=True) for (v, _), place in ghosts.items()]
    taken = {(place.column, place.lane, place.row) for place in (*places, *ghosts.values())}
    lines = []
    for first, second in links:
        here = places[second]
        before = places[first] if places[first].column == here.column else ghosts[first, here.column]
        edge = graph.output_edge.name if second == len(graph.vertices) else _edge_name(graph.vertices[second])
        lines.append(Line(tuple(_route(before, here, at, taken)), edge))
    right = max(mark.x + BESIDE + LETTER * len(mark.label) for mark in marks)
    return Drawing(tuple(marks), tuple(lines), right + GAP, max(mark.y for mark in marks) + ROW)


def _rows(graph: Graph) -> list[int]:
    """Return the row of every vertex, the longest path to it; constants stand above those who read them."""
    rows: list[int] = []
    for vertex in graph.vertices:
        rows.append(max((rows[p] + 1 for p in vertex.parents), default=0))
    for vertex in graph.vertices:
        if vertex.constant is not None:
            rows[vertex.index] = min(rows[reader] for reader in graph.readers[vertex.index]) - 1
    return rows


def _lanes(graph: Graph) -> list[int]:
    """Return the lane of every vertex: 0 on the longest path, beside it the first that is free in its row."""
    rows = _rows(graph)
    longest = set()
    at: Vertex | None = graph.output
    while at is not None:
        longest.add(at.index)
        above = [p for p in at.parents if rows[p] == rows[at.index] - 1]
        at = graph.vertices[above[0]] if above else None
    lanes: list[int] = []
    taken = {(rows[i], 0) for i in longest}
    for vertex in graph.vertices:
        lane = 0
        if vertex.index not in longest:
            lane = max((lanes[p] for p in vertex.parents), default=1) or 1
            if (rows[vertex.index], lane) in taken:
                lane = next(n for n in range(1, len(rows) + 1) if (rows[vertex.index], n) not in taken)
        taken.add((rows[vertex.index], lane))
        lanes.append(lane)
    return lanes


def _columns(rows: list[int], links: list[tuple[int, int]]) -> list[int]:
    """Return the first row of every column, cutting where the fewest vertices are read across the cut."""
    count = max(rows) + 1
    columns = math.ceil(count / ROWS)
    starts = [0]
    for column in range(1, columns):
        wanted = column * count / columns
        reach = SLACK * count / columns
        low, high = max(starts[-1] + 2, round(wanted - reach)), min(count - 2, round(wanted + reach))
        cuts = {row: len({a for a, b in links if rows[a] < row <= rows[b]}) for row in range(low, high + 1)}
        if cuts:
            starts.append(min(cuts, key=lambda row: (cuts[row], abs(row - wanted))))
    return starts


def _placed(
    rows: list[int], lanes: list[int], links: list[tuple[int, int]], starts: list[int]
) -> tuple[list[_Place], dict[tuple[int, int], _Place]]:
    """Return the places of all vertices, and by vertex and column those of the reminders above columns."""
    column = (np.searchsorted(starts, rows, side="right") - 1).tolist()
    # Above every column but the first there is a row for reminders.
    places = [
        _Place(c, row - starts[c] + int(c > 0), lane)
        for c, row, lane in zip(column, rows, lanes, strict=True)
    ]
    ghosts: dict[tuple[int, int], _Place] = {}
    lane_of: dict[int, int] = {}
    for first, second in sorted(links):
        key = (first, column[second])
        if column[first] != column[second] and key not in ghosts:
            ghosts[key] = _Place(column[second], 0, lane_of.get(column[second], 0))
            lane_of[column[second]] = lane_of.get(column[second], 0) + 1
    return places, ghosts


class _Pixels:
    """Where places are in pixels: a lane is as wide as its longest label, a column as its lanes."""

    def __init__(self, places: list[_Place], labels: list[str]):
        widths: dict[tuple[int, int], float] = {}
        for place, label in zip(places, labels, strict=True):
            key = (place.column, place.lane)
            widths[key] = max(widths.get(key, LANE), BESIDE + LETTER * len(label) + LANE / 2)
        self._left: dict[tuple[int, int], float] = {}
        x = 0.0
        for column in sorted({place.column for place in places}):
            x += ARC
            for lane in range(1 + max(lane for c, lane in widths if c == column)):
                self._left[column, lane] = x
                x += widths.get((column, lane), LANE)

    def __call__(self, place: _Place) -> Point:
        return self._left[place.column, place.lane], ROW * (place.row + 1)


def _route(before: _Place, here: _Place, at: _Pixels, taken: set[tuple[int, int, int]]) -> Iterator[Point]:
    """Yield the points of a line: straight to the next row, down a free lane, or in an arc to the left.

    A line changes lanes half-way between two rows, where no label stands.
    """
    (x0, y0), (x1, y1) = at(before), at(here)
    between = range(before.row + 1, here.row)
    if before.lane != here.lane:
        lane = max(before.lane, here.lane)
        is_free = not any((here.column, lane, row) in taken for row in between)
        x = max(x0, x1) if is_free else max(x0, x1) - LANE / 3
        yield from ((x0, y0), (x0, y0 + ROW / 2), (x, y0 + ROW / 2))
        yield from ((x, y1 - ROW / 2), (x1, y1 - ROW / 2), (x1, y1))
        return
    if not between:
        yield from ((x0, y0), (x1, y1))
        return
    bulge = min(ARC - 10.0, 8.0 + 7.0 * math.sqrt(len(between)))
    for t in np.linspace(0.0, 1.0, 25).tolist():
        # A cubic curve whose two inner points lie to the left, a quarter of the way from its ends.
        inner = 3 * t * (1 - t)
        y = (1 - t) ** 2 * (1 + 2 * t) * y0 + t * t * (3 - 2 * t) * y1 + inner * (1 - 2 * t) * (y1 - y0) / 4
        yield (x0 - 4 / 3 * inner * bulge, y)


def _mark(graph: Graph, index: int, label: str, x: float, y: float, *, again: bool = False) -> Mark:
    if index == len(graph.vertices):
        size = f"{graph.output.size:,}"
        return Mark(TARGET_NAME, label, TARGET, size, graph.output_edge.name, x, y, again)
    vertex = graph.vertices[index]
    kind = vertex.operation.kind if vertex.operation else CONSTANT if vertex.index else INPUT
    shape = " × ".join(f"{n:,}" for n in vertex.shape)
    if again:
        label = shortened(vertex.name)
    return Mark(vertex.name, label, kind, shape, _edge_name(vertex), x, y, again)


def _label(graph: Graph, vertex: Vertex, shares: Mapping[str, float], target: bool) -> str:
    """Return what stands beside a vertex: its name, and the share of its edge; the shape where it changes."""
    name = shortened(vertex.name)
    if vertex.index == graph.output.index and not target:
        name = f"{name} = {TARGET_NAME}"
    changed = all(graph.vertices[p].shape != vertex.shape for p in vertex.parents)
    shape = f"  {'×'.join(map(str, vertex.shape))}" if changed else ""
    return _with_share(f"{name}{shape}", shares.get(_edge_name(vertex) or ""))


def _with_share(text: str, share: float | None) -> str:
    return text if share is None else f"{text}  {percent(share)}"


def shortened(name: str) -> str:
    """Return a name that has room; of a long one the end, which tells it from others."""
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME + 1 :]}"


def _edge_name(vertex: Vertex) -> str | None:
    return None if vertex.edge is None else vertex.edge.name
