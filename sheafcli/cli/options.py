"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sheafcli.render.formats import Format

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The configuration, a YAML file (see docs/configuration.md).")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, such as results/NAME.")]
SubjectArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|CONFIG",
        help="A run directory, for its trained network; or a configuration, for the network it starts from.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the configuration, such as training.dt=0.01; may be given again.",
    ),
]
FormatOption = Annotated[
    Format, typer.Option("--format", help="How to print: table, csv (numbers exact) or json.")
]
FiguresOption = Annotated[
    bool,
    typer.Option(
        "--figures", help="Also draw pictures into RUN/figures. Those already there are always redrawn."
    ),
]
