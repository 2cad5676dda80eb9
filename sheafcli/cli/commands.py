"""The commands by name: each is listed by its docstring alone, and imported when it is called."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import cleandoc
from keyword import iskeyword
from typing import Any

import typer
from typer.core import TyperGroup

# -h, too, of the program and of each command.
SETTINGS = {"help_option_names": ["-h", "--help"]}

# In the order of the help. Each is a module of this package with a function of its name.
COMMANDS = (
    *("init", "validate", "train", "sweep", "predict", "infer", "diagnose", "diff", "record", "diffuse"),
    *("verify", "spectrum", "runs", "compare", "report", "import", "export"),
)


def function_of(name: str) -> Callable[..., None]:
    """Import a command and return its function."""
    function: Callable[..., None] = getattr(import_module(_module(name)), _own(name))
    return function


def described(name: str) -> str:
    """Return the docstring of a command's function, read from the source: nothing is imported."""
    spec = find_spec(_module(name))
    source: str = spec.loader.get_source(spec.name)  # type: ignore[union-attr]
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == _own(name):
            return cleandoc(ast.get_docstring(node) or "")
    raise LookupError(f"{_module(name)} has no function {_own(name)}")


def _own(name: str) -> str:
    return f"{name}_" if iskeyword(name) else name


def _module(name: str) -> str:
    return f"sheafcli.cli.{_own(name)}"


@cache
def command(name: str) -> Any:
    """Import a command and return it as the parser wants it."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, context_settings=SETTINGS)(function_of(name))
    return typer.main.get_command(app)


class Commands(TyperGroup):
    """A group whose members stand for commands until one is called, or its options are completed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that is called, imported now."""
        name, known, rest = super().resolve_command(ctx, args)
        return name, known and command(str(name)), rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands, each with the first line of its help, whole at any width."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, described(name).splitlines()[0]) for name in COMMANDS])
