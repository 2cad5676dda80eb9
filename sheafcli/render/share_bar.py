"""A share of the whole as a bar of block characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

FULL, FULL_ASCII = "█", "#"
PARTIAL = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


@dataclass(frozen=True)
class ShareBar:
    """A bar of block characters, as long as the sum of its parts is of `longest`.

    `parts` are (share, style) in the order they are stacked. The length is exact to an eighth of a
    character, or to a character where the encoding has no blocks; what is above zero is seen.
    """

    parts: tuple[tuple[float, str], ...]
    longest: float

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Ask for 6 to 24 characters."""
        return Measurement(6, min(24, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the bar in the width given."""
        shares = [0.0 if math.isnan(share) else share for share, _ in self.parts]
        if self.longest <= 0.0 or math.isnan(self.longest):
            return
        width = options.max_width
        full, rest = divmod(_ceiling(8 * width * (sum(shares) / self.longest)), 8)
        if options.ascii_only:
            full, rest = full + (rest > 0), 0
        cells = (FULL_ASCII if options.ascii_only else FULL) * full + PARTIAL[rest]
        text = Text(no_wrap=True, end="")
        for cell, character in enumerate(cells):
            text.append(character, self._style_at((cell + 0.5) / width * self.longest, shares))
        yield text

    def _style_at(self, place: float, shares: Sequence[float]) -> str:
        """Return the style of the part that covers a place, or of the last part before it."""
        end, style = 0.0, ""
        for share, (_, part_style) in zip(shares, self.parts, strict=True):
            if share > 0.0 and end <= place:
                style = part_style
            end += share
        return style


def _ceiling(value: float) -> int:
    """Round up, but not for the rounding error of a sum."""
    return math.ceil(round(value, 6))
