"""Weights by name; does not import torch.

A name is 'timm:MODEL.TAG', 'timm:MODEL@FILE', 'hf-hub:REPO[@REVISION]', or 'local-dir:FOLDER' for a folder
with the files of a repository.
"""

import json
from pathlib import Path

from mixmae_bench.errors import UserError

TIMM, HUB, LOCAL = "timm:", "hf-hub:", "local-dir:"
FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of weights in a repository of the Hugging Face Hub, the preferred first."""

CONFIG, BACKBONE = "config.json", "mixmae_bench"
"""Name of a repository's config, and its key with the config of a backbone of this package."""

OF_THE_TASK = ("num_classes", "img_size", "in_chans", "drop_rate", "drop_path_rate")
"""Arguments of models that a repository may state, but the config of a task decides."""


def is_source(checkpoint: object) -> bool:
    """Return whether a checkpoint is given by a name of this module instead of a path."""
    return isinstance(checkpoint, str) and checkpoint.startswith((TIMM, HUB, LOCAL))


def is_local(checkpoint: str) -> bool:
    """Return whether a checkpoint is a file, given by its path, as 'timm:MODEL@FILE' or by its folder."""
    return not is_source(checkpoint) or _given_file(checkpoint) is not None


def local_file(checkpoint: str | Path) -> Path:
    """Return the local file of a checkpoint, downloaded to the cache of huggingface_hub if necessary.

    Raises:
        UserError: If the file does not exist, or it is not in the cache and cannot be downloaded.
    """
    if not is_source(checkpoint):
        return Path(checkpoint)
    if file := _given_file(checkpoint):
        if not file.is_file():
            raise UserError(f"checkpoint {checkpoint}: {file} does not exist; check the path")
        return file
    return _download(*_repository(checkpoint), FILES, checkpoint)


def absolute(source: str) -> str:
    """Return a name with the absolute path of its file or folder, if it has one."""
    if not (path := _given_file(source)):
        return source
    if source.startswith(LOCAL):
        return f"{LOCAL}{path.parent.resolve()}"
    return f"{source.partition('@')[0]}@{path.resolve()}"


def shareable(source: str) -> str:
    """Return a name without folders of this machine."""
    if not (path := _given_file(source)):
        return source
    if source.startswith(LOCAL):
        return f"{LOCAL}{path.parent.name}"
    return f"{source.partition('@')[0]}@{path.name}"


def origin(checkpoint: str | Path) -> str | None:
    """Return 'hf-hub:REPO@COMMIT' of a downloaded checkpoint, or None for a file."""
    if is_local(checkpoint):
        return None
    # The cache's layout is documented: models--ORG--NAME/snapshots/COMMIT/FILE.
    return f"{HUB}{_repository(checkpoint)[0]}@{local_file(checkpoint).parent.name}"


def model_of(source: str) -> tuple[str, dict]:
    """Return the name in timm of the model of a source, and the arguments of the model.

    Raises:
        UserError: If a repository has no config of timm, or its config cannot be downloaded.
    """
    if source.startswith(TIMM):
        return source.removeprefix(TIMM).partition("@")[0], {}
    config = config_of(source)
    if "architecture" not in config:
        raise UserError(
            f"checkpoint {source}: its config.json names no model of timm ('architecture'); give "
            f"'timm:MODEL@FILE' with the downloaded weights"
        )
    arguments = config.get("model_args") or {}
    return config["architecture"], {k: v for k, v in arguments.items() if k not in OF_THE_TASK}


def config_of(source: str) -> dict:
    """Return the config of a repository or folder.

    Raises:
        UserError: If it does not exist, cannot be downloaded, or is not JSON.
    """
    if source.startswith(LOCAL):
        file = Path(source.removeprefix(LOCAL)).expanduser() / CONFIG
        if not file.is_file():
            raise UserError(f"checkpoint {source}: {file} does not exist; check the path")
    else:
        file = _download(*_repository(source), (CONFIG,), source)
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise UserError(
            f"checkpoint {source}: {file} is not JSON ({error}); write or download it again"
        ) from error


def _given_file(source: str) -> Path | None:
    if source.startswith(LOCAL):
        return Path(source.removeprefix(LOCAL)).expanduser() / FILES[0]
    name, _, file = source.partition("@")
    return Path(file).expanduser() if file and name.startswith(TIMM) else None


def _repository(source: str) -> tuple[str, str | None]:
    """Return the repository of a source and its revision (None for the newest)."""
    if source.startswith(HUB):
        name, _, revision = source.removeprefix(HUB).partition("@")
        return name, revision or None
    from timm.models import get_pretrained_cfg  # here, as it imports torch

    name = source.removeprefix(TIMM)
    try:
        found = get_pretrained_cfg(name)
    except RuntimeError:  # an unknown tag
        found = None
    if found is None or not (found.hf_hub_id or found.url):
        raise UserError(
            f"checkpoint {source}: timm has no weights '{name}'; `timm.list_pretrained()` lists them"
        )
    if not found.hf_hub_id:
        raise UserError(f"checkpoint {source}: download {found.url} and give {source}@FILE")
    return found.hf_hub_id, None


def _download(repository: str, revision: str | None, files: tuple[str, ...], source: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # it prints every attempt to connect
    for cached in (True, False):
        for file in files:
            try:
                return Path(hf_hub_download(repository, file, revision=revision, local_files_only=cached))
            except Exception as error:  # the exceptions of its HTTP library differ between versions
                reason = type(error).__name__
                if not cached and isinstance(error, LocalEntryNotFoundError):
                    break  # no connection
    at = f" --revision {revision}" if revision else ""
    raise UserError(
        f"checkpoint {source} is not in the cache and cannot be downloaded ({reason}); with a network, fetch "
        f"{' or '.join(files)} of https://huggingface.co/{repository}: hf download {repository}{at}"
    )
