"""The one way through an ONNX graph from its input to an output, and what of it is a chain."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sheafcli.interop.chain import Chain, Ending, Interface, NotAChain
from sheafcli.interop.onnx_classes import Naming, naming
from sheafcli.interop.onnx_graph import Graph, Node
from sheafcli.interop.onnx_readouts import complement, is_readout, left_out
from sheafcli.interop.onnx_scalers import scales_inputs
from sheafcli.interop.onnx_sizes import features
from sheafcli.interop.onnx_steps import Steps
from sheafcli.interop.onnx_values import Values


@dataclass(frozen=True, eq=False)
class Reading:
    """A chain from the graph's input to one of its outputs.

    `first` and `last` are the values that it leads from and to, `layers` the nodes that do something on
    the way, `behind` those after it that are left out, `naming` what these call the classes.
    """

    output: str
    chain: Chain
    first: str
    last: str
    layers: tuple[Node, ...]
    behind: tuple[Node, ...]
    naming: Naming

    @property
    def body(self) -> tuple[Node, ...]:
        """The layers without the output function."""
        return self.layers[:-1] if isinstance(self.chain.steps[-1], Ending) else self.layers


class Walk:
    """The nodes that an output is computed by, without those that only make constants of constants."""

    def __init__(self, graph: Graph, values: Values, output: str):
        self.graph, self.values, self.output = graph, values, output
        self.nodes = [n for n in graph.ancestors(output) if not values.varying.isdisjoint(n.outputs)]
        self.users: dict[str, list[tuple[Node, int]]] = {}
        for node in self.nodes:
            for slot, name in enumerate(node.inputs):
                if name in values.varying:
                    self.users.setdefault(name, []).append((node, slot))

    def reading(self, entries: int) -> Reading:
        """Return the chain to the output, of a file of so many numbers; ValueError where it is none."""
        first = at = self.input()
        steps, layers, behind = self._steps(first, entries), list[Node](), tuple[Node, ...]()
        way: list[tuple[Node, int]] = []
        while at in self.users:
            found = self.users[at]
            if (steps.ended and complement(found, self.users, self.values)) or is_readout(found, steps.ended):
                behind = self.behind(at)
                steps.notes += left_out(behind, self.values.shapes[at])
                break
            node, slot = self._only(at)
            with np.errstate(all="ignore"):  # the chain refuses what is not finite
                if steps.add_node(node, slot):
                    layers.append(node)
            way.append((node, slot))
            at = node.outputs[0]
        if sum(size != 1 for size in features(self.values.shapes[at])) > 1:
            steps.notes.append("the axes of an output stand flat, in C order")
        scaled = scales_inputs(way, self.values)
        chain = Chain(tuple(steps.steps), None, tuple(steps.notes), scales_inputs=scaled)
        if not behind:
            logarithm = any(node.kind in ("Log", "LogSoftmax") for node, _ in way)
            shape = self.values.shapes[first]
            chain = replace(chain, interface=Interface(first, self.output, shape, chain.says, logarithm))
        names = naming(behind, at, chain.n_outputs, self.graph, self.values)
        return Reading(self.output, chain, first, at, tuple(layers), behind, names)

    def input(self) -> str:
        """Return the one input of the graph that the output depends on."""
        names = [name for name in self.graph.inputs if name in self.users or name == self.output]
        if not names:
            raise ValueError(
                f"{self.output!r} does not depend on an input of the graph; a network's output does"
            )
        if len(names) > 1:
            raise ValueError(
                f"a network has one input, and {self.output!r} depends on {len(names)} ({', '.join(names)}); "
                "export a model that takes all features as one array"
            )
        name: str = names[0]
        return name

    def _steps(self, name: str, entries: int) -> Steps:
        """Return the steps so far, none, behind an input that is an array of numbers."""
        kind = self.graph.inputs[name].tensor_type.elem_type
        types = self.graph.types
        if kind not in types.floats and kind not in types.integers:
            raise ValueError(f"the input {name!r} is no array of numbers; a network takes numbers")
        steps = Steps(self.graph, self.values, entries, whole_numbers=kind in types.integers)
        if sum(size != 1 for size in features(self.values.shapes[name])) > 1:
            steps.notes.append("the axes of a sample stand flat, in C order: an input is one row of numbers")
        steps.note_precision(kind)
        others = [repr(other) for other in self.graph.inputs if other != name]
        if others:
            steps.notes.append(f"{self.output!r} does not depend on the input {', '.join(others)}")
        return steps

    def _only(self, at: str) -> tuple[Node, int]:
        """Return the one node that a value goes into, and its input slot."""
        found = self.users[at]
        node, slot = found[0]
        if len(found) > 1 or at == self.output:
            where = ", ".join(node.label for node, _ in found[:9]) + ", ..." * (len(found) > 9)
            raise NotAChain(
                f"the graph is no chain: {at!r} goes to {where}; "
                "sheafcli reads networks whose layers stand one behind the other"
            )
        if not node.outputs or any(name in self.users or name == self.output for name in node.outputs[1:]):
            raise NotAChain(f"the graph is no chain: it does not go on with the first output of {node.label}")
        return node, slot

    def behind(self, value: str) -> tuple[Node, ...]:
        """Return the nodes that a value goes into, and those behind them."""
        reached, nodes = {value}, []
        for node in self.nodes:
            if not reached.isdisjoint(node.inputs):
                reached.update(node.outputs)
                nodes.append(node)
        return tuple(nodes)
