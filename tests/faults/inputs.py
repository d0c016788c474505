"""Bad inputs: each must end with a one-line error message and execute no code of a file."""

import pickle
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import material
import torch
from material import (
    MARK,
    Code,
    Content,
    checkpoint,
    coco,
    code_as_config,
    config,
    cut,
    flip,
    folders,
    hostile,
    images,
    maps,
    photos,
    record,
    saved,
    scenes,
    suite,
    weights_alone,
)
from process import ROOT, run
from tally import Outcome


@dataclass(frozen=True)
class Bad:
    """A bad input: a command, the files in its working folder, and a pattern of the expected message.

    In commands and files, SMOKE is the folder of the smoke configs, RUNS the folder of their undisturbed
    runs, ROOT the root of the project. Status 2 means one line on stderr.
    """

    command: str
    said: str
    files: dict[str, Content] = field(default_factory=dict)
    status: int = 2
    fresh: bool = False


OWN = "train_dataloader = dict(dataset=dict(data_root='data', data_prefix='train', indices=None))"
OWN_COCO = (
    "train_dataloader = dict(dataset=dict(data_root='data', ann_file='ann.json', "
    "data_prefix=dict(img=''), indices=None))"
)
OWN_VAL = (
    "val_dataloader = dict(dataset=dict(data_root='data', indices=None))\ntest_dataloader = val_dataloader"
)
OWN_COCO_VAL = OWN_COCO.replace("train_dataloader", "val_dataloader") + "\ntest_dataloader = val_dataloader"
OWN_MAPS = (
    "train_dataloader = dict(dataset=dict(data_root='data', data_prefix=dict(img_path='img', "
    "seg_map_path='map'), reduce_zero_label=False, metainfo=dict(classes=('a', 'b')), indices=None, "
    "pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))\n"
    "val_dataloader = train_dataloader\ntest_dataloader = train_dataloader\n"
    "model = dict(decode_head=dict(num_classes=2), auxiliary_head=None)"
)
EVALUATOR = "val_evaluator = dict(ann_file='data/ann.json')\ntest_evaluator = val_evaluator"
BOX = dict(image_id=0, category_id=1, bbox=[8, 8, 9, 9], area=81, iscrowd=0)
EVIL_YAML = f"!!python/object/apply:builtins.exec [\"open('{MARK}', 'w')\"]"
REF = "ROOT/tests/reference"
CLASSIFY = "SMOKE/classification.py"
PRETRAIN = "SMOKE/pretraining.py"
GOOD = "RUNS/pretraining/epoch_2.pth"
FROM = "train.py SMOKE/classification.py --cfg-options model.backbone.init_cfg.type=Pretrained"
FROM_IT = f"{FROM} model.backbone.init_cfg.checkpoint=x.pth"
RUN = "mixmae-bench run s.yaml --jobs 1"

INPUTS: list[Bad] = [
    # Usage.
    Bad("mixmae-bench", "required: command"),
    Bad("mixmae-bench runn", "invalid choice: 'runn'"),
    Bad("mixmae-bench run", "required: suite"),
    Bad("mixmae-bench run s.yaml --nonsense", "unrecognized arguments: --nonsense"),
    Bad("mixmae-bench doctor now", "unrecognized arguments: now"),
    Bad("mixmae-bench run s.yaml --jobs many", "invalid int value: 'many'"),
    Bad("mixmae-bench nonsense", "invalid choice", fresh=True),
    # Suites.
    Bad("mixmae-bench run s.yaml", "suite s.yaml does not exist", fresh=True),
    Bad("mixmae-bench run suit.yaml", "Did you mean 'suite.yaml'", {"suite.yaml": suite()}),
    Bad("mixmae-bench run .", r"suite \. does not exist"),
    Bad(RUN, "must be a mapping with the keys", {"s.yaml": ""}),
    Bad(RUN, "must be a mapping", {"s.yaml": "[1, 2]"}),
    Bad(RUN, "is not YAML", {"s.yaml": "a: [1"}),
    Bad(RUN, "is not YAML", {"s.yaml": b"\xff\xfe\x00name"}),
    Bad(RUN, "is not YAML", {"s.yaml": b"name: \x00"}),
    Bad(RUN, "is not YAML", {"s.yaml": "a: &a [*a, *b]"}),
    Bad(RUN, "is not YAML", {"s.yaml": "[" * 20000}),
    Bad(RUN, "is not YAML.*builtins.exec", {"s.yaml": suite(name=EVIL_YAML)}),
    Bad(RUN, "unknown key 'method'.*Did you mean 'methods'", {"s.yaml": suite(method="1")}),
    Bad(RUN, "'methods' is missing", {"s.yaml": suite(methods=None)}),
    Bad(RUN, "'methods' must be a mapping", {"s.yaml": suite(methods="[scratch]")}),
    Bad(RUN, "seeds must be a list", {"s.yaml": suite(seeds="all")}),
    Bad(RUN, "seeds must be a list", {"s.yaml": suite(seeds="[0.5]")}),
    Bad(RUN, "seeds must be", {"s.yaml": suite(seeds=f"[{2**32}]")}),
    Bad(RUN, "version an integer", {"s.yaml": suite(version="one")}),
    Bad(RUN, "name", {"s.yaml": suite(name="../../up")}),
    Bad(RUN, "name", {"s.yaml": suite(name="''")}),
    Bad(RUN, "dataset must be a string", {"s.yaml": suite(dataset="3")}),
    Bad(RUN, "a method's name may have letters", {"s.yaml": suite(methods="{scratch/../..: }")}),
    Bad(RUN, "give `pretrain: CONFIG`", {"s.yaml": suite(methods="{mixmae: yes}")}),
    Bad(RUN, "only 'scratch'", {"s.yaml": suite(methods="{mixmae: }")}),
    Bad(RUN, "not both", {"s.yaml": suite(methods=f"{{m: {{pretrain: {PRETRAIN}, checkpoint: {GOOD}}}}}")}),
    Bad(RUN, "does not exist", {"s.yaml": suite(methods="{m: {checkpoint: no.pth}}")}),
    Bad(RUN, "is not a path", {"s.yaml": suite(methods="{m: {checkpoint: [1]}}")}),
    Bad(
        RUN,
        "classificaton.py does not exist.*Did you mean",
        {"s.yaml": suite(tasks="{c: SMOKE/classificaton.py}")},
    ),
    Bad(RUN, "this name is reserved", {"s.yaml": suite(tasks=f"{{pretraining: {CLASSIFY}}}")}),
    Bad(RUN, "`from` is 'b'", {"s.yaml": suite(tasks=f"{{a: {{config: {CLASSIFY}, from: b}}}}")}),
    Bad(RUN, "is not YAML", {"s.yaml": suite(version="2026-13-01")}),
    Bad(RUN, "minutes must hold", {"s.yaml": suite(minutes="{classification: -1}")}),
    Bad(RUN, "minutes must hold", {"s.yaml": suite(minutes="{pretraining: 1, classification: .nan}")}),
    Bad(RUN, "minutes must hold", {"s.yaml": suite(minutes="{pretraining: 1, classification: .inf}")}),
    Bad("mixmae-bench status s.yaml", "seeds must be a list", {"s.yaml": suite(seeds="[]")}),
    Bad("mixmae-bench status s.yaml --seeds x", "--seeds is 'x'", {"s.yaml": suite()}),
    Bad("mixmae-bench report s.yaml", "is missing", {"s.yaml": "name: x"}),
    Bad(f"{RUN} --seeds 0,0", "named twice", {"s.yaml": suite()}),
    Bad(f"{RUN} --seeds -1", "non-negative", {"s.yaml": suite()}),
    Bad(f"{RUN} --methods scratsh", "Did you mean 'scratch'", {"s.yaml": suite()}),
    Bad(f"{RUN} --jobs 0", "--jobs is 0", {"s.yaml": suite()}),
    Bad(f"{RUN} --flops-per-s 1e12", "requires --dry-run", {"s.yaml": suite()}),
    Bad(f"{RUN} --dry-run --flops-per-s nan", "above 0", {"s.yaml": suite()}),
    Bad(f"{RUN} --work-dir s.yaml", "folder s.yaml cannot be written to", {"s.yaml": suite()}),
    Bad(f"{RUN} --work-dir s.yaml/w", "folder s.yaml/w cannot be written to", {"s.yaml": suite()}),
    Bad(f"{RUN} --work-dir /proc/w", "folder /proc/w cannot be written to", {"s.yaml": suite()}),
    # Configs.
    *(
        Bad(command, said, {"s.yaml": suite(tasks="{classification: c.py}"), "c.py": text})
        for text, said in [
            ("model = (", "c.py cannot be read: SyntaxError"),
            ("import nonsense", "c.py"),
            ("1 / 0", "c.py cannot be read: ZeroDivisionError"),
            (b"\xff\xfe", "c.py"),
            ("_base_ = 'no.py'", "c.py cannot be read"),
            (config("model = dict(backbone=dict(arch='smal'))"), "unknown arch 'smal'"),
            (
                config("model = dict(backbone=dict(type='mixmae_bench.MixMAESwim'))"),
                "Did you mean 'MixMAESwin'",
            ),
            (config("model = dict(backbone=dict(widht=3))"), "unexpected keyword argument 'widht'"),
            (
                config("optim_wrapper = dict(optimizer=dict(type='Adamm'))"),
                "unknown optimizer 'Adamm'.*Did you",
            ),
            (config("optim_wrapper = dict(optimizer=dict(lr='fast'))"), "lr"),
            (config("train_cfg = dict(max_epochs='many')"), "max_epochs"),
            (config("train_cfg = dict(max_epochs=-1)"), "max_epochs"),
            (config("train_dataloader = dict(batch_size=0)"), "batch_size"),
            (config("train_dataloader = dict(batch_size='all')"), "batch_size"),
            (config("model = dict(head=dict(num_classes=7))"), "10 classes.*is 7"),
            (config("train_dataloader = dict(dataset=dict(type='Nonsense'))"), "Nonsense"),
            (config("custom_imports = dict(imports=['no.such.module'])"), "no.such.module"),
        ]
        for command in (RUN, "train.py c.py --work-dir w")
    ),
    *(
        Bad("train.py c.py --work-dir w", said, {"c.py": config(more)})
        for more, said in [
            ("optim_wrapper = dict(optimizer=dict(nonsense=1))", "nonsense"),
            ("train_dataloader = dict(dataset=dict(pipeline=[dict(type='Nonsense')]))", "Nonsense"),
            ("model = dict(type='Nonsense')", "Nonsense"),
            ("train_dataloader = dict(sampler=dict(type='Nonsense'))", "Nonsense"),
            ("val_evaluator = dict(type='Nonsense')", "Nonsense"),
            ("param_scheduler = [dict(type='Nonsense')]", "Nonsense"),
            ("custom_hooks = [dict(type='Nonsense')]", "Nonsense"),
        ]
    ),
    Bad(
        RUN,
        "failed: scratch/seed0/classification: .*nonsense.*log: ",
        {
            "s.yaml": suite(tasks="{classification: c.py}"),
            "c.py": config("optim_wrapper = dict(optimizer=dict(nonsense=1))"),
        },
        status=1,
        fresh=True,
    ),
    Bad(RUN, "no 'model'", {"s.yaml": suite(tasks="{classification: c.py}"), "c.py": "a = 1"}),
    Bad("train.py c.py", "no 'model'", {"c.py": "a = 1"}),
    Bad("train.py c.py", "c.py does not exist", fresh=True),
    Bad("test.py c.py x.pth", "c.py does not exist", fresh=True),
    Bad("train.py .", r"config \. does not exist"),
    Bad(f"train.py {CLASSIFY} --cfg-options a", "takes KEY=VALUE"),
    Bad(f"train.py {CLASSIFY} --cfg-options model.backbone.arch.x=1", "arch"),
    Bad(f"train.py {CLASSIFY} --cfg-options train_dataloader.batch_size=8.5", "batch_size"),
    Bad(f"train.py {CLASSIFY} --launcher nonsense", "invalid choice"),
    Bad(f"train.py {CLASSIFY} --launcher pytorch", "torchrun"),
    Bad(f"train.py {CLASSIFY} --work-dir f/w", "folder f/w cannot be written to", {"f": ""}),
    Bad(f"train.py {CLASSIFY} --work-dir /proc/w", "folder /proc/w cannot be written to"),
    Bad(f"train.py {PRETRAIN} --cfg-options model.mask_ratio=1.5", "give a number between 0 and 1"),
    Bad(
        f"train.py {PRETRAIN} --cfg-options train_dataloader.batch_size=1 auto_scale_lr.base_batch_size=1",
        "batch",
    ),
    Bad(f"test.py {PRETRAIN} {GOOD}", "no test_dataloader"),
    # Initial checkpoints.
    *(
        Bad(RUN, said, {"x.pth": content, "s.yaml": suite(methods="{theirs: {checkpoint: x.pth}}")})
        for content, said in [
            (b"", "x.pth cannot be read as weights"),
            (b"PK\x03\x04 and no more", "x.pth cannot be read as weights"),
            (b"nonsense", "x.pth cannot be read as weights"),
            (checkpoint(cut), "x.pth cannot be read as weights.*damaged"),
            (checkpoint(flip), "x.pth cannot be read as weights.*damaged"),
            (saved([1, 2]), "x.pth contains no state dict"),
            (saved({"state_dict": {}}), "x.pth contains no state dict"),
            (saved({"state_dict": {"a": torch.zeros(1)}}), "x.pth fills 0.0%"),
            (hostile(), "asks for GLOBAL .*exec"),
            (hostile(_use_new_zipfile_serialization=False), "asks for GLOBAL .*exec"),
            (pickle.dumps(Code()), "x.pth cannot be read as weights"),
            (pickle.dumps({"state_dict": Code()}, 0), "x.pth cannot be read as weights"),
        ]
    ),
    Bad(FROM_IT, "x.pth cannot be read as weights.*damaged", {"x.pth": checkpoint(flip)}),
    Bad(FROM_IT, "asks for GLOBAL .*exec", {"x.pth": hostile()}),
    Bad(FROM_IT, "x.pth contains no state dict", {"x.pth": saved([1, 2])}),
    Bad(f"{FROM} model.backbone.init_cfg.checkpoint=no.pth", "no.pth does not exist"),
    Bad(f"{FROM} model.backbone.init_cfg.checkpoint=http://127.0.0.1/x.pth", "cannot be trusted"),
    Bad(
        f"{FROM} model.backbone.init_cfg.checkpoint=x.safetensors",
        "x.safetensors cannot be read",
        {"x.safetensors": b"12"},
    ),
    Bad(f"{FROM} model.backbone.init_cfg.checkpoint=.", "does not exist"),
    # Checkpoints to resume, evaluate, convert and reconstruct.
    *(
        Bad(f"{command} x.pth", f"x.pth{said}", {"x.pth": content})
        for command, names in [
            (f"train.py {CLASSIFY} --work-dir w --resume", "classification"),
            (f"test.py {CLASSIFY} --work-dir w", "classification"),
            (f"mixmae-bench reconstruct {PRETRAIN}", "pretraining"),
        ]
        for content, said in [
            (b"", " cannot be read as weights"),
            (checkpoint(cut, names), " cannot be read as weights.*damaged"),
            (checkpoint(flip, names), " cannot be read as weights.*damaged"),
            (hostile(), " cannot be read as weights.*asks for GLOBAL .*exec"),
            (
                hostile(_use_new_zipfile_serialization=False),
                " cannot be read as weights.*asks for GLOBAL .*exec",
            ),
            (saved({"state_dict": {"a": torch.zeros(1)}}), ""),
        ]
    ),
    *(
        Bad("mixmae-bench convert x.pth out.pth", said, {"x.pth": content})
        for content, said in [
            (b"", "x.pth cannot be read"),
            (checkpoint(cut), "x.pth cannot be read.*damaged"),
            (checkpoint(flip), "x.pth cannot be read.*damaged"),
            (hostile(), "asks for GLOBAL .*exec"),
            (pickle.dumps(Code()), "x.pth cannot be read"),
            (saved({"state_dict": {"a": torch.zeros(1)}}), "no known kind"),
        ]
    ),
    Bad(f"train.py {CLASSIFY} --work-dir w --resume no.pth", "no.pth does not exist"),
    Bad(f"train.py {CLASSIFY} --work-dir w --cfg-options load_from=no.pth", "no.pth does not exist"),
    Bad(f"train.py {CLASSIFY} --work-dir w --cfg-options load_from=x.pth", "exec", {"x.pth": hostile()}),
    Bad(f"train.py {CLASSIFY} --work-dir w --resume {GOOD}", "it is of another model, '"),
    Bad(f"train.py {CLASSIFY} --work-dir w --resume x.pth", "has no 'optimizer'", {"x.pth": weights_alone}),
    Bad(
        f"train.py {CLASSIFY} --work-dir w --resume x.pth",
        "resumed epoch: 2",
        {"x.pth": code_as_config},
        status=0,
    ),
    Bad(
        f"train.py {CLASSIFY} --work-dir w --resume",
        "no intact checkpoint in w; training starts from the beginning",
        {"w/epoch_1.pth": hostile(), "w/last_checkpoint": "w/epoch_1.pth"},
        status=0,
    ),
    Bad(f"test.py {CLASSIFY} no.pth", "no.pth does not exist"),
    Bad(f"test.py {CLASSIFY} {GOOD}", "does not fit this config's model"),
    # convert, reconstruct
    Bad("mixmae-bench convert no.pth out.pth", "no.pth does not exist"),
    Bad(f"mixmae-bench convert {GOOD} out.onnx", "must end in"),
    Bad(f"mixmae-bench convert {GOOD} no/out.pth", "folder no does not exist"),
    Bad(f"mixmae-bench convert {GOOD} f/out.pth", "folder f", {"f": ""}),
    Bad(f"mixmae-bench convert {GOOD} out.pth", "out.pth exists", {"out.pth": "precious"}),
    Bad(f"mixmae-bench convert {GOOD} out.pth --fit no.py", "no.py does not exist"),
    Bad(f"mixmae-bench convert {GOOD} out.pth --fit c.py", "no model with a backbone", {"c.py": "a = 1"}),
    Bad(
        f"mixmae-bench convert {GOOD} out.pth --fit c.py",
        "smal",
        {"c.py": config("model = dict(backbone=dict(arch='smal'))")},
    ),
    Bad(f"mixmae-bench convert {GOOD} out.pth --img-size 0", "--img-size is 0"),
    Bad(f"mixmae-bench reconstruct {CLASSIFY} {GOOD}", "has no pretraining method"),
    Bad(f"mixmae-bench reconstruct {PRETRAIN} no.pth", "no.pth does not exist"),
    Bad(f"mixmae-bench reconstruct {PRETRAIN} {GOOD} no.png", "no.png does not exist"),
    Bad(f"mixmae-bench reconstruct {PRETRAIN} {GOOD} x.png", "x.png cannot be read", {"x.png": b""}),
    Bad(
        f"mixmae-bench reconstruct {PRETRAIN} {GOOD} x.png",
        "x.png cannot be read",
        {"x.png": b"\x89PNG\r\n\x1a\n12"},
    ),
    Bad(f"mixmae-bench reconstruct {PRETRAIN} {GOOD} .", "cannot be read"),
    Bad(f"mixmae-bench reconstruct {PRETRAIN} {GOOD} --out x.jpg", "ends in .png"),
    Bad(f"mixmae-bench reconstruct {PRETRAIN} {GOOD} --out f/x.png", "f/x.png cannot be written", {"f": ""}),
    Bad(f"mixmae-bench reconstruct {PRETRAIN} {GOOD} --seed -1", "--seed is -1"),
    Bad(f"mixmae-bench reconstruct {PRETRAIN} {GOOD} --seed {2**70}", "--seed is"),
    Bad(
        f"mixmae-bench reconstruct c.py {GOOD}",
        "smal",
        {"c.py": config("model = dict(backbone=dict(arch='smal'))", "pretraining")},
    ),
    # flops, speed
    Bad("mixmae-bench flops no.py", "no.py does not exist"),
    Bad("mixmae-bench flops c.py", "no model", {"c.py": "a = 1"}),
    Bad("mixmae-bench flops timm:resnet5", "no model 'resnet5'.*Did you mean"),
    Bad("mixmae-bench flops mmpretrain:nonsense", "no model 'nonsense'"),
    Bad("mixmae-bench flops timm:resnet18 --shape 0 3", "--shape is 0 3"),
    Bad("mixmae-bench flops timm:vit_tiny_patch16_224 --shape 33 33", "cannot be counted at 33x33"),
    Bad("mixmae-bench flops timm:resnet18 --device gpu", "cannot be counted|--device"),
    Bad("mixmae-bench flops timm:resnet18 --record f/x.jsonl", "f/x.jsonl cannot be written", {"f": ""}),
    Bad("mixmae-bench flops c.py", "smal", {"c.py": config("model = dict(backbone=dict(arch='smal'))")}),
    Bad("mixmae-bench speed no.py", "no.py does not exist"),
    Bad("mixmae-bench speed timm:resnet18@int3", "unknown number format 'int3'"),
    Bad("mixmae-bench speed timm:resnet18 --batch 0", "must be 1 or more"),
    Bad("mixmae-bench speed timm:resnet18 --steps -1", "must be 1 or more"),
    Bad("mixmae-bench speed timm:nonsense", "no model 'nonsense'"),
    Bad(
        "mixmae-bench speed timm:resnet18 --record f/x.jsonl --steps 1",
        "f/x.jsonl cannot be written",
        {"f": ""},
    ),
    # table, report, status
    Bad("mixmae-bench table", "give the name of a table"),
    Bad("mixmae-bench table imagnet", "Did you mean 'imagenet'"),
    Bad("mixmae-bench table imagenet --all", "give the name of a table"),
    Bad("mixmae-bench table --all --format csv", "--all is Markdown"),
    Bad("mixmae-bench table records --records no.jsonl", "no.jsonl do not exist"),
    Bad("mixmae-bench table imagenet --out .", r"\. cannot be written"),
    Bad("mixmae-bench table imagenet --out f/x.md", "f/x.md cannot be written", {"f": ""}),
    *(
        Bad(
            "mixmae-bench table records --records r.jsonl",
            "r.jsonl line 1 is skipped",
            {"r.jsonl": line},
            status=0,
        )
        for line in [
            b"\xff\n",
            "{}\n",
            "[1]\n",
            "NaN\n",
            '{"schema": 4\n',
            "[" * 20000 + "\n",
            record(schema=0),
            record(metrics=None),
            record(metrics={"top1": "high"}),
            record(seed="zero"),
            record(losses=3),
            record(hardware=None),
            record(flops="many"),
        ]
    ),
    *(
        Bad(
            "mixmae-bench report s.yaml --work-dir .",
            "written|report.html",
            {"s.yaml": suite(name="smoke"), "records.jsonl": line},
            status=0,
        )
        for line in [
            b"\xff\n",
            "{}\n",
            record(metrics=None),
            record(losses=3),
            record(started=None),
            record(seed=None),
        ]
    ),
    Bad("mixmae-bench report s.yaml --work-dir .", "has no records.jsonl", {"s.yaml": suite()}),
    Bad(
        "mixmae-bench report s.yaml --work-dir . --out f/x.html",
        "f/x.html cannot be written",
        {"s.yaml": suite(), "records.jsonl": "", "f": ""},
    ),
    Bad(
        "mixmae-bench report ROOT/configs/suites/digits.yaml --work-dir ROOT/results/measured/digits "
        "--out x.html --plots f",
        "f/.* cannot be written",
        {"f": ""},
    ),
    Bad(
        "mixmae-bench report s.yaml --work-dir . --out .",
        r"\. cannot be written",
        {"s.yaml": suite(), "records.jsonl": ""},
    ),
    Bad(
        "mixmae-bench status s.yaml --work-dir .",
        "line 1 is skipped",
        {"s.yaml": suite(), "records.jsonl": record(metrics=3)},
        status=0,
    ),
    Bad("mixmae-bench status no.yaml", "no.yaml does not exist"),
    # verify, validate
    Bad("mixmae-bench verify no", "no"),
    Bad("mixmae-bench verify .", "manifest.json", {}),
    Bad("mixmae-bench verify . ", "manifest.json", {"manifest.json": "{"}),
    Bad("mixmae-bench verify . ", "manifest.json", {"manifest.json": "[1]"}),
    Bad("mixmae-bench verify . ", "manifest.json", {"manifest.json": b"\xff"}),
    Bad("mixmae-bench verify . ", "manifest.json", {"manifest.json": "{}"}),
    Bad(f"mixmae-bench verify {REF} --only nonsense", "no case of .* matches"),
    Bad(f"mixmae-bench verify {REF} --device gpu", "invalid choice: 'gpu'"),
    Bad("mixmae-bench validate no.py", "no.py does not exist"),
    Bad("mixmae-bench validate empty.yaml", "must be a mapping", {"empty.yaml": ""}),
    Bad("mixmae-bench validate f", "no config in f", {"f/readme": ""}),
    Bad(f"mixmae-bench validate {CLASSIFY} --checkpoint no.pth", "no.pth does not exist"),
    # data
    Bad("mixmae-bench data check", "required: name, folder"),
    Bad("mixmae-bench data check imagent .", "Did you mean 'imagenet'"),
    Bad("mixmae-bench data check imagenet no", "folder no does not exist"),
    Bad("mixmae-bench data check imagenet f", "folder f does not exist", {"f": ""}),
    Bad("mixmae-bench data check coco . --list f/x.txt", "f/x.txt cannot be written", {"f": ""}),
    *(
        Bad(f"mixmae-bench data check {name} .", "problems, all in", files, status=1)
        for name, files in [
            *(
                (name, {})
                for name in ("imagenet", "inat2018", "places205", "cifar100", "coco", "ade20k", "digits")
            ),
            ("imagenet", {"train/n01440764/x.JPEG": b"", "val/x": b"", "meta/val.txt": "x nonsense\n"}),
            ("imagenet", {"train/n01440764/x.JPEG": b"", "val/x": b"", "meta/val.txt": b"\xff\x00"}),
            ("inat2018", {"train_val2018": "", "train2018.json": "[]", "val2018.json": "{"}),
            (
                "coco",
                {
                    "train2017/x": "",
                    "val2017/x": "",
                    "annotations/instances_train2017.json": "[]",
                    "annotations/instances_val2017.json": b"\xff",
                },
            ),
            (
                "cifar100",
                {"cifar-100-python/train": pickle.dumps(Code()), "cifar-100-python/test": pickle.dumps([1])},
            ),
            (
                "cifar100",
                {"cifar-100-python/train": pickle.dumps({"data": Code()}, 0), "cifar-100-python/test": b""},
            ),
        ]
    ),
    *(
        Bad(command, said, {"data": images, "s.yaml": suite(tasks="{c: c.py}"), "c.py": config(own), **files})
        for command in (RUN, "train.py c.py --work-dir w")
        for own, files, said in [
            (OWN.replace("'data'", "'none'"), {}, "data: none does not exist"),
            (OWN.replace("'data'", "'file'"), {"file": ""}, "file"),
            (OWN + "\nval_dataloader = dict(dataset=dict(data_prefix='none'))", {}, "none does not exist"),
            (OWN.replace("='train'", "='empty'"), {"data/empty/0/x.txt": ""}, "empty"),
            (OWN.replace("='train'", "='', ann_file='list.txt'"), {"data/list.txt": ""}, "list.txt"),
            (
                OWN.replace("='train'", "='', ann_file='list.txt'"),
                {"data/list.txt": "train/0/0.png\n"},
                "list.txt",
            ),
            (
                OWN.replace("='train'", "='', ann_file='list.txt'"),
                {"data/list.txt": "train/0/0.png x\n"},
                "list.txt",
            ),
            (
                OWN.replace("='train'", "='', ann_file='list.txt'"),
                {"data/list.txt": "train/0/0.png 99\n"},
                "label 99",
            ),
            (
                OWN.replace("='train'", "='', ann_file='list.txt'"),
                {"data/list.txt": b"\xff\xfe\n"},
                "list.txt",
            ),
        ]
    ),
    *(
        Bad(
            "train.py c.py --work-dir w",
            said,
            {"data": scenes, "data/ann.json": notes, "c.py": config(OWN_COCO, "detection")},
        )
        for notes, said in [
            ("", "ann.json"),
            ("[]", "ann.json"),
            ("{}", "ann.json"),
            (b"\xff\xfe", "ann.json"),
            (pickle.dumps(Code()), "ann.json"),
            (coco(images=None), "ann.json"),
            (coco(images=[]), "ann.json"),
            (coco(annotations=None), "ann.json"),
            (coco(annotations=[]), "ann.json"),
            (coco(categories=[]), "ann.json"),
            (coco(categories=[dict(id=1, name="cat")]), "ann.json"),
            (
                coco(
                    annotations=[
                        dict(id=1, image_id=0, category_id=99, bbox=[0, 0, 9, 9], area=81, iscrowd=0)
                    ]
                ),
                "ann.json",
            ),
            (
                coco(annotations=[dict(id=1, image_id=0, category_id=1, bbox="x", area=81, iscrowd=0)]),
                "ann.json",
            ),
            (
                coco(annotations=[dict(id=1, image_id=0, category_id=1, bbox=[1, 2], area=81, iscrowd=0)]),
                "ann.json",
            ),
            (coco(annotations=[dict(id=1, image_id=0)]), "ann.json"),
            (
                coco(annotations=[dict(id=1, image_id=77, category_id=1, bbox=[0, 0, 9, 9], area=81)]),
                "ann.json",
            ),
        ]
    ),
    # Data that can be read but is inconsistent.
    *(
        Bad(
            "train.py c.py --work-dir w",
            said,
            {"data": data, "data/ann.json": notes, "c.py": config(f"{OWN_COCO}\n{more}", "detection")},
        )
        for data, notes, more, said in [
            (scenes, coco(annotations=[dict(BOX, id=1)]), "", "annotation 1 has no segmentation"),
            (scenes, coco(annotations=[BOX]), "", "annotation number 1 has no id"),
            (
                scenes,
                coco(annotations=[dict(BOX, id=5, segmentation=[[1, 2]])]),
                "",
                "annotation 5 has a polygon",
            ),
            (scenes, coco(annotations=[dict(BOX, id=5, bbox=[70, 8, 9, 9])]), "", "annotation 5 .* outside"),
            (
                scenes,
                coco(categories=[dict(id=i + 1, name=str(i)) for i in range(9, -1, -1)]),
                "",
                "label 0 is '0' in the one and '9' in the other",
            ),
            (
                scenes,
                coco(images=[dict(id=i, file_name=f"{i}.png", width=640, height=640) for i in range(4)]),
                "",
                "0.png cannot be used: it is 64x64, its annotation says 640x640",
            ),
            (photos, coco(), "", "0.png cannot be used: its EXIF orientation is 6"),
            (scenes, coco(), "val_evaluator = dict(ann_file=None)", "val_evaluator of .* has no ann_file"),
            (scenes, coco(), "val_evaluator = dict(ann_file='no.json')", "no.json .* does not exist"),
            (
                scenes,
                coco(),
                "val_evaluator = dict(ann_file='data/ann.json')",
                "differs from the file of the loader",
            ),
            (
                scenes,
                coco(annotations=[dict(BOX, id=0, segmentation=[[8, 8, 17, 8, 17, 17]])]),
                f"{OWN_COCO_VAL}\n{EVALUATOR}",
                "annotation 0 has an id that COCO's evaluation reads as no match",
            ),
        ]
    ),
    *(
        Bad(
            "train.py c.py --work-dir w",
            said,
            {"data": maps(change), "c.py": config(OWN_MAPS, "segmentation")},
        )
        for change, said in [
            (lambda labels: labels * 255, "show only 'a'"),
            (lambda labels: labels * 0, "show only 'a'"),
            (lambda labels: labels + 1, "0.png cannot be used: it has the value 2; classes end at 1"),
            (lambda labels: labels[:32], "does not fit its map"),
            (lambda labels: labels[..., None].repeat(3, 2), "0.png cannot be used: it has 3 channels"),
        ]
    ),
    *(
        Bad(
            command,
            said,
            {"data": data, "s.yaml": suite(tasks="{c: c.py}"), "c.py": config(f"{OWN}\n{more}"), **files},
        )
        for command in (RUN, "train.py c.py --work-dir w")
        for data, more, files, said in [
            (folders(_0="zero"), OWN_VAL, {}, "label 0 is '0' in the one and '1' in the other"),
            (images, "train_dataloader = dict(batch_size=64, drop_last=True)", {}, "gives no batch"),
            (images, "val_dataloader = dict(batch_size=3, drop_last=True)", {}, "out of the evaluation"),
            (images, "train_dataloader = dict(persistent_workers=True)", {}, "persistent_workers"),
        ]
    ),
    *(
        Bad(
            "train.py c.py --work-dir w",
            "list.txt",
            {
                "data": images,
                "data/list.txt": content,
                "c.py": config(OWN.replace("='train'", "='', ann_file='list.txt'")),
            },
        )
        for content in [
            b"\xef\xbb\xbftrain/0/0.png 0\n",
            "train/0/0.png 0\n".encode("utf-16"),
            "train/0/0.png\t0\n",
            "train/0/0.png,0\n",
            "train\\0\\0.png 0\n",
            "train/0/0.png 0.0\n",
        ]
    ),
]


def check_some(first: int, count: int, work: Path, runs: Path) -> list[Outcome]:
    """Check `count` inputs from number `first` on."""
    some = enumerate(INPUTS[first : first + count], first)
    return [check(bad, number, work, runs) for number, bad in some]


def check(bad: Bad, number: int, work: Path, runs: Path) -> Outcome:
    """Run a command that must reject its input; return the outcome."""
    material.RUNS = runs
    folder = work / f"{number:03d}"
    folder.mkdir(parents=True)
    names = {"SMOKE": str(ROOT / "tests/smoke"), "RUNS": str(runs), "ROOT": str(ROOT)}

    def named(text: str) -> str:
        return re.sub(r"\b(SMOKE|RUNS|ROOT)(?=/)", lambda match: names[match[1]], text)

    for name, content in bad.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else named(content).encode())
    done = run(shlex.split(named(bad.command)), folder, bad.fresh, seconds=120)
    wrong = []
    if done.status != bad.status:
        wrong.append(f"status {done.status} instead of {bad.status}")
    if "Traceback" in done.out + done.err:
        wrong.append("a traceback")
    if list(folder.rglob(MARK)):
        wrong.append("code of a file was executed")
    lines = done.err.splitlines()
    usage = done.err.startswith("usage: ")
    if bad.status == 2 and not usage and (len(lines) != 1 or not lines[0].startswith("error: ")):
        wrong.append(f"{len(lines)} lines on stderr")
    if not re.search(bad.said, (lines or [""])[-1] if bad.status == 2 else done.out + done.err):
        wrong.append(f"no word of '{bad.said}'")
    what = f"{bad.command.strip()} ({folder})"
    if not wrong:
        shutil.rmtree(folder)
    return Outcome("bad input", what, f"{', '.join(wrong)}: {done.last_words}" if wrong else None)
