"""What the site needs beyond its pages: linked files, pages and names that nobody listed, checked links."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = re.compile(r"\]\(\.\./((?:experiments|benchmarks)/[^)\s]+)\)")
LICENCE, README = "](../LICENSE)", "](../README.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages that are not in the navigation at its end."""
    listed = set(re.findall(r"[\w-]+\.md", str(config.nav)))
    others = [path.name for path in sorted(Path(config.docs_dir).glob("*.md")) if path.name not in listed]
    if others and config.nav is not None:
        config.nav.append({"More": others})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the files of experiments/ and benchmarks/ that pages link to into the site."""
    linked = set()
    for page in files.documentation_pages():
        linked |= set(OUTSIDE.findall(Path(page.abs_src_path or "").read_text(encoding="utf-8")))
    for name in sorted(linked):
        if (ROOT / name).is_file():
            files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Point links to files beside docs/ at their copies; give the reference the names that it lacks."""
    if page.file.src_uri == "api.md":
        there = set(re.findall(r"^::: sheafcli\.(\w+)$", markdown, re.MULTILINE))
        others = "".join(f"::: sheafcli.{name}\n" for name in _public_names() if name not in there)
        markdown += f"\n## More\n\n{others}" if others else ""
    markdown = OUTSIDE.sub(r"](\1)", markdown)
    return markdown.replace(README, "](index.md").replace(LICENCE, "](index.md)")


def _public_names() -> list[str]:
    """Return what `sheafcli` exports, without importing it."""
    tree = ast.parse((ROOT / "sheafcli" / "__init__.py").read_text(encoding="utf-8"))
    (names,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    return [str(name) for name in ast.literal_eval(names)]


class _Page(HTMLParser):
    """The links of a page, and the places in it that others may point at."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := given.get(name))]
        self.places |= {value for name in ("id", "name") if (value := given.get(name))}


def on_post_build(config: MkDocsConfig) -> None:
    """Follow every link of the site as it lies on the disk; PluginError lists those that lead nowhere."""
    site = Path(config.site_dir)
    pages = {path.resolve(): _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of a server
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not target.exists() or (place and target in pages and place not in pages[target].places):
                broken.append(f"{path.relative_to(site.resolve())}: {link}")
    if broken:
        raise PluginError("links that lead nowhere:\n" + "\n".join(broken))
