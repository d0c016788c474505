"""Links to files outside of docs/ lead to the page made from the file, or to a page with its text."""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mixmae_bench.report.make import TITLES

ROOT = Path(__file__).parents[2]

LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```.*?^```$)", re.DOTALL | re.MULTILINE)

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "configs": "configs/index.md",
    "configs/README.md": "configs/layout.md",
    "docs/digits.ipynb": "notebook.md",
    "results/README.md": "results/index.md",
    "results/measured/digits/table.md": "results/digits.md",
}
"""Pages of the site by the file of the repository that they show."""

IMAGES = (".png", ".svg")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".sh": "sh", ".jsonl": "json"}


def rewrite(text: str, origin: str, page: str) -> str:
    """Return the Markdown of a file with its links as seen from its page.

    Args:
        text: The Markdown.
        origin: Path of the file in the repository, to which its links are relative.
        page: Path of the page in the site.

    Raises:
        FileNotFoundError: If a link names no file of the repository.
    """

    def replaced(found: re.Match) -> str:
        target = _page_of(_target(origin, found[1]), found[2] or "")
        here = posixpath.dirname(page) or "."
        name, mark, anchor = target.partition("#")
        return f"]({posixpath.relpath(name, here)}{mark}{anchor})"

    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(replaced, part) for part in parts)


def sources(text: str, origin: str) -> Iterator[str]:
    """Yield the files and folders of the repository that need a page of their own for the links of a file."""
    for part in FENCE.split(text):
        if not part.startswith("```"):
            for found in LINK.finditer(part):
                target = _target(origin, found[1])
                if _page_of(target, "") == _source_page(target) or target.endswith(IMAGES):
                    yield target


def source_page(target: str) -> tuple[str, str]:
    """Return the path and the Markdown of the page that shows a file, or lists a folder."""
    path = ROOT / target
    if path.is_dir():
        lines = [f"- `{file.name}`" for file in sorted(path.iterdir()) if not file.name.startswith("__")]
        return _source_page(target), f"# {target}\n\nA folder of the repository:\n\n" + "\n".join(
            lines
        ) + "\n"
    language = LANGUAGES.get(path.suffix, "text")
    text = path.read_text(encoding="utf-8").rstrip()
    return _source_page(target), f"# {target}\n\nA file of the repository:\n\n````{language}\n{text}\n````\n"


def _target(origin: str, link: str) -> str:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    if not (ROOT / target).exists():
        raise FileNotFoundError(f"{origin} links to {link}, which is not in the repository")
    return target


def _page_of(target: str, anchor: str) -> str:
    """Return the page of a file of the repository, with the anchor in it."""
    if target == "results/README.md" and anchor:
        # Each of its sections is a page.
        tables = {_slug(title): name for name, title in TITLES.items()}
        return f"results/{tables[anchor[1:]]}.md"
    if target in PAGES:
        return PAGES[target] + anchor
    if target.startswith("docs/"):
        return target.removeprefix("docs/") + anchor
    if target.startswith("configs/") and target.endswith(".py"):
        return f"{target.removesuffix('.py')}.md"
    return target if target.endswith(IMAGES) else _source_page(target)


def _source_page(target: str) -> str:
    return f"source/{target}.md"


def _slug(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
