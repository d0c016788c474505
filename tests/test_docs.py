"""The documentation: its pages, what is made of code, and the check of the built site. Needs no mkdocs."""

import re
from pathlib import Path

import pytest
import yaml
from generate import commands, configs, links, results
from generate.check import complaints

from mixmae_bench.cli import COMMANDS
from mixmae_bench.results.measurements import Count
from mixmae_bench.suite.gpu_speed import gpu_speed
from mixmae_bench.system.shipped import find_config, names

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


class Loader(yaml.SafeLoader):
    """The settings of mkdocs name Python functions, which are not needed here."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def nav() -> list[str]:
    """Return the pages of the navigation."""
    found: list[str] = []

    def visit(node: object) -> None:
        if isinstance(node, str):
            found.append(node)
        else:
            for child in node.values() if isinstance(node, dict) else node:
                visit(child)

    visit(yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"])
    return found


def test_every_page_is_in_the_navigation_once() -> None:
    made = {"options.md", "notebook.md", "configs/index.md", *links.PAGES.values()}
    made |= {f"results/{name}.md" for name in results.TABLES}
    assert sorted(nav()) == sorted(made | {path.name for path in DOCS.glob("*.md")})


def test_every_command_has_a_section_with_all_its_options() -> None:
    page = commands.page()
    sections = re.findall(r"^## mixmae-bench (\S+)$", page, re.MULTILINE)
    assert tuple(sections) == COMMANDS
    assert "### mixmae-bench data check" in page
    assert page.count("\n`--auto-scale-lr`\n:   ") == 3
    assert (
        "`--format {text,md,csv,latex}`\n:   Default: text for published values on a terminal, else md.\n"
        in page
    )
    assert all(page.split(f"## mixmae-bench {name}\n")[1].lstrip()[0].isupper() for name in COMMANDS)


def test_every_config_states_its_recipe_and_source() -> None:
    for name, path in names("configs").items():
        assert configs._summary(path), name
        assert configs._source(path), name


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        # 300 epochs at the recorded images/s, and 100 epochs at 3 passes of 16.32 G and the median of FLOP/s.
        ("mixmae_swin-b-w14_16xb128-300e_in1k", ["384.35", "16", None, "recorded step"]),
        ("mixmae_swin-b-w14_8xb128-100e_in1k", ["128.12", "8", None, "FLOPs"]),
        ("mixmae-swin-small_1xb50-40e_digits", ["0.02", "1", "", ""]),
    ],
)
def test_hours_come_from_the_recorded_step_else_from_flops(name: str, cells: list[str | None]) -> None:
    path, speed = find_config(name), gpu_speed()
    flops = 20_907_264 if "digits" in name else 16_316_051_456
    counted = Count(1, f"configs/{path.parent.name}/{name}.py", [224, 224], "", 10, 10, flops, "", {})
    facts = configs._facts(path, counted, speed)
    images = 1_281_167 * (300 if "300e" in name else 100)
    if step := speed.step(path):
        cells[2] = f"{images / step.images_per_s / 3600 / 8:.1f}"
    elif cells[2] is None:
        cells[2] = f"{flops * (3 * images + 500_000) / speed.flops_per_s / 3600 / 8:.1f}"
    assert facts[2:] == cells
    assert configs._facts(path, None, speed) == [""] * 6


@pytest.mark.parametrize(
    ("origin", "page", "text", "expected"),
    [
        ("docs/speed.md", "speed.md", "[a](../results/README.md#speed-and-memory)", "[a](results/speed.md)"),
        ("docs/speed.md", "speed.md", "[a](recipes.md#b)", "[a](recipes.md#b)"),
        ("README.md", "index.md", "[a](docs/recipes.md) [b](#c)", "[a](recipes.md) [b](#c)"),
        ("configs/README.md", "configs/layout.md", "[a](../docs/speed.md)", "[a](../speed.md)"),
        ("docs/speed.md", "speed.md", "[a](../setup.py)", "[a](source/setup.py.md)"),
        ("docs/speed.md", "speed.md", "```md\n[a](../no.py)\n```", "```md\n[a](../no.py)\n```"),
        ("docs/speed.md", "speed.md", "[a](https://b.org/c.py)", "[a](https://b.org/c.py)"),
    ],
)
def test_links_lead_to_the_page_of_a_file(origin: str, page: str, text: str, expected: str) -> None:
    assert links.rewrite(text, origin, page) == expected


def test_every_link_of_the_documents_leads_to_a_file_of_the_repository() -> None:
    pages = [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "configs" / "README.md"]
    for path in pages:
        links.rewrite(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix(), "page.md")
    with pytest.raises(FileNotFoundError, match=r"README.md links to docs/none.md"):
        links.rewrite("[a](docs/none.md)", "README.md", "index.md")


GOOD = """<link rel="canonical" href="https://a.org/"><link href="a.css" rel="stylesheet"><p id="b">
<a href="https://a.org">a</a> <a href="other.html#c">b</a> <a href="#b">c</a> <img src="data:,"></p>"""


@pytest.mark.parametrize(
    ("page", "style", "complaint"),
    [
        ("", "", None),
        (
            '<script src="https://cdn.org/a.js"></script>',
            "",
            "index.html: asks another host for https://cdn.org/a.js",
        ),
        ('<img src="//cdn.org/a.png">', "", "index.html: asks another host for //cdn.org/a.png"),
        (
            "<style>@import 'https://f.org/a.css'</style>",
            "",
            "index.html: asks another host for https://f.org/a.css",
        ),
        ("", "p { src: url(https://f.org/a.woff2) }", "a.css: asks another host for https://f.org/a.woff2"),
        ('<a href="none.html">a</a>', "", "index.html: broken link none.html"),
        ('<a href="other.html#none">a</a>', "", "index.html: broken link other.html#none"),
        ('<img src="none.png">', "", "index.html: broken link none.png"),
    ],
)
def test_requests_to_other_hosts_and_broken_links_are_told(
    tmp_path: Path, page: str, style: str, complaint: str | None
) -> None:
    (tmp_path / "index.html").write_text(GOOD + page)
    (tmp_path / "other.html").write_text('<h1 id="c">a</h1>')
    (tmp_path / "a.css").write_text(style)
    assert complaints(tmp_path) == ([complaint] if complaint else [])
