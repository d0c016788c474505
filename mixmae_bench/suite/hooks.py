"""Hook that writes the progress of a run to a file, and keeps values for its record."""

import time
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mixmae_bench.registry import HOOKS
from mixmae_bench.suite.progress import write_progress

SECONDS_BETWEEN_WRITES = 0.5


@HOOKS.register_module()
class ProgressHook(Hook):
    """Writes the progress of the run to a file that other processes may read at any time; on rank 0 only.

    Attributes:
        metrics: Metrics of the last validation, under the framework's names.
        iters: Iterations trained by this process (after a resume, fewer than the run's total).
        seconds: Time of these iterations, including data loading. Validation does not count; neither does
            skipping the batches from before a resume in an iteration-based loop.
    """

    priority = "VERY_LOW"

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self.metrics: dict[str, float] = {}
        self.iters = 0
        self.seconds = 0.0
        self._next_write = 0.0

    def before_train_epoch(self, runner: Runner) -> None:
        self._clock = time.monotonic()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if not self.iters and isinstance(runner.train_loop, IterBasedTrainLoop) and runner.iter:
            self._clock = time.monotonic()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        now = time.monotonic()
        self.iters += 1
        self.seconds += now - self._clock
        self._clock = now
        done = runner.iter + 1
        if is_main_process() and (now >= self._next_write or done == runner.max_iters):
            self._next_write = now + SECONDS_BETWEEN_WRITES
            losses = runner.message_hub.log_scalars.get("train/loss")  # absent until the first is read
            text = f"loss {losses.current():.3f}" if losses else ""
            write_progress(self.file, done, runner.max_iters, text)

    def after_val(self, runner: Runner) -> None:
        self._clock = time.monotonic()  # an iteration-based loop validates within its only epoch

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self.metrics = dict(metrics or {})
