"""Published values: what the files must say, and that the committed ones say it."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from mixmae_bench.errors import UserError
from mixmae_bench.results.published import Other, Source, read_published

ROOT = Path(__file__).parents[2]
COUNTS = Path(__file__).with_name("published_counts.yaml")
SOURCES = {
    "paper": {"kind": "paper", "cite": "arXiv 1", "url": "https://arxiv.org/abs/1"},
    "zoo": {"kind": "model-zoo", "cite": "zoo/x.yml", "url": "https://zoo.org/x.yml"},
}
ENTRY = {
    "method": "MixMAE",
    "backbone": "Swin-B",
    "dataset": "ImageNet-1K",
    "values": {"top1": 85.1},
    "source": "paper",
}


def written(folder: Path, sources: object = SOURCES, **changes: object) -> Path:
    entry = {key: value for key, value in {**ENTRY, **changes}.items() if value != "absent"}
    text = yaml.safe_dump({"sources": sources, "entries": [ENTRY, entry]})
    (folder / "imagenet.yaml").write_text(text, encoding="utf-8")
    return folder


def test_an_entry_is_read_with_its_source_and_what_other_sources_say(tmp_path: Path) -> None:
    also = [{"values": {"top1": 84.9}, "source": "zoo", "schedule": "a run of its own"}]
    (rows,) = read_published(written(tmp_path, also=also, why="the authors' own", shape=[224, 256])).values()
    row = rows[1]
    assert (row.method, row.values, row.source) == (
        "MixMAE",
        {"top1": 85.1},
        Source("paper", "paper", "arXiv 1", "https://arxiv.org/abs/1"),
    )
    zoo = Source("zoo", "model-zoo", "zoo/x.yml", "https://zoo.org/x.yml")
    assert row.also == (Other({"top1": 84.9}, zoo, "a run of its own"),)
    assert [source.key for source in row.sources] == ["paper", "zoo"]
    assert row.shape == (224, 256)
    assert (row.flops_g, row.model, row.window) == (None, None, None)


def test_null_is_a_value_without_a_source(tmp_path: Path) -> None:
    row = read_published(written(tmp_path, values={"top1": None}, source="absent"))["imagenet"][1]
    assert (row.values, row.source, row.sources) == ({"top1": None}, None, [])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flops": 16.3}, "unknown key 'flops'. Did you mean 'flops_g'?"),
        ({"backbone": "absent"}, "key 'backbone' is missing"),
        ({"window": "14"}, "key 'window' is '14'"),
        ({"resolution": True}, "key 'resolution' is True"),
        ({"source": "absent"}, "key 'source' is missing"),
        ({"source": "papre"}, "key 'source' is 'papre', which is not in sources. Did you mean 'paper'?"),
        ({"values": {"top1": None}}, "key 'source' is given without a value"),
        ({"values": {}}, "key 'values' must be"),
        ({"values": {"top-1": 1.0}}, "unknown name 'top-1'. Did you mean 'top1'?"),
        ({"values": {"top1": "85.1"}}, "'top1': '85.1'"),
        ({"also": [{"values": {"top1": 84.9}, "source": "zoo"}]}, "sources disagree; state under key 'why'"),
        ({"also": [{"values": {"top1": 84.9}}]}, "also 1: key 'source' is missing"),
        ({"also": [{"values": {"top1": None}, "source": "zoo"}]}, "also 1: key 'values'"),
        ({"shape": [224]}, "key 'shape' is [224]"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file_and_key(tmp_path: Path, changes: dict, says: str) -> None:
    with pytest.raises(UserError) as caught:
        read_published(written(tmp_path, **changes))
    message = str(caught.value)
    assert f"{tmp_path / 'imagenet.yaml'}: entry 2" in message
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ({"paper": {"kind": "blog", "cite": "x", "url": "https://a.b"}}, "source 'paper': kind is 'blog'"),
        ({"paper": {"kind": "paper"}}, "source 'paper': key 'cite' is missing"),
        ({"paper": {"kind": "paper", "cite": " ", "url": "https://a.b"}}, "source 'paper': cite must be"),
        ({"paper": {"kind": "paper", "cite": "x", "url": "a.b/c"}}, "source 'paper': url must be an address"),
        ({"paper": {"kind": "paper", "cite": "x"}}, "source 'paper': key 'url' is missing"),
        ([], "sources must be a mapping"),
    ],
)
def test_a_source_without_kind_or_citation_is_refused(tmp_path: Path, sources: object, says: str) -> None:
    with pytest.raises(UserError, match=r"imagenet\.yaml") as caught:
        read_published(written(tmp_path, sources))
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["- a", "entries: []", "a: [", "sources: {}\nentries: {}"])
def test_a_file_of_another_form_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "coco.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"coco\.yaml") as caught:
        read_published(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no published values"):
        read_published(tmp_path)


def test_the_committed_files_hold_the_methods_of_this_project() -> None:
    tables = read_published(ROOT / "results" / "published")
    assert tables.keys() == {"imagenet", "coco", "ade20k", "classification", "pretraining-cost"}
    for name, rows in tables.items():
        assert {"MixMAE", "SimMIM", "UM-MAE"} <= {row.method for row in rows}, name
    assert sum(row.values["top1"] is not None for row in tables["imagenet"]) >= 25


def test_configs_that_the_committed_files_name_exist() -> None:
    for rows in read_published(ROOT / "results" / "published").values():
        for row in rows:
            for name in (row.model, row.pretrain):
                assert name is None or ":" in name or (ROOT / name).is_file(), f"{row.method}: {name}"


def test_no_published_value_is_lost() -> None:
    """`published_counts.yaml` holds the number of values by table and source; change both together."""
    found = {}
    for name, rows in read_published(ROOT / "results" / "published").items():
        numbers = Counter()
        for row in rows:
            for part in (row, *row.also):
                numbers[part.source and part.source.key] += sum(v is not None for v in part.values.values())
        del numbers[None]
        found[name] = dict(numbers)
    assert found == yaml.safe_load(COUNTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("table", "row", "says"),
    [
        ("ade20k", {"method": "MixMAE", "backbone": "not named"}, {"wizwand": {"miou": 53.8}}),
        (
            "ade20k",
            {"method": "SimMIM", "backbone": "Swin-B"},
            {"convnext-v2-ade-of-others": {"miou": 52.8}},
        ),
        (
            "coco",
            {"method": "SimMIM", "backbone": "Swin-B", "protocol": "36 ep, detector not named"},
            {"fast-convmae-of-others": {"box_ap": 50.4, "mask_ap": 44.4}},
        ),
        (
            "imagenet",
            {"method": "GreenMIM", "backbone": "Swin-B"},
            {
                "greenmim-2023": {"top1": 83.8},
                "greenmim": {"top1": 83.7},
                "fast-convmae-of-others": {"top1": 85.1},
            },
        ),
        (
            "pretraining-cost",
            {"method": "SimMIM", "backbone": "Swin-B"},
            {"fast-convmae-of-others": {"gpu_hours": 1609}},
        ),
    ],
)
def test_what_sources_say_about_a_row_stands_beside_each_other(table: str, row: dict, says: dict) -> None:
    rows = read_published(ROOT / "results" / "published")[table]
    (found,) = (r for r in rows if all(getattr(r, key) == value for key, value in row.items()))
    known = {part.source.key: part.values for part in (found, *found.also) if part.source}
    assert says.items() <= known.items()
