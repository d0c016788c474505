"""Which family of OpenMMLab packages is installed, told from folders as pip leaves them."""

import sys
from collections import OrderedDict
from pathlib import Path

import pytest
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import CheckpointLoader

from mixmae_bench.compat.checkpoints import read_for_mmengine
from mixmae_bench.compat.openmmlab import FORK, ORIGINAL, adapt, family, installed
from mixmae_bench.errors import UserError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of sys.path."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def install(site: Path, *names: str, version: str = "1.2.3") -> None:
    for name in names:
        folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize("name", FORK)
def test_any_package_of_the_fork_tells_the_fork(name: str, site: Path) -> None:
    install(site, name)
    assert family() == "onedl"


@pytest.mark.parametrize("name", ORIGINAL)
def test_any_original_package_tells_the_originals(name: str, site: Path) -> None:
    install(site, name)
    assert family() == "openmmlab"


@pytest.mark.parametrize(("packages", "name"), [(FORK, "onedl"), (ORIGINAL, "openmmlab")])
def test_whole_families_are_told_apart(packages: tuple[str, ...], name: str, site: Path) -> None:
    install(site, *packages, "torch", "timm")
    assert family() == name


@pytest.mark.parametrize("call", [family, adapt])
@pytest.mark.parametrize(
    ("original", "fork"),
    [
        (("mmengine",), ("onedl-mmengine",)),
        (("mmcv-lite",), ("onedl-mmsegmentation",)),
        (ORIGINAL, FORK),
    ],
)
def test_both_families_at_once_are_a_user_error_that_names_both(
    original: tuple[str, ...], fork: tuple[str, ...], call: object, site: Path
) -> None:
    install(site, *original, *fork)
    loader = CheckpointLoader._schemes[""]
    with pytest.raises(UserError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    assert f"{', '.join(original)} and {', '.join(fork)};" in message
    assert "uninstall" in message
    assert CheckpointLoader._schemes[""] is loader


@pytest.mark.parametrize("call", [family, adapt])
def test_no_family_is_a_user_error_that_names_the_extra(call: object, site: Path) -> None:
    install(site, "torch", "mmpycocotools", "onedl")
    with pytest.raises(UserError, match=r"no OpenMMLab packages .*\[onedl\]") as error:
        call()
    assert "\n" not in str(error.value)


def test_installed_gives_versions_of_what_is_there(site: Path) -> None:
    install(site, "mmdet", version="3.3.0")
    install(site, "mmengine", version="0.10.7")
    assert installed(ORIGINAL) == {"mmengine": "0.10.7", "mmdet": "3.3.0"}
    assert installed(FORK) == {}


@pytest.mark.parametrize(("packages", "renamed"), [(FORK, True), (ORIGINAL, False)])
def test_adapt_makes_mmengine_read_for_mmengines_safely_and_find_mmseg(
    packages: tuple[str, ...], renamed: bool, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmengine looks for the distribution mmsegmentation, which only the original family has."""
    monkeypatch.setattr(CheckpointLoader, "_schemes", OrderedDict(CheckpointLoader._schemes))
    monkeypatch.setitem(MODULE2PACKAGE, "mmseg", "mmsegmentation")
    install(site, *packages)
    for _ in range(2):
        adapt()
        assert CheckpointLoader._get_checkpoint_loader("some/weights.pth") is read_for_mmengine
        assert MODULE2PACKAGE["mmseg"] == ("mmseg" if renamed else "mmsegmentation")


def test_this_environment_has_one_family() -> None:
    assert family() in ("onedl", "openmmlab")
