"""--cfg-options: what mmengine's notation means, dicts in it, and every mistake in one line."""

import argparse
from pathlib import Path

import pytest
from mmengine.config import DictAction

from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.options import Options, parse_option
from mixmae_bench.errors import UserError

CONFIG = """
train_pipeline = [dict(type='A'), dict(type='B', size=2)]
custom_hooks = [dict(type='C')]
model = dict(width=3, backbone=dict(depth=4))
"""


@pytest.mark.parametrize(
    "text",
    [
        *("1", "1e-3", "-2.5", "true", "False", "None", "word", "", "x=y", "torchvision://resnet50"),
        *("a,b", "[a,b]", "(1,2)", "[(1,2),[a,b],c]", "[]", "()", "a,", "(1,)", "[1]", "[a,,b]", "'word'"),
        *("/data/a(1).txt", "a[1]", "C:\\data", '"[1,2]"', "'(1,2)'"),
    ],
)
def test_what_mmengine_reads_means_the_same(text: str) -> None:
    theirs = DictAction._parse_iterable(text)
    key, ours = parse_option(f"some.key={text}")
    assert key == "some.key"
    assert ours == theirs
    assert type(ours) is type(theirs)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[{type:EMAHook,momentum:0.1}]", [{"type": "EMAHook", "momentum": 0.1}]),
        ("[{'type': 'EMAHook', 'interval': [1, (2, 3)]}]", [{"type": "EMAHook", "interval": [1, (2, 3)]}]),
        ('{"a": {"b": [{"c": None}]}, "d": True}', {"a": {"b": [{"c": None}]}, "d": True}),
        ("[dict(type=A, b=dict(c=[1])), {0: x}]", [{"type": "A", "b": {"c": [1]}}, {0: "x"}]),
        ("{a:1},{b:2}", [{"a": 1}, {"b": 2}]),
        ("{}", {}),
        ("[dict(),]", [{}]),
        ("{path: C:\\data, url: https://x/y}", {"path": "C:\\data", "url": "https://x/y"}),
        ("'a,b'", "a,b"),
        ("['/data/a, b', \"it's\", '1']", ["/data/a, b", "it's", "1"]),
        ("/data/my folder", "/data/my folder"),
        ("f(1,2)", "f(1,2)"),
        (" [ 1 , 2 ] ", [1, 2]),
    ],
)
def test_dicts_and_text_are_read_wherever_they_stand(text: str, value: object) -> None:
    assert parse_option(f"key={text}") == ("key", value)


@pytest.mark.parametrize(
    ("option", "part"),
    [
        *((option, "takes KEY=VALUE") for option in ("foo", "=1", "a..b=1", ".a=1", "a.=1", " =1")),
        ("a={", "a '}' is missing"),
        ("a=[1,2", "a ']' is missing"),
        ("a=[{type:A]", "a ']' has no opening bracket"),
        ("a=(1,2]", "a ']' has no opening bracket"),
        ("a=1]", "a ']' has no opening bracket"),
        ("a=[{b}]", "':' is missing after the key 'b'"),
        ("a=dict(b)", "'=' is missing after the key 'b'"),
        ("a='b", "a ' is not closed"),
        ("a='b'c", "a comma is missing before 'c'"),
        ("a=[1][2]", "a comma is missing before '[2]'"),
        ("a=" + "[" * 10_000, "it is nested too deeply"),
        ("a=[\n{", "the value [ { cannot be read"),
    ],
)
def test_a_value_that_cannot_be_read_is_one_line(option: str, part: str) -> None:
    with pytest.raises(UserError) as error:
        parse_option(option)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_options_of_a_command_line_are_collected() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=Options)
    args = parser.parse_args(["--cfg-options", "a=1", "b=[{c:2}]", "--cfg-options", "a=3"])
    assert args.cfg_options == {"a": 3, "b": [{"c": 2}]}


def test_dicts_reach_the_config(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(CONFIG)
    options = ("custom_hooks=[{type:D,e:[1]}]", "train_pipeline.1.size=5", "new={a:1}", "model.neck=None")
    cfg = load_config(tmp_path / "config.py", dict(map(parse_option, options)))
    assert cfg.custom_hooks[0].e == [1]
    assert cfg.train_pipeline[1] == dict(type="B", size=5)
    assert cfg.new.a == 1
    assert cfg.model.neck is None


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("train_pipeline.9.type=x", "9"),
        ("train_pipeline.x.type=x", "train_pipeline"),
        ("model.width.x=1", "width"),
        ("model.backbone.depth.x=1", "depth"),
        ("load_form=x.pth", "no 'load_form' (load_form). Did you mean 'load_from'?"),
        ("optim_wraper.optimizer.lr=1", "no 'optim_wraper' (optim_wraper.optimizer.lr). Did you mean"),
        ("train_pipelin.0.type=x", "Did you mean 'train_pipeline'?"),
    ],
)
def test_an_option_that_does_not_fit_the_config_is_one_line(option: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(CONFIG)
    with pytest.raises(UserError) as error:
        load_config(tmp_path / "config.py", dict([parse_option(option)]))
    assert part in str(error.value)
    assert "config.py" in str(error.value)
    assert "\n" not in str(error.value)
