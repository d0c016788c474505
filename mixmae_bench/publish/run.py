"""The command `mixmae-bench push`: write a run as a repository, and upload it."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

from mmengine.config import Config

from mixmae_bench.engine.run_folder import class_names
from mixmae_bench.errors import UserError
from mixmae_bench.publish.card import card
from mixmae_bench.publish.weights import write_weights
from mixmae_bench.results.record import Record
from mixmae_bench.suite.job import final_checkpoint
from mixmae_bench.system.hub import HUB, LOCAL


def push(record: Record, run: Path, target: str) -> None:
    """Write a finished run to a folder or a repository of the Hub.

    Args:
        record: Its record.
        run: Its folder.
        target: 'hf-hub:ORG/NAME', or a folder, which must be new or empty.

    Raises:
        UserError: If the run has no checkpoint or config, the folder is not empty, the weights do not fit
            timm's model, or the upload fails.
    """
    checkpoint = final_checkpoint(run)
    config = run / Path(record.config).name
    if not checkpoint or not config.is_file():
        raise UserError(f"{run} has no intact checkpoint or no {config.name}; run it again")
    if target.startswith(HUB):
        token = _token(target)
        folder = Path(mkdtemp(prefix="mixmae-bench-"))
        try:
            _write(record, checkpoint, config, folder, target.rpartition("/")[2], target)
            _upload(folder, target, token)
        finally:
            shutil.rmtree(folder)
        return
    folder = Path(target)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is no empty folder; give another")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        name = folder.resolve().name
        _write(record, checkpoint, config, folder, name, f"{LOCAL}{name}")
    except BaseException:
        shutil.rmtree(folder)
        raise


def _write(record: Record, checkpoint: Path, config: Path, folder: Path, name: str, target: str) -> None:
    cfg = _read(config)
    model = write_weights(cfg, checkpoint, class_names(checkpoint), record.dataset, folder)
    card(record, name, target, model).save(folder / "README.md")


def _read(config: Path) -> Config:
    """Read the config that mmengine wrote of a run; earlier versions of this package had an `inf` in it."""
    text = config.read_text(encoding="utf-8").replace("max_norm=inf", "max_norm=float('inf')")
    try:
        return Config(Config.fromstring(text, ".py").to_dict(), filename=str(config))
    except Exception as error:  # a config is code and can raise anything
        raise UserError(f"config {config} cannot be read: {type(error).__name__}: {error}") from error


def _token(target: str) -> str:
    from huggingface_hub import get_token

    token = get_token()
    if token is None:
        raise UserError(f"{target}: there is no token of the Hub; run `hf auth login`, or give a folder")
    return token


def _upload(folder: Path, target: str, token: str) -> None:
    from huggingface_hub import HfApi

    repository, api = target.removeprefix(HUB), HfApi(token=token)
    try:
        api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except Exception as error:  # the exceptions of its HTTP library differ between versions
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{target} cannot be uploaded ({type(error).__name__}: {reason}); check network and permissions, "
            "or give a folder"
        ) from error
