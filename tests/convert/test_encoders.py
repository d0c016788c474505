"""Which checkpoints of a pretraining are converted for the runs that start from them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mixmae_bench.backbones.loading import read_state_dict
from mixmae_bench.convert.encoders import for_transfer
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.suite.execute import _initial_checkpoint

PLAIN_VIT = dict(
    type="mixmae_bench.PlainViT", arch=dict(embed_dim=32, depth=2, num_heads=2), img_size=64, norm_eps=1e-6
)


def saved(state: dict, folder: Path) -> Path:
    torch.save({"state_dict": state}, folder / "epoch_1.pth")
    return folder / "epoch_1.pth"


def mae() -> dict[str, torch.Tensor]:
    """Return the parameters of mmpretrain's MAE on a small ViT."""
    import mmpretrain.models  # noqa: F401

    arch = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=128)
    decoder = dict(embed_dim=32, decoder_embed_dim=32, decoder_depth=1, decoder_num_heads=2)
    loss = dict(type="PixelReconstructionLoss", criterion="L2")
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(
            dict(
                type="MAE",
                backbone=dict(type="MAEViT", arch=arch, img_size=64),
                neck=dict(type="MAEPretrainDecoder", num_patches=16, **decoder),
                head=dict(type="MAEPretrainHead", norm_pix=True, patch_size=16, loss=loss),
            )
        )
    return model.state_dict()


def test_a_run_starts_from_the_converted_encoder_of_a_method_of_mmpretrain(tmp_path: Path) -> None:
    source = saved(mae(), tmp_path)
    (tmp_path / "last_checkpoint").write_text(str(source))
    job = SimpleNamespace(parent=tmp_path)
    of_mmseg = Config(dict(model=dict(backbone=dict(type="mmseg.MAE"))))
    assert _initial_checkpoint(job, of_mmseg) == source
    found = _initial_checkpoint(job, Config(dict(model=dict(backbone=PLAIN_VIT))))
    assert found == tmp_path / "epoch_1.encoder.safetensors"
    backbone = MODELS.build(dict(PLAIN_VIT, init_cfg=dict(type="Pretrained", checkpoint=str(found))))
    backbone.init_weights()
    assert backbone.audit["filled"] == 100
    assert backbone.audit["missing"] == []
    assert torch.equal(backbone.cls_token, read_state_dict(source)["backbone.cls_token"])


def test_a_conversion_is_repeated_only_for_a_newer_checkpoint(tmp_path: Path) -> None:
    state = mae()
    written = for_transfer(saved(state, tmp_path))
    before = written.stat()
    assert for_transfer(tmp_path / "epoch_1.pth").stat() == before
    state["backbone.cls_token"] += 1
    saved(state, tmp_path)
    assert for_transfer(tmp_path / "epoch_1.pth") == written
    assert torch.equal(read_state_dict(written)["backbone.cls_token"], state["backbone.cls_token"])


def test_own_checkpoints_and_classifiers_of_timms_models_are_left_as_they_are(tmp_path: Path) -> None:
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", embed_dim=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 3, 6)
    )
    method = MODELS.build(
        dict(type="mixmae_bench.UMMAEViT", backbone=PLAIN_VIT, decoder=dict(dim=32, depth=1, num_heads=2))
    )
    fine_tuned = {f"backbone.{name}": tensor for name, tensor in swin.state_dict().items()}
    for state in (method.state_dict(), fine_tuned, {"of.an.outside.method": torch.ones(2)}):
        assert for_transfer(saved(state, tmp_path)) == tmp_path / "epoch_1.pth"


def test_a_damaged_encoder_is_refused(tmp_path: Path) -> None:
    state = mae()
    state["backbone.layers.1.ffn.layers.1.weight"] = torch.ones(3, 3)
    with pytest.raises(UserError, match="of shape"):
        for_transfer(saved(state, tmp_path))
