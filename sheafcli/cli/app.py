"""The command line itself: the commands together, and what becomes of errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, NoReturn, TextIO

import typer

from sheafcli.cli.commands import COMMANDS, SETTINGS, Commands, described, function_of
from sheafcli.errors import InputError, RunFailed
from sheafcli.render.console import print_error, say, silence
from sheafcli.threads import limit_what_is_loaded_later, one_thread

PROGRAM = "sheaf"
COMPLETION = "_SHEAF_COMPLETE"

# What the parser ends with after Ctrl-C; by the house's rule the status is then 1.
INTERRUPTED = 130


def command_line() -> typer.Typer:
    """Return the command line; a command is imported when it is called."""
    app = typer.Typer(
        cls=Commands,
        no_args_is_help=True,
        context_settings=SETTINGS,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(options)
    for name in COMMANDS:
        app.command(name, help=described(name))(_uncalled)
    return app


def _uncalled() -> None:
    """Stand for a command that is named in a list, and not called."""


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # noqa: PLC0415  # for which no other option need wait

        say(f"sheafcli {version('sheafcli')}")
        raise typer.Exit


def options(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Train neural networks by sheaf diffusion, and see edge by edge where they disagree with themselves.

    Exit status: 0 done, 1 failed, diverged or interrupted, 2 wrong use or a wrong file, 3 what `--fail-on`
    names.
    """


def _asked_for(arguments: Sequence[str]) -> str | None:
    """Return the command that is called, or completed, if any."""
    if COMPLETION in os.environ:
        line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
        arguments = line.split()[1:]
    return arguments[0] if arguments and arguments[0] in COMMANDS else None


def main() -> None:
    """Run the command line; errors go to standard error, with the exit status that fits them."""
    prepare()()


def prepare() -> Callable[[], None]:
    """Import what the command that is called needs; return what runs it, as `main` does."""
    _accept_any_order()
    is_alone = "numpy" not in sys.modules
    if is_alone:
        limit_what_is_loaded_later()
    app = command_line()
    if (asked_for := _asked_for(sys.argv[1:])) is not None:
        function_of(asked_for)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a letter that the terminal's encoding lacks is no error
        sys.stdout.reconfigure(errors="backslashreplace")

    def run() -> None:
        try:
            _run(app)
        except InputError as error:
            _leave(str(error), 2)
        except RunFailed as error:
            _leave(str(error), 1)
        except OSError as error:
            place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
            _leave(f"{place}{error.strerror or error}", 1)
        except MemoryError as error:
            _leave(f"out of memory ({error}); use fewer samples or a narrower network", 1)

    return run if is_alone else one_thread(run)


def _run(app: typer.Typer) -> None:
    """Run a command: a reader of standard output that has gone is no failure, and Ctrl-C is one."""
    stream = sys.stdout
    try:
        app(prog_name=PROGRAM)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _leave("interrupted", 1)
        if sys.stdout is not stream:  # the parser puts another there when it finds the reader gone
            sys.stdout = stream
            silence(stream)
            sys.exit(0)
        raise
    except KeyboardInterrupt:
        _leave("interrupted", 1)
    finally:
        _flush(stream)


def _leave(message: str, status: int) -> NoReturn:
    """End with an error; what is left for standard output goes first, where it still can."""
    print_error(message)
    with suppress(OSError):
        sys.stdout.flush()
        sys.exit(status)
    silence(sys.stdout)
    sys.exit(status)


def _flush(stream: TextIO) -> None:
    """Write what is left for a stream; where its reader has gone nothing is."""
    try:
        stream.flush()
    except BrokenPipeError:
        silence(stream)


def _accept_any_order() -> None:
    """Take the word that asks for a completion script in the order of Click, bash_source, as well."""
    shell, _, action = os.environ.get(COMPLETION, "").partition("_")
    if action in ("source", "complete"):
        os.environ[COMPLETION] = f"{action}_{shell}"
