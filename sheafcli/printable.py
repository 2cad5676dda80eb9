"""Text of others made fit to be shown: names of files, columns and classes may hold anything."""

from __future__ import annotations

import re

# What moves a terminal's cursor, colours it or turns its letters round; and the bytes of names that are
# no UTF-8, which Python keeps as halves of characters. Ends of lines and tabulators may stay.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return text with escapes, as Python writes them, for what a terminal would obey: \x1b for ESC."""
    return UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file's name, as PEP 383 has it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
