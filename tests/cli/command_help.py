"""The --help texts in docs/commands.md: written here, checked by test_help.py.

A help text stands in a fenced block below a line `<!-- sheaf COMMAND --help -->`.

    python tests/cli/command_help.py        # write all of them anew
"""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from sheafcli.cli.app import command_line
from sheafcli.cli.commands import COMMANDS as NAMES
from sheafcli.cli.commands import command

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
BLOCK = re.compile(r"^<!-- sheaf ([a-z ]*)--help -->\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)

APP = command_line()
COMMANDS = {name: command(name) for name in NAMES}


def help_text(command: str) -> str:
    """Return what `sheaf COMMAND --help` prints on a terminal of 80 columns; "" is `sheaf` itself."""
    arguments = [*command.split(), "--help"]
    return CliRunner().invoke(APP, arguments, prog_name="sheaf", terminal_width=78).output


def with_help_texts(document: str) -> str:
    """Return the document with every help text as it is now."""
    return BLOCK.sub(
        lambda block: f"<!-- sheaf {block[1]}--help -->\n```text\n{help_text(block[1])}```", document
    )


if __name__ == "__main__":
    DOCUMENT.write_text(with_help_texts(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
