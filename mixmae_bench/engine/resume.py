"""Exact resume of killed runs, with checkpoints that a crash or a full disk cannot damage."""

import os
import random
import re
import sys
import zipfile
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import IterBasedTrainLoop, Runner

from mixmae_bench.compat.checkpoints import read_checkpoint, trust
from mixmae_bench.engine.distributed import on_rank_0, unwrapped
from mixmae_bench.engine.finite import check_weights
from mixmae_bench.engine.scalars import flush_scalars
from mixmae_bench.errors import UserError
from mixmae_bench.registry import HOOKS
from mixmae_bench.system.files import atomic_path, remove_leftovers

EXACT = "mixmae_bench.ExactCheckpointHook"
SCALARS = "mixmae_bench.ScalarsHook"

RANDOM_STATES = "random_states"
"""Checkpoint key with the states of the random generators, one entry per process."""

PROCESS_COUNTS = "process_counts"
"""Key of mmengine's runtime info, saved in checkpoints: numbers of processes that trained, in order."""


def add_checkpoint_hooks(cfg: Config) -> None:
    """Add hooks to a config for exact resume, gradient norm logging, non-finite losses and the load audit.

    `default_hooks.checkpoint` is not changed if it is not mmengine's own hook, or if it writes to another
    folder than the run's.

    Raises:
        UserError: If `default_hooks.runtime_info` is not mmengine's own hook.
    """
    hooks = cfg.setdefault("default_hooks", {})
    checkpoint = hooks.setdefault("checkpoint", dict(type="CheckpointHook", interval=1))
    if checkpoint and checkpoint.get("type") == "CheckpointHook" and not checkpoint.get("out_dir"):
        checkpoint["type"] = EXACT
        if checkpoint.get("max_keep_ckpts") == 1:
            checkpoint["max_keep_ckpts"] = 2  # keep one to fall back on
    loader = cfg.train_dataloader
    if loader.get("persistent_workers") and "max_iters" not in cfg.train_cfg:
        # The random states of persistent workers cannot be saved; new workers are seeded per epoch.
        loader["persistent_workers"] = False
    if not cfg.optim_wrapper.get("clip_grad"):
        # It clips nothing, but logs the norm. mmengine writes the config of a run, where `inf` is no Python.
        cfg.optim_wrapper.clip_grad = dict(max_norm=sys.float_info.max)
    if (hooks.get("runtime_info") or {}).get("type", SCALARS) not in ("RuntimeInfoHook", SCALARS):
        raise UserError(
            f"config {cfg.filename}: default_hooks.runtime_info is {hooks.runtime_info.type}; remove it, or "
            "move the hook to custom_hooks: losses are checked and logged by this package's"
        )
    hooks["runtime_info"] = dict(type=SCALARS)
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="mixmae_bench.LoadAuditHook")]


@HOOKS.register_module()
class ExactCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook with saved random states and atomically written files.

    A resumed run draws the same random numbers as an uninterrupted run: random states are saved with the
    checkpoint and restored before training, validation does not change them, and DataLoader workers are
    seeded by the epoch number. (In an iteration-based loop, workers live for the whole run: the order of the
    images is reproduced, the workers' random numbers are not.)
    """

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        loader = runner.train_dataloader
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            # Creating the iterator draws a random number; a resumed run would draw it a second time.
            loader.generator = torch.Generator()
        self._init_worker = loader.worker_init_fn
        if is_main_process():
            remove_leftovers(Path(self.out_dir), age=0)  # nobody else trains in this folder
        self._count_processes(runner)
        if runner.iter == 0:
            return
        states = getattr(self, "_loaded", None)
        if states and get_rank() < len(states):
            set_random_states(states[get_rank()])
            return
        if not states:
            runner.logger.warning(
                "the checkpoint has no random states: random numbers differ from an uninterrupted run"
            )
        _seed_worker(get_rank(), None, (runner.seed, runner.iter))  # else it would repeat the beginning

    def _count_processes(self, runner: Runner) -> None:
        """Record the number of processes from here on, and warn if it has changed."""
        now = get_world_size()
        counts = list(runner.message_hub.runtime_info.get(PROCESS_COUNTS, []))
        if not counts and runner.iter > 0 and getattr(self, "_loaded", None):
            counts = [len(self._loaded)]  # an older checkpoint without PROCESS_COUNTS
        by_iter = isinstance(runner.train_loop, IterBasedTrainLoop)
        ended = runner.iter >= runner.max_iters if by_iter else runner.epoch >= runner.max_epochs
        if counts[-1:] != [now] and not ended:
            if counts:
                runner.logger.warning(
                    f"trained by {counts[-1]} process(es) so far, by {now} from here on: masks, "
                    "augmentations, batches, iterations per epoch and the learning rate schedule differ from "
                    "an uninterrupted run"
                )
            counts.append(now)
        runner.message_hub.update_info(PROCESS_COUNTS, counts)

    def before_train_epoch(self, runner: Runner) -> None:
        loader = runner.train_dataloader
        if loader.num_workers and not isinstance(runner.train_loop, IterBasedTrainLoop):
            loader.worker_init_fn = partial(
                _seed_worker,
                init=self._init_worker,
                seed=(runner.seed, get_rank(), runner.epoch),
            )

    def before_val(self, runner: Runner) -> None:
        self._before_val = random_states()

    def after_val(self, runner: Runner) -> None:
        set_random_states(self._before_val)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if hasattr(self, "_gathered"):
            checkpoint[RANDOM_STATES] = self._gathered

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            _check_own(runner, checkpoint)
        self._loaded = checkpoint.get(RANDOM_STATES)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save the checkpoint, then update `last_checkpoint`, then remove outdated ones, in this order.

        Raises:
            UserError: If a loss or the weights have NaN or infinity, or the folder cannot be written to.
        """
        file = Path(self.out_dir) / self.filename_tmpl.format(step)
        flush_scalars(runner)
        check_weights(runner, file.name)
        self._gathered = all_gather_object(random_states())
        outdated = self._outdated(runner, step)
        self.last_ckpt = str(file)

        def save(path: Path) -> None:
            runner.save_checkpoint(
                str(path.parent),
                path.name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                **self.args,
            )

        if not is_main_process():
            save(file)  # writes nothing, but takes part in gathering the weights of all processes
            return
        before = runner.message_hub.runtime_info.get("last_ckpt")
        runner.message_hub.update_info("last_ckpt", str(file))
        try:
            with atomic_path(file) as path:
                save(path)
            with atomic_path(Path(runner.work_dir) / "last_checkpoint") as path:
                path.write_text(str(file), "utf-8")
        except OSError as error:
            intact = f"; {before} is intact to resume from" if before else ""
            raise UserError(
                f"checkpoint {file.name} cannot be written to {file.parent}: {error.strerror or error}; free "
                f"disk space or use another folder{intact}"
            ) from error
        for old in outdated:
            (file.parent / self.filename_tmpl.format(old)).unlink(missing_ok=True)

    def _outdated(self, runner: Runner, step: int) -> list[int]:
        """Add a checkpoint to the kept ones; return those that are to be removed."""
        if self.max_keep_ckpts <= 0:
            return []
        steps = [kept for kept in self.keep_ckpt_ids if kept != step] + [step]
        self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
        runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        return steps[: -self.max_keep_ckpts]


def random_states() -> dict:
    """Return the states of all random generators used in training, as tensors and plain data."""
    version, words, gauss = random.getstate()
    own = np.random.get_state(legacy=False)
    states = {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "key": torch.from_numpy(own["state"]["key"].astype(np.int64)),
            "pos": int(own["state"]["pos"]),
            "has_gauss": int(own["has_gauss"]),
            "gauss": float(own["gauss"]),
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict) -> None:
    """Restore the states returned by `random_states`; its tensors may be on any device."""
    own = states["python"]
    random.setstate((own["version"], tuple(own["words"].tolist()), own["gauss"]))
    own = states["numpy"]
    key = own["key"].cpu().numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, own["pos"], own["has_gauss"], own["gauss"]))
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())


def find_on_rank_0(find: Callable[[], Path | None]) -> Path | None:
    """Call `find` on rank 0 and return the intact checkpoint that it found in all processes.

    Checksums are computed once per machine, by its first process, instead of by every process.
    """
    path = on_rank_0(find)
    if path and int(os.environ.get("LOCAL_RANK", 0)):
        trust(path)
    return path


def latest_intact(folder: Path) -> Path | None:
    """Return the checkpoint to resume from: the one in `last_checkpoint`, or the newest intact one before it.

    Damaged checkpoints are reported on stderr. Return None if there is no `last_checkpoint` file or no intact
    checkpoint.
    """
    note = folder / "last_checkpoint"
    if not note.is_file():
        return None
    # The file contains an absolute path, but the folder may have been moved.
    last = folder / Path(note.read_text(encoding="utf-8").strip()).name
    for path in [last, *_before(last)]:
        if intact(path):
            return path
        print(f"warning: checkpoint {path} is missing or damaged; trying the previous one", file=sys.stderr)
    print(f"warning: no intact checkpoint in {folder}; training starts from the beginning", file=sys.stderr)
    return None


def intact(path: Path) -> bool:
    """Return whether a file of torch.save can be read and all its parts match their checksums."""
    try:
        read_checkpoint(path, mmap=True)
    except Exception:  # torch and zipfile raise many types for a damaged file
        return False
    return zipfile.is_zipfile(path)


def _check_own(runner: Runner, checkpoint: dict) -> None:
    """Check that a checkpoint was saved by training the runner's model; mmengine only matches names.

    Raises:
        UserError: If it is not a training checkpoint, or a tensor of the model is missing or has another
        shape.
    """
    where = f"cannot resume from checkpoint {runner._load_from}:"
    for key in ("state_dict", "optimizer", "message_hub", "meta"):
        if not isinstance(checkpoint.get(key), dict):
            raise UserError(f"{where} it has no '{key}', so it is not a training checkpoint")
    model = unwrapped(runner.model)
    theirs = {
        name.removeprefix("module."): tensor.shape
        for name, tensor in checkpoint["state_dict"].items()
        if isinstance(tensor, torch.Tensor)
    }
    for name, tensor in model.state_dict().items():
        if theirs.get(name) != tensor.shape:
            why = "is not in it"
            if name in theirs:
                why = f"has shape {tuple(theirs[name])} there, {tuple(tensor.shape)} here"
            raise UserError(f"{where} it is of another model, '{name}' {why}")


def _before(last: Path) -> list[Path]:
    """Return the checkpoints of the run that are older than its last one, newest first.

    Checkpoints with higher numbers are from an earlier, longer run in the folder.
    """
    kind, number = re.fullmatch(r"(.*?)(\d*)", last.stem).groups()
    numbered = {
        int(path.stem.removeprefix(kind)): path
        for path in last.parent.glob(f"{kind}*{last.suffix}")
        if path.stem.removeprefix(kind).isdecimal()
    }
    return [numbered[n] for n in sorted(numbered, reverse=True) if number and n < int(number)]


def _seed_worker(worker: int, init: Callable[[int], None] | None, seed: tuple[int, ...]) -> None:
    if init is not None:
        init(worker)
    words = np.random.SeedSequence([*seed, worker]).generate_state(2)
    random.seed(int(words[0]))
    np.random.seed(words[0])
    torch.manual_seed(int(words[1]))
