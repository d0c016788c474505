"""mkdocs hook: adds the pages that are made at build time, and checks the site."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.report.html import TEMPLATES

with quiet():
    from generate import commands, configs, links, notebook, results
    from generate.check import complaints

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page and file that is not in docs/."""
    with quiet():
        made = {
            "options.md": commands.page(),
            **configs.pages(),
            **results.pages(),
            **notebook.pages(),
        }
    originals = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    for origin, page in links.PAGES.items():
        if page not in made:
            originals[origin] = (ROOT / origin).read_text(encoding="utf-8")
            made[page] = links.rewrite(originals[origin], origin, page)
    targets = {target for origin, text in originals.items() for target in links.sources(text, origin)}
    for target in sorted(targets):
        if not target.endswith(links.IMAGES):
            page, text = links.source_page(target)
            made[page] = text
        elif not target.startswith("docs/"):
            made[target] = (ROOT / target).read_bytes()
    for name in ("table.css", "report.js"):
        made[f"assets/{name}"] = (TEMPLATES / name).read_text(encoding="utf-8")
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **kwargs: object) -> str:
    """Let the links of a page of docs/ lead to pages of the site."""
    if page.file.generated_by:
        return markdown
    return links.rewrite(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def on_post_build(config: MkDocsConfig) -> None:
    """Fail if a page asks another host for anything, or a link is broken."""
    found = complaints(Path(config.site_dir).resolve())
    if found:
        raise PluginError("\n".join(["the site is not right:", *found]))
