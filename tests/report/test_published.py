"""Published values: what the files must say, and that the committed ones say it."""

from pathlib import Path

import pytest
import yaml

from mixmae_bench.errors import UserError
from mixmae_bench.results.published import Other, Source, read_published

ROOT = Path(__file__).parents[2]
SOURCES = {"paper": {"kind": "paper", "cite": "arXiv 1"}, "zoo": {"kind": "model-zoo", "cite": "zoo/x.yml"}}
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
        Source("paper", "paper", "arXiv 1"),
    )
    assert row.also == (Other({"top1": 84.9}, Source("zoo", "model-zoo", "zoo/x.yml"), "a run of its own"),)
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
        ({"paper": {"kind": "blog", "cite": "x"}}, "source 'paper': kind is 'blog'"),
        ({"paper": {"kind": "paper"}}, "source 'paper': key 'cite' is missing"),
        ({"paper": {"kind": "paper", "cite": " "}}, "source 'paper': cite must be"),
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
