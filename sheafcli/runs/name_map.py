"""Which arrays of another run are values of which vertices, where their names do not tell: `--map FILE`.

The file is YAML, a line `array: vertex` each, or CSV, rows of `array,vertex` without a header. A vertex is
named as in the run, or as the file that it was imported from calls its value.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from pathlib import Path

from sheafcli.config.load import MAX_BYTES, read_document
from sheafcli.config.problems import did_you_mean
from sheafcli.errors import InputError
from sheafcli.interop.npz import open_bounded

YAML = (".yaml", ".yml")
EXAMPLE = "such as `/layer1/Conv_output_0: conv1`"


def read_name_map(path: Path, arrays: Collection[str], names: Collection[str]) -> dict[str, str]:
    """Return the name in the run of each array that the file lists.

    `arrays` are those that there are, `names` what vertices may be called. InputError names the line of what
    is neither, or comes twice.
    """
    found: dict[str, str] = {}
    for line, array, name in _yaml(path) if path.suffix.lower() in YAML else _csv(path):
        if array not in arrays:
            turned = "; an array stands before its vertex" if array in names and name in arrays else ""
            known = did_you_mean(array, arrays)
            raise InputError(f"the other run has no value {array!r}{turned or known}", path=path, line=line)
        if name not in names:
            raise InputError(
                f"the network has no vertex {name!r}{did_you_mean(name, names)}", path=path, line=line
            )
        if array in found or name in found.values():
            raise InputError(f"{array if array in found else name!r} comes twice", path=path, line=line)
        found[array] = name
    if not found:
        raise InputError(f"lists nothing; give a line for each array, {EXAMPLE}", path=path)
    return found


def _yaml(path: Path) -> Iterator[tuple[int | None, str, str]]:
    document = read_document(path, f"a map gives a line for each array, {EXAMPLE}")
    if document.problems:
        first = document.problems[0]
        raise InputError(first.message, path=path, line=first.line)
    for array, name in document.value.items():
        line = document.origin((array,)).line
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise InputError(f"{array} must have the name of one vertex, {EXAMPLE}", path=path, line=line)
        yield line, array, str(name)


def _csv(path: Path) -> Iterator[tuple[int, str, str]]:
    with open_bounded(path, MAX_BYTES) as file:
        content = file.read(MAX_BYTES)
    try:
        lines = content.decode("utf-8-sig").splitlines()
        reader = csv.reader(lines, strict=True)
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != 2:
                raise InputError(
                    f"this row has {len(cells)} cells; a map has two, array,vertex",
                    path=path,
                    line=reader.line_num,
                )
            yield reader.line_num, cells[0], cells[1]
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text; save it as UTF-8", path=path) from error
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", path=path) from error
