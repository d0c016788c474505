"""Speed of a GPU for estimates: from records of training steps, or assumed."""

from pathlib import Path

import pytest

from mixmae_bench.errors import UserError
from mixmae_bench.results.measurements import SPEED_SCHEMA, Speed
from mixmae_bench.suite.gpu_speed import PEAK_FLOPS_PER_S, UTILISATION, gpu_speed, of_records


def record(model: str, images_per_s: float, **changes: object) -> Speed:
    setting = dict(step="training", dtype="bfloat16", batch=64, shape=(224, 224), compile=False)
    numbers = dict(slowest=1.0, fastest=9.0, peak_memory_mb=100.0, flops=10, matmul_flops_per_s=1000.0)
    about = dict(started="2026-01-01", code="0.1.0", packages={}, hardware={"gpu": "NVIDIA H100 80GB HBM3"})
    values = {**setting, **numbers, **about, "threads": 1, "steps": 3, **changes}
    return Speed(schema=SPEED_SCHEMA, model=model, device="cuda", **{"images_per_s": images_per_s, **values})


def test_a_config_has_its_newest_record_and_others_the_median_of_flops_per_second() -> None:
    speeds = [
        record("configs/pretrain/a.py", 7.0, started="2026-02-01"),
        record("a", 5.0, started="2026-01-01"),
        record("b.py", 1.0),
        record("c.py", 2.0),
    ]
    speed = of_records(speeds, "H100")
    assert speed.step(Path("anywhere/a.py")).images_per_s == 7.0
    assert speed.step(Path("other.py")) is None
    assert speed.flops_per_s == 3 * 10 * 2.0
    assert (speed.gpu, speed.basis) == ("NVIDIA H100 80GB HBM3", "median of 3 records")


@pytest.mark.parametrize(
    "other",
    [dict(dtype="float32"), dict(compile=True), dict(model="mmpretrain:mixmim")],
)
def test_other_formats_compiled_steps_and_models_of_others_do_not_count(other: dict) -> None:
    speed = of_records([record(**{"model": "a.py", "images_per_s": 3.0, **other})], "H100")
    assert speed.steps == {}
    assert speed.flops_per_s == PEAK_FLOPS_PER_S * UTILISATION
    assert "assumed" in speed.basis


def test_the_records_that_are_shipped_are_found_by_a_part_of_the_name() -> None:
    speed = gpu_speed("h100")
    assert "H100" in speed.gpu
    assert speed.step(Path("mixmae_swin-b-w14_16xb128-300e_in1k.py")).peak_memory_mb > 1000
    assert gpu_speed(None) == speed
    with pytest.raises(UserError, match="no speed was recorded on such a GPU; known: NVIDIA H100"):
        gpu_speed("RTX 1")
