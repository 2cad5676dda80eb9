"""The consoles: who gets escape codes, how wide they are, and what an error looks like."""

import os
import pty
import struct
import subprocess
import sys
from fcntl import ioctl
from termios import TIOCSWINSZ

import pytest

from sheafcli.render.console import print_error, print_notes, stdout

SHOW = """
from rich.text import Text
from sheafcli.render.console import stderr, stdout
console = stdout()
console.print(Text("word", "bold red"))
console.print(Text(str(console.width)))
console.print(Text(str(stderr().width)))
"""


def on_a_terminal(columns, **environment):
    """Run SHOW on a pseudo-terminal of a width and return what it wrote."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")
    }
    with subprocess.Popen(
        [sys.executable, "-c", SHOW],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=kept | {"TERM": "xterm-256color"} | environment,
    ) as process:
        os.close(theirs)
        written = b""
        try:
            while chunk := os.read(ours, 4096):
                written += chunk
        except OSError:  # Linux says so when the other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0
    return written.decode().split()


@pytest.mark.parametrize(("columns", "width", "stderr_width"), [(60, "60", "58"), (250, "100", "100")])
def test_a_terminal_gets_colours_and_at_most_100_columns(columns, width, stderr_width):
    word, shown_width, progress_width = on_a_terminal(columns)
    assert word.startswith("\x1b[1;31m")
    assert shown_width == width
    assert progress_width == stderr_width, "^C is shown behind a bar, not below it"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_escape_codes_where_they_are_not_wanted(environment):
    assert on_a_terminal(80, **environment) == ["word", "80", "78"]


def test_a_pipe_is_80_columns_whatever_the_window(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert stdout().width == 80
    stdout().print("[bold]x[/bold] :smile:")
    assert capsys.readouterr().out == "[bold]x[/bold] :smile:\n"


def test_an_error_is_printed_to_the_letter_on_standard_error(capsys):
    path = "/a/" + "very_long_name" * 12
    message = f"{path}[1].yaml:3: unknown key [bold]x[/bold] :smile:\n  allowed: a, b\\[c]"
    print_error(message)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {message}\n"


def test_a_note_is_one_line_on_standard_error_whatever_it_names(capsys):
    print_notes(["column '[red]' is " + "long " * 40])
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "note: column '[red]' is " + "long " * 40 + "\n"
