"""The command line itself: the commands together, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from keyword import iskeyword
from typing import Annotated

import typer
from threadpoolctl import threadpool_limits

from sheafcli.errors import InputError
from sheafcli.render.console import print_error
from sheafcli.runs import RunFailed

THREADS = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}

# The commands in the order of the help, each a module of this package with a function of its name.
COMMANDS = (
    *("init", "validate", "train", "sweep", "diagnose", "diffuse", "verify", "spectrum"),
    *("runs", "compare", "report", "import", "export"),
)


def command_line(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the command line with some of the commands; only what those need is imported."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(options)
    for name in names:
        own = f"{name}_" if iskeyword(name) else name
        app.command(name)(getattr(import_module(f"sheafcli.cli.{own}"), own))
    return app


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"sheafcli {version('sheafcli')}")
        raise typer.Exit


def options(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Train ReLU networks by sheaf diffusion, and see edge by edge where they disagree with themselves.

    Exit status: 0 done, 1 failed, diverged or interrupted, 2 wrong use or a wrong file, 3 a finding that
    `diagnose --fail-on` names.
    """


def _asked_for(arguments: Sequence[str]) -> Sequence[str]:
    """Return the command that is called; all of them if none is, or one that does not exist."""
    return arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else COMMANDS


def main() -> None:
    """Run the command line; errors go to standard error, with the exit status that fits them."""
    # One BLAS thread unless the user says otherwise: small products gain nothing from more, jobs side by
    # side lose much, and a run gives the same digits however many processors there are.
    threads = None if THREADS & set(os.environ) else 1
    try:
        with threadpool_limits(threads, user_api="blas"):
            command_line(_asked_for(sys.argv[1:]))()
    except InputError as error:
        print_error(str(error))
        sys.exit(2)
    except RunFailed as error:
        print_error(str(error))
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print_error(f"{place}{error.strerror or error}")
        sys.exit(1)
    except MemoryError as error:
        print_error(f"out of memory ({error}); use fewer samples or a narrower network")
        sys.exit(1)
