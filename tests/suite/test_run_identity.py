"""What decides the outcome of a run, and what does not."""

import copy
from pathlib import Path

import pytest
from mmengine.config import Config

from mixmae_bench.engine import old_names as names
from mixmae_bench.suite.identity import changes, identity, key_of

DATA = {"train_dataloader": "0123", "val_dataloader": "4567"}


def config(**more: object) -> Config:
    """Return a config with something of everything; dotted keys of `more` are merged into it."""
    cfg = Config(
        dict(
            default_scope="mmpretrain",
            custom_imports=dict(imports=["mixmae_bench"]),
            model=dict(
                type="mixmae_bench.SimMIM",
                backbone=dict(type="mixmae_bench.Swin", arch="tiny", with_cp=False, drop_path_rate=0.1),
                cell=32,
            ),
            train_dataloader=dict(
                batch_size=8,
                num_workers=2,
                persistent_workers=True,
                drop_last=True,
                sampler=dict(type="DefaultSampler", shuffle=True),
                dataset=dict(
                    type="CustomDataset",
                    data_root="/here",
                    data_prefix="train",
                    ann_file="train.txt",
                    pipeline=[dict(type="LoadImageFromFile"), dict(type="RandomFlip", prob=0.5)],
                ),
            ),
            val_dataloader=dict(
                batch_size=4,
                num_workers=2,
                dataset=dict(type="CustomDataset", data_root="/here", pipeline=[]),
            ),
            val_evaluator=dict(type="CocoMetric", metric="bbox", ann_file="/here/val.json"),
            optim_wrapper=dict(
                type="mixmae_bench.Bf16OptimWrapper",
                accumulative_counts=2,
                optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05, fused=True),
            ),
            param_scheduler=[dict(type="LinearLR", begin=0, end=5)],
            train_cfg=dict(by_epoch=True, max_epochs=10, val_interval=2),
            val_cfg=dict(),
            default_hooks=dict(
                checkpoint=dict(type="CheckpointHook", interval=1),
                logger=dict(type="LoggerHook", interval=50),
                sampler_seed=dict(type="DistSamplerSeedHook"),
            ),
            custom_hooks=[dict(type="mixmae_bench.ReconstructionHook", interval=1)],
            env_cfg=dict(cudnn_benchmark=False, dist_cfg=dict(backend="nccl")),
            log_level="INFO",
            work_dir="work",
        )
    )
    cfg.merge_from_dict(more)
    return cfg


def key(cfg: Config, data: dict[str, str] = DATA, processes: int = 1, rescale: bool = False) -> str:
    return key_of(identity(cfg, data, processes, rescale))


@pytest.mark.parametrize(
    "harmless",
    [
        {"train_dataloader.num_workers": 8},
        {"train_dataloader.persistent_workers": False},
        {"train_dataloader.prefetch_factor": 4},
        {"val_dataloader.pin_memory": True},
        {"default_hooks.logger.interval": 10},
        {"default_hooks.checkpoint.interval": 5},
        {"default_hooks.checkpoint.max_keep_ckpts": 3},
        {"default_hooks.visualization": dict(type="VisualizationHook", enable=True)},
        {"custom_hooks": []},
        {"train_cfg.val_interval": 1},
        {"log_level": "WARNING"},
        {"log_processor": dict(window_size=20)},
        {"env_cfg.cudnn_benchmark": True},
        {"launcher": "pytorch"},
        {"work_dir": "elsewhere"},
        {"visualizer": dict(type="Visualizer", vis_backends=[dict(type="TensorboardVisBackend")])},
        {"train_dataloader.dataset.data_root": "/elsewhere"},
        {"train_dataloader.dataset.ann_file": "/elsewhere/train.txt"},
        {"train_dataloader.dataset.pipeline.0.backend_args": dict(backend="petrel")},
        {"val_evaluator.ann_file": "/elsewhere/val.json"},
        {"model.backbone.with_cp": True},
        {"optim_wrapper.optimizer.fused": False},
        {"find_unused_parameters": True},
        {"train_pipeline": [dict(type="Unused")]},
        {"max_corrupt_images": 0.1},
        {"model.type": "mixmae_bench.methods.simmim.SimMIM"},
        {"optim_wrapper.optimizer.weight_decay": 0.05, "train_cfg.max_epochs": 10.0},
        {"strategy": dict(type="mixmae_bench.FullyShardedStrategy"), "runner_type": "FlexibleRunner"},
    ],
    ids=str,
)
def test_how_a_run_is_carried_out_does_not_count(harmless: dict) -> None:
    assert key(config(**harmless)) == key(config())


@pytest.mark.parametrize(
    "change",
    [
        {"model.backbone.drop_path_rate": 0.2},
        {"model.backbone.type": "mixmae_bench.MixMAESwin"},
        {"model.cell": 16},
        {"data_preprocessor": dict(mean=[0, 0, 0])},
        {"train_dataloader.batch_size": 16},
        {"train_dataloader.drop_last": False},
        {"train_dataloader.sampler.shuffle": False},
        {"train_dataloader.dataset.indices": 100},
        {"train_dataloader.dataset.data_prefix": "other"},
        {"train_dataloader.dataset.pipeline.1.prob": 0.0},
        {"val_dataloader.dataset.indices": 100},
        {"val_evaluator.metric": "segm"},
        {"optim_wrapper.type": "OptimWrapper"},
        {"optim_wrapper.accumulative_counts": 4},
        {"optim_wrapper.clip_grad": dict(max_norm=1.0)},
        {"optim_wrapper.optimizer.lr": 2e-3},
        {"param_scheduler.0.end": 6},
        {"train_cfg.max_epochs": 11},
        {"val_cfg.fp16": True},
        {"custom_hooks": [dict(type="EMAHook", momentum=1e-4)]},
        {"default_hooks.ema": dict(type="EMAHook")},
        {"default_hooks.sampler_seed": None},
        {"strategy": dict(type="DeepSpeedStrategy", fp16=dict(enabled=True))},
        {"load_from": "https://example.org/weights-0123abcd.pth"},
    ],
    ids=str,
)
def test_what_decides_the_outcome_counts(change: dict) -> None:
    assert key(config(**change)) != key(config())


def test_the_data_counts_by_content() -> None:
    assert key(config(), {**DATA, "train_dataloader": "89ab"}) != key(config())
    assert key(config(), {**DATA, "val_dataloader": "89ab"}) != key(config())


def test_the_effective_batch_counts_and_not_how_it_is_made() -> None:
    assert key(config(), processes=2) != key(config())
    halved = {"train_dataloader.batch_size": 4}
    assert key(config(**halved), processes=2) == key(config())
    assert key(config(**halved, **{"optim_wrapper.accumulative_counts": 4})) == key(config())


def test_a_method_that_mixes_a_batch_counts_its_part_of_it_too() -> None:
    mixing = {"model.type": "mixmae_bench.MixMAE"}
    halved = {"train_dataloader.batch_size": 4, **mixing}
    assert key(config(**halved), processes=2) != key(config(**mixing))


def test_a_config_that_names_its_batch_is_run_with_it_on_any_number_of_processes() -> None:
    named = {"auto_scale_lr": dict(base_batch_size=64)}
    assert key(config(**named), processes=4) == key(config(**named), processes=1)


def test_a_scaled_learning_rate_counts_as_what_it_becomes() -> None:
    named = {"auto_scale_lr": dict(base_batch_size=16)}
    assert key(config(**named), processes=1, rescale=True) == key(config(**named))
    doubled = key(config(**named), processes=2, rescale=True)
    assert doubled != key(config(**named))
    by_hand = {"optim_wrapper.optimizer.lr": 2e-3, "auto_scale_lr": dict(base_batch_size=32)}
    assert doubled == key(config(**by_hand), processes=2)
    switched_on = {"auto_scale_lr": dict(base_batch_size=16, enable=True)}
    assert doubled == key(config(**switched_on), processes=2)


def test_weights_that_a_config_names_count_by_content_and_not_by_place(tmp_path: Path) -> None:
    files = {}
    for name, content in (("a.pth", b"one"), ("b.pth", b"one"), ("c.pth", b"two")):
        (tmp_path / name).write_bytes(content)
        init = dict(type="Pretrained", checkpoint=str(tmp_path / name))
        files[name] = key(config(**{"model.backbone.init_cfg": init}))
        files[f"load_from {name}"] = key(config(load_from=str(tmp_path / name)))
    assert files["a.pth"] == files["b.pth"] != files["c.pth"]
    assert files["load_from a.pth"] == files["load_from b.pth"] != files["load_from c.pth"]


def test_an_old_name_and_the_new_one_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = config()
    renamed.model.mask_patch_size = renamed.model.pop("cell")
    assert key(renamed) == key(config())
    monkeypatch.setitem(names.TYPES, "SimMaskedModelling", "SimMIM")
    monkeypatch.setitem(names.KEYS, "patch_of_mask", "mask_patch_size")
    again = copy.deepcopy(renamed)
    again.model.type = "mixmae_bench.methods.other_module.SimMaskedModelling"
    again.model.patch_of_mask = again.model.pop("mask_patch_size")
    assert key(again) == key(config())


def test_no_name_in_the_table_leads_to_another_old_name() -> None:
    for table in (names.KEYS, names.TYPES):
        assert not table.keys() & set(table.values())


def test_keys_of_other_packages_are_not_renamed() -> None:
    theirs = {"model.type": "other.Model"}
    assert key(config(**theirs)) != key(config(**theirs, **{"model.cell": 16}))
    renamed = config(**theirs)
    renamed.model.mask_patch_size = renamed.model.pop("cell")
    assert key(renamed) != key(config(**theirs))


def test_an_identity_is_known_by_the_same_key_everywhere() -> None:
    # A key that changes makes everybody's finished runs stale: change it only with a migration of them.
    assert key(config()) == "588bcc352e624b89"


def test_changes_are_told_key_by_key_with_both_values() -> None:
    old = identity(config(), DATA, 1, False)
    new = identity(
        config(**{"optim_wrapper.optimizer.lr": 0.5, "model.backbone.depth": 3, "train_cfg.max_epochs": 20}),
        DATA,
        1,
        False,
    )
    assert changes(old, new) == [
        "model.backbone.depth: nothing -> 3",
        "optim_wrapper.optimizer.lr: 0.001 -> 0.5",
        "train_cfg.max_epochs: 10 -> 20",
    ]
    assert changes(old, old) == []
