"""Loading a backbone: what fits is filled and named, what does not fit is refused, no file runs code."""

import argparse
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file
from torch import Tensor

from mixmae_bench.backbones.loading import load_backbone, load_model, read_state_dict
from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.compat.checkpoints import safe_loaders
from mixmae_bench.errors import UserError
from mixmae_bench.methods.mixmae import MixMAE
from mixmae_bench.registry import MODELS

ARCH = dict(embed_dim=8, depths=(1, 2, 1), num_heads=(2, 2, 4), window_size=(4, 4, 2))


def make(seed: int = 0, arch: dict = ARCH, **kwargs) -> MixMAESwin:
    """An encoder whose every parameter is random, so that no two tensors are equal by chance."""
    torch.manual_seed(seed)
    backbone = MixMAESwin(arch, **{"img_size": 32, **kwargs})
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter)
    return backbone


def prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"backbone.{name}": tensor for name, tensor in state.items()}


def copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def assert_equal(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(ours) == set(expected)
    assert [name for name in ours if not torch.equal(ours[name], expected[name])] == []


def refused(path: Path, backbone: MixMAESwin | None = None) -> str:
    """Load, expect one line of UserError and an untouched backbone, and return the line."""
    backbone = backbone or make(seed=9)
    before = copy(backbone.state_dict())
    with pytest.raises(UserError) as error:
        load_backbone(backbone, path)
    assert_equal(backbone.state_dict(), before)
    message = str(error.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.fixture
def adapted() -> Iterator[None]:
    """mmengine as this package's commands have it, until the test ends."""
    with safe_loaders():
        yield


# --- what fits ------------------------------------------------------------------------------------

WRAPPERS: dict[str, Callable[[dict], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "meta": {"epoch": 3}},
    "model": lambda state: {"model": state, "optimizer": {"step": 7}, "epoch": 3},
    "ordered": lambda state: {"state_dict": OrderedDict(state)},
}


@pytest.mark.parametrize("named", [lambda state: state, prefixed], ids=["own names", "backbone."])
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
def test_a_whole_checkpoint_fills_every_tensor(
    wrapper: str, named: Callable[[dict], dict], suffix: str, tmp_path: Path
) -> None:
    source, backbone = make(seed=1), make(seed=2)
    torch.save(WRAPPERS[wrapper](named(source.state_dict())), tmp_path / f"weights{suffix}")
    audit = load_backbone(backbone, tmp_path / f"weights{suffix}")
    assert audit == dict(filled=100.0, resized=[], missing=[], left_out=[])
    assert_equal(backbone.state_dict(), source.state_dict())


@pytest.mark.parametrize("named", [copy, prefixed], ids=["own names", "backbone."])
def test_safetensors_fill_every_tensor(named: Callable[[dict], dict], tmp_path: Path) -> None:
    source, backbone = make(seed=1), make(seed=2)
    save_file(named(source.state_dict()), tmp_path / "weights.safetensors")
    assert load_backbone(backbone, str(tmp_path / "weights.safetensors"))["filled"] == 100
    assert_equal(backbone.state_dict(), source.state_dict())


def test_a_pretraining_model_fills_the_backbone_and_its_decoder_is_left_out(tmp_path: Path) -> None:
    model = MixMAE(
        dict(type="mixmae_bench.MixMAESwin", arch=ARCH, img_size=32), dict(dim=8, depth=1, num_heads=2)
    )
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mim.pth")
    backbone = make(seed=2)
    audit = load_backbone(backbone, tmp_path / "mim.pth")
    decoder = [name for name in model.state_dict() if name.startswith("decoder.")]
    assert len(decoder) > 10
    assert sorted(audit["left_out"]) == sorted(decoder)
    assert audit["filled"] == 100
    assert_equal(backbone.state_dict(), model.backbone.state_dict())


def test_a_checkpoint_as_the_official_script_saves_it_loads(tmp_path: Path) -> None:
    """MixMIM's util/misc.py saves its parsed arguments too; official names, indices and decoder."""
    source, backbone = make(seed=1), make(seed=2)
    others = {
        "mask_token": torch.ones(1, 1, 8),
        "decoder_embed.weight": torch.ones(8, 32),
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(16, 16, dtype=torch.int64),
    }
    content = dict(
        model={**others, **source.state_dict()},
        optimizer=torch.optim.AdamW(source.parameters()).state_dict(),
        epoch=599,
        scaler={"scale": 65536.0, "growth_factor": 2.0},
        args=argparse.Namespace(batch_size=128, model="mixmim_base", opt_betas=[0.9, 0.95], resume=""),
    )
    torch.save(content, tmp_path / "checkpoint.pth")
    audit = load_backbone(backbone, tmp_path / "checkpoint.pth")
    assert audit == dict(filled=100.0, resized=[], missing=[], left_out=list(others))
    assert_equal(backbone.state_dict(), source.state_dict())


def test_names_without_backbone_in_front_are_left_out_where_it_is_there(tmp_path: Path) -> None:
    """A head that happens to be called like a tensor of the backbone must not land in it."""
    source, backbone = make(seed=1), make(seed=2)
    stray = torch.full_like(source.norm.weight, 7.0)
    torch.save({"norm.weight": stray, **prefixed(source.state_dict())}, tmp_path / "weights.pth")
    assert load_backbone(backbone, tmp_path / "weights.pth")["left_out"] == ["norm.weight"]
    assert torch.equal(backbone.norm.weight, source.norm.weight)


def test_loading_keeps_the_frozen_table_frozen_and_the_rest_trainable(tmp_path: Path) -> None:
    source, backbone = make(seed=1), make(seed=2)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    load_backbone(backbone, tmp_path / "weights.pth")
    frozen = [name for name, p in backbone.named_parameters() if not p.requires_grad]
    assert frozen == ["absolute_pos_embed"]


def test_half_precision_weights_fill_a_float32_backbone(tmp_path: Path) -> None:
    source, backbone = make(seed=1), make(seed=2)
    torch.save({k: v.half() for k, v in source.state_dict().items()}, tmp_path / "weights.pth")
    load_backbone(backbone, tmp_path / "weights.pth")
    assert_equal(backbone.state_dict(), {k: v.half().float() for k, v in source.state_dict().items()})


@pytest.mark.parametrize("seen", [False, True])
def test_out_norms_do_not_count_and_load_where_they_are_there(seen: bool, tmp_path: Path) -> None:
    source, backbone = make(seed=1, out_indices=(0, 1, 2)), make(seed=2, out_indices=(0, 1, 2))
    state = {k: v for k, v in source.state_dict().items() if seen or not k.startswith("out_norms")}
    kept = copy(backbone.out_norms.state_dict())
    torch.save(state, tmp_path / "weights.pth")
    audit = load_backbone(backbone, tmp_path / "weights.pth")
    assert (audit["filled"], audit["missing"], audit["left_out"]) == (100, [], [])
    assert_equal(backbone.out_norms.state_dict(), source.out_norms.state_dict() if seen else kept)


# --- tables ---------------------------------------------------------------------------------------


def test_tables_of_another_size_are_resized_and_listed(tmp_path: Path) -> None:
    """Numbers of the resizing: tests/backbones and tests/test_reference.py."""
    source = make(seed=1)
    backbone = make(seed=2, arch=dict(ARCH, window_size=(8, 4, 4)), img_size=64)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    audit = load_backbone(backbone, tmp_path / "weights.pth")
    tables = [f"layers.{i}.blocks.0.attn.relative_position_bias_table" for i in (0, 2)]
    assert sorted(audit["resized"]) == ["absolute_pos_embed", *tables]
    assert (audit["filled"], audit["missing"], audit["left_out"]) == (100, [], [])
    untouched = set(source.state_dict()) - set(audit["resized"])
    for name in untouched:
        assert torch.equal(backbone.state_dict()[name], source.state_dict()[name])
    corner = backbone.absolute_pos_embed[0].view(16, 16, -1).mean((0, 1))
    torch.testing.assert_close(corner, source.absolute_pos_embed[0].mean(0), rtol=0, atol=0.1)


def test_a_table_that_is_no_square_is_refused(tmp_path: Path) -> None:
    state = make(seed=1).state_dict()
    state["absolute_pos_embed"] = torch.zeros(1, 65, 8)
    torch.save(state, tmp_path / "with_class_token.pth")
    assert "65 rows" in refused(tmp_path / "with_class_token.pth")


@pytest.mark.parametrize("shape", [(), (8,), (64, 8)])
def test_a_table_without_its_axes_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    state = make(seed=1).state_dict()
    state["absolute_pos_embed"] = torch.zeros(shape)
    torch.save(state, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth")


def test_tables_of_another_number_of_heads_are_refused(tmp_path: Path) -> None:
    """Heads change the tables alone, a fraction of a percent, and yet what every projection means."""
    source = make(seed=1, arch=dict(ARCH, embed_dim=64, num_heads=(4, 4, 8)))
    backbone = make(seed=2, arch=dict(ARCH, embed_dim=64))
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(UserError, match="relative_position_bias_table' has shape") as error:
        load_backbone(backbone, tmp_path / "weights.pth")
    assert "\n" not in str(error.value)
    assert_equal(backbone.state_dict(), before)


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arch",
    [
        dict(ARCH, embed_dim=16),
        dict(ARCH, depths=(1, 1, 1)),
        dict(ARCH, depths=(1, 2), num_heads=(2, 2), window_size=(4, 4)),
    ],
    ids=["wider", "shallower", "fewer stages"],
)
def test_a_checkpoint_of_another_architecture_is_refused(arch: dict, tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed(make(seed=1, arch=arch).state_dict())}, tmp_path / "other.pth")
    message = refused(tmp_path / "other.pth")
    assert "% of MixMAESwin" in message
    assert "99%" in message


def test_a_checkpoint_of_no_known_names_is_refused(tmp_path: Path) -> None:
    torch.save({f"conv{i}.weight": torch.ones(4) for i in range(3)}, tmp_path / "resnet.pth")
    assert "fills 0.0% of MixMAESwin" in refused(tmp_path / "resnet.pth")


def drop(state: dict[str, Tensor], low: float, high: float) -> tuple[dict[str, Tensor], list[str]]:
    """Leave out tensors, largest first, while at least `low` percent stay; expect at most `high`."""
    total = kept = sum(t.numel() for t in state.values())
    left_out = []
    for name in sorted(state, key=lambda name: -state[name].numel()):
        if 100 * (kept - state[name].numel()) / total >= low:
            kept -= state[name].numel()
            left_out.append(name)
    assert low <= 100 * kept / total < high
    return {name: tensor for name, tensor in state.items() if name not in left_out}, left_out


def test_98_percent_are_refused_and_the_first_missing_tensor_is_named(tmp_path: Path) -> None:
    state, left_out = drop(make(seed=1).state_dict(), 98.3, 98.9)
    torch.save(state, tmp_path / "weights.pth")
    message = refused(tmp_path / "weights.pth")
    assert "98." in message
    assert f"'{next(name for name in make().state_dict() if name in left_out)}' is missing" in message


def test_99_percent_are_accepted_and_what_is_missing_is_listed(tmp_path: Path) -> None:
    source, backbone = make(seed=1), make(seed=2)
    state, left_out = drop(source.state_dict(), 99.1, 99.9)
    kept = copy({name: backbone.state_dict()[name] for name in left_out})
    torch.save(state, tmp_path / "weights.pth")
    audit = load_backbone(backbone, tmp_path / "weights.pth")
    total = sum(t.numel() for t in source.state_dict().values())
    assert audit["filled"] == pytest.approx(100 * sum(t.numel() for t in state.values()) / total, abs=1e-9)
    assert sorted(audit["missing"]) == sorted(left_out)
    assert_equal(backbone.state_dict(), {**source.state_dict(), **kept})


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    state = make(seed=1).state_dict()
    state["layers.2.blocks.0.mlp.fc1.weight"] = torch.zeros(64, 32)
    torch.save(state, tmp_path / "weights.pth")
    message = refused(tmp_path / "weights.pth")
    assert "'layers.2.blocks.0.mlp.fc1.weight' has shape (64, 32), the model's has (128, 32)" in message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.pth", tmp_path):
        assert refused(path) == f"checkpoint {path} does not exist; check the path"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(make().state_dict(), path)
    else:
        save_file(make().state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cannot be read as weights" in refused(path)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [torch.ones(2)],
        torch.ones(2),
        {"state_dict": {}},
        {"epoch": 3},
        {0: torch.ones(2)},
        "weights",
        None,
    ],
    ids=repr,
)
def test_content_without_named_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth")


def test_load_model_takes_every_tensor_or_refuses(tmp_path: Path) -> None:
    source, model = make(seed=1), make(seed=2)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "whole.pth")
    load_model(model, tmp_path / "whole.pth")
    assert_equal(model.state_dict(), source.state_dict())
    torch.save({k: v for k, v in source.state_dict().items() if k != "norm.bias"}, tmp_path / "part.pth")
    with pytest.raises(UserError, match=r"norm\.bias") as error:
        load_model(model, tmp_path / "part.pth")
    assert "\n" not in str(error.value)


# --- files that would run code --------------------------------------------------------------------


class Call:
    """Pickles as a call of `function`, which an ordinary unpickler makes."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call

    def __call__(self) -> None:
        """Only there so that one call can be the function of another."""


def write_zip(content: Any, path: Path) -> None:
    torch.save(content, path)


def write_legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [write_zip, write_legacy, write_pickle])
@pytest.mark.parametrize("function", [os.system, os.mkdir, eval, exec], ids=lambda f: f.__name__)
def test_a_file_that_would_run_code_is_refused_and_nothing_runs(
    write: Callable[[Any, Path], None], function: Callable, tmp_path: Path, adapted: None
) -> None:
    flag = tmp_path / "ran"
    python = f"open({str(flag)!r}, 'w').close()"
    argument = {os.system: f"touch {flag}", os.mkdir: str(flag)}.get(function, python)
    path = tmp_path / "evil.pth"
    write({"state_dict": make(seed=1).state_dict(), "meta": Call(function, argument)}, path)

    assert "cannot be read as weights" in refused(path)
    with pytest.raises(UserError, match="cannot be read as weights"):
        CheckpointLoader.load_checkpoint(str(path), map_location="cpu")
    assert not flag.exists()

    if write is not write_pickle:
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert flag.exists(), "the file would not have run anything, so the test above shows nothing"


@pytest.mark.parametrize(
    ("function", "name"), [(os.system, f"GLOBAL {os.system.__module__}.system"), (eval, "GLOBAL eval")]
)
def test_the_refusal_names_what_the_file_asked_for(function: Callable, name: str, tmp_path: Path) -> None:
    """And neither torch's advice to load the file all the same, nor its escape codes."""
    torch.save({"state_dict": make(seed=1).state_dict(), "meta": Call(function, "1")}, tmp_path / "evil.pth")
    message = refused(tmp_path / "evil.pth")
    assert message.isprintable()
    assert name in message
    assert "Re-running" not in message


GETATTR = {
    "class": Call(getattr, HistoryBuffer, "__class__"),
    "dict": Call(getattr, HistoryBuffer, "__dict__"),
    "module": Call(getattr, HistoryBuffer, "__module__"),
    "data": Call(getattr, HistoryBuffer, "_statistics_methods"),
    "class method": Call(getattr, HistoryBuffer, "register_statistics"),
    "nothing": Call(getattr, HistoryBuffer, "nothing"),
    "default": Call(getattr, HistoryBuffer, "nothing", 1),
    "instance": Call(getattr, HistoryBuffer([1.0], [1]), "mean"),
    "array": Call(getattr, np.ndarray, "tofile"),
    "tensor": Call(getattr, torch.Tensor, "share_memory_"),
    "text": Call(getattr, "text", "upper"),
    "call of what is reached": Call(Call(getattr, HistoryBuffer, "update"), HistoryBuffer([1.0], [1]), 1.0),
}


@pytest.mark.parametrize("call", GETATTR.values(), ids=GETATTR)
def test_getattr_reaches_nothing_but_methods_of_a_history_buffer(
    call: Call, tmp_path: Path, adapted: None
) -> None:
    path = tmp_path / "getattr.pth"
    torch.save({"state_dict": make(seed=1).state_dict(), "meta": call}, path)
    assert "cannot be read as weights" in refused(path)
    with pytest.raises(UserError, match="cannot be read as weights"):
        CheckpointLoader.load_checkpoint(str(path))


@pytest.mark.filterwarnings("ignore:.*looks like a TorchScript archive")
def test_a_torchscript_archive_which_is_a_program_is_refused(tmp_path: Path) -> None:
    """torch tells one by the entry constants.pkl, and hands it to its interpreter unless told not to."""
    torch.save(make().state_dict(), tmp_path / "script.pth")
    with zipfile.ZipFile(tmp_path / "script.pth", "a") as archive:
        archive.writestr("script/constants.pkl", b"")
    assert "TorchScript" in refused(tmp_path / "script.pth")


# --- checkpoints of mmengine ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real run of mmengine: three steps of a backbone under a loss."""
    from mmengine.model import BaseModel
    from mmengine.runner import Runner
    from mmengine.visualization import Visualizer

    class Tiny(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = make(seed=1)

        def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "loss") -> dict:
            return {"loss": self.backbone(inputs)[0].square().mean()}

    folder = tmp_path_factory.mktemp("run")
    runner = Runner(
        model=Tiny(),
        work_dir=str(folder),
        experiment_name=folder.name,
        train_dataloader=dict(
            dataset=[{"inputs": torch.ones(3, 32, 32) * i} for i in range(3)],
            sampler=dict(type="DefaultSampler", shuffle=False),
            batch_size=1,
            num_workers=0,
            collate_fn=dict(type="default_collate"),
        ),
        train_cfg=dict(by_epoch=False, max_iters=3),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        param_scheduler=dict(type="LinearLR", by_epoch=False, end=5),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", interval=3, by_epoch=False)),
        log_level="ERROR",
    )
    runner.train()
    for manager in (DefaultScope, MessageHub, MMLogger, Visualizer):  # a Runner leaves itself in all of them
        manager._instance_dict.pop(runner.experiment_name)
    return folder


def test_a_real_run_of_mmengine_fills_the_backbone(run_folder: Path) -> None:
    path, backbone = run_folder / "iter_3.pth", make(seed=2)
    assert load_backbone(backbone, path)["filled"] == 100
    stored = torch.load(path, weights_only=False)["state_dict"]
    assert_equal(prefixed(backbone.state_dict()), stored)


def test_a_real_run_of_mmengine_loads_whole_for_resuming(run_folder: Path, adapted: None) -> None:
    """Log buffers, optimiser and all, equal to what an unpickler that runs code gives."""
    path = str(run_folder / "iter_3.pth")
    safe = CheckpointLoader.load_checkpoint(path, map_location="cpu")
    plain = torch.load(path, weights_only=False)
    assert set(safe) == set(plain) >= {"meta", "message_hub", "optimizer", "param_schedulers", "state_dict"}
    assert safe["meta"] == plain["meta"]
    assert safe["optimizer"]["state"][1]["step"] == 3
    logs, expected = (c["message_hub"]["log_scalars"] for c in (safe, plain))
    assert set(logs) == set(expected)
    assert type(logs["train/loss"]) is HistoryBuffer
    history, counts = logs["train/loss"].data
    np.testing.assert_array_equal(history, expected["train/loss"].data[0])
    assert len(history) == 3
    assert counts.tolist() == [1, 1, 1]
    for statistic in ("min", "max", "mean", "current"):
        assert logs["train/loss"].statistics(statistic) == expected["train/loss"].statistics(statistic)


def test_history_buffers_written_with_numpy_1_load(tmp_path: Path, adapted: None) -> None:
    """numpy 1 named the module of its arrays numpy.core."""
    buffer = HistoryBuffer([1.5, 2.5], [1, 3])
    torch.save({"logs": buffer, "best": np.float64(0.25), "step": np.int64(7)}, tmp_path / "new.pth")
    changed = 0
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for entry in new.infolist():
            content = new.read(entry)
            changed += content.count(b"numpy._core.multiarray")
            old.writestr(entry.filename, content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert changed > 0
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / "old.pth"))
    assert loaded["logs"].mean() == buffer.mean() == 1.0
    assert (loaded["best"], loaded["step"]) == (0.25, 7)


def test_mmengine_reads_safetensors_and_reports_a_missing_file(tmp_path: Path, adapted: None) -> None:
    state = make(seed=1).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    assert_equal(CheckpointLoader.load_checkpoint(str(tmp_path / "weights.safetensors")), state)
    with pytest.raises(UserError, match=r"nowhere\.pth does not exist"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "nowhere.pth"))


# --- configs --------------------------------------------------------------------------------------


def classifier(checkpoint: Path) -> torch.nn.Module:
    """An mmpretrain classifier on the backbone, built and initialised as a Runner does."""
    from mmpretrain.models import ImageClassifier

    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = ImageClassifier(
            backbone=dict(
                type="mixmae_bench.MixMAESwin",
                arch=ARCH,
                img_size=32,
                init_cfg=dict(type="Pretrained", checkpoint=str(checkpoint)),
            ),
            neck=dict(type="GlobalAveragePooling"),
            head=dict(type="LinearClsHead", num_classes=3, in_channels=32),
        )
    model.init_weights()
    return model


def test_init_cfg_in_an_mmpretrain_classifier_really_loads(tmp_path: Path) -> None:
    source = make(seed=1)
    torch.save(
        {"state_dict": {**prefixed(source.state_dict()), "decoder.x": torch.ones(2)}}, tmp_path / "w.pth"
    )
    model = classifier(tmp_path / "w.pth")
    assert_equal(model.backbone.state_dict(), source.state_dict())
    assert model.backbone.audit == dict(filled=100.0, resized=[], missing=[], left_out=["decoder.x"])
    model.init_weights()
    assert_equal(model.backbone.state_dict(), source.state_dict())


def test_init_cfg_with_a_checkpoint_that_does_not_fit_stops(tmp_path: Path) -> None:
    torch.save(make(arch=dict(ARCH, embed_dim=16)).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"fills .*% of MixMAESwin"):
        classifier(tmp_path / "w.pth")


def test_init_weights_loads_once_and_not_over_trained_weights(tmp_path: Path) -> None:
    source = make(seed=1)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    config = dict(type="mixmae_bench.MixMAESwin", arch=ARCH, img_size=32)
    backbone = MODELS.build(
        {**config, "init_cfg": dict(type="Pretrained", checkpoint=str(tmp_path / "w.pth"))}
    )
    assert not torch.equal(backbone.norm.weight, source.norm.weight)
    backbone.init_weights()
    assert torch.equal(backbone.norm.weight, source.norm.weight)
    with torch.no_grad():
        backbone.norm.weight.fill_(5.0)
    backbone.init_weights()
    assert (backbone.norm.weight == 5).all()


def test_read_state_dict_keeps_tensors_and_drops_the_rest(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2), "version": 3, "b": torch.zeros(1)}}, tmp_path / "w.pth")
    state = read_state_dict(tmp_path / "w.pth")
    assert_equal(state, {"a": torch.ones(2), "b": torch.zeros(1)})
    buffer = io.BytesIO((tmp_path / "w.pth").read_bytes())
    assert torch.load(buffer, weights_only=True)["state_dict"]["version"] == 3
