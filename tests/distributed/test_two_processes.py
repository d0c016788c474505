"""Two processes on the CPU do what one does with the images of both: gradients, statistics, resume."""

from pathlib import Path

import pytest
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed
from pair import SMOKE, Pair, runner_of
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from mixmae_bench.compat.checkpoints import read_checkpoint
from mixmae_bench.engine.distributed import CPUDistributedDataParallel
from mixmae_bench.engine.fsdp import FullyShardedStrategy
from mixmae_bench.errors import UserError
from mixmae_bench.methods.method import Method
from mixmae_bench.methods.mixmae import MixMAE
from mixmae_bench.registry import MODELS
from mixmae_bench.transfer.knn import KNNClassifier

ARCH = dict(embed_dim=16, depths=(2, 1), num_heads=(2, 2), window_size=(4, 4))
BACKBONE = dict(type="mixmae_bench.MixMAESwin", arch=ARCH, img_size=32)
DECODER = dict(dim=16, depth=1, num_heads=2)
METHODS = {
    "MixMAE": dict(decoder=DECODER),
    "SimMIM": dict(mask_patch_size=8),
    "UMMAE": dict(decoder=DECODER, mask_patch_size=4),
}
BATCH = 4


# Gradients.


def method_of(name: str) -> Method:
    torch.manual_seed(0)
    return MODELS.build(dict(type=f"mixmae_bench.{name}", backbone=BACKBONE, **METHODS[name])).double().eval()


def images_of(rank: int) -> Tensor:
    return torch.rand(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(rank), dtype=torch.float64)


def gradients(name: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mask that this process drew in DDP's forward pass, and the gradients that DDP left in it."""
    method = method_of(name)
    set_random_seed(7, diff_rank_seed=True)
    wrapped = DistributedDataParallel(method)
    wrapped(images_of(get_rank()), mode="loss")["loss"].backward()
    set_random_seed(7, diff_rank_seed=True)
    return method.draw_mask(images_of(get_rank())), {n: p.grad for n, p in method.named_parameters()}


@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_the_mean_of_those_of_one_process_with_the_batches_and_masks_of_both(
    name: str, pair: Pair
) -> None:
    (mask, found), (other_mask, other) = pair(gradients, name)
    assert not torch.equal(mask, other_mask)
    method = method_of(name)
    for rank, own in enumerate((mask, other_mask)):
        set_random_seed(7 + rank)
        assert torch.equal(method.draw_mask(images_of(rank)), own)
        (method.loss(images_of(rank), own) / 2).backward()  # MixMAE mixes within the batch of a process
    for key, param in method.named_parameters():
        if not param.requires_grad:
            continue
        assert param.grad.abs().max() > 1e-7, key
        torch.testing.assert_close(found[key], param.grad, atol=1e-12, rtol=1e-8)
        assert torch.equal(found[key], other[key])


# Batch norm.


def normalised(batches: list[Tensor]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return output, gradient of the input, and state of batch norm over all processes."""
    norm = sync_norm()
    own = batches[get_rank()].requires_grad_()
    wrapped = CPUDistributedDataParallel(norm)
    output = wrapped(own)
    output.square().mul(WEIGHTS[: len(own)]).sum().backward()
    gradients = {f"grad.{name}": 2 * p.grad for name, p in norm.named_parameters()}  # DDP takes the mean
    return output.detach(), own.grad, {**norm.state_dict(), **gradients}


def sync_norm() -> nn.SyncBatchNorm:
    norm = nn.SyncBatchNorm(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        norm.bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    return norm


WEIGHTS = torch.linspace(0.5, 2, 5).view(5, 1, 1, 1)


def test_batch_norm_over_all_processes_is_that_of_one_process_with_all_images(pair: Pair) -> None:
    torch.manual_seed(0)
    batches = [3 + 2 * torch.randn(5, 3, 4, 4), 10 + torch.randn(3, 3, 4, 4)]  # of different sizes
    results = pair(normalised, batches)
    norm = nn.BatchNorm2d(3)
    norm.load_state_dict(sync_norm().state_dict())
    images = torch.cat(batches).requires_grad_()
    output = norm(images)
    output.square().mul(torch.cat([WEIGHTS, WEIGHTS[:3]])).sum().backward()
    torch.testing.assert_close(torch.cat([own for own, _, _ in results]), output.detach())
    torch.testing.assert_close(torch.cat([own for _, own, _ in results]), images.grad, atol=1e-4, rtol=1e-4)
    expected = {**norm.state_dict(), **{f"grad.{name}": p.grad for name, p in norm.named_parameters()}}
    for _, _, state in results:
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, atol=1e-4, rtol=1e-4)


# A run: what each process sees, and going on after a stop.


class WatchHook(Hook):
    """Notes the images of every step, and ends the run before an epoch."""

    def __init__(self, stop: int | None) -> None:
        self.stop = stop
        self.images: list[list[str]] = []

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == self.stop:
            raise EOFError

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self.images.append([Path(sample.img_path).name for sample in data_batch["data_samples"]])


def pretrain(
    folder: Path, stop: int | None, options: dict, config: Path = SMOKE / "pretraining.py"
) -> tuple[list[list[str]], list[Tensor], list[float]]:
    """Return the images and the mask of every step, and its loss as logged."""
    masks: list[Tensor] = []

    def draw_mask(self: MixMAE, images: Tensor) -> Tensor:
        masks.append(drawn(self, images))
        return masks[-1]

    drawn, MixMAE.draw_mask = MixMAE.draw_mask, draw_mask
    hook = WatchHook(stop)
    try:
        runner = runner_of(config, folder, "pytorch", **options)
        runner.register_hook(hook)
        runner.train()
    except EOFError:
        pass
    finally:
        MixMAE.draw_mask = drawn
    return hook.images, masks, runner.message_hub.get_scalar("train/loss").data[0].tolist()


OPTIONS = {"train_dataloader.batch_size": BATCH, "custom_hooks": []}
"""Two processes with four images each, as the smoke test's one with eight."""


def weights(folder: Path) -> dict[str, Tensor]:
    return read_checkpoint(folder / "epoch_2.pth")["state_dict"]


@pytest.fixture(scope="module")
def undisturbed(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, pair(pretrain, folder, None, OPTIONS)


def test_every_image_is_seen_once_per_epoch_and_each_process_draws_its_own_masks(
    undisturbed: tuple[Path, list],
) -> None:
    (images, masks, losses), (other_images, other_masks, other_losses) = undisturbed[1]
    for epoch in (slice(0, 2), slice(2, 4)):
        seen = [image for batch in images[epoch] + other_images[epoch] for image in batch]
        assert len(seen) == len(set(seen)) == 16
    assert images[:2] != images[2:]
    assert len({str(mask.tolist()) for mask in masks + other_masks}) == 8
    assert losses == other_losses  # the mean over both


def test_a_stopped_run_of_two_processes_goes_on_exactly(
    undisturbed: tuple[Path, list], pair: Pair, tmp_path: Path
) -> None:
    expected = undisturbed[1]
    begun = pair(pretrain, tmp_path, 1, OPTIONS)
    assert not (tmp_path / "epoch_2.pth").exists()
    rest = pair(pretrain, tmp_path, None, OPTIONS)
    for whole, first, last in zip(expected, begun, rest, strict=True):
        assert whole[0] == first[0] + last[0]
        assert all(torch.equal(a, b) for a, b in zip(whole[1], first[1] + last[1], strict=True))
        assert whole[2] == last[2]  # the losses before the stop are in the checkpoint
    one, other = weights(tmp_path), weights(undisturbed[0])
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


# Sharding.


def config_of(folder: Path, sharded: bool) -> Path:
    """Write a config with what could differ: checkpointed blocks, clipping, decay by a parameter's shape."""
    config = folder / f"sharded_{sharded}.py"
    bases = [str(SMOKE / "pretraining.py")]
    if sharded:
        bases.append(str(SMOKE.parents[1] / "configs/_base_/strategies/fsdp.py"))
    config.write_text(
        f"_base_ = {bases}\n"
        "model = dict(backbone=dict(with_cp=True))\n"
        "optim_wrapper = dict(\n"
        "    type='OptimWrapper',\n"
        "    optimizer=dict(weight_decay=0.5, eps=1e-4),\n"
        "    clip_grad=dict(max_norm=0.5),\n"
        "    constructor='mixmae_bench.LayerDecayOptimWrapperConstructor',\n"
        ")\n"
    )
    return config


def shares(folder: Path, config: Path) -> tuple[int, int]:
    """Train, and return the values of all parameters and those that this process keeps."""
    runner = runner_of(config, folder, "pytorch", **OPTIONS)
    assert isinstance(runner.strategy, FullyShardedStrategy)
    runner.train()
    params = list(runner.model.parameters())
    return sum(p.numel() for p in params), sum(p.to_local().numel() for p in params)


def assert_near(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=2e-5, rtol=0, msg=lambda m, k=name: f"{k}: {m}")


def test_a_sharded_run_ends_with_the_weights_of_one_that_is_not_and_either_goes_on_from_the_other(
    pair: Pair, tmp_path: Path
) -> None:
    sharded, plain = config_of(tmp_path, True), config_of(tmp_path, False)
    folders = {name: tmp_path / name for name in ("plain", "sharded", "to_plain", "to_sharded")}
    (_, _, losses), _ = pair(pretrain, folders["plain"], None, OPTIONS, plain)
    (total, own), (_, rest) = pair(shares, folders["sharded"], sharded)
    assert own + rest == total
    assert abs(own - rest) < 0.05 * total
    expected = weights(folders["plain"])
    assert_near(weights(folders["sharded"]), expected)
    for folder, first, second in (("to_plain", sharded, plain), ("to_sharded", plain, sharded)):
        pair(pretrain, folders[folder], 1, OPTIONS, first)
        (_, _, resumed), _ = pair(pretrain, folders[folder], None, OPTIONS, second)
        assert_near(weights(folders[folder]), expected)
        assert resumed == pytest.approx(losses, abs=1e-4)
    states = [read_checkpoint(f / "epoch_2.pth")["optimizer"] for f in folders.values()]
    groups = [[(g["lr"], g["weight_decay"], len(g["params"])) for g in s["param_groups"]] for s in states]
    assert groups[0] == groups[1] == groups[2] == groups[3]
    assert len({decay for _, decay, _ in groups[0]}) == 2


# Stopping together.


class SpoilHook(Hook):
    """Makes NaN of the weights that the second process holds, before a step or after it."""

    priority = "VERY_HIGH"

    def __init__(self, when: str) -> None:
        setattr(self, f"{when}_train_iter", self.spoil)

    def spoil(self, runner: Runner, **_: object) -> None:
        if runner.iter == 1 and get_rank() == 1:
            for param in runner.model.parameters():
                (param.to_local() if isinstance(param, DTensor) else param).detach().fill_(torch.nan)


def spoiled(folder: Path, config: Path, when: str) -> str:
    runner = runner_of(config, folder, "pytorch", **OPTIONS)
    runner.register_hook(SpoilHook(when))
    with pytest.raises(UserError) as error:
        runner.train()
    return str(error.value)


def test_a_loss_that_is_not_finite_in_one_process_stops_both_at_once(pair: Pair, tmp_path: Path) -> None:
    messages = pair(spoiled, tmp_path, SMOKE / "pretraining.py", "before")
    assert messages[0] == messages[1]
    assert "loss nan at iteration 2; no checkpoint before it" in messages[0]


def test_a_shard_that_is_not_finite_is_not_saved_by_any_process(pair: Pair, tmp_path: Path) -> None:
    messages = pair(spoiled, tmp_path, config_of(tmp_path, True), "after")
    assert messages[0] == messages[1]
    assert "is not finite, epoch_1.pth not written" in messages[0]


# What does not go together.


def nearest_neighbours() -> str:
    with pytest.raises(UserError) as error:
        KNNClassifier(num_classes=10, backbone=BACKBONE)
    return str(error.value)


def test_nearest_neighbours_of_several_processes_are_refused(pair: Pair) -> None:
    assert all("KNNClassifier keeps all features in one process" in text for text in pair(nearest_neighbours))
