"""Configs: every mistake in one line, data found or named, and a hash of nothing but the content."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mmengine.config import Config

import mixmae_bench.engine.config
from mixmae_bench.engine.config import check_training, content_hash, find_data, load_config
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS

CONFIGS = Path(__file__).parents[1] / "configs"
RUNNABLE = sorted(
    path
    for kind in ("pretrain", "classification", "detection", "segmentation")
    for path in (CONFIGS / kind).rglob("*.py")
)
DIGITS = [path for path in RUNNABLE if path.stem.endswith("_digits")]
Write = Callable[..., Path]
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


@pytest.fixture
def config(tmp_path: Path) -> Write:
    """Write a config and return its path."""

    def write(text: str, name: str = "config.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand an empty folder of the digits' layout in for the cache, and return it."""
    folder = tmp_path / "cache" / "digits-v0-test"
    for name in (
        "pretrain",
        "classification/train",
        "classification/val",
        "detection/train2017",
        "detection/val2017",
        "detection/annotations",
        *(
            f"segmentation/{kind}/{split}"
            for kind in ("images", "annotations")
            for split in ("training", "validation")
        ),
    ):
        (folder / name).mkdir(parents=True)
    for split in ("train", "val"):
        (folder / f"detection/annotations/instances_{split}2017.json").touch()
    (folder / "splits.json").write_text('{"version": 0, "config": {}}')
    monkeypatch.setattr(mixmae_bench.engine.config, "build_digits", lambda: folder)
    return folder


def load_message(path: Path, options: dict | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, options)
    return str(caught.value)


def find_message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        find_data(load_config(path))
    return str(caught.value)


def strings(node: object) -> list[str]:
    """Return every string value in a config."""
    if isinstance(node, dict):
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list | tuple):
        return [text for value in node for text in strings(value)]
    return [node] if isinstance(node, str) else []


def test_there_are_configs_of_every_kind() -> None:
    assert {path.relative_to(CONFIGS).parts[0] for path in DIGITS} == {
        "pretrain",
        "classification",
        "detection",
        "segmentation",
    }


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: path.stem)
def test_every_config_loads_and_names_a_known_backbone(path: Path) -> None:
    cfg = load_config(path)
    with MODELS.switch_scope_and_registry(cfg.default_scope) as models:
        assert models.get(cfg.model.backbone.type) is not None
    assert cfg.train_dataloader.dataset.type
    assert (cfg.train_cfg.get("max_epochs") or cfg.train_cfg.max_iters) > 0
    assert len(content_hash(cfg)) == 16


def test_no_two_configs_have_one_hash() -> None:
    assert len({content_hash(load_config(path)) for path in RUNNABLE}) == len(RUNNABLE)


@pytest.mark.parametrize("path", DIGITS, ids=lambda path: path.stem)
def test_the_embedded_digits_of_every_digits_config_are_found_in_the_cache(path: Path, painted: Path) -> None:
    raw = load_config(path)
    cfg = find_data(raw)
    before, after = strings(raw.to_dict()), strings(cfg.to_dict())
    assert any(text.startswith("data/digits") for text in before)
    assert [re.sub("^data/digits", str(painted), text) for text in before] == after
    assert strings(load_config(path).to_dict()) == before, "the config given to find_data was changed"


def test_the_annotation_file_of_the_evaluator_is_in_the_cache_too(painted: Path) -> None:
    (path,) = (CONFIGS / "detection").glob("*_digits.py")
    cfg = find_data(load_config(path))
    expected = str(painted / "detection/annotations/instances_val2017.json")
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == expected


def test_embedded_digits_are_replaced_in_lists_tuples_and_dicts_of_any_depth(
    config: Write, painted: Path
) -> None:
    cfg = find_data(
        load_config(config("a = dict(b=[dict(c=('data/digits/x', 1, None, 'keep')), 'data/digits'])"))
    )
    assert cfg.a.b[0].c == (f"{painted}/x", 1, None, "keep")
    assert cfg.a.b[1] == str(painted)


@pytest.mark.parametrize("name", ["data/digits-mine", "data/digits2", "data/digits_v2/train"])
def test_a_folder_of_the_user_whose_name_begins_like_the_embedded_digits_is_left_alone(
    config: Write, painted: Path, name: str
) -> None:
    cfg = find_data(load_config(config(f"mine = {name!r}\ntheirs = 'data/digits'")))
    assert (cfg.mine, cfg.theirs) == (name, str(painted))


def test_a_config_without_embedded_digits_paints_none(config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        mixmae_bench.engine.config, "build_digits", lambda: pytest.fail("the digits were painted")
    )
    path = config("train_dataloader = dict(dataset=dict(type='X', data_root='.'))")
    assert find_data(load_config(path)).train_dataloader.dataset.data_root == "."


def test_the_file_name_of_a_config_outlives_finding_its_data(painted: Path) -> None:
    assert find_data(load_config(DIGITS[0])).filename == load_config(DIGITS[0]).filename


def test_a_cache_that_cannot_be_written_is_a_mistake_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("MIXMAE_BENCH_CACHE", str(blocked))
    text = find_message(DIGITS[0])
    assert str(blocked) in text
    assert "\n" not in text


def test_a_missing_config_gets_its_neighbour_proposed(config: Write) -> None:
    path = config("a = 1", "mixmae_base.py")
    missing = path.with_name("mixmae_bse.py")
    assert load_message(missing) == (
        f"config {missing} does not exist; check the path, or give a name of `mixmae-bench ls configs`. "
        "Did you mean 'mixmae_base.py'?"
    )


def test_a_missing_config_in_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "config.py"
    assert (
        load_message(path)
        == f"config {path} does not exist; check the path, or give a name of `mixmae-bench ls configs`."
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a = (\n", "SyntaxError"),
        ("a = b\n", "name 'b' is not defined"),
        ("_base_ = 'nowhere.py'\n", "nowhere.py"),
        ("_base_ = ['also/nowhere.py']\n", "nowhere.py"),
        ("_base_ = 'mmdet::_base_/nowhere.py'\n", "nowhere.py"),
        ("raise ValueError('first\\nsecond')\n", "ValueError: first"),
        ("raise ValueError\n", "ValueError: no message"),
    ],
)
def test_a_config_that_cannot_be_read_is_named_with_the_reason_in_one_line(
    config: Write, text: str, part: str
) -> None:
    path = config(text)
    found = load_message(path)
    assert found.startswith(f"config {path} cannot be read: ")
    assert part in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("name", "text"), [("config.yaml", "a: [1"), ("config.txt", "a = 1"), ("config.json", "{")]
)
def test_a_file_of_another_format_is_refused_in_one_line(config: Write, name: str, text: str) -> None:
    path = config(text, name)
    found = load_message(path)
    assert str(path) in found
    assert "\n" not in found


def test_bytes_that_are_not_text_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_bytes(b"a = '\xff'\n")
    assert f"config {path} cannot be read: UnicodeDecodeError" in load_message(path)


def test_options_are_merged_over_the_config_and_its_bases(config: Write) -> None:
    config("a = dict(b=1, c=2)\nlist_ = [dict(x=1), dict(x=2)]", "base.py")
    path = config("_base_ = 'base.py'\na = dict(c=3)")
    cfg = load_config(path, {"a.b": 5, "new.key": "v", "list_.1.x": 7})
    assert cfg.a.to_dict() == {"b": 5, "c": 3}
    assert cfg.new.key == "v"
    assert [entry.x for entry in cfg.list_] == [1, 7]


@pytest.mark.parametrize("options", [{"a.b.c": 1}, {"list_.5.x": 1}])
def test_an_option_that_does_not_fit_the_config_is_one_line(config: Write, options: dict) -> None:
    path = config("a = dict(b=1)\nlist_ = [dict(x=1)]")
    found = load_message(path, options)
    assert str(path) in found
    assert "\n" not in found


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("dataset", "missing"),
    [
        ("data_root='{root}/none'", "none"),
        ("data_root='{root}/none', ann_file='x.json', data_prefix=dict(img='y')", "none"),
        ("data_root='{root}', ann_file='annotations/none.json'", "annotations/none.json"),
        ("ann_file='{root}/none.json'", "none.json"),
        ("data_root='{root}', data_prefix='none'", "none"),
        ("data_root='{root}', data_prefix=dict(img='there', seg_map_path='none/')", "none"),
        ("data_root='{root}/file/inside'", "file/inside"),
    ],
)
def test_missing_data_is_named_in_one_line_with_its_key_and_the_option_that_changes_it(
    config: Write, tmp_path: Path, loader: str, dataset: str, missing: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    path = config(f"{loader} = dict(dataset=dict(type='X', {dataset.format(root=tmp_path)}))")
    found = find_message(path)
    assert f"data: {tmp_path / missing} does not exist" in found
    assert f"{loader}.dataset of {path}" in found
    assert f"--cfg-options {loader}.dataset.data_root=FOLDER" in found
    assert "\n" not in found


@pytest.mark.parametrize("depth", [1, 2])
def test_missing_data_inside_a_wrapper_is_named_with_the_key_that_changes_it(
    config: Write, tmp_path: Path, depth: int
) -> None:
    inner = f"dict(type='X', data_root='{tmp_path}/none')"
    for _ in range(depth):
        inner = f"dict(type='RepeatDataset', times=2, dataset={inner})"
    path = config(f"train_dataloader = dict(dataset={inner})")
    found = find_message(path)
    assert f"data: {tmp_path}/none does not exist" in found
    (option,) = re.findall(r"--cfg-options (\S+)=FOLDER", found)
    there = tmp_path / "there"
    there.mkdir()
    cfg = find_data(load_config(path, {option: str(there)}))
    assert str(there) in strings(cfg.to_dict())


def test_data_that_is_there_passes_in_every_form(config: Write, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.json").touch()
    path = config(
        f"root = '{tmp_path}'\n"
        "plain = dict(data_root=root, ann_file='labels.json', data_prefix='images')\n"
        "inner = dict(data_root=root + '/', data_prefix=dict(img='images/', other=''))\n"
        "train_dataloader = dict(dataset=plain)\n"
        "val_dataloader = dict(dataset=dict(type='RepeatDataset', dataset=inner))\n"
        "file_only = dict(ann_file=root + '/labels.json', data_root=None, data_prefix=None)\n"
        "test_dataloader = dict(dataset=file_only)\n"
    )
    before = load_config(path).to_dict()
    assert find_data(load_config(path)).to_dict() == before


@pytest.mark.parametrize("text", ["", "train_dataloader = None", "val_dataloader = dict(batch_size=1)"])
def test_a_config_without_data_passes(config: Write, text: str) -> None:
    path = config(f"a = 1\n{text}\n")
    assert find_data(load_config(path)).a == 1


def test_the_hash_does_not_depend_on_the_place_of_the_file(tmp_path: Path) -> None:
    copy = tmp_path / "some" / "where"
    shutil.copytree(CONFIGS, copy)
    for path in RUNNABLE[::8]:  # of every kind
        moved = copy / path.relative_to(CONFIGS)
        assert content_hash(load_config(moved)) == content_hash(load_config(path))


def test_the_hash_does_not_depend_on_the_file_name_or_how_the_values_are_written(config: Write) -> None:
    one = load_config(config("a = 1 + 1\nb = dict(c='x', d=[1, 2])", "one.py"))
    other = load_config(config("# A comment.\nb = dict(d=[1, 2], c='x')\na = 2\n", "other.py"))
    config("a = 2", "base.py")
    based = load_config(config("_base_ = 'base.py'\nb = dict(c='x', d=[1, 2])", "based.py"))
    assert content_hash(one) == content_hash(other) == content_hash(based)


def test_the_hash_does_not_depend_on_the_folder_of_the_cache_or_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [content_hash(load_config(path)) for path in DIGITS]
    monkeypatch.setenv("MIXMAE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert [content_hash(load_config(path)) for path in DIGITS] == before
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("path", DIGITS, ids=lambda path: path.stem)
def test_the_hash_changes_with_any_single_value(path: Path) -> None:
    """Every leaf of every digits config in turn: none may be left out of the hash."""
    content = load_config(path).to_dict()
    seen = {content_hash(Config(content))}
    leaves = list(walk(content))
    assert len(leaves) > 40
    for parent, key in leaves:
        old = parent[key]
        parent[key] = "changed"
        seen.add(content_hash(Config(content)))
        parent[key] = old
    assert len(seen) == len(leaves) + 1


def walk(node: dict | list) -> Iterator[tuple[dict | list, object]]:
    """Yield (container, key) of every leaf; tuples count as leaves."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict | list) and value:
            yield from walk(value)
        else:
            yield node, key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a = 1", "a = 1.5"),
        ("a = 1e-3", "a = 1.0000001e-3"),
        ("a = 0", "a = False"),
        ("a = '1'", "a = 1"),
        ("a = None", "a = 'None'"),
        ("a = [1, 2]", "a = [2, 1]"),
        ("a = dict(b=1)", "a = dict(c=1)"),
        ("a = 1", "a = 1\nb = None"),
    ],
)
def test_the_hash_tells_near_values_apart(config: Write, one: str, other: str) -> None:
    hashes = {content_hash(load_config(config(text, f"c{i}.py"))) for i, text in enumerate((one, other))}
    assert len(hashes) == 2


def test_the_hash_is_sixteen_hex_digits(config: Write) -> None:
    assert re.fullmatch("[0-9a-f]{16}", content_hash(load_config(config("a = 1"))))


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ({"train_cfg.max_epochs": "many"}, "train_cfg.max_epochs is 'many'; give an integer of 1 or more"),
        ({"train_cfg.max_epochs": -1}, "train_cfg.max_epochs is -1"),
        ({"train_dataloader.batch_size": 0}, "train_dataloader.batch_size is 0"),
        ({"train_dataloader.batch_size": 8.5}, "train_dataloader.batch_size is 8.5"),
        ({"optim_wrapper.optimizer.lr": "fast"}, "optim_wrapper.optimizer.lr is 'fast'; give a number"),
        ({"optim_wrapper.optimizer.lr": float("nan")}, "optim_wrapper.optimizer.lr is nan"),
        ({"optim_wrapper.optimizer.type": "Adamm"}, "unknown optimizer 'Adamm'. Did you mean 'Adam"),
        ({"model": None}, "has no 'model' and cannot train"),
    ],
)
def test_a_number_of_the_training_that_is_none_is_one_line(option: dict, part: str) -> None:
    cfg = load_config(Path(__file__).parent / "smoke" / "classification.py")
    check_training(cfg)
    for key, value in option.items():
        cfg.merge_from_dict({key: value})
    with pytest.raises(UserError, match=re.escape(part)):
        check_training(cfg)


# Old names.


def test_a_config_of_old_names_is_read_under_the_new_ones_and_says_so_once(
    config: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixmae_bench.engine.config, "_told", set())
    new = load_config("um-mae_swin-t_16xb256-200e_in1k-256px")
    base = mixmae_bench.engine.config.find_config("um-mae_swin-t_16xb256-200e_in1k-256px")
    text = f"_base_ = {str(base)!r}\nmodel = dict(cell=8, secondary_ratio=0.5, norm_pix=False)\n"
    path = config(f"{text}max_unreadable = 0.01\n")
    for _ in range(2):
        old = load_config(path)
        model = old.model
        assert (model.mask_patch_size, model.secondary_mask_ratio, model.norm_pix_loss) == (8, 0.5, False)
        assert not {"cell", "secondary_ratio", "norm_pix"} & model.keys()
        assert old.max_corrupt_images == 0.01
        assert "max_unreadable" not in old
    err = capsys.readouterr().err
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        "'cell' has been renamed to 'mask_patch_size'; both work",
        "'max_unreadable' has been renamed to 'max_corrupt_images'; both work",
        "'norm_pix' has been renamed to 'norm_pix_loss'; both work",
        "'secondary_ratio' has been renamed to 'secondary_mask_ratio'; both work",
    ]
    renamed = load_config(path, {"model.cell": 16})
    assert renamed.model.mask_patch_size == 16
    # By the hash that records have, a config is the same under old and new names.
    names = "mask_patch_size=8, secondary_mask_ratio=0.5, norm_pix_loss=False"
    same = config(f"_base_ = {str(base)!r}\nmodel = dict({names})\nmax_corrupt_images = 0.01\n")
    assert content_hash(load_config(same)) == content_hash(old) != content_hash(new)
