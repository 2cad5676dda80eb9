"""The command line itself: the commands together, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from threadpoolctl import threadpool_limits

from sheafcli.cli.compare import compare
from sheafcli.cli.diagnose import diagnose
from sheafcli.cli.diffuse import diffuse
from sheafcli.cli.export import export
from sheafcli.cli.import_ import import_
from sheafcli.cli.init import init
from sheafcli.cli.report import report
from sheafcli.cli.runs import runs
from sheafcli.cli.spectrum import spectrum
from sheafcli.cli.sweep import sweep
from sheafcli.cli.train import train
from sheafcli.cli.validate import validate
from sheafcli.cli.verify import verify
from sheafcli.errors import InputError
from sheafcli.render.console import print_error
from sheafcli.runs import RunFailed

THREADS = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    init,
    validate,
    train,
    sweep,
    diagnose,
    diffuse,
    verify,
    spectrum,
    runs,
    compare,
    report,
    import_,
    export,
):
    app.command(command.__name__.rstrip("_"))(command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"sheafcli {version('sheafcli')}")
        raise typer.Exit


@app.callback()
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


def main() -> None:
    """Run the command line; errors go to standard error, with the exit status that fits them."""
    # One BLAS thread unless the user says otherwise: small products gain nothing from more, jobs side by
    # side lose much, and a run gives the same digits however many processors there are.
    threads = None if THREADS & set(os.environ) else 1
    try:
        with threadpool_limits(threads, user_api="blas"):
            app()
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
