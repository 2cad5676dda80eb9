"""The page itself: what a run holds, ordered into sections, put together into one HTML file."""

from __future__ import annotations

import base64
import gzip
import hashlib
from importlib.metadata import version
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from sheafcli.records.sweep import PLANNED, SweepRecord
from sheafcli.render.report.contents import Contents
from sheafcli.render.report.figure import THEMES, template
from sheafcli.render.report.parts import Section
from sheafcli.render.report.sections import sections, subtitle
from sheafcli.render.report.sweep import sweep_sections, sweep_subtitle

STATUS_KINDS = {
    "finished": "good",
    "imported": "good",
    "running": "going",
    "stopped": "going",
    "interrupted": "going",
    "unfinished": "going",
    "diverged": "bad",
    "failed": "bad",
}


def report_page(contents: Contents) -> str:
    """Return the page of a run: whole, with the library that draws its figures inside."""
    status = str(contents.manifest.get("status", "unknown"))
    return _page(contents.name, status, subtitle(contents), sections(contents))


def sweep_page(sweep: SweepRecord) -> str:
    """Return the page of a sweep, as whole as that of a run."""
    status = "finished" if set(sweep.counts) <= {*PLANNED, "diverged"} else "unfinished"
    return _page(sweep.name, status, sweep_subtitle(sweep), sweep_sections(sweep))


def _page(name: str, status: str, parts: list[str], made: list[Section]) -> str:
    library, script = get_plotlyjs(), _resource("draw.js")
    page: str = (
        _environment()
        .from_string(_resource("page.html"))
        .render(
            name=name,
            version=version("sheafcli"),
            status=status,
            status_kind=STATUS_KINDS.get(status, ""),
            subtitle=parts,
            sections=made,
            style=Markup(_resource("style.css")),
            script=Markup(script),
            library=_packed(library),
            policy=policy(script, library),
            themes=THEMES,
            template=template(),
            figures=[
                {
                    "key": figure.key,
                    "data": figure.data,
                    "layout": figure.layout,
                    "height": figure.height,
                    "half": figure.half,
                }
                for section in made
                for figure in section.figures
            ],
        )
    )
    return page


def policy(*scripts: str) -> str:
    """Return a Content-Security-Policy that lets exactly these scripts run, and nothing be loaded."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    # plotly.js styles what it draws in place; its pictures to save are made in the page.
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _coded(text: str) -> Markup:
    """Return text with what stands between backticks as code."""
    parts = (
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts) if text.count("`") % 2 == 0 else escape(text)


def _packed(script: str) -> str:
    """Return a script compressed, as text: a third of its length."""
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _environment() -> Environment:
    """Return the template language as used here: whatever a run says is text, never markup."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    # A browser reads JSON, which knows no NaN.
    environment.filters["coded"] = _coded
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment
