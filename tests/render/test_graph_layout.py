"""The drawing of a graph: everything is there once, lines lead down, nothing stands on anything else."""

import html

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operations import Add, Concatenate, Dense, ReLU
from sheafcli.core.outputs import output_named
from sheafcli.render.graph_figure import graph_figure as picture
from sheafcli.render.graph_layout import BESIDE, LETTER, ROW, ROWS, draw_graph
from sheafcli.render.report.graph import graph_figure
from sheafcli.render.style import save_figure


def network_of(blocks, branches=1, output="softmax"):
    """Return residual blocks of dense layers, each of so many branches beside the skip."""
    nodes, last = [Node("stem", Dense(np.eye(2)), ("x",))], "stem"
    for block in range(blocks):
        ends = [last]
        for branch in range(branches):
            name = f"stage.of.a.network.block_{block}.branch_{branch}"
            nodes.append(Node(f"{name}.dense", Dense(np.eye(2)), (last,)))
            nodes.append(Node(f"{name}.relu", ReLU(), (f"{name}.dense",)))
            ends.append(f"{name}.relu")
        sums = ends[1]
        for i, end in enumerate(ends[2:]):
            nodes.append(Node(f"block_{block}.sum_{i}", Add(), (sums, end)))
            sums = f"block_{block}.sum_{i}"
        nodes.append(Node(f"block_{block}.add", Add(), (sums, last)))
        last = f"block_{block}.add"
    nodes.append(Node("both", Concatenate(-1), (last, "stem")))
    nodes.append(Node("head", Dense(np.ones((3, 4))), ("both",)))
    return GraphNetwork(Graph((2,), tuple(nodes)), output_named(output))


def table_of(network):
    names = [edge.name for edge in network.edges]
    discord = np.arange(len(names)) + float(len(names) == 1)
    frame = pd.DataFrame({"edge": names, "discord": discord, "share": discord / discord.sum()})
    return frame.assign(operation=[edge.operation for edge in network.edges], resistance=0.1, excess=1.0)


CASES = [(1, 1), (2, 3), (30, 1), (12, 3)]


@pytest.mark.parametrize(("blocks", "branches"), CASES)
def test_every_vertex_is_drawn_once_and_every_connection(blocks, branches):
    network = network_of(blocks, branches)
    graph = network.graph
    drawing = draw_graph(graph, {}, target=True)
    drawn = [mark.name for mark in drawing.marks if not mark.again]
    assert drawn == [*(vertex.name for vertex in graph.vertices), "y"]
    assert len(drawing.lines) == sum(len(set(vertex.parents)) for vertex in graph.vertices) + 1
    assert {line.edge for line in drawing.lines} >= {edge.name for edge in network.edges}


@pytest.mark.parametrize(("blocks", "branches"), CASES)
def test_lines_lead_down_from_a_parent_to_its_reader(blocks, branches):
    drawing = draw_graph(network_of(blocks, branches).graph, {}, target=True)
    places = {(mark.x, mark.y) for mark in drawing.marks}
    for line in drawing.lines:
        heights = [y for _, y in line.points]
        assert heights == sorted(heights)
        ends = [tuple(np.round(point, 6)) for point in (line.points[0], line.points[-1])]
        assert all(any(np.allclose(end, place) for place in places) for end in ends)


@pytest.mark.parametrize(("blocks", "branches"), CASES)
def test_no_label_stands_on_another_and_all_are_within_the_sheet(blocks, branches):
    drawing = draw_graph(network_of(blocks, branches).graph, {}, target=True)
    rows = {}
    for mark in drawing.marks:
        assert 0.0 < mark.y < drawing.height
        rows.setdefault(round(mark.y), []).append((mark.x, mark.x + BESIDE + LETTER * len(mark.label)))
    for spans in rows.values():
        spans.sort()
        assert all(end < start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))
        assert spans[-1][1] <= drawing.width


def test_a_long_graph_goes_on_in_the_next_column_and_says_from_where():
    drawing = draw_graph(network_of(60).graph, {}, target=True)
    assert drawing.height <= (1.5 * ROWS + 4) * ROW
    again = [mark for mark in drawing.marks if mark.again]
    assert again
    assert all(mark.y == ROW for mark in again)


def test_labels_tell_shares_and_the_end_of_long_names():
    network = network_of(1)
    shares = dict(zip(table_of(network)["edge"], table_of(network)["share"], strict=True))
    labels = [mark.label for mark in draw_graph(network.graph, shares, target=True).marks]
    assert "stem  0.0%" in labels
    assert any(label.startswith("…") and "branch_0.relu" in label for label in labels)
    assert "x  2" in labels
    identity = network_of(1, output="identity")
    last = draw_graph(identity.graph, {}, target=False).marks[-1]
    assert last.label.startswith("head = y")


@pytest.mark.parametrize(("blocks", "branches"), CASES)
def test_the_picture_and_the_page_draw_the_same(blocks, branches, tmp_path):
    network = network_of(blocks, branches)
    table = table_of(network)
    figure = picture(network, table, "a $title$ with $ signs")
    save_figure(figure, tmp_path / "network.png")
    assert imread(tmp_path / "network.png").std() > 0.0
    shares = dict(zip(table["edge"], table["share"], strict=True))
    marks = draw_graph(network.graph, shares, target=True).marks
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == [mark.label for mark in marks]
    page = graph_figure(network, table)
    told = [text for trace in page.data if trace.get("mode") == "text" for text in trace["text"]]
    assert sorted(map(html.unescape, told)) == sorted(texts)


def test_the_page_says_the_figures_of_an_edge_and_escapes_names():
    nodes = (Node("<b>one</b>", Dense(np.eye(2)), ("x",)),)
    network = GraphNetwork(Graph((2,), nodes), output_named("identity"))
    page = graph_figure(network, table_of(network).assign(discord=0.5, share=1.0))
    hover = [text for trace in page.data for text in trace.get("customdata", ())]
    assert any("discord 0.5" in text and "&lt;b&gt;one" in text for text in hover)
    assert not any("<b>one" in str(trace) for trace in page.data)
