"""Which output of an ONNX graph is the network's, and which are made of the same numbers."""

from __future__ import annotations

from dataclasses import replace

from sheafcli.interop.chain import Chain
from sheafcli.interop.onnx_classes import agreed, shown
from sheafcli.interop.onnx_graph import Graph
from sheafcli.interop.onnx_values import Values
from sheafcli.interop.onnx_walk import Reading, Walk


def network_of(graph: Graph, values: Values, entries: int, file: str) -> Chain:
    """Return the chain of a graph, to that of its outputs to which it goes furthest.

    Other outputs may stand on the way there (scores before a softmax), or behind it (labels). ValueError if
    there is another one, as then there are several networks in the file, or more than a chain. Each of them
    may name the classes.
    """
    readings: dict[str, Reading] = {}
    refusals: dict[str, ValueError] = {}
    for output in graph.outputs:
        try:
            readings[output] = Walk(graph, values, output).reading(entries)
        except ValueError as error:
            refusals[output] = error
    if not readings:
        raise next(iter(refusals.values()), ValueError("the graph has no output"))
    best = max(readings.values(), key=lambda reading: (len(reading.layers), -len(reading.behind)))
    for output in graph.outputs:
        if output in refusals:
            kind = type(refusals[output])
            raise kind(f"{refusals[output]} (in {output!r}){_alone(best, file)}")
        layers = readings[output].layers
        if best.layers[: len(layers)] != layers:
            raise ValueError(
                f"a network has one output, and neither of {best.output!r} and {output!r} stands on the way "
                f"to the other{_alone(best, file)}"
            )
    names, unclear = agreed(reading.naming for reading in readings.values() if reading.body == best.body)
    if names and best.chain.says == "sigmoid" and best.chain.n_outputs > 1:
        unclear = [f"each output is a label of its own; their names ({shown(names)}) are not matched"]
        names = ()
    notes = (*best.chain.notes, *unclear)
    others = [repr(output) for output in graph.outputs if output != best.output]
    if others:
        note = f"the graph's output {best.output!r} is read; it has all that is in {' and '.join(others)}"
        notes = (note, *notes)
    return replace(best.chain, notes=notes, classes=names)


def _alone(best: Reading, file: str) -> str:
    """Return how to write the network that leads to one output into a file of its own."""
    return (
        f"; to import {best.output!r} alone, write it into a file of its own with "
        f"onnx.utils.extract_model({file!r}, 'one.onnx', [{best.first!r}], [{best.last!r}])"
    )
