"""Training with one more try after a loss of NaN or infinity."""

import copy
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mixmae_bench.compat.checkpoints import safe_loaders
from mixmae_bench.engine.finite import NotFiniteError
from mixmae_bench.engine.resume import EXACT, found_by_first, latest_intact


@safe_loaders()
def train(cfg: Config, build: Callable[[Config], Runner]) -> Runner:
    """Build the Runner of a protected config (see `resume.protect`) and train it.

    With `retry_not_finite = True` in the config, a run that NaN or infinity stops goes on from its last
    intact checkpoint once, with other random numbers (exactly repeated, it would only stop there again). The
    order of the images stays; masks, augmentations and stochastic depth are drawn anew.

    Returns:
        The Runner that came to its end.

    Raises:
        NotFiniteError: The second time, or where there is nothing to go on from.
    """
    runner = build(copy.deepcopy(cfg))
    try:
        runner.train()
        return runner
    except NotFiniteError as error:
        exact = cfg.get("retry_not_finite") and cfg.default_hooks.checkpoint.type == EXACT
        last = found_by_first(lambda: latest_intact(Path(cfg.work_dir))) if exact else None
        if last is None:
            raise
        runner.logger.warning(f"{error}; once more from {last}, with other random numbers")
    cfg = copy.deepcopy(cfg)
    cfg.resume, cfg.load_from = True, str(last)
    cfg.default_hooks.checkpoint.redraw = True
    cfg.experiment_name = f"{runner.experiment_name}_retry"
    del runner  # its memory is needed
    runner = build(cfg)
    runner.train()
    return runner
