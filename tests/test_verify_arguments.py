"""Cases of other sizes, ratios and arguments than the recorded ones, and cases broken in every way."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from slow_cases import CASES, eps_of, write_cases
from slow_official import compute

from mixmae_bench.cli import main
from mixmae_bench.verify.case import Case, read_cases

REFERENCE = Path(__file__).parent / "reference"
RECORDED = [case for case in read_cases(REFERENCE) if case.kind in ("pretrain", "finetune")]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder, list(CASES))
    return folder


def entry(folder: Path, name: str) -> dict:
    return next(e for e in json.loads((folder / "manifest.json").read_text())["cases"] if e["name"] == name)


def lay_out(source: Path, folder: Path, *entries: object) -> Path:
    """Make a folder with these entries of a manifest and the files of another folder."""
    for file in source.glob("*.npz"):
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)
    (folder / "manifest.json").write_text(json.dumps({"cases": entries}))
    return folder


def changed(folder: Path, name: str, **arguments: object) -> dict:
    """An entry some of whose arguments are others, or gone ("gone")."""
    given = entry(folder, name)
    constructor = {**given["constructor"], **arguments}
    return {**given, "constructor": {k: v for k, v in constructor.items() if v != "gone"}}


def verify(folder: Path, capsys: pytest.CaptureFixture) -> tuple[int, list[str]]:
    """Return the exit status, and the rows that are no passed check, without that of the attention."""
    status = main(["verify", str(folder)])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    rows = [row for row in (out + err).splitlines() if "window attention was computed" not in row]
    return status, [row for row in rows if not row.startswith("pass ")]


@pytest.mark.parametrize("case", RECORDED, ids=[case.name for case in RECORDED])
def test_the_slow_models_give_what_was_recorded(case: Case) -> None:
    arguments = case.info["constructor"]
    frozen = {k.removeprefix("sd/") for k in case.tensors if k.endswith("attn_mask")}
    frozen |= set(case.info["frozen_tables_kept"])
    outputs, grads = compute(
        case.info["official"]["file"], arguments, eps_of(arguments), frozen, dict(case.tensors)
    )
    outputs |= {f"grad/{name}": grad for name, grad in grads.items()}
    for name, theirs in case.tensors.items():
        if name.startswith(("out/", "grad/", "alt/")) and "compact" not in name:
            largest = theirs.abs().max().item() if name.startswith("grad/") else 1
            torch.testing.assert_close(outputs[name], theirs.double(), rtol=0, atol=1e-5 * largest)
    assert grads.keys() == case.info["grad_norms"].keys()


@pytest.mark.parametrize("name", CASES)
def test_a_case_of_other_arguments_passes_whole(
    name: str, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lay_out(written, tmp_path, entry(written, name))
    assert verify(tmp_path, capsys) == (0, ["1 of 1 cases pass on cpu"])  # nothing is left out, either


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mixmae_pre_1", dict(norm_layer="LayerNorm(eps=1e-3)")),
        ("mixmae_ft_1", dict(norm_layer="LayerNorm(eps=1e-3)")),
        ("simmim_pre_1", dict(norm_layer="LayerNorm(eps=1e-3)")),
        ("simmim_pre_1", dict(qk_scale=None)),
        ("simmim_ft_1", dict(qk_scale=0.5)),
        ("simmim_ft_1", dict(norm_layer="LayerNorm(eps=1e-3)")),
        ("umswin_pre_1", dict(norm_layer="LayerNorm(eps=1e-3)")),
        ("umswin_pre_2", dict(norm_layer="gone")),
        ("umswin_pre_2", dict(window_size=4)),
        ("umswin_ft_1", dict(norm_layer="LayerNorm(eps=1e-3)")),
        ("umpvt_pre_1", dict(norm_layer="LayerNorm(eps=1e-3)")),
        ("umpvt_pre_1", dict(sr_ratios=[4, 2, 2, 1])),
        ("umpvt_ft_1", dict(norm_layer="gone")),
        ("umvit_pre_2", dict(norm_layer="gone")),
        ("umvit_pre_1", dict(num_heads=1)),
        ("umvit_pre_1", dict(decoder_num_heads=4)),
        ("umsimmim_pvt_1", dict(norm_layer="LayerNorm(eps=1e-3)")),
        ("umsimmim_swin_1", dict(norm_pix_loss=False)),
    ],
)
def test_an_argument_that_shapes_do_not_tell_has_its_effect(
    name: str, arguments: dict, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lay_out(written, tmp_path, changed(written, name, **arguments))
    status, rows = verify(tmp_path, capsys)
    assert status == 1
    assert "cannot be" not in " ".join(rows)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mixmae_pre_1", dict(qk_scale=7.0, ape=False, num_classes=3, encoder_stride=16)),  # M11
        ("mixmae_pre_1", dict(use_checkpoint=False, drop_path_rate=0.5)),
        ("mixmae_pre_2", dict(drop_rate=0, attn_drop_rate=0.0, range_mask_ratio=0.0, in_chans=3)),
        ("simmim_ft_1", dict(encoder_stride=32, drop_path_rate=0.3, use_checkpoint=False)),
        ("umswin_ft_1", dict(global_pool=False, with_cp=False)),
        ("umvit_pre_1", dict(asymmetric_decoder=False, mask_ratio=0.1)),
        ("umvit_pre_1", dict(norm_layer="torch.nn.LayerNorm( eps = 0.00001 )")),
    ],
)
def test_an_argument_without_effect_on_the_official_outputs_has_none(
    name: str, arguments: dict, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lay_out(written, tmp_path, changed(written, name, **arguments))
    assert verify(tmp_path, capsys)[0] == 0


REFUSED = [
    ("mixmae_pre_1", dict(drop_rate=0.1)),
    ("mixmae_pre_1", dict(attn_drop_rate=0.1)),
    ("mixmae_pre_1", dict(range_mask_ratio=0.2)),
    ("mixmae_pre_1", dict(in_chans=1)),
    ("mixmae_pre_1", dict(qkv_bias=0)),
    ("mixmae_pre_1", dict(window_size=4)),
    ("mixmae_pre_1", dict(embed_dim=8.5)),
    ("mixmae_pre_1", dict(mlp_ratio=float("nan"))),
    ("mixmae_pre_1", dict(patch_norm="no")),
    ("mixmae_pre_1", dict(depths=[10**9, 1, 1, 1])),
    ("mixmae_pre_1", dict(decoder_depth=10**9)),
    ("mixmae_pre_1", dict(posmlp_dim=5)),
    ("simmim_pre_1", dict(encoder_stride=16)),
    ("simmim_pre_1", dict(num_classes=10)),
    ("simmim_pre_1", dict(qk_scale="big")),
    ("simmim_pre_1", dict(in_chans=1)),
    ("simmim_pre_1", dict(decoder_depth=1)),
    ("umswin_pre_1", dict(qk_scale=0.5)),
    ("umswin_pre_1", dict(in_chans=4)),
    ("umswin_pre_1", dict(stride=4)),
    ("umswin_pre_1", dict(drop_path_rate=0.1)),
    ("umpvt_pre_1", dict(mlp_ratio=2)),
    ("umpvt_pre_1", dict(sr_ratios=[3, 2, 2, 1])),
    ("umpvt_ft_1", dict(with_cp=True)),
    ("umvit_pre_1", dict(stride=8)),
    ("umvit_pre_1", dict(depth=0)),
    *(
        ("umvit_pre_1", dict(norm_layer=written))
        for written in (
            "BatchNorm2d",
            "LayerNorm(eps=x)",
            "LayerNorm(eps=1.2.3)",
            "MyLayerNorm",
            None,
            1e-6,
            [],
        )
    ),
]


@pytest.mark.parametrize(("name", "arguments"), REFUSED, ids=str)
def test_an_argument_that_is_not_built_is_refused_by_name(
    name: str, arguments: dict, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lay_out(written, tmp_path, changed(written, name, **arguments))
    status, (row, _) = verify(tmp_path, capsys)
    assert status == 1
    assert f"FAIL {name}" in row
    assert "cannot be built: " in row
    (argument,) = arguments
    assert ("mask_patch_size" if argument == "stride" and "swin" in name else argument) in row


def test_a_case_that_cannot_be_built_hides_no_other(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    good = entry(written, "umvit_pre_2")
    lay_out(
        written,
        tmp_path,
        {**changed(written, "umvit_pre_1", mlp_ratio=9), "name": "first"},
        good,
        {**good, "name": "second", "official": {"file": "models_vit.py"}},
        {**good, "name": "third", "kind": "dream"},
        {**good, "name": "fourth", "file": "nowhere.npz"},
        7,
        {**good, "name": "[/bold]\nfi\ud800fth", "sha256": None},
        good,
    )
    assert main(["verify", str(tmp_path)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("pass umvit_pre_2") for line in out) > 10
    failed = [" ".join(line.split(": ")[0].split()) for line in out if line.startswith("FAIL")]
    names = ["first", "second", "third", "fourth", "number 6", "[/bold] fi\\ud800fth", "umvit_pre_2"]
    assert failed == [f"FAIL {name} cannot be built" for name in names]
    assert out[-1] == "1 of 8 cases pass on cpu"


ODD = [None, True, -1, 0, 10**30, 1e400, "x", "", [], [None], {}, {"eps": 1}, [[1]], "\ud800", "a" * 5000]


def odd_entries(good: dict) -> list[dict]:
    """An entry with every value odd in turn, or gone, at every depth."""
    entries = []
    for key, value in good.items():
        entries.append({k: v for k, v in good.items() if k != key})
        entries += [{**good, key: odd} for odd in ODD]
        if isinstance(value, dict):
            for inner in list(value)[:12]:
                without = {k: v for k, v in value.items() if k != inner}
                entries += [{**good, key: without}] + [{**good, key: {**value, inner: odd}} for odd in ODD]
    return entries


def only_rows(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Run the command, which must end with rows and status 0 or 1, or with one line and status 2."""
    status = main(["verify", str(folder)])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    if status == 2:
        assert out == ""
        assert err.count("\n") == 1
        return
    assert err == ""
    assert all(line.startswith(("pass ", "FAIL ", "note ")) for line in lines[:-1])
    assert lines[-1].endswith("cases pass on cpu")
    assert status == int(any(line.startswith("FAIL ") for line in lines))


@pytest.mark.parametrize("name", ["umvit_pre_2", "umpvt_ft_1", "simmim_maskgen"])
def test_whatever_an_entry_says_it_ends_in_rows(
    name: str, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source = REFERENCE if name == "simmim_maskgen" else written
    good = entry(source, name)
    for part in ("tensors", "statistics", "semantics", "versions"):
        if part in good:
            good[part] = good[part][:1] if isinstance(good[part], list) else {}
    entries = [{**e, "name": f"{e.get('name')} {i}"} for i, e in enumerate(odd_entries(good)) if "name" in e]
    entries = entries[:: max(1, len(entries) // 30)]
    only_rows(lay_out(source, tmp_path, *entries, good), capsys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '{"cases": {}}',
        '{"cases": []}',
        '{"cases": "x"}',
        '{"cases": null}',
        '{"cases": [1, "x", null, [], {}, {"name": {}}, {"name": ""}, {"name": "x"}, {"name": "x"}]}',
        "[" * 100_000,
        '{"cases": [' + "9" * 5000 + "]}",
    ],
)
def test_whatever_a_manifest_is_it_ends_in_rows_or_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "manifest.json").write_text(text)
    only_rows(tmp_path, capsys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"x": {}}',
        '{"pretrain\\nabsent, weight_decay 0.05 (x)": {}}',
        '{"finetune umpvt_ft_1, weight_decay 0.05 (x)": []}',
        '{"finetune umpvt_ft_1, weight_decay 0.05 (x)": {"head.weight": [1]}}',
        '{"finetune umpvt_ft_1, weight_decay 0.05 (x)": {"head.weight": "ab", "x": null}}',
        '{"finetune umpvt_ft_1, weight_decay 0.05 (x)": {"x": [1e400, NaN]}}',
    ],
)
def test_whatever_parameter_groups_are_they_end_in_rows_or_one_line(
    text: str, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lay_out(written, tmp_path, entry(written, "umpvt_ft_1"))
    (tmp_path / "param_groups_x.json").write_text(text)
    only_rows(tmp_path, capsys)
    assert main(["verify", str(tmp_path)]) in (1, 2)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    return data[:5000] + bytes(255 - byte for byte in data[5000:5100]) + data[5100:]


@pytest.mark.parametrize("damage", [cut, flipped, lambda data: b"", lambda data: b"x" * 99], ids=range(4))
def test_a_damaged_file_is_a_row(
    damage: Callable[[bytes], bytes], written: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    good = entry(written, "umvit_pre_2")
    data = damage((written / good["file"]).read_bytes())
    (tmp_path / "damaged.npz").write_bytes(data)
    bad = {**good, "name": "bad", "file": "damaged.npz", "sha256": hashlib.sha256(data).hexdigest()}
    lay_out(written, tmp_path, bad, good)
    status, rows = verify(tmp_path, capsys)
    assert status == 1
    assert rows[0].startswith("FAIL bad ")
    assert "does not contain numeric arrays" in rows[0]
    assert rows[1:] == ["1 of 2 cases pass on cpu"]


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("sd/norm.weight", None),
        ("sd/norm.weight", np.ones(17, np.float32)),
        ("sd/norm.weight", np.ones(16, np.complex64)),
        ("sd/norm.weight", np.full(16, np.nan, np.float32)),
        ("sd/stranger", np.ones(3)),
        ("sd/pos_embed", np.zeros((1, 5, 16), np.float32)),
        ("in/x", None),
        ("in/x", np.ones((2, 3, 64, 64), np.float32)),
        ("in/x", np.ones((2, 4, 32, 32), np.float32)),
        ("in/x", np.ones(0, np.float32)),
        ("mask/mask", None),
        ("mask/mask", np.ones((2, 64), bool)),
        ("mask/mask", np.ones((2, 7))),
        ("out/pred", None),
        ("out/loss", None),
        ("out/loss", np.full((), np.nan)),
        ("out/encoder", np.zeros((0, 1))),
        ("grad/norm.weight", np.zeros(0)),
        ("grad/stranger", np.zeros(2)),
        ("out/stranger", np.array("text")),
        ("out/stranger", np.array([{}], dtype=object)),
    ],
)
def test_a_missing_strange_or_odd_tensor_is_a_row(
    name: str, odd: np.ndarray | None, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    good = entry(written, "umvit_pre_2")
    with np.load(written / good["file"]) as arrays:
        tensors = {k: v for k, v in {**arrays, name: odd}.items() if v is not None}
    np.savez(tmp_path / "odd.npz", **tensors)
    sha256 = hashlib.sha256((tmp_path / "odd.npz").read_bytes()).hexdigest()
    lay_out(written, tmp_path, {**good, "file": "odd.npz", "sha256": sha256})
    status, rows = verify(tmp_path, capsys)
    assert rows[-1] == f"{1 - status} of 1 cases pass on cpu"
    if name == "grad/stranger":  # nothing says what it should be
        assert (status, rows[0][:5]) == (0, "note ")
        assert "grad/stranger is not compared" in rows[0]
    else:
        assert (status, rows[0][:5]) == (1, "FAIL ")


def test_a_folder_of_any_files_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe\x00")
    only_rows(tmp_path, capsys)
    shutil.copy(REFERENCE / "umvit_pre_a.npz", tmp_path / "manifest.json")
    only_rows(tmp_path, capsys)
