"""What a run directory holds for the report: manifest, configuration, and the tables that are there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from sheafcli.config.document import DocumentError, parse
from sheafcli.config.load import FILE_KEYS
from sheafcli.core.network import GraphNetwork
from sheafcli.errors import InputError
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.runs import RunDirectory


@dataclass(frozen=True)
class Source:
    """A table of the run directory: what writes it, and the columns that it must have.

    Where `of_parts` is false a row may be of the whole network, with neither a layer nor an edge's operation.
    Every column not among `words` and `may_have` (words, too, where they are there) holds numbers.
    """

    command: str
    numbers: tuple[str, ...]
    words: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    of_parts: bool = True


DIAGNOSE: Final = "sheaf diagnose"
STATISTICS: Final = ("discord", "share")

SOURCES: Final[Mapping[str, Source]] = {
    "history": Source("sheaf train", ("step", "train_loss")),
    "baseline": Source("sheaf train", ("step", "train_loss")),
    "discord": Source("sheaf train", ("step", "layer", *STATISTICS), ("operation", "edge")),
    "diagnosis": Source(
        DIAGNOSE, ("layer", *STATISTICS, "resistance", "excess"), words=("operation", "edge")
    ),
    "layers": Source(DIAGNOSE, ("layer", *STATISTICS), may_have=("part", "kind")),
    "operations": Source(DIAGNOSE, STATISTICS, ("operation",)),
    "neurons": Source(DIAGNOSE, ("layer", "neuron", *STATISTICS, "active"), ("operation", "edge")),
    "samples": Source(
        DIAGNOSE,
        ("sample", *STATISTICS, "loss"),
        ("worst_edge",),
        may_have=("target", "predicted", "line", "row"),
    ),
    "classes": Source(DIAGNOSE, ("samples", *STATISTICS, "loss", "accuracy"), ("class",)),
    "metrics": Source("sheaf train", ("samples",), may_have=("target", "class"), of_parts=False),
    "confusion": Source("sheaf train", ("samples",), ("true", "predicted"), of_parts=False),
    "findings": Source(
        DIAGNOSE,
        ("layer",),
        ("severity", "rule", "operation", "neurons", "evidence", "advice"),
        of_parts=False,
    ),
    "diff": Source(
        "sheaf diff",
        ("mean_square", "largest", "times_rounding", "share", "cumulative"),
        ("operation", "type", "significant", "kind", "kind_says"),
        may_have=("segment",),
        of_parts=False,
    ),
    "spectrum": Source("sheaf spectrum", ("sample", "gap", "largest", "condition")),
}
"""The tables that a report can show, each in the file of its name with .csv."""

DIFF_LIMIT = 2**26
"""The most bytes of diff.json."""

WHOLE: Final = ("step", "layer", "neuron", "sample", "samples")
"""The columns that number things or count them."""


@dataclass(frozen=True, eq=False)
class Contents:
    """A run as the report shows it.

    Attributes
    ----------
    manifest : manifest.json.
    configuration : config.yaml as text.
    diff : what `sheaf diff` told last: its sentence, and of what; empty where there is none.
    network : the network if it is another than a plain chain, whose tables say all there is to draw.
    tables : a table of `SOURCES` for each file that is there and has rows; findings also without rows,
        since none is what one hopes for.
    """

    manifest: Mapping[str, Any]
    configuration: str
    tables: Mapping[str, pd.DataFrame]
    diff: Mapping[str, Any]
    network: GraphNetwork | None = None

    @classmethod
    def read(cls, run: RunDirectory) -> Contents:
        """Read a run directory; InputError where a file is damaged."""
        tables = {}
        for name, source in SOURCES.items():
            path = run / f"{name}.csv"
            if path.exists():
                table = _read_table(path, source)
                if len(table) > 0 or name == "findings":
                    tables[name] = table
        diff = _diff(run) if "diff" in tables else {}
        return cls(_checked(run), _read_text(run / "config.yaml"), tables, diff, _network(run))

    def table(self, name: str) -> pd.DataFrame | None:
        """Return a table, None if the run has none."""
        return self.tables.get(name)

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.manifest.get("name", "run"))

    @property
    def task(self) -> str:
        """What the run is about: the kind of its task, or the name of the file that its data is from."""
        path = self._paths.get("task.path")
        return str(self.manifest.get("task") or "") if path is None else path.name

    @property
    def _paths(self) -> dict[str, Path]:
        """The paths of files in the configuration, by key."""
        try:
            value = parse(self.configuration).value
        except DocumentError:
            return {}
        held = {
            f"{section}.{key}": (value.get(section) or {}).get(key) if isinstance(value, dict) else None
            for section, key in FILE_KEYS
        }
        return {
            key: Path(path) for key, path in held.items() if isinstance(path, str) and os.path.isabs(path)
        }

    def to_pass_on(self, text: str) -> str:
        """Return a text in which files stand without their folders: those are nobody else's business."""
        sources = (self.manifest.get("source") or {}).values()
        told = [Path(path) for path in sources if isinstance(path, str) and os.path.isabs(path)]
        for path in sorted({*self._paths.values(), *told}, key=lambda p: -len(str(p))):
            text = text.replace(str(path), path.name).replace(f"{path.parent}{os.sep}", "")
        return text

    @property
    def is_imported(self) -> bool:
        """Whether the network was made elsewhere, so that there is nothing of its training."""
        return self.manifest.get("status") == "imported"

    @property
    def widths(self) -> list[int] | None:
        """The widths of the network's layers, the input's first; None if the manifest does not say."""
        return self.manifest.get("widths")

    @property
    def final(self) -> Mapping[str, Any]:
        """The last figures of the training, empty where there are none."""
        return self.manifest.get("final") or {}


def _checked(run: RunDirectory) -> Mapping[str, Any]:
    """Return the manifest if those of its entries that have parts are of the kind they should be."""
    manifest = run.manifest()
    for key in ("final", "baseline", "source", "versions"):
        if not isinstance(manifest.get(key) or {}, dict):
            raise InputError(f"the manifest is damaged ({key} is no mapping)", path=run / "manifest.json")
    notes = manifest.get("notes") or []
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise InputError("the manifest is damaged (notes are no sentences)", path=run / "manifest.json")
    widths = manifest.get("widths")
    proper = isinstance(widths, list) and all(type(width) is int and width > 0 for width in widths)
    if widths is not None and not proper:
        raise InputError("the manifest is damaged (widths are no sizes)", path=run / "manifest.json")
    return manifest


def _diff(run: RunDirectory) -> Mapping[str, Any]:
    """Return what was told of the difference; InputError if that is damaged."""
    path = run / "diff.json"
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(DIFF_LIMIT))
        if not all(isinstance(told[key], str) for key in ("sentence", "other", "precision")):
            raise ValueError("it has no sentence")
    except (OSError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"the file is damaged ({error}); `sheaf diff` writes it anew", path=path) from error
    return dict(told)


def _network(run: RunDirectory) -> GraphNetwork | None:
    """Return the network, None where it is a plain chain, or none is there yet."""
    network = run.network() if (run / "network.npz").exists() else None
    return network if isinstance(network, GraphNetwork) else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file is damaged ({error})", path=path) from error


def _read_table(path: Path, source: Source) -> pd.DataFrame:
    """Read a table: words exactly as they are (a class may be called NA), all else as numbers."""
    words = {*source.words, *source.may_have}
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in (*source.numbers, *source.words):
            if column not in table:
                raise ValueError(f"it has no column {column}")
        for column in table.columns.difference(list(words)):
            table[column] = pd.to_numeric(table[column])
        if source.of_parts:
            _check_parts(table)
    except (OSError, OverflowError, TypeError, ValueError) as error:
        again = f"`{source.command}` writes it anew"
        what = " ".join(str(error).split())
        raise InputError(f"the table is damaged ({what}); {again}", path=path) from error
    return table


def _check_parts(table: pd.DataFrame) -> None:
    """Make what counts or numbers things whole; ValueError where it is not, or an operation is unknown."""
    for column in table.columns.intersection(list(WHOLE)):
        if not (table[column] % 1 == 0).all():
            raise ValueError(f"{column} is not always a whole number")
        table[column] = table[column].astype("int64")
    unknown = set(table.get("operation", ())) - set(OPERATION_COLOURS)
    if unknown:
        raise ValueError(f"{min(unknown)!r} is no operation")
