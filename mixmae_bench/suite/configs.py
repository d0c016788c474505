"""The config of a run: its file, with the backbone of a named checkpoint, settings and tuning split."""

from mmengine.config import Config

from mixmae_bench.datasets.tuning_split import carve
from mixmae_bench.engine.config import load_config, options_of_source
from mixmae_bench.engine.settings import with_settings
from mixmae_bench.suite.spec import Run


def config_of(run: Run) -> Config:
    """Return the config that a run trains.

    Raises:
        UserError: If the config is missing or cannot be read, it lacks the key of a setting, or its training
            data cannot be split; and see `options_of_source`.
    """
    source = run.method.source
    cfg = load_config(run.config, options_of_source(source) if source is not None else None)
    cfg = with_settings(cfg, dict(run.settings))
    return carve(cfg, run.split.share, run.split.seed) if run.split else cfg
