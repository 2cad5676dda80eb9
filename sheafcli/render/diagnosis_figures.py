"""All pictures of a diagnosis, by the names of their files."""

from __future__ import annotations

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


def save_figures(examination: Examination, title: str, folder: Path) -> None:
    """Draw the pictures of a diagnosis into a folder, one after another."""
    diagnosis = examination.diagnosis
    save_figure(neurons_figure(diagnosis.neurons, title), folder / "neurons.png")
    name, figure = _edges(examination, title)
    save_figure(figure, folder / f"{name}.png")
    save_figure(resistance_figure(diagnosis.edges, diagnosis.layers, title), folder / "resistance.png")
    save_figure(tension_figure(diagnosis.samples, diagnosis.edges, title), folder / "tension.png")


def _edges(examination: Examination, title: str) -> tuple[str, Figure]:
    """Return what shows the edges: of a plain chain the stalks on both ends, of others the graph."""
    network, equilibrium = examination.network, examination.diagnosis.equilibrium
    if isinstance(network, Network) and isinstance(equilibrium, Extension):
        return "edges", edges_figure(network, examination.samples.X, equilibrium, title)
    assert isinstance(network, GraphNetwork)
    return "network", graph_figure(network, examination.diagnosis.edges, title)
