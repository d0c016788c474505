"""Support for both families of OpenMMLab packages: the original ones and the maintained onedl-* forks."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

from mixmae_bench.errors import UserError

ORIGINAL = ("mmengine", "mmengine-lite", "mmcv", "mmcv-lite", "mmdet", "mmsegmentation", "mmpretrain")
FORK = ("onedl-mmengine", "onedl-mmcv", "onedl-mmdetection", "onedl-mmsegmentation", "onedl-mmpretrain")

MODULES = ("mmengine", "mmcv", "mmdet", "mmseg", "mmpretrain")
"""Modules of either family."""


def require_family() -> None:
    """Check that the modules of a family can be found, without importing them.

    Raises:
        UserError: If one cannot; the message names the extra to install.
    """
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"OpenMMLab packages are not installed: {', '.join(missing)}; install this project with the "
            "extra [onedl], as in: pip install 'mixmae-bench[onedl]'"
        )


def installed(names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of the installed packages among `names`."""
    found = {}
    for name in names:
        try:
            found[name] = distribution(name).version
        except PackageNotFoundError:
            continue
    return found


def family() -> str:
    """Return 'onedl' or 'openmmlab'.

    Raises:
        UserError: If both families are installed (they overwrite each other's files), or neither.
    """
    fork, original = installed(FORK), installed(ORIGINAL)
    if fork and original:
        raise UserError(
            "both families of OpenMMLab packages are installed and overwrite each other: "
            f"{', '.join(original)} and {', '.join(fork)}; uninstall all of them, then install this project "
            "with one extra, [onedl] or [openmmlab]"
        )
    if not fork and not original:
        raise UserError("no OpenMMLab packages are installed; install this project with the extra [onedl]")
    return "onedl" if fork else "openmmlab"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the packages' output and warnings on import about missing optional packages."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def import_quietly() -> None:
    """Import the packages that print on import; called first in new processes."""
    with quiet():
        import mmdet.datasets  # noqa: F401
        import mmpretrain.datasets  # noqa: F401
        import mmseg.datasets  # noqa: F401


@contextlib.contextmanager
def reading_configs() -> Iterator[None]:
    """Make mmengine read `mmseg::` configs with either family, and cache metafiles, within this context.

    Raises:
        UserError: See `family`.
    """
    from mmengine.config import utils

    before = utils.MODULE2PACKAGE["mmseg"], utils.load
    if family() == "onedl":
        # mmengine looks for a distribution of this name; the fork's has another name.
        utils.MODULE2PACKAGE["mmseg"] = "mmseg"
    utils.load = _read_once
    try:
        yield
    finally:
        utils.MODULE2PACKAGE["mmseg"], utils.load = before


@cache
def _read_once(file: str) -> object:
    """Load a file once: for each base `mmdet::...`, mmengine reads all metafiles of mmdet in a second."""
    from mmengine.fileio import load

    return load(file)
