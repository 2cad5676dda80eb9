"""`sheaf init`: a commented configuration to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sheafcli.config.template import template
from sheafcli.errors import InputError
from sheafcli.render.console import say
from sheafcli.runs.files import write_text
from sheafcli.tasks import TASKS


def init(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist yet.")
    ] = Path("config.yaml"),
    task: Annotated[
        str, typer.Option("--task", metavar="KIND", help=f"The kind of task: {', '.join(TASKS)}.")
    ] = "paraboloid",
) -> None:
    """Write a commented configuration to start from."""
    if task not in TASKS:
        raise InputError(f"--task {task}: no such kind; there are {', '.join(TASKS)}")
    if file.exists():
        raise InputError("the file exists; choose another name", path=file)
    try:
        write_text(file, template(task))
    except OSError as error:
        raise InputError(f"the file cannot be written ({error.strerror})", path=file) from error
    say(f"wrote {file}; train it with: sheaf train {file}")
