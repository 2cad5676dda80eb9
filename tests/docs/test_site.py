"""The pages of the site: links lead somewhere, pages of the navigation and names of the API are there."""

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


def test_the_navigation_has_pages_that_are_there_each_once():
    text = (DOCS / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"[\w-]+\.md", text[text.index("nav:") :])
    assert len(listed) == len(set(listed))
    assert set(listed) <= {page.name for page in PAGES}


def test_the_reference_names_what_the_api_has():
    named = re.findall(r"^::: sheafcli\.(\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(named) == len(set(named))
    assert set(named) <= set(sheafcli.__all__)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((DOCS / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version("sheafcli")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
