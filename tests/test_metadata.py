"""What the package says about itself: version, extras, model index, and the source distribution."""

import re
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import setuptools
import yaml
from modelindex.load_model_index import load as load_model_index

import mixmae_bench
from mixmae_bench.system.shipped import names

ROOT = Path(__file__).parents[1]


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The arguments that setup.py gives to setuptools."""
    found: dict[str, object] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: found.update(arguments))
    runpy.run_path(str(ROOT / "setup.py"))
    return found


def pins(name: str) -> dict[str, str]:
    """Return the versions of a constraints file by package."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def packages(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in requirements}


def test_the_version_is_the_same_everywhere(metadata: dict) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert metadata["version"] == mixmae_bench.__version__ == citation["version"]
    assert metadata["license"] == citation["license"]
    assert f"\n## {mixmae_bench.__version__} (" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_documented_extras_exist_and_one_family_is_in_each(metadata: dict) -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    extras = metadata["extras_require"]
    assert sorted(documented) == sorted(extras) == ["docs", "gpu", "onedl", "openmmlab", "test", "trackers"]
    assert not packages(extras["onedl"]) & packages(extras["openmmlab"])


def test_the_pinned_versions_hold_the_extras_and_agree(metadata: dict) -> None:
    docs, own = pins("constraints-docs.txt"), pins("constraints.txt")
    assert packages(metadata["extras_require"]["docs"]) <= docs.keys()
    assert packages([*metadata["extras_require"]["test"], *metadata["install_requires"]]) <= own.keys()
    assert {name: docs[name] for name in docs.keys() & own.keys()} == {
        name: own[name] for name in docs.keys() & own.keys()
    }


def test_the_model_index_lists_every_config_without_weights_or_results(tmp_path: Path) -> None:
    index = load_model_index(str(ROOT / "model-index.yml"))
    index.build_models_with_collections()
    listed = {model.name: model for model in index.models}
    assert listed.keys() == names("configs").keys()
    assert all((ROOT / model.config).is_file() for model in listed.values())
    assert not any(model.weights or model.results for model in listed.values())
    metafile = runpy.run_path(str(ROOT / "tools" / "metafile.py"))
    written = (ROOT / "configs" / "metafile.yml").read_text(encoding="utf-8")
    assert written == metafile["content"](), "run: python tools/metafile.py"


def test_the_source_distribution_holds_what_a_wheel_is_made_of(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)]
    command += ["sdist", "--formats", "tar", "--dist-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar"))) as archive:
        held = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    files = (path for name in ("configs", "results", "mixmae_bench") for path in (ROOT / name).rglob("*"))
    own = {p.relative_to(ROOT).as_posix() for p in files if p.is_file() and p.suffix != ".pyc"}
    assert own - held == set()
    assert {"setup.py", "pyproject.toml", "model-index.yml", "LICENSE", "configs/metafile.yml"} <= held
