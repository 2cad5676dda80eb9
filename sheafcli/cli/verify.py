"""`sheaf verify`: the theorems, checked on this network, each with its figure."""

from __future__ import annotations

from typing import Annotated

import typer

from sheafcli.cli.options import FormatOption, SubjectArgument
from sheafcli.diagnostics.verification import verification_table
from sheafcli.diagnostics.verification import verify as verify_network
from sheafcli.render.console import print_notes, stdout
from sheafcli.render.tables import checks_table, show_frame
from sheafcli.runs import RunFailed
from sheafcli.runs.subject import Subject


def verify(
    subject: SubjectArgument,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="The seed for patterns and perturbations.")
    ] = 0,
    format_: FormatOption = "table",
) -> None:
    """Check the theorems on a network; exit 1 if one does not hold."""
    studied = Subject.load(subject)
    print_notes(studied.notes)
    checks = verify_network(studied.network, studied.task.X_test, seed=seed)
    if format_ == "table":
        stdout().print(checks_table(checks))
    else:
        show_frame(verification_table(checks), format_)
    failed = [check.theorem for check in checks if not check.holds]
    if failed:
        raise RunFailed(f"does not hold on {studied.name}: {'; '.join(failed)}")
