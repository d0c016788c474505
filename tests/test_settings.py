"""Settings of a recipe: the keys that they change, and the schedules that follow them."""

import pytest
from mmengine.config import Config

from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.settings import SETTINGS, with_settings
from mixmae_bench.errors import UserError


def config(**keys: object) -> Config:
    return Config(
        dict(
            model=dict(backbone=dict(type="X", drop_path_rate=0.1)),
            optim_wrapper=dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(layer_decay_rate=0.7)),
            train_cfg=dict(max_epochs=20, val_interval=10),
            **keys,
        )
    )


def test_each_setting_changes_its_key_and_no_other() -> None:
    before = config(param_scheduler=[])
    for name, keys, value in (
        ("lr", ("optim_wrapper", "optimizer", "lr"), 1e-3),
        ("layer_decay", ("optim_wrapper", "paramwise_cfg", "layer_decay_rate"), 1.0),
        ("drop_path", ("model", "backbone", "drop_path_rate"), 0.0),
    ):
        expected = before.to_dict()
        node = expected
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value
        assert with_settings(before, {name: value}).to_dict() == expected
    assert before.to_dict() == config(param_scheduler=[]).to_dict()


def test_epochs_scale_warm_up_ends_and_validation() -> None:
    schedules = [
        dict(type="LinearLR", by_epoch=False, end=50),
        dict(type="LinearLR", by_epoch=True, end=2, convert_to_iter_based=True),
        dict(type="CosineAnnealingLR", by_epoch=True, begin=2, end=20, convert_to_iter_based=True),
        dict(type="MultiStepLR", by_epoch=True, begin=0, end=20, milestones=[14, 18]),
    ]
    longer = with_settings(config(param_scheduler=schedules), {"epochs": 30})
    assert longer.train_cfg == dict(max_epochs=30, val_interval=15)
    iterations, warm_up, cosine, steps = longer.param_scheduler
    assert iterations.end == 75
    assert (warm_up.end, cosine.begin, cosine.end) == (3, 3, 30)
    assert (steps.begin, steps.end, steps.milestones) == (0, 30, [21, 27])


def test_a_warm_up_of_a_fraction_of_an_epoch_keeps_its_share() -> None:
    warm_up = dict(type="LinearLR", by_epoch=True, end=2, convert_to_iter_based=True)
    (scaled,) = with_settings(config(param_scheduler=[warm_up]), {"epochs": 5}).param_scheduler
    assert scaled.end == pytest.approx(0.5)  # mmengine converts it to iterations
    (scaled,) = with_settings(
        config(param_scheduler=[dict(warm_up, convert_to_iter_based=False)]), {"epochs": 5}
    )["param_scheduler"]
    assert scaled.end == 1  # mmengine needs whole epochs


def test_iterations_scale_schedules_too() -> None:
    cfg = load_config("upernet_mixmae_swin-b-w14_8xb2-160k_ade20k-512px")
    short = with_settings(cfg, {"iterations": 80_000})
    assert (short.train_cfg.max_iters, short.train_cfg.val_interval) == (
        80_000,
        cfg.train_cfg.val_interval // 2,
    )
    assert [(s.get("begin", 0), s.end) for s in short.param_scheduler] == [(0, 750), (750, 80_000)]


def test_the_lowest_learning_rate_of_a_schedule_follows_the_learning_rate() -> None:
    cosine = dict(type="CosineAnnealingLR", eta_min=1e-5)
    (scaled,) = with_settings(config(param_scheduler=[cosine]), {"lr": 8e-3}).param_scheduler
    assert scaled.eta_min == pytest.approx(2e-5)


@pytest.mark.parametrize(
    "name", ["mixmae-swin-small_1xb50-40e_digits", "mask-rcnn_mixmae_swin-b-w14_8xb2-1x_coco"]
)
def test_real_configs_take_the_settings(name: str) -> None:
    values = {"lr": 1e-3, "layer_decay": 1.0, "drop_path": 0.3, "epochs": 6}
    cfg = with_settings(load_config(name), values)
    assert cfg.optim_wrapper.optimizer.lr == 1e-3
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 1.0
    assert cfg.model.backbone.drop_path_rate == 0.3
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == 6


@pytest.mark.parametrize(("name", "key"), [(name, setting.key) for name, setting in SETTINGS.items()])
def test_a_setting_without_its_key_in_the_config_is_an_error(name: str, key: str) -> None:
    with pytest.raises(UserError, match=rf"^config None has no {key}, which setting '{name}' changes; "):
        with_settings(Config(dict(model=dict(backbone=dict(type="X")))), {name: 1})
