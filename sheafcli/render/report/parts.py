"""What a page of the report is made of: sections with tiles, findings, figures, tables and texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sheafcli.render.report.figure import Figure
from sheafcli.render.report.tables import Table

SEVERITIES: Final = ("error", "warning", "info")


@dataclass(frozen=True)
class Tile:
    """A figure of the summary: what it is, its value, and a word beside it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """A finding: how bad, the rule that found it, where, what it saw, what to do."""

    severity: str
    rule: str
    place: str
    evidence: str
    advice: str

    @property
    def kind(self) -> str:
        """Its severity if that is one of the known ones, else info."""
        return self.severity if self.severity in SEVERITIES else "info"


@dataclass(frozen=True)
class Text:
    """A file shown as it is."""

    title: str
    content: str


@dataclass(frozen=True)
class Section:
    """A section of the page; `missing` says what is not there, and what would write it."""

    key: str
    title: str
    lead: str = ""
    tiles: list[Tile] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
