"""The pages of docs/ that a reader follows: their files, and a clone with shortened configs beside them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "tests" / "smoke"


def read_page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def write_files(page: str, parent: Path) -> Path:
    """Write the files of a page into the folder that it names; they are those that it lists."""
    listed = re.search(r"^(my-[\w-]+)/\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    folder = parent / listed[1]
    folder.mkdir()
    for name, content in re.findall(r"^`([\w.-]+)`:\n\n```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        (folder / name).write_text(content)
    assert sorted(path.name for path in folder.iterdir()) == sorted(listed[2].split())
    return folder


def write_short_configs(clone: Path, configs: dict[str, str]) -> None:
    """Write configs that take seconds into a clone, each on the one of tests/smoke that is named."""
    for config, smoke in configs.items():
        path = clone / "configs" / config
        path.parent.mkdir(parents=True)
        path.write_text(f"_base_ = {str(SMOKE / smoke)!r}\ntrain_cfg = dict(max_epochs=1, val_interval=1)\n")


def commands(page: str) -> list[str]:
    """Return the blocks of commands of a page."""
    return re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def arguments(block: str) -> list[list[str]]:
    """Return the arguments of every `mixmae-bench` in a block of commands."""
    return [line.split()[1:] for line in block.splitlines() if line.startswith("mixmae-bench ")]
