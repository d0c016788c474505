"""Check of the built site: no page asks another host for anything, and no link inside is broken."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"link": "href"} | dict.fromkeys(
    ("script", "img", "iframe", "source", "video", "audio", "embed", "input", "track"), "src"
)
"""Attribute that a browser fetches on its own, by tag."""

URL = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")
QUIET = {"canonical", "alternate"}
"""Values of `rel` of links that are not fetched."""


class _Page(HTMLParser):
    """IDs of a page, its links, and what a browser fetches for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)
        self.fetched += URL.findall(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if FETCHED.get(tag) in values and values.get("rel") not in QUIET:
            self.fetched.append(values[FETCHED[tag]])


def complaints(site: Path) -> list[str]:
    """Return a line for every request to another host and every broken link of a built site."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name}: asks another host for {url}" for url in page.fetched if _foreign(url)]
        wrong = {url for url in [*page.links, *page.fetched] if not _foreign(url)}
        found += [
            f"{name}: broken link {url}" for url in sorted(wrong) if not _reaches(url, path, pages, site)
        ]
    return found + list(_styles(site))


def _styles(site: Path) -> Iterator[str]:
    for path in sorted(site.rglob("*.css")):
        for url in URL.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: asks another host for {url}"


def _foreign(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme in ("http", "https")


def _reaches(url: str, path: Path, pages: dict[Path, _Page], site: Path) -> bool:
    """Return whether a link leads to a file of the site, and its anchor to an ID."""
    parts = urlsplit(url)
    if parts.scheme:  # data:, mailto:
        return True
    base = site if parts.path.startswith("/") else path.parent
    target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return False
    anchor = unquote(parts.fragment)
    return not anchor or target not in pages or anchor in pages[target].ids
