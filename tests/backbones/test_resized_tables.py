"""Position tables at other sizes: kept where that is safe, and never stale."""

import copy
from collections.abc import Callable

import pytest
import torch
from encoders import make_encoder
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.layers import positions
from mixmae_bench.backbones.layers.positions import ResizedTables, resize_grid

KINDS = {
    "MixMAESwin": "absolute_pos_embed",
    "Swin with positions": "absolute_pos_embed",
    "UMPVT": "pos_embed",
}
KINDS["PlainViT"] = "pos_embed"
every = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def resized(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes that tables have been resized to."""
    sizes: list[tuple[int, int]] = []

    def record(table: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
        sizes.append(new_size)
        return resize_grid(table, size, new_size)

    monkeypatch.setattr(positions, "resize_grid", record)
    return sizes


def images(height: int = 40, width: int = 56) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def fresh(encoder: Encoder) -> Encoder:
    """The same encoder, with nothing kept."""
    other = copy.deepcopy(encoder)
    other.resized_tables = ResizedTables()
    return other


@every
def test_a_table_is_resized_once_per_size_where_no_gradient_is_wanted(kind: str, resized: list) -> None:
    encoder = make_encoder(kind)
    with torch.no_grad():
        first = encoder(images())[-1]
        second = encoder(images())[-1]
        encoder(images(24, 24))
        encoder(images())
    assert torch.equal(first, second)
    assert len(resized) == len(set(resized)) == 2


@every
def test_a_trained_table_is_resized_every_time_and_gets_its_gradient(kind: str, resized: list) -> None:
    encoder = make_encoder(kind).train()
    table = encoder.get_parameter(KINDS[kind]).requires_grad_()
    with torch.no_grad():
        encoder(images())
    for _ in range(2):
        encoder(images())[-1].square().sum().backward()
    assert len(resized) == 3
    assert table.grad.abs().sum() > 0


def test_a_frozen_table_is_kept_in_training_too(resized: list) -> None:
    encoder = make_encoder("MixMAESwin").train()
    for _ in range(2):
        encoder(images())[-1].square().sum().backward()
    assert len(resized) == 1


# Doubled, as a constant added to all channels would not pass the norms.


def load(table: nn.Parameter, encoder: Encoder) -> None:
    encoder.load_state_dict({name: t * 2 for name, t in encoder.state_dict().items()})


def average(table: nn.Parameter, encoder: Encoder) -> None:
    table.data.copy_(table.data * 2)  # as mmengine's EMAHook: no new version, no new address


def replace(table: nn.Parameter, encoder: Encoder) -> None:
    table.data = table.data * 2


def change_in_inference_mode(table: nn.Parameter, encoder: Encoder) -> None:
    with torch.inference_mode():
        table.mul_(2)


def change_format(table: nn.Parameter, encoder: Encoder) -> None:
    encoder.half().double()


@every
@pytest.mark.parametrize("change", [load, average, replace, change_in_inference_mode, change_format])
def test_nothing_stale_is_read_after_the_table_has_changed(kind: str, change: Callable) -> None:
    encoder = make_encoder(kind)
    with torch.no_grad():
        before = encoder(images())[-1]
        change(encoder.get_parameter(KINDS[kind]), encoder)
        after = encoder(images())[-1]
        assert torch.equal(after, fresh(encoder)(images())[-1])
        assert (after - before).abs().max() > 1e-6


@every
def test_it_follows_the_format_and_the_device_of_the_encoder(kind: str) -> None:
    encoder = make_encoder(kind)
    with torch.no_grad():
        encoder(images())
        assert encoder.float()(images().float())[-1].dtype == torch.float32
        assert encoder.resized_tables.source.dtype == torch.float32
        assert encoder.to("meta")(images().float().to("meta"))[-1].is_meta


@every
def test_a_table_kept_in_inference_mode_serves_training(kind: str) -> None:
    encoder = make_encoder(kind)
    with torch.inference_mode():
        encoder(images())
    encoder.get_parameter(KINDS[kind]).requires_grad_(False)
    encoder.train()(images())[-1].sum().backward()


def test_only_the_last_sizes_are_kept() -> None:
    tables, table = ResizedTables(), torch.randn(16, 4)
    for width in (*range(5, 5 + ResizedTables.KEPT), 5, 20):
        tables.get(table, (4, 4), (6, width))
    assert list(tables.tables) == [(6, 7), (6, 8), (6, 5), (6, 20)]


def test_what_is_kept_is_not_in_the_checkpoint() -> None:
    encoder = make_encoder("MixMAESwin")
    names = set(encoder.state_dict())
    encoder(images())
    assert set(encoder.state_dict()) == names
