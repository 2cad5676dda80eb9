"""All pictures of a diagnosis, by the names of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from sheafcli.core.chain.extension import Extension
from sheafcli.core.chain.network import Network
from sheafcli.core.network import GraphNetwork
from sheafcli.diagnostics.examination import Examination
from sheafcli.render.diagnosis import neurons_figure, resistance_figure
from sheafcli.render.edge_scatter import edges_figure
from sheafcli.render.graph_figure import graph_figure
from sheafcli.render.style import save_figure
from sheafcli.render.tension import tension_figure


def _neurons(examination: Examination, title: str) -> Figure:
    return neurons_figure(examination.diagnosis.neurons, title)


def _edges(examination: Examination, title: str) -> Figure:
    network, equilibrium = examination.network, examination.diagnosis.equilibrium
    if not isinstance(network, Network) or not isinstance(equilibrium, Extension):
        raise ValueError(
            "the picture of edges shows the stalks of a plain chain; of this network draw `network`"
        )
    return edges_figure(network, examination.samples.X, equilibrium, title)


def _network(examination: Examination, title: str) -> Figure:
    if not isinstance(examination.network, GraphNetwork):
        raise ValueError("the picture of the network shows a graph; of a plain chain draw `edges`")
    return graph_figure(examination.network, examination.diagnosis.edges, title)


def _resistance(examination: Examination, title: str) -> Figure:
    return resistance_figure(examination.diagnosis.edges, examination.diagnosis.layers, title)


def _tension(examination: Examination, title: str) -> Figure:
    return tension_figure(examination.diagnosis.samples, examination.diagnosis.edges, title)


FIGURES: dict[str, Callable[[Examination, str], Figure]] = {
    "resistance": _resistance,
    "neurons": _neurons,
    "edges": _edges,
    "network": _network,
    "tension": _tension,
}
"""All pictures by the names of their files: `edges` of a plain chain, `network` of any other."""


def save_figures(examination: Examination, title: str, folder: Path) -> None:
    """Draw the pictures of a diagnosis into a folder, one after another."""
    other = "network" if isinstance(examination.network, Network) else "edges"
    for name, draw in FIGURES.items():
        if name != other:
            save_figure(draw(examination, title), folder / f"{name}.png")
