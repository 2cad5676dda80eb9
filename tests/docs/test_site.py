"""The pages of the site: links lead somewhere, every page is reached, and every name of the API is there."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import sheafcli

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def places_of(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        name, _, place = link.partition("#")
        target = page if not name else page.parent / name
        assert target.exists(), link
        assert not place or place in places_of(target), link


def test_every_page_is_in_the_navigation_once():
    text = (DOCS / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    navigation = yaml.safe_load(text[text.index("nav:") :])["nav"]

    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        return [
            page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages(part)
        ]

    listed = pages(navigation)
    assert sorted(listed) == sorted(page.name for page in PAGES)


def test_the_reference_has_every_name_of_the_api_and_no_other():
    named = re.findall(r"^::: sheafcli\.(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(sheafcli.__all__)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((DOCS / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version("sheafcli")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
