"""The effective batch against the batch that a learning rate was written for."""

import pytest
from mmengine.config import Config

from mixmae_bench.engine.batch import effective_batch, fit_lr, processes
from mixmae_bench.errors import UserError


def config(**changes: object) -> Config:
    content = dict(
        train_dataloader=dict(batch_size=128),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1.2e-3)),
        auto_scale_lr=dict(base_batch_size=2048),
    )
    return Config(content | changes)


def test_the_effective_batch_counts_processes_and_accumulation() -> None:
    cfg = config(optim_wrapper=dict(optimizer=dict(lr=1.0), accumulative_counts=4))
    assert effective_batch(cfg, 2) == 128 * 2 * 4


@pytest.mark.parametrize(("accumulation", "gpus"), [(1, 16), (2, 8), (16, 1)])
def test_the_batch_of_the_recipe_passes_by_whichever_way_it_comes_about(accumulation: int, gpus: int) -> None:
    cfg = config(optim_wrapper=dict(optimizer=dict(lr=1.2e-3), accumulative_counts=accumulation))
    fit_lr(cfg, gpus, False)
    assert cfg.optim_wrapper.optimizer.lr == 1.2e-3


def test_another_batch_is_refused_with_both_remedies() -> None:
    with pytest.raises(UserError) as error:
        fit_lr(config(), 8, False)
    assert str(error.value) == (
        "config None: the learning rate 0.0012 is for a batch of 2048, but the effective batch is 1024 (128 "
        "images x 8 processes x 1 accumulated); --auto-scale-lr scales it to 0.0006; "
        "optim_wrapper.accumulative_counts=2 gives that batch"
    )


def test_accumulation_is_no_remedy_where_it_cannot_give_the_batch() -> None:
    with pytest.raises(UserError, match=r"scales it to 0.0009$"):
        fit_lr(config(), 12, False)


def test_the_rate_is_scaled_with_the_batch_when_asked() -> None:
    cfg = config(optim_wrapper=dict(optimizer=dict(lr=1.2e-3), accumulative_counts=2))
    fit_lr(cfg, 2, True)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1.2e-3 * 512 / 2048)


def test_openmmlabs_own_switch_scales_too_and_once() -> None:
    cfg = config(auto_scale_lr=dict(base_batch_size=2048, enable=True))
    fit_lr(cfg, 8, False)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.6e-3)
    assert cfg.auto_scale_lr.enable is False


def test_openmmlabs_own_switch_does_not_scale_what_fits_with_accumulation() -> None:
    cfg = config(auto_scale_lr=dict(base_batch_size=512, enable=True))
    cfg.optim_wrapper.accumulative_counts = 512 // cfg.train_dataloader.batch_size
    fit_lr(cfg, 1, False)
    assert (cfg.optim_wrapper.optimizer.lr, cfg.auto_scale_lr.enable) == (1.2e-3, False)


def test_a_launcher_that_started_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match=r"--launcher pytorch: WORLD_SIZE is not set; start with torchrun"):
        processes("pytorch")


def test_a_config_without_the_rule_is_left_alone() -> None:
    cfg = config(auto_scale_lr=None)
    fit_lr(cfg, 3, False)
    assert cfg.optim_wrapper.optimizer.lr == 1.2e-3


@pytest.mark.parametrize(
    ("launcher", "variable"),
    [("pytorch", "WORLD_SIZE"), ("slurm", "SLURM_NTASKS"), ("mpi", "OMPI_COMM_WORLD_SIZE")],
)
def test_launchers_say_how_many_processes_there_are(
    launcher: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "16")
    assert processes(launcher) == 16
    assert processes("none") == 1
