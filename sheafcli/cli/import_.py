"""`sheaf import`: a network that was trained elsewhere, made a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from sheafcli.config.naming import name_from
from sheafcli.core.chain.network import Network
from sheafcli.errors import InputError
from sheafcli.interop.models import FORMATS
from sheafcli.render.console import print_notes, say, stdout
from sheafcli.render.tables import frame_table
from sheafcli.runs import RunDirectory
from sheafcli.runs.imported import DataSource, Imported
from sheafcli.runs.manifest import form, sizes


def import_(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help=f"The model file, one of {', '.join(FORMATS)}.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="The run directory to write.", show_default="results/MODEL"
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="FILE|KIND",
            help="The data to examine the network with: a .csv file, an .npz file of X_train, y_train, "
            "X_test and y_test, the task of a .yaml configuration, or a kind of task such as digits.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="COLUMN",
            help="The column of a .csv file to predict, by name or position; may be given again.",
        ),
    ] = None,
    ending: Annotated[
        str | None,
        typer.Option(
            "--ending",
            metavar="NAME",
            help="The output function that ends the network, identity, sigmoid or softmax, where the file "
            "does not say it; or the name of the output to read, of an ONNX file that has several.",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            "--order",
            metavar="NAMES",
            help="The layers of a state_dict in the order in which forward() calls them: their names, "
            "separated by commas. The name of a block stands for all layers in it. Layers that are not "
            "named are left out.",
        ),
    ] = None,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold",
            help="Fold batch normalisations and scales into the layers beside them: the same function, with "
            "fewer edges. Those of dense layers with ReLUs alone are always folded.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")] = False,
) -> None:
    """Make a run of a network trained elsewhere.

    No code in the file is run. The new run can be diagnosed, verified and compared with
    its source; `sheaf train DIR/config.yaml --output OTHER` trains the network further.
    """
    if target and data is None:
        raise typer.BadParameter("--target names columns of a .csv file: give that with --data")
    directory = RunDirectory(output or Path("results") / _name(model))
    source = None if data is None else DataSource.named(data, target or ())
    names = [] if order is None else [name.strip() for name in order.split(",")]
    if not all(names):
        raise typer.BadParameter("--order takes names with commas between, such as fc1,fc2")
    imported = Imported.read(model, directory, source, ending, names, fold=fold)
    imported.write(directory, overwrite=overwrite)
    print_notes(imported.notes)
    _show(imported)
    say(f"\nRun directory: {directory.path}")


def _name(model: Path) -> str:
    name = name_from(model.stem)
    if not name:
        raise InputError(
            "no name for the run can be made of the file's; give --output results/NAME", path=model
        )
    return name


def _show(imported: Imported) -> None:
    console = stdout()
    network = imported.network
    facts = {
        "file": imported.source["file"],
        "format": imported.source["format"],
        "widths" if isinstance(network, Network) else "shape": form(network),
        "parameters": f"{sizes(network, None)['parameters']:,}",
        "output": network.output.name,
    }
    if (difference := imported.difference) is not None:
        kind = "random samples" if imported.task is None else "samples"
        facts["ONNX Runtime"] = (
            f"differs by {difference.relative:.1e} of the largest output, on {difference.n_samples} {kind}"
        )
    console.print(frame_table(pd.DataFrame({"network": facts.keys(), "": facts.values()})))
    if imported.task is None:
        return
    found = imported.figures
    parts = {"training": ("train", imported.task.X_train), "test": ("test", imported.task.X_test)}
    rows = [
        {
            "data": label,
            "samples": len(X),
            "loss": found[f"{key}_loss"],
            **({"accuracy": f"{found[f'{key}_accuracy']:.2%}"} if network.output.classifies else {}),
        }
        for label, (key, X) in parts.items()
    ]
    console.print()
    console.print(frame_table(pd.DataFrame(rows)))
