"""Training by `tools/train.py` on a GPU against the steps that `mixmae-bench speed` times.

usage: benchmarks/training_loop.py FILE [CONFIG]   CONFIG is a pretraining config (default: MixMAE-B).

The images are held in memory, so the difference is the training loop: the workers' batches, the copy to the
GPU, hooks and logs. Steps are timed before the training and after it. A line of JSON goes to FILE.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import torch
from mmengine.hooks import Hook
from rich.console import Console
from torch import Tensor
from torch.utils.data import Dataset

from mixmae_bench.cli.exits import exits_on_user_error
from mixmae_bench.cost.speed import WorkerPool, measure, settings_of
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS, HOOKS
from mixmae_bench.results.measurements import Speed
from mixmae_bench.results.record import append_record
from mixmae_bench.system.environment import code_version, hardware, packages

CONFIG = "configs/pretrain/mixmae_swin-b-w14_16xb128-300e_in1k.py"
SCHEMA = 1
WARM_UP, ITERATIONS = 30, 120
OPTIM_WRAPPER = "mixmae_bench.Bf16OptimWrapper"
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Loop:
    """Speed of a training loop and of its steps, one JSON line.

    Attributes:
        schema: Version of these fields.
        model: The config.
        batch: Images per step.
        iterations: Timed iterations of the training.
        images_per_s: Images per second of the training.
        steps_images_per_s: Images per second of the median step, before and after the training.
        started: Start time, ISO 8601 in UTC.
        code: See `mixmae_bench.results.record.Record`.
        packages: See there.
        hardware: See there.
    """

    schema: int
    model: str
    batch: int
    iterations: int
    images_per_s: float
    steps_images_per_s: tuple[float, float]
    started: str
    code: str
    packages: dict[str, str]
    hardware: dict[str, str | int | None]


@DATASETS.register_module()
class ImagesInMemory(Dataset):
    """Random images in memory, uint8 (3, side, side), as a pretraining pipeline packs them."""

    def __init__(self, side: int, length: int) -> None:
        self.images = torch.randint(256, (64, 3, side, side), dtype=torch.uint8)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"inputs": self.images[place % len(self.images)]}


@HOOKS.register_module()
class Stopwatch(Hook):
    """Write the images per second of the iterations after the warm-up to a file."""

    priority = "LOWEST"

    def __init__(self, file: str, batch: int) -> None:
        self.file, self.batch = Path(file), batch

    def after_train_iter(self, runner: object, batch_idx: int, **_: object) -> None:
        done = batch_idx + 1
        if done == WARM_UP:
            torch.cuda.synchronize()
            self.start = perf_counter()
        if done == WARM_UP + ITERATIONS:
            torch.cuda.synchronize()
            self.file.write_text(str(ITERATIONS * self.batch / (perf_counter() - self.start)))


def train(config: str, batch: int, side: int, folder: Path) -> float:
    """Train for a part of an epoch and return images per second."""
    cfg = load_config(config)
    cfg.train_dataloader.dataset = dict(
        type="ImagesInMemory", side=side, length=(WARM_UP + ITERATIONS) * batch, _scope_="mixmae_bench"
    )
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.param_scheduler = []
    cfg.optim_wrapper.type = OPTIM_WRAPPER
    found = folder / "images_per_s.txt"
    cfg.custom_hooks = [dict(type="Stopwatch", file=str(found), batch=batch, _scope_="mixmae_bench")]
    cfg.custom_imports = dict(imports=["mixmae_bench", "benchmarks.training_loop"])
    cfg.dump(folder / "loop.py")
    command = [sys.executable, "tools/train.py", str(folder / "loop.py"), "--work-dir", str(folder / "run")]
    log, path = folder / "train.log", os.pathsep.join([str(ROOT), *sys.path])
    with log.open("w") as stream:
        status = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=stream, stderr=subprocess.STDOUT
        ).returncode
    if status:
        raise RuntimeError(f"training ended with status {status}: {log.read_text()[-2000:]}")
    return float(found.read_text())


def steps(config: str, batch: int) -> Speed:
    """Return the speed of steps.

    Raises:
        UserError: If the model fails, as with too little memory.
    """
    with WorkerPool() as pool:
        settings = settings_of([f"{config}@bfloat16"], batch, None, False, False, "cuda")
        speeds, failures = measure(settings, 24, 8, Console(stderr=True), pool)
    if failures:
        raise UserError(failures[0])
    return speeds[0]


@exits_on_user_error
def main(argv: list[str]) -> int:
    """Measure, print and record."""
    if not 1 <= len(argv) <= 2:
        raise UserError("usage: benchmarks/training_loop.py FILE [CONFIG]")
    if not torch.cuda.is_available():
        raise UserError(
            "benchmarks/training_loop.py needs a GPU, but torch finds none; see mixmae-bench doctor"
        )
    config = argv[1] if argv[1:] else CONFIG
    batch = load_config(config).train_dataloader.batch_size
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory() as folder:
        before = steps(config, batch)
        trained = train(config, batch, before.shape[0], Path(folder))
    loop = Loop(
        schema=SCHEMA,
        model=config,
        batch=batch,
        iterations=ITERATIONS,
        images_per_s=round(trained, 1),
        steps_images_per_s=(before.images_per_s, steps(config, batch).images_per_s),
        started=started,
        code=code_version(),
        packages=packages(),
        hardware=hardware(),
    )
    append_record(Path(argv[0]), loop)
    print(json.dumps({k: v for k, v in asdict(loop).items() if k in ("images_per_s", "steps_images_per_s")}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
