"""What `load_from` and `init_cfg` fill, by mmengine's own Runner: audited, or training does not start."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from mixmae_bench.backbones import loading as load
from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.errors import UserError
from mixmae_bench.transfer import audit

ARCH = dict(embed_dim=8, depths=(1, 1), num_heads=(2, 2), window_size=(4, 2))


class Foreign(BaseModule):
    """A backbone of another package, which mmengine initialises."""

    def __init__(self, init_cfg: dict | None = None, width: int = 4) -> None:
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, width, 8)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.norm(self.conv(images)),)


class Model(BaseModel):
    def __init__(self, backbone: nn.Module, classes: int = 3) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(2, classes)

    def forward(self, inputs: Tensor, data_samples: object = None, mode: str = "loss") -> dict[str, Tensor]:
        loss = self.backbone(inputs)[0].mean() + self.head(inputs.new_ones(2)).mean()
        return {"loss": loss}


def ours() -> MixMAESwin:
    return MixMAESwin(ARCH, 32)


@torch.no_grad()
def filled(model: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.normal_()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    for module in (audit, load):
        monkeypatch.setattr(module, "print_log", lambda line, logger: lines.append(line))
    return lines


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., nn.Module]]:
    """Train one step of learning rate 0 from `load_from` (a checkpoint's content); return the model."""
    names: list[str] = []

    def begin(model: Model, content: object = None) -> Model:
        names.append(f"{tmp_path.name}_{len(names)}")
        if content is not None:
            torch.save(content, tmp_path / "w.pth")
        runner = Runner(
            model,
            str(tmp_path / "work"),
            experiment_name=names[-1],
            log_level="ERROR",
            load_from=None if content is None else str(tmp_path / "w.pth"),
            custom_hooks=[dict(type="mixmae_bench.LoadAuditHook")],
            train_cfg=dict(by_epoch=False, max_iters=1),
            train_dataloader=dict(
                dataset=[{"inputs": torch.ones(3, 32, 32)}],
                batch_size=1,
                num_workers=0,
                sampler=dict(type="DefaultSampler"),
                collate_fn=dict(type="default_collate"),
            ),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.0)),
        )
        runner.train()
        assert runner.iter == 1
        return model

    yield begin
    for manager in (DefaultScope, MessageHub, MMLogger, Visualizer):
        for name in names:
            manager._instance_dict.pop(name, None)


def assert_filled(model: nn.Module, state: dict[str, Tensor], begin: str = "") -> None:
    names = [
        name for name in state if name.startswith(begin) and "running" not in name and "num_" not in name
    ]
    assert names
    assert [name for name in names if not torch.equal(model.state_dict()[name], state[name])] == []


@pytest.mark.parametrize("backbone", [ours, Foreign])
@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod."])
def test_a_whole_model_is_taken_whole(
    backbone: Callable[[], nn.Module], prefix: str, start: Callable, said: list[str]
) -> None:
    state = filled(Model(backbone()))
    model = start(Model(backbone()), {"model": {prefix + name: tensor for name, tensor in state.items()}})
    assert_filled(model, state)
    assert any(line.startswith(f"loaded 100.0% of {type(model.backbone).__name__} ") for line in said)
    assert any(line.startswith("heads and others: loaded 2 of 2 tensors") for line in said)


@pytest.mark.parametrize("backbone", [ours, Foreign])
@pytest.mark.parametrize("placed", ["", "backbone."])
def test_a_backbone_alone_is_taken_and_heads_stay(
    backbone: Callable[[], nn.Module], placed: str, start: Callable, said: list[str]
) -> None:
    state = {placed + name: tensor for name, tensor in filled(backbone()).items()}
    model = start(Model(backbone()), {**state, "decoder.x": torch.ones(1)} if placed else state)
    assert_filled(model.backbone, {name.removeprefix(placed): tensor for name, tensor in state.items()})
    assert any(line.startswith("heads and others: loaded 0 of 2 tensors") for line in said)


@pytest.mark.parametrize("backbone", [ours, Foreign])
def test_heads_of_other_classes_are_named_and_stay(
    backbone: Callable[[], nn.Module], start: Callable, said: list[str]
) -> None:
    state = filled(Model(backbone(), classes=5))
    model = start(Model(backbone()), {"state_dict": state})
    assert_filled(model, state, "backbone.")
    assert model.head.weight.shape == (3, 2)
    assert "not loaded: 'head.weight' has shape (5, 2), the model's has (3, 2)" in said


@pytest.mark.parametrize(
    ("backbone", "content", "message"),
    [
        (ours, {f"conv{i}.weight": torch.ones(2) for i in range(3)}, r"w\.pth fills 0\.0% of MixMAESwin"),
        (Foreign, {f"layer{i}.weight": torch.ones(2) for i in range(3)}, r"w\.pth fills 0\.0% of Foreign"),
        (
            Foreign,
            filled(Model(Foreign(width=5))),
            r"'conv\.weight' has shape \(5, 3, 8, 8\), the model's ",
        ),
        (Foreign, {"backbone.conv.bias": torch.ones(4)}, r"w\.pth fills 0\.\d% of Foreign"),
        (ours, [torch.ones(2)], r"w\.pth"),
        (ours, {"epoch": 3}, r"w\.pth contains no state dict"),
    ],
    ids=["other names", "foreign, other names", "foreign, wider", "foreign, a part", "a list", "no weights"],
)
def test_what_does_not_fit_ends_before_training(
    backbone: Callable[[], nn.Module], content: object, message: str, start: Callable, said: list[str]
) -> None:
    with pytest.raises(UserError, match=message) as error:
        start(Model(backbone()), content)
    assert "\n" not in str(error.value)


def test_an_init_cfg_of_a_foreign_backbone_is_audited(
    start: Callable, said: list[str], tmp_path: Path
) -> None:
    state = filled(Foreign())
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "init.pth"))
    torch.save(state, tmp_path / "init.pth")
    model = start(Model(Foreign(init)))
    assert_filled(model.backbone, state)
    assert model.backbone.audit["filled"] == 100
    torch.save({f"encoder.{name}": tensor for name, tensor in state.items()}, tmp_path / "init.pth")
    with pytest.raises(UserError, match=r"init\.pth fills 0\.0% of Foreign"):
        start(Model(Foreign(init)))
