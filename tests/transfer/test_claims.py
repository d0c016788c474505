"""Fine-tuning uses what its config says: seen in real runs of mmengine's Runner, in all three tasks.

Each task is trained once, four steps on the smoke configs, from a checkpoint, with layer decay, schedules,
stochastic depth and averaged weights; classification with Mixup and label smoothing too. The tests compare
what was seen with closed forms written here.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from timm.layers import DropPath
from torch import Tensor, nn

from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.engine.config import find_data, load_config

SMOKE = Path(__file__).parents[1] / "smoke"
LR, DECAY_RATE, DROP_PATH, EMA_MOMENTUM, SMOOTHING = 1e-3, 0.7, 0.3, 0.1, 0.1
ALPHA, LAM = 0.8, 0.3  # of Mixup: the parameter of its distribution, and what is drawn from it
DEPTHS = (2, 4)  # of MixMAESwin's arch 'small'
STEPS = 4
SCHEDULE = [
    0.25,
    1.0,
    1.0,
    0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2,
]  # lr of every step, first that of warm-up
TASKS = ("classification", "detection", "segmentation")


@dataclass(repr=False)
class Seen:
    """What was seen of one run.

    Attributes:
        start: Parameters before the first step.
        steps: Parameters after every step.
        lrs: Learning rate of every optimised parameter in every step.
        frozen_grads: Gradients of parameters that are not trained, after every step.
        drop_paths: (rate, whether it was active) of every block in the first step.
        saved: The checkpoint of the end.
        hooks: Types of the Runner's hooks.
        batches: Raw images and labels of every step (classification).
        inputs: What the backbone got.
        logits: What the loss got, and the targets.
        losses: What it gave.
    """

    start: dict[str, Tensor] = field(default_factory=dict)
    steps: list[dict[str, Tensor]] = field(default_factory=list)
    lrs: list[dict[str, float]] = field(default_factory=list)
    frozen_grads: list[Tensor | None] = field(default_factory=list)
    drop_paths: list[tuple[float, bool]] = field(default_factory=list)
    saved: dict = field(default_factory=dict)
    hooks: list[type] = field(default_factory=list)
    batches: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    logits: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)


class Watch(Hook):
    """Looks on, before all other hooks."""

    priority = "HIGHEST"

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def before_train(self, runner: Runner) -> None:
        model = runner.model
        self.seen.start = snapshot(model)
        self.seen.hooks = [type(hook) for hook in runner.hooks]
        self.names = {id(p): name for name, p in model.named_parameters()}
        model.backbone.register_forward_pre_hook(
            lambda module, args: self.seen.inputs.append(args[0].clone())
        )
        for block in (m for m in model.backbone.modules() if type(m).__name__ == "Block"):
            block.drop_path.register_forward_hook(self.look_at_drop_path)
        if hasattr(model, "head"):
            model.head.loss_module.register_forward_hook(self.look_at_loss)

    def look_at_drop_path(self, module: nn.Module, args: tuple, out: Tensor) -> None:
        if not self.seen.steps:
            rate = module.drop_prob if isinstance(module, DropPath) else 0.0
            self.seen.drop_paths.append((rate, module.training))

    def look_at_loss(self, module: nn.Module, args: tuple, out: Tensor) -> None:
        self.seen.logits.append((args[0].detach().float(), args[1]))
        self.seen.losses.append(out.detach())

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        groups = runner.optim_wrapper.optimizer.param_groups
        self.seen.lrs.append({self.names[id(p)]: g["lr"] for g in groups for p in g["params"]})
        samples = data_batch["data_samples"]
        if "gt_label" in samples[0]:
            labels = torch.cat([sample.gt_label for sample in samples])
            self.seen.batches.append((torch.stack(data_batch["inputs"]), labels))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        self.seen.steps.append(snapshot(runner.model))
        self.seen.frozen_grads += [p.grad for p in runner.model.parameters() if not p.requires_grad]


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def smoke_config(task: str, folder: Path) -> Config:
    """The smoke config of a task, without validation."""
    cfg = find_data(load_config(SMOKE / f"{task}.py"))
    for part in ("dataloader", "evaluator", "cfg"):
        cfg[f"val_{part}"] = cfg[f"test_{part}"] = None
    cfg.update(work_dir=str(folder), experiment_name=f"claims_{task}_{folder.name}", log_level="ERROR")
    return cfg


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of pretraining, every tensor of it random."""
    generator = torch.Generator().manual_seed(0)
    state = {
        f"backbone.{name}": t
        if name.endswith("pos_embed")
        else 0.1 * torch.randn(t.shape, generator=generator)
        for name, t in MixMAESwin("small", img_size=32).state_dict().items()
    }
    path = tmp_path_factory.mktemp("pretrained") / "mim.pth"
    torch.save({"state_dict": state}, path)
    return path


@pytest.fixture(scope="module", params=TASKS)
def task(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def seen(task: str, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A training of a task, looked at."""
    cfg = smoke_config(task, tmp_path_factory.mktemp(task))
    cfg.model.backbone.update(
        drop_path_rate=DROP_PATH, init_cfg=dict(type="Pretrained", checkpoint=str(checkpoint))
    )
    cfg.optim_wrapper.type = "OptimWrapper"  # in float32, to compare losses closely
    cfg.optim_wrapper.optimizer.lr = LR
    cfg.optim_wrapper.paramwise_cfg = dict(layer_decay_rate=DECAY_RATE)
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.25, end=2, by_epoch=False),
        dict(type="CosineAnnealingLR", begin=2, end=6, eta_min_ratio=0.1, by_epoch=False),
    ]
    cfg.custom_hooks = [dict(type="EMAHook", momentum=EMA_MOMENTUM)]
    if task == "classification":
        cfg.train_dataloader.dataset.indices = list(range(0, 500, 32))  # of several classes
        cfg.model.train_cfg = dict(augments=dict(type="Mixup", alpha=ALPHA))
        cfg.model.head.loss = dict(type="LabelSmoothLoss", label_smooth_val=SMOOTHING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultScope, "_instance_dict", DefaultScope._instance_dict.copy())
        patch.setattr(np.random, "beta", lambda a, b: LAM if (a, b) == (ALPHA, ALPHA) else None)
        seen = Seen()
        runner = Runner.from_cfg(cfg)
        runner.register_hook(Watch(seen))
        runner.train()
        seen.saved = torch.load(Path(cfg.work_dir) / "epoch_2.pth", weights_only=False)
        forget(runner)
    assert len(seen.steps) == STEPS
    return seen


def forget(runner: Runner) -> None:
    """A Runner leaves itself in all of these."""
    for manager in (DefaultScope, MessageHub, MMLogger, Visualizer):
        manager._instance_dict.pop(runner.experiment_name, None)


def expected_scale(name: str) -> float:
    """Share of the learning rate: depth 0 is the embedding, then come the blocks; the head has the last."""
    head = sum(DEPTHS) + 1
    if not name.startswith("backbone."):
        return 1.0
    if name.startswith("backbone.patch_embed."):
        return DECAY_RATE**head
    block = re.match(r"backbone\.layers\.(\d)\.blocks\.(\d)\.", name)
    if block:
        return DECAY_RATE ** (head - 1 - sum(DEPTHS[: int(block[1])]) - int(block[2]))
    if name.startswith("backbone.layers.0.downsample."):  # with the next stage's first block (M10)
        return DECAY_RATE ** (head - 1 - DEPTHS[0])
    assert name.startswith(("backbone.norm.", "backbone.out_norms.")), name
    return DECAY_RATE


def test_training_starts_from_the_checkpoints_values(seen: Seen, checkpoint: Path) -> None:
    given = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert len(given) > 70
    for name, tensor in given.items():
        assert torch.equal(seen.start[name], tensor), name
    others = {name for name in seen.start if name.startswith("backbone.")} - set(given)
    assert all(name.startswith("backbone.out_norms.") for name in others)


def test_every_parameter_has_the_learning_rate_of_its_depth_in_every_step(seen: Seen) -> None:
    """Under warm-up and a cosine that ends at a share of each learning rate, so ratios hold."""
    trained = set(seen.start) - {"backbone.absolute_pos_embed"}
    for factor, lrs in zip(SCHEDULE, seen.lrs, strict=True):
        assert lrs.keys() == trained
        expected = {name: LR * factor * expected_scale(name) for name in lrs}
        assert lrs == pytest.approx(expected, rel=1e-9)


def test_every_trained_parameter_moves_and_none_faster_than_its_learning_rate(seen: Seen) -> None:
    """AdamW's first step is at most its learning rate long, and the decay lr * 0.05 of the value."""
    for name, lr in seen.lrs[0].items():
        before, after = seen.start[name], seen.steps[0][name]
        moved = (after - before).abs().max().item()
        limit = lr * (1 + 0.05 * before.abs().max().item())
        assert moved <= limit * 1.001 + 1e-7, name
        if name.startswith("backbone.") and before.ndim > 1:  # a bias before a batch norm has no gradient
            assert moved > 0.5 * lr, name


def test_stochastic_depth_rises_linearly_over_the_blocks_and_is_active(seen: Seen, task: str) -> None:
    rates = [rate for rate, _ in seen.drop_paths[::2]]  # twice per block: attention, MLP
    assert rates == [rate for rate, _ in seen.drop_paths[1::2]]
    assert rates == pytest.approx([DROP_PATH * block / 5 for block in range(6)])
    assert all(active for _, active in seen.drop_paths)


def test_the_frozen_position_table_has_no_gradient_and_does_not_change(seen: Seen) -> None:
    assert seen.frozen_grads == [None] * STEPS
    name = "backbone.absolute_pos_embed"
    assert all(torch.equal(step[name], seen.start[name]) for step in seen.steps)
    assert torch.equal(seen.saved["state_dict"][name], seen.start[name])


def test_averaged_weights_follow_their_closed_form_and_are_what_is_saved(seen: Seen) -> None:
    """The average starts as the weights after the first step."""
    keep = 1 - EMA_MOMENTUM
    for name in seen.start:
        first, *rest = (step[name].double() for step in seen.steps)
        expected = keep ** len(rest) * first
        for i, weights in enumerate(rest):
            expected = expected + EMA_MOMENTUM * keep ** (len(rest) - 1 - i) * weights
        averaged = seen.saved["state_dict"][name]
        torch.testing.assert_close(averaged.double(), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(seen.saved["ema_state_dict"][f"module.{name}"], seen.steps[-1][name])
        if name.startswith("backbone.layers."):
            assert not torch.equal(averaged, seen.steps[-1][name]), name


def test_weights_are_not_averaged_unless_a_config_says_so(seen: Seen, task: str, tmp_path: Path) -> None:
    assert any(issubclass(hook, EMAHook) for hook in seen.hooks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultScope, "_instance_dict", DefaultScope._instance_dict.copy())
        runner = Runner.from_cfg(smoke_config(task, tmp_path))
        forget(runner)
    assert not any(isinstance(hook, EMAHook) for hook in runner.hooks)


@pytest.mark.parametrize("task", ["classification"], indirect=True)
def test_mixup_mixes_images_and_targets_alike(seen: Seen) -> None:
    """Every image with one other, both by the same share, whatever the order of the batch."""
    for (raw, labels), inputs, (_, targets) in zip(seen.batches, seen.inputs, seen.logits, strict=True):
        images = (raw.flip(1).float() - 127.5) / 64.0
        one_hot = torch.eye(10)[labels]
        partners = (inputs - LAM * images) / (1 - LAM)
        distances = (partners[:, None] - images[None]).abs().amax((2, 3, 4))
        nearest, index = distances.min(1)
        assert nearest.max() < 1e-4
        assert sorted(index.tolist()) == list(range(len(images)))
        torch.testing.assert_close(targets, LAM * one_hot + (1 - LAM) * one_hot[index])
    assert any((targets > 0).sum(1).max() == 2 for _, targets in seen.logits)


@pytest.mark.parametrize("task", ["classification"], indirect=True)
def test_label_smoothing_is_in_the_loss(seen: Seen) -> None:
    for (logits, targets), loss in zip(seen.logits, seen.losses, strict=True):
        smooth = (1 - SMOOTHING) * targets + SMOOTHING / 10
        expected = -(smooth * logits.log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
        plain = -(targets * logits.log_softmax(1)).sum(1).mean()
        assert (loss - plain).abs() > 10 * (loss - expected).abs()
