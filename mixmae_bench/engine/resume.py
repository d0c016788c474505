"""Checkpoints that a killed run goes on from exactly, and that a crash or a full disk cannot damage."""

import math
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
from mixmae_bench.errors import UserError
from mixmae_bench.registry import HOOKS
from mixmae_bench.system.files import atomic_path, remove_leftovers

EXACT = "mixmae_bench.ExactCheckpointHook"

RANDOM_STATES = "random_states"
"""Key of a checkpoint: the states of the random generators, one entry per process."""

PROCESS_COUNTS = "process_counts"
"""Key of mmengine's runtime information, which checkpoints hold: how many processes trained, in order."""


def add_checkpoint_hooks(cfg: Config) -> None:
    """Make the runs of a config resumable exactly, log their gradients' norm, stop them at bad numbers, and
    audit what they load.

    Another hook than mmengine's own in the place of `default_hooks.checkpoint`, or one that writes elsewhere
    than to the run's folder, stays as it is.
    """
    hooks = cfg.setdefault("default_hooks", {})
    checkpoint = hooks.setdefault("checkpoint", dict(type="CheckpointHook", interval=1))
    if checkpoint and checkpoint.get("type") == "CheckpointHook" and not checkpoint.get("out_dir"):
        checkpoint["type"] = EXACT
        if checkpoint.get("max_keep_ckpts") == 1:
            checkpoint["max_keep_ckpts"] = 2  # one to fall back on
    loader = cfg.train_dataloader
    if loader.get("persistent_workers") and "max_iters" not in cfg.train_cfg:
        # Workers that live on hold random states that no checkpoint can hold; new ones are seeded per epoch.
        loader["persistent_workers"] = False
    if not cfg.optim_wrapper.get("clip_grad"):
        cfg.optim_wrapper.clip_grad = dict(max_norm=math.inf)  # clips nothing; the norm is logged where it is
    own = [dict(type=f"mixmae_bench.{name}") for name in ("LoadAuditHook", "FiniteLossHook")]
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), *own]


@HOOKS.register_module()
class ExactCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook with random states, and with files that are whole or not there at all.

    What is drawn after a resume is what an undisturbed run would have drawn: the states are saved with the
    checkpoint and put back before training, validation leaves them as they were, and the workers of an epoch
    are seeded by its number. (Workers of an iteration-based loop live for the whole run: what they draw is
    not repeated; the order of the images is.)
    """

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        loader = runner.train_dataloader
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            # Making the iterator draws a number: from here, as a resumed run makes it a second time.
            loader.generator = torch.Generator()
        self._init_worker = loader.worker_init_fn
        if is_main_process():
            remove_leftovers(Path(self.out_dir), age=0)  # of checkpoints: nobody else trains in this folder
        self._count_processes(runner)
        if runner.iter == 0:
            return
        states = getattr(self, "_loaded", None)
        if states and get_rank() < len(states):
            set_random_states(states[get_rank()])
            return
        if not states:
            runner.logger.warning(
                "the checkpoint holds no random states: other numbers are drawn than in an undisturbed run"
            )
        _seed_worker(get_rank(), None, (runner.seed, runner.iter))  # not those of the run's beginning again

    def _count_processes(self, runner: Runner) -> None:
        """Note how many processes train from here on, and say so where it were others before."""
        now = get_world_size()
        counts = list(runner.message_hub.runtime_info.get(PROCESS_COUNTS, []))
        if not counts and runner.iter > 0 and getattr(self, "_loaded", None):
            counts = [len(self._loaded)]  # a checkpoint from before they were noted
        by_iter = isinstance(runner.train_loop, IterBasedTrainLoop)
        ended = runner.iter >= runner.max_iters if by_iter else runner.epoch >= runner.max_epochs
        if counts[-1:] != [now] and not ended:
            if counts:
                runner.logger.warning(
                    f"trained by {counts[-1]} process(es) so far, by {now} from here on: other masks, "
                    "augmentations and batches than in an undisturbed run, and another number of iterations "
                    "per epoch, which the learning rate follows"
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
        """Save, then note it as the last one, then remove what is too old, in this order.

        Raises:
            UserError: If the weights hold NaN or infinity, or where the folder cannot be written to.
        """
        file = Path(self.out_dir) / self.filename_tmpl.format(step)
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
            save(file)  # writes nothing, but takes part where the weights are gathered from all processes
            return
        before = runner.message_hub.runtime_info.get("last_ckpt")
        runner.message_hub.update_info("last_ckpt", str(file))
        try:
            with atomic_path(file) as path:
                save(path)
            with atomic_path(Path(runner.work_dir) / "last_checkpoint") as path:
                path.write_text(str(file), "utf-8")
        except OSError as error:
            intact = f"; {before} is intact to go on from" if before else ""
            raise UserError(
                f"checkpoint {file.name} cannot be written to {file.parent}: {error.strerror or error}; make "
                f"room or give it another folder{intact}"
            ) from error
        for old in outdated:
            (file.parent / self.filename_tmpl.format(old)).unlink(missing_ok=True)

    def _outdated(self, runner: Runner, step: int) -> list[int]:
        """Count a checkpoint among those that are kept; return those that no longer are."""
        if self.max_keep_ckpts <= 0:
            return []
        steps = [kept for kept in self.keep_ckpt_ids if kept != step] + [step]
        self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
        runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        return steps[: -self.max_keep_ckpts]


def random_states() -> dict:
    """Return the states of all generators that training draws from, as tensors and plain data."""
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
    """Put back what `random_states` returned, on whatever device its tensors are by now."""
    own = states["python"]
    random.setstate((own["version"], tuple(own["words"].tolist()), own["gauss"]))
    own = states["numpy"]
    key = own["key"].cpu().numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, own["pos"], own["has_gauss"], own["gauss"]))
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())


def find_on_rank_0(find: Callable[[], Path | None]) -> Path | None:
    """Return in all processes the intact checkpoint that a function finds in the first one.

    So its checksums are computed once on each machine, by the first process there, not by every process.
    """
    path = on_rank_0(find)
    if path and int(os.environ.get("LOCAL_RANK", 0)):
        trust(path)
    return path


def latest_intact(folder: Path) -> Path | None:
    """Return the checkpoint to resume from: the one noted last, or the newest before it where it is damaged.

    Damaged ones are named on stderr. None if there is no note or no intact checkpoint.
    """
    note = folder / "last_checkpoint"
    if not note.is_file():
        return None
    # The note holds an absolute path; the folder may have been moved since.
    last = folder / Path(note.read_text(encoding="utf-8").strip()).name
    for path in [last, *_before(last)]:
        if intact(path):
            return path
        print(f"warning: checkpoint {path} is missing or damaged; trying the one before", file=sys.stderr)
    print(f"warning: no checkpoint in {folder} is intact; training begins anew", file=sys.stderr)
    return None


def intact(path: Path) -> bool:
    """Whether a file of torch.save can be read and every part of it has the checksum written with it."""
    try:
        read_checkpoint(path, mmap=True)
    except Exception:  # torch and zipfile raise many types for a damaged file
        return False
    return zipfile.is_zipfile(path)


def _check_own(runner: Runner, checkpoint: dict) -> None:
    """Check that a checkpoint is one of a training of the runner's model: mmengine takes what has its names.

    Raises:
        UserError: If it is none, or a tensor of the model is missing or of another shape.
    """
    where = f"checkpoint {runner._load_from} cannot be gone on from:"
    for key in ("state_dict", "optimizer", "message_hub", "meta"):
        if not isinstance(checkpoint.get(key), dict):
            raise UserError(f"{where} it has no '{key}', as those of a training do")
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

    Others in the folder, with higher numbers, are of a longer run that was there before.
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
