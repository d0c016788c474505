"""Which family of OpenMMLab packages is installed, told from folders as pip leaves them."""

import sys
from pathlib import Path

import pytest
from mmengine.config import utils
from mmengine.config.utils import MODULE2PACKAGE

from mixmae_bench.compat.openmmlab import FORK, ORIGINAL, family, installed, reading_configs
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


def read() -> None:
    with reading_configs():
        pass


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


@pytest.mark.parametrize("call", [family, read])
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
    load = utils.load
    with pytest.raises(UserError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    assert f"{', '.join(original)} and {', '.join(fork)};" in message
    assert "uninstall" in message
    assert utils.load is load


@pytest.mark.parametrize("call", [family, read])
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
def test_while_a_config_is_read_mmengine_finds_mmseg_and_is_as_before_then(
    packages: tuple[str, ...], renamed: bool, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmengine looks for the distribution mmsegmentation, which only the original family has."""
    monkeypatch.setitem(MODULE2PACKAGE, "mmseg", "mmsegmentation")
    load = utils.load
    install(site, *packages)
    for _ in range(2):
        with reading_configs():
            assert MODULE2PACKAGE["mmseg"] == ("mmseg" if renamed else "mmsegmentation")
            assert utils.load is not load
        assert (MODULE2PACKAGE["mmseg"], utils.load) == ("mmsegmentation", load)


def test_this_environment_has_one_family() -> None:
    assert family() in ("onedl", "openmmlab")
