"""The two consoles: results on standard output, all else on standard error.

Colours and other escape codes go to capable terminals only, and nowhere if NO_COLOR is set. All that is
printed goes through here, so that text of others never commands a terminal, and a reader that has gone,
as `head` does, ends nothing but the printing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from textwrap import wrap
from typing import TextIO

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from sheafcli.printable import printable

WIDEST = 100
WIDTH_OF_A_PIPE = 80
REFRESHES_A_SECOND = 5
# Of Ctrl-C a terminal shows ^C where the cursor is: it must not begin a line below what is to be erased.
ROOM_FOR_ECHO = 2


class _HouseConsole(Console):
    """A console at most 100 columns wide, and 80 where nobody's window says how wide."""

    def __init__(self, *, stderr: bool):
        colours = None if os.environ.get("NO_COLOR") else "auto"
        # Names of classes, columns and files may hold brackets and colons: they are no markup.
        super().__init__(
            stderr=stderr,
            color_system=colours,  # type: ignore[arg-type]
            highlight=False,
            markup=False,
            emoji=False,
        )

    @property  # type: ignore[misc]  # nobody sets the size of the house's consoles
    def size(self) -> ConsoleDimensions:
        """The width and height to draw in, in characters."""
        width, height = super().size
        if self.stderr:
            width -= ROOM_FOR_ECHO
        return ConsoleDimensions(min(width, WIDEST) if self.is_terminal else WIDTH_OF_A_PIPE, height)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Draw something; what is not escape codes of the console's own is made printable."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)

    def on_broken_pipe(self) -> None:
        """Go on without the reader."""
        silence(self.file)


def stdout() -> Console:
    """Return the console for what a command was asked for."""
    return _HouseConsole(stderr=False)


def stderr() -> Console:
    """Return the console for errors, notes and progress."""
    return _HouseConsole(stderr=True)


def say(line: str = "") -> None:
    """Print a line of the result, to the letter; a terminal shows long ones broken between words."""
    _print(stdout(), Text(printable(line)))


def say_filled(text: str, indent: str = "") -> None:
    """Print sentences of the result as lines of the width of the window, or of 80 characters in a pipe."""
    console = stdout()
    lines = wrap(
        printable(text),
        console.width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        _print(console, Text(line))


def remark(line: str) -> None:
    """Print a line on standard error, likewise."""
    _print(stderr(), Text(printable(line)))


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=not console.is_terminal)


def write_out(text: str) -> None:
    """Write text of a format that programs read, such as CSV: as it is, but printable on a terminal."""
    stream = sys.stdout
    try:
        stream.write(printable(text) if stream.isatty() else text)
        stream.flush()
    except BrokenPipeError:
        silence(stream)


def silence(stream: TextIO | object) -> None:
    """Let what is written to a stream from now on vanish: nobody reads it any more."""
    with suppress(OSError, AttributeError):  # no file stands behind the streams of some tests
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


def live_view(picture: Callable[[], RenderableType], console: Console) -> Live:
    """Return what draws a picture a few times a second, and leaves no trace of it in the end."""
    return Live(
        get_renderable=picture,
        console=console,
        transient=True,
        refresh_per_second=REFRESHES_A_SECOND,
        redirect_stdout=False,  # what goes to standard output must stay there
    )


def print_notes(notes: Iterable[str]) -> None:
    """Print notes on standard error: what was assumed, or looks wrong, where a command goes on."""
    for note in notes:
        told = ("note:", "bold") if note == note.removeprefix("warning: ") else ("warning:", "bold yellow")
        text = Text.assemble(told, " ", printable(note.removeprefix("warning: ")))
        _print(stderr(), text)


def print_error(message: str) -> None:
    """Print an error on standard error: its lines as they are; a terminal shows long ones broken."""
    _print(stderr(), Text.assemble(("error:", "bold red"), " ", printable(message)))
