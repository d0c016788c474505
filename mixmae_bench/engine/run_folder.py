"""The config and the checkpoint in the folder of a run."""

from pathlib import Path

from mixmae_bench.compat.checkpoints import read_for_mmengine
from mixmae_bench.engine.resume import latest_intact
from mixmae_bench.errors import UserError


def config_in(folder: Path) -> Path:
    """Return the config of a run.

    Raises:
        UserError: If the folder has no config or several.
    """
    configs = sorted(folder.glob("*.py"))
    if len(configs) != 1:
        raise UserError(
            f"folder {folder} has {len(configs)} configs (*.py); give the folder of a run, or a config"
        )
    return configs[0]


def checkpoint_of(given: str | Path | None) -> str | None:
    """Return a given checkpoint; of the folder of a run, the latest intact one.

    Raises:
        UserError: If the folder has no intact checkpoint.
    """
    if given is None or not Path(given).is_dir():
        return given and str(given)
    found = latest_intact(Path(given))
    if found is None:
        raise UserError(f"folder {given} has no intact checkpoint; give a file with --checkpoint")
    return str(found)


def class_names(checkpoint: Path) -> list[str]:
    """Return the names of the classes that mmengine saves in a checkpoint, or an empty list.

    Raises:
        UserError: If the file cannot be read.
    """
    content = read_for_mmengine(str(checkpoint))
    meta = content.get("meta") if isinstance(content, dict) else None
    return list(((meta or {}).get("dataset_meta") or {}).get("classes") or ())
