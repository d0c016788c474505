"""Checkpoints are read as data: plain values come back, code never runs, and the net is not trusted."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from mixmae_bench.compat.checkpoints import read_checkpoint, safe_loaders, why_refused
from mixmae_bench.engine.resume import intact
from mixmae_bench.errors import UserError


@pytest.fixture(autouse=True)
def _of_our_commands() -> Iterator[None]:
    """mmengine as this package's commands have it."""
    with safe_loaders():
        yield


class Code:
    """What runs a command when it is unpickled."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call[0], tuple(self.call[1:])


@pytest.mark.parametrize(
    "value",
    [
        *(np.bool_(True), np.uint8(3), np.int8(-3), np.uint32(7), np.int64(5), np.float16(0.5)),
        *(np.float32(0.1), np.float64(0.1), np.complex64(1j), np.str_("däta"), np.bytes_(b"ab")),
        *(np.zeros(0), np.arange(3, dtype=np.uint8), np.array(["a", "bc"]), np.array([True, False])),
    ],
    ids=lambda value: f"{type(value).__name__}-{value.dtype}",
)
def test_plain_numpy_values_come_back_as_they_were(value: np.generic | np.ndarray, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.pth")
    read = read_checkpoint(tmp_path / "x.pth")
    assert type(read) is type(value)
    assert read.dtype == value.dtype
    np.testing.assert_array_equal(read, value)


def test_a_log_buffer_without_an_entry_comes_back_and_can_be_written_to(tmp_path: Path) -> None:
    torch.save(HistoryBuffer(), tmp_path / "x.pth")
    read = read_checkpoint(tmp_path / "x.pth")
    read.update(1.5)
    assert read.data[0].tolist() == [1.5]


@pytest.mark.parametrize("call", [(open, "made", "w"), (bytes, 3), (eval, "1"), (getattr, "", "join")])
def test_what_calls_anything_is_refused_before_it_runs(
    call: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": Code(*call)}, tmp_path / "x.pth")
    with pytest.raises(Exception) as error:  # noqa: PT011  (torch raises what it likes)
        read_checkpoint(tmp_path / "x.pth")
    assert why_refused(error.value)
    assert not (tmp_path / "made").exists()


def test_a_damaged_bit_is_found_wherever_it_is_or_changes_nothing(tmp_path: Path) -> None:
    """A damaged list of parts can ask for another compression, a password, a version to come, ..."""
    path = tmp_path / "x.pth"
    value = {"weight": torch.arange(3.0), "epoch": 2}
    torch.save(value, path)
    whole = path.read_bytes()
    assert intact(path)
    found = 0
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        if intact(path):
            read = read_checkpoint(path)
            assert read["weight"].equal(value["weight"]), place
            assert read["epoch"] == 2
        else:
            found += 1
    assert found > len(whole) / 3  # much of so small a file is padding


def test_a_damaged_checkpoint_is_one_line_by_mmengine(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"weight": torch.arange(1000.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(500).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x.pth cannot be read as weights: .*damaged: .* its part x/data/0"):
        CheckpointLoader.load_checkpoint(str(path))
    with pytest.raises(UserError, match=r"no.pth does not exist; check the path"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "no.pth"))


def test_what_mmengine_would_run_on_a_resume_is_left_out(tmp_path: Path) -> None:
    torch.save({"meta": {"config": "raise SystemExit", "epoch": 1}}, tmp_path / "x.pth")
    assert CheckpointLoader.load_checkpoint(str(tmp_path / "x.pth")) == {"meta": {"epoch": 1}}


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/weights-0123abcd.pth",
        "https://example.org/weights.pth",
        "https://example.org/weights.pth?hash=-0123abcd.",
        "open-mmlab://resnet50",
        "mmcls://resnet50",
        "pavi://weights-0123abcd.pth",
        "s3://bucket/weights-0123abcd.pth",
    ],
)
def test_an_address_that_proves_nothing_is_refused_without_asking_for_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("was fetched"))
    with pytest.raises(UserError, match=r"cannot be trusted.*download it yourself") as error:
        CheckpointLoader.load_checkpoint(address)
    assert "\n" not in str(error.value)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that any https address gives, by torch's own check of the hash."""
    file = tmp_path / "served.pth"
    urlopen = torch.hub.urlopen
    monkeypatch.setattr(torch.hub, "urlopen", lambda _: urlopen(file.as_uri()))
    monkeypatch.setattr(torch.hub, "Request", lambda url, **_: url)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return file


def test_https_with_the_hash_of_the_file_is_read_as_data(served: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, served)
    digest = hashlib.sha256(served.read_bytes()).hexdigest()[:8]
    read = CheckpointLoader.load_checkpoint(f"https://example.org/w-{digest}.pth?download=1")
    assert read["weight"].tolist() == [1, 1]

    torch.save({"x": Code(open, str(tmp_path / "made"), "w")}, served)
    digest = hashlib.sha256(served.read_bytes()).hexdigest()[:8]
    with pytest.raises(UserError, match=r"cannot be read as weights: it is not plain data but asks for"):
        CheckpointLoader.load_checkpoint(f"https://example.org/w-{digest}.pth")
    assert not (tmp_path / "made").exists()


def test_another_file_than_the_hash_says_is_refused(served: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, served)
    with pytest.raises(UserError, match="cannot be downloaded: invalid hash value"):
        CheckpointLoader.load_checkpoint("https://example.org/w-01234567.pth")
    assert list(tmp_path.glob("home/**/*.pth")) == []
