"""Files of per-image outcomes: read back equal, small, and refused if they are not what the record names."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from mixmae_bench.errors import UserError
from mixmae_bench.results import outcomes as module
from mixmae_bench.results.outcomes import (
    Classified,
    Detected,
    Outcomes,
    Segmented,
    check_values,
    make_outcomes,
    read_outcomes,
    write_outcomes,
)

IMAGES = [f"class é/{i}.png" for i in range(40)]


def made(seed: int = 0) -> Outcomes:
    generator = np.random.default_rng(seed)
    correct = generator.random(40) < 0.7
    order = np.sort(generator.integers(0, 3, 60)).astype(np.int16)
    detected = Detected(
        generator.integers(0, 40, 60).astype(np.int32),
        order,
        generator.random(60).astype(np.float32),
        generator.random((60, 10)) < 0.5,
        generator.random((60, 10)) < 0.1,
        generator.integers(0, 3, (40, 3)).astype(np.uint16),
        np.array(["a", "b", "c"]),
    )
    segmented = Segmented(
        np.arange(40, dtype=np.int32),
        generator.integers(0, 4, 40).astype(np.int16),
        generator.integers(0, 3, 40).astype(np.int16),
        generator.integers(1, 4096, 40).astype(np.int32),
        np.array(40, np.int32),
        np.array(["a", "b", "c"]),
    )
    parts = {
        "top1": Classified(correct, generator.normal(size=40).astype(np.float32)),
        "box_ap": detected,
        "miou": segmented,
    }
    return make_outcomes(IMAGES, parts)


def test_outcomes_are_read_back_equal(tmp_path: Path) -> None:
    written = made()
    file = tmp_path / "outcomes" / "0123.npz"
    read = read_outcomes(file, write_outcomes(file, written))
    assert read.images == written.images
    assert list(read.parts) == list(written.parts)
    for name, part in written.parts.items():
        assert read.value(name) == written.value(name)
        assert np.array_equal(read.resampled[name], written.resampled[name])
        for field in fields(part):
            found, expected = (getattr(own, field.name) for own in (read.parts[name], part))
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


def test_equal_outcomes_give_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    first, again, other = (
        write_outcomes(tmp_path / f"{i}.npz", own) for i, own in enumerate((made(), made(), made(1)))
    )
    assert first == again != other


def test_values_on_resamples_are_those_of_copied_images() -> None:
    found = made()
    correct = found.parts["top1"].correct
    generator = np.random.default_rng(0)
    for value in found.resampled["top1"][:5]:
        assert value == pytest.approx(100 * correct[generator.integers(40, size=40)].mean())


def test_values_unlike_the_evaluators_are_an_error() -> None:
    found = made()
    metrics = {name: found.value(name) for name in found.parts}
    check_values(found, metrics)
    for name, part in found.parts.items():
        with pytest.raises(ValueError, match=f"^{name} is "):
            check_values(found, {**metrics, name: metrics[name] + 1.5 * part.rounding})


def test_another_file_than_the_records_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    digest = write_outcomes(file, made())
    write_outcomes(file, made(1))
    with pytest.raises(UserError, match=r"a\.npz are not those of the record"):
        read_outcomes(file, digest)
    file.unlink()
    with pytest.raises(UserError, match=r"a\.npz cannot be read: No such file"):
        read_outcomes(file, digest)


def test_another_version_and_pickled_objects_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.npz"
    with monkeypatch.context() as patch:
        patch.setattr(module, "VERSION", 2)
        digest = write_outcomes(file, made())
    with pytest.raises(UserError, match="have version 2, not 1; update"):
        read_outcomes(file, digest)
    np.savez(file, version=np.array(1), images=np.array([object()]))
    with pytest.raises(UserError, match=r"are not a file of outcomes: .*allow_pickle"):
        read_outcomes(file, module._digest(file.read_bytes()))
