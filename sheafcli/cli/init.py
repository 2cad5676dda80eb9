"""`sheaf init`: a commented configuration to start from, also one that fits a file of data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sheafcli.config.schema import Config
from sheafcli.config.template import BEST, template
from sheafcli.config.words import tags_of
from sheafcli.errors import InputError
from sheafcli.render.console import print_notes, say
from sheafcli.runs.files import write_text
from sheafcli.runs.suggestion import FORMATS, suggest
from sheafcli.tasks import TASKS

METHODS = tuple(tags_of(Config.model_fields["training"].annotation))


def init(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist yet.")
    ] = Path("config.yaml"),
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="KIND",
            help=f"The kind of task: {', '.join(TASKS)}.",
            show_default="paraboloid, or what --data is",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE", help=f"Your own data ({', '.join(FORMATS)}), which the file will fit."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="COLUMN",
            help="The column of --data to predict, by name or position.",
            show_default="one called target, y, label or the like, else the last",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help=f"How to train: {', '.join(METHODS)}.",
            show_default=f"{BEST}, or what suits the size of --data",
        ),
    ] = None,
) -> None:
    """Write a commented configuration to start from.

    It asks no questions. With --data it reads the file, guesses the target and says so, and chooses width,
    method and steps by the size of the data.
    """
    if task is not None and task not in TASKS:
        raise InputError(f"--task {task}: no such kind; there are {', '.join(TASKS)}")
    if method is not None and method not in METHODS:
        raise InputError(f"--method {method}: no such method; there are {', '.join(METHODS)}")
    if target is not None and data is None:
        raise typer.BadParameter("--target is a column of a table: give that with --data")
    if file.exists():
        raise InputError("the file exists; choose another name", path=file)
    suggestion = None if data is None else suggest(data, file, target, method)
    if suggestion is None:
        text = template(task or "paraboloid", method or BEST)
    else:
        if task is not None and task != suggestion.kind:
            raise InputError(f"--task {task} does not read this file; leave --task out", path=data)
        text = template(suggestion.kind, suggestion.method, suggestion.values)
    try:
        write_text(file, text)
    except OSError as error:
        raise InputError(f"the file cannot be written ({error.strerror})", path=file) from error
    if suggestion is not None:
        print_notes(suggestion.notes)
        for line in suggestion.told:
            say(line)
    say(f"wrote {file}; train it with: sheaf train {file}")
