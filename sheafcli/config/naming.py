"""What a run is called that nobody has named: after a file or a directory, whatever that is called."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 100
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
ALLOWED = "letters, digits, dots, hyphens and underscores, not starting with a dot"
"""Which text is a name; as long as some `LONGEST` allows."""

_OTHERS = re.compile(r"[^A-Za-z0-9._]+")


def name_from(text: str, longest: int = LONGEST) -> str:
    """Return the name nearest to a text, "" if no letter or digit of it can stay.

    Marks of letters go (größe: grosse), and what else is not allowed becomes a hyphen (my model (1):
    my-model-1).
    """
    if NAME.fullmatch(text) and len(text) <= longest:
        return text
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return _OTHERS.sub("-", letters).lstrip(".-")[:longest].rstrip("-")
