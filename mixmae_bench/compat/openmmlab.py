"""The two families of OpenMMLab packages: the original ones and the maintained onedl-* forks."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution

from mixmae_bench.errors import UserError

ORIGINAL = ("mmengine", "mmengine-lite", "mmcv", "mmcv-lite", "mmdet", "mmsegmentation", "mmpretrain")
FORK = ("onedl-mmengine", "onedl-mmcv", "onedl-mmdetection", "onedl-mmsegmentation", "onedl-mmpretrain")


def installed(names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those of `names` that are installed."""
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
        UserError: If both are installed (they overwrite each other's files), or neither.
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
    """Swallow what the packages say, on import, of optional ones that they lack."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def import_quietly() -> None:
    """Import what talks on import; for new processes, before anything else does."""
    with quiet():
        import mmdet.datasets  # noqa: F401
        import mmpretrain.datasets  # noqa: F401
        import mmseg.datasets  # noqa: F401


@contextlib.contextmanager
def reading_configs() -> Iterator[None]:
    """Make mmengine read `mmseg::` configs in either family, and fast, while this package reads a config.

    Raises:
        UserError: As `family`.
    """
    from mmengine.config import utils

    before = utils.MODULE2PACKAGE["mmseg"], utils.load
    if family() == "onedl":
        # mmengine looks for a distribution of this name, which the fork does not have.
        utils.MODULE2PACKAGE["mmseg"] = "mmseg"
    utils.load = _read_once
    try:
        yield
    finally:
        utils.MODULE2PACKAGE["mmseg"], utils.load = before


@cache
def _read_once(file: str) -> object:
    """For every base `mmdet::...` mmengine reads all metafiles of mmdet: a second, minutes per suite."""
    from mmengine.fileio import load

    return load(file)
