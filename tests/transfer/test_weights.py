"""Which weights of a checkpoint are taken, and what is stripped from their names: done and said."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mixmae_bench.backbones import loading as load
from mixmae_bench.backbones.loading import load_backbone, load_model, read_state_dict, read_weights
from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.backbones.weights import unwrap
from mixmae_bench.cli import main
from mixmae_bench.errors import UserError

ARCH = dict(embed_dim=8, depths=(1, 2, 1), num_heads=(2, 2, 4), window_size=(4, 4, 2))
State = dict[str, Tensor]


def make(seed: int) -> MixMAESwin:
    torch.manual_seed(seed)
    backbone = MixMAESwin(ARCH, 32)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    return backbone


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def inside(part: str, state: State) -> State:
    """Put a wrapper's part in front of the last two parts of names: around every module with parameters."""
    return {
        ".".join([*name.split(".")[:-1], part, name.split(".")[-1]]) if "." in name else name: tensor
        for name, tensor in state.items()
    }


def other(state: State) -> State:
    return {name: tensor + 1 for name, tensor in state.items()}


# The content of a checkpoint that holds a state, and what must be said of it.
CONTENTS: dict[str, tuple[Callable[[State], dict], tuple[str, ...]]] = {
    "plain": (lambda s: {"state_dict": s}, ()),
    "module.": (lambda s: {"state_dict": under("module.", s)}, ("stripped 'module.'",)),
    "_orig_mod.": (lambda s: under("_orig_mod.", s), ("stripped '_orig_mod.'",)),
    "module._orig_mod.": (
        lambda s: {"model": under("module._orig_mod.", s)},
        ("'module.'", "'_orig_mod.'"),
    ),
    "_orig_mod.module.": (
        lambda s: {"model": under("_orig_mod.module.", s)},
        ("'module.'", "'_orig_mod.'"),
    ),
    "a compiled part": (lambda s: inside("_orig_mod", s), ("stripped '_orig_mod.'",)),
    "FSDP and recomputation": (
        lambda s: under("_fsdp_wrapped_module.", inside("_checkpoint_wrapped_module", s)),
        ("'_checkpoint_wrapped_module.'", "'_fsdp_wrapped_module.'"),
    ),
    "Lightning": (
        lambda s: {
            "state_dict": {**under("model.", s), "criterion.weight": torch.ones(2, 2)},
            "pytorch-lightning_version": "2.4.0",
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
            "optimizer_states": [],
        },
        ("stripped 'model.'", "left out 1 tensors outside 'model.': 'criterion.weight'"),
    ),
    "Lightning, compiled": (lambda s: {"state_dict": under("net._orig_mod.", s)}, ("'net.'",)),
    "DeepSpeed": (
        lambda s: {"module": s, "buffer_names": [], "optimizer": None, "global_steps": 7},
        (),
    ),
    "model_state_dict": (
        lambda s: {
            "epoch": 3,
            "model_state_dict": s,
            "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(2, 2)}}},
        },
        (),
    ),
    "nested": (lambda s: {"checkpoint": {"model": {"state_dict": s}}}, ()),
    "a name of its own": (lambda s: {"my_swin": s, "rng_state": torch.zeros(8)}, ()),
    "timm's EMA": (
        lambda s: {"state_dict": s, "state_dict_ema": other(s)},
        ("took the raw weights under 'state_dict'", "ignored the moving average under 'state_dict_ema'"),
    ),
    "EMA first": (
        lambda s: {"model_ema": other(s), "model": s},
        ("took the raw weights under 'model'", "'model_ema'"),
    ),
    "EMA in a dict": (
        lambda s: {"model": s, "ema": {"module": other(s), "updates": 9}},
        ("took the raw weights under 'model'", "'ema'"),
    ),
    "DINO": (
        lambda s: {"student": under("module.", s), "teacher": other(s)},
        ("took the raw weights under 'student'", "'teacher'", "stripped 'module.'"),
    ),
    "EMA alone": (
        lambda s: {"state_dict_ema": s},
        ("took the moving average under 'state_dict_ema', the only weights",),
    ),
    "mmengine's EMAHook": (
        lambda s: {
            "state_dict": s,
            "ema_state_dict": {**under("module.", other(s)), "steps": torch.tensor(4)},
        },
        ("took 'state_dict', a moving average, and ignored the raw weights under 'ema_state_dict'",),
    ),
    "Lightning's WeightAveraging": (
        lambda s: {"state_dict": under("model.", s), "current_model_state": under("model.", other(s))},
        ("took 'state_dict', a moving average", "'current_model_state'"),
    ),
    "EMA beside, by names": (
        lambda s: {"state_dict": {**under("model.", s), **under("model_ema.module.", other(s))}},
        ("ignored the moving average under 'model_ema'", "stripped 'model.'"),
    ),
    "torch's AveragedModel": (
        lambda s: {**under("module.", s), "n_averaged": torch.tensor(3)},
        ("ignored the moving average under 'n_averaged'", "stripped 'module.'"),
    ),
    "mmcv 1's EMAHook": (
        lambda s: {**s, **{f"ema_{name.replace('.', '_')}": t for name, t in other(s).items()}},
        ("ignored the moving average under 'ema_",),
    ),
}


@pytest.mark.parametrize("placed", ["", "backbone."])
@pytest.mark.parametrize(("content", "said"), CONTENTS.values(), ids=CONTENTS)
def test_every_entrance_takes_the_weights_and_says_which(
    content: Callable[[State], dict],
    said: tuple[str, ...],
    placed: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(load, "print_log", lambda line, logger: lines.append(line))
    source = make(seed=1).state_dict()
    torch.save(content(under(placed, source)), tmp_path / "w.pth")
    backbone = make(seed=2)
    load_backbone(backbone, tmp_path / "w.pth")
    (log,) = lines
    assert main(["convert", str(tmp_path / "w.pth"), str(tmp_path / "out.pth")]) == 0
    report = capsys.readouterr().out
    converted = read_state_dict(tmp_path / "out.pth")
    model = nn.ModuleDict({"backbone": make(seed=3)}) if placed else make(seed=3)
    load_model(model, tmp_path / "w.pth")
    for name, tensor in source.items():
        assert torch.equal(backbone.state_dict()[name], tensor), name
        assert torch.equal(converted[f"backbone.{name}"], tensor), name
        assert torch.equal(model.state_dict()[placed + name], tensor), name
    if not said:
        assert read_weights(tmp_path / "w.pth").notes == ()
    for part in said:
        assert part in log
        assert part in report
        assert part in " ".join(lines[1:])  # of load_model


def test_the_average_of_mmengines_own_hook_is_what_state_dict_holds() -> None:
    """What `IN_PLACE` says of mmengine, by its own code."""
    from mmengine.hooks import EMAHook
    from mmengine.model import ExponentialMovingAverage

    raw = nn.Linear(2, 2)
    hook = EMAHook()
    hook.ema_model = ExponentialMovingAverage(raw)
    with torch.no_grad():
        raw.weight.add_(1)
    checkpoint = {"state_dict": raw.state_dict()}
    average, weight = hook.ema_model.module.weight.clone(), raw.weight.clone()
    hook.before_save_checkpoint(None, checkpoint)
    weights = unwrap(checkpoint)
    assert torch.equal(weights.state["weight"], average)
    assert torch.equal(checkpoint["ema_state_dict"]["module.weight"], weight)
    assert weights.notes == (
        "took 'state_dict', a moving average, and ignored the raw weights under 'ema_state_dict'",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"encoder": {"a": torch.ones(2, 2)}, "predictor": {"a": torch.ones(2, 2)}}, "several sets"),
        ({"model.a": torch.ones(2), "net.a": torch.ones(2)}, "several models, under 'model', 'net'"),
        ({"a.b": torch.ones(2), "a._orig_mod.b": torch.ones(2)}, "same names with and without"),
        ({"optimizer": {"state": {"a": torch.ones(2, 2)}}}, "contains no state dict"),
    ],
)
def test_what_cannot_be_told_is_one_line(content: dict, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message) as error:
        read_state_dict(tmp_path / "w.pth")
    assert "\n" not in str(error.value)
    assert "w.pth" in str(error.value)


def test_names_that_a_model_itself_has_are_kept(tmp_path: Path) -> None:
    model = nn.ModuleDict({"teacher": nn.Linear(2, 2), "student": nn.Linear(2, 2)})
    wrapper = nn.ModuleDict({"module": nn.Linear(2, 2)})
    for own in (model, wrapper):
        torch.save({"state_dict": under("module.", own.state_dict())}, tmp_path / "w.pth")
        expected = {name: tensor.clone() for name, tensor in own.state_dict().items()}
        for parameter in own.parameters():
            nn.init.zeros_(parameter)
        load_model(own, tmp_path / "w.pth")
        assert all(torch.equal(tensor, expected[name]) for name, tensor in own.state_dict().items())
