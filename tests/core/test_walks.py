"""Walks through a network stand in sweep.py, and those of plain chains in chain/: nowhere else in core."""

import ast
from pathlib import Path

import pytest

import sheafcli.core

CORE = Path(sheafcli.core.__file__).parent
# What lists a network's layers in order, and what takes values from one to the next.
LAYERS = {"vertices", "heads", "nodes", "restrictions", "weights", "biases"}
STEPS = {"forward", "at", "jvp", "vjp"}
LOOPS = ast.For | ast.While | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

MODULES = [
    path
    for path in sorted(CORE.rglob("*.py"))
    if path != CORE / "sweep.py" and not {"chain", "operations"} & set(path.relative_to(CORE).parts)
]


def over(loop):
    """Return what a loop goes over."""
    if isinstance(loop, ast.For):
        return [loop.iter]
    return [loop.test] if isinstance(loop, ast.While) else [part.iter for part in loop.generators]


def walks(source):
    """Return the lines of loops over layers that compute with operations, restrictions or matrices.

    A transposed map may nowhere be applied, but by a walk.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, LOOPS):
            names = {n.attr for part in over(node) for n in ast.walk(part) if isinstance(n, ast.Attribute)}
            if names & LAYERS and any(is_step(inner) for inner in ast.walk(node)):
                found.append(node.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "vjp":
            found.append(node.lineno)
    return found


def is_step(node):
    """Tell whether a value is taken along an edge here."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STEPS


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_no_other_module_walks_through_a_network(path):
    assert walks(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "for W, b in zip(network.weights, network.biases):\n    x = x @ W.T + b",
        "for vertex in reversed(graph.vertices):\n    w = vertex.operation.at(*values).vjp(w)",
        "x = [v.operation.forward(x) for v in graph.vertices[1:]]",
        "while graph.vertices[i:]:\n    x = at.restrictions[i].jvp(x)",
        "part = restriction.vjp(w)",
    ],
)
def test_a_walk_is_found(source):
    assert walks(source)


def test_a_list_of_layers_is_no_walk():
    assert walks("size = sum(vertex.size for vertex in graph.vertices)") == []
