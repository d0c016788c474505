"""The config of a run: its file, with the backbone of a named checkpoint, settings and tuning split."""

from mmengine.config import Config

from mixmae_bench.datasets.tuning_split import carve
from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.settings import with_settings
from mixmae_bench.suite.spec import Run
from mixmae_bench.system.hub import model_of


def config_of(run: Run) -> Config:
    """Return the config that a run trains.

    Raises:
        UserError: If the config is missing or cannot be read, it lacks the key of a setting, or its training
            data cannot be split; and see `model_of`.
    """
    cfg = with_settings(load_config(run.config, _backbone(run)), dict(run.settings))
    return carve(cfg, run.split.share, run.split.seed) if run.split else cfg


def _backbone(run: Run) -> dict:
    """Return the settings of the backbone that a named checkpoint is made for."""
    if run.method.source is None:
        return {}
    name, arguments = model_of(run.method.source)
    return {"model.backbone.model": name, **({"model.backbone.model_args": arguments} if arguments else {})}
