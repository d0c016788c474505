"""Data sets made for tests, and models that find what is painted in them: perfect predictions."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS as DET_MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData, PixelData
from mmseg.registry import MODELS as SEG_MODELS
from mmseg.structures import SegDataSample
from PIL import Image

COLOURS = {"red": (220, 40, 40), "green": (40, 220, 40)}


def save(path: Path, pixels: np.ndarray, exif_orientation: int = 1, **options: object) -> None:
    """Write an image, with an EXIF orientation where it is not 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if exif_orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = exif_orientation
        options["exif"] = exif.tobytes()
    Image.fromarray(pixels).save(path, **options)


def make_coco(root: Path) -> dict:
    """Paint six scenes of 64 px with a red and a green square each into `root`; return their COCO content."""
    images, notes = [], []
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 60, (64, 64, 3), dtype=np.uint8)
        for k, (x, y) in enumerate(((6, 8), (36, 30))):
            label = (number + k) % 2
            pixels[y : y + 18, x : x + 18] = list(COLOURS.values())[label]
            corners = [x, y, x + 18, y, x + 18, y + 18, x, y + 18]
            notes.append(
                dict(
                    id=len(notes) + 1,
                    image_id=number + 1,
                    category_id=(7, 3)[label],
                    bbox=[x, y, 18, 18],
                    area=324,
                    iscrowd=0,
                    segmentation=[corners],
                )
            )
        save(root / f"{number}.png", pixels)
        images.append(dict(id=number + 1, file_name=f"{number}.png", width=64, height=64))
    categories = [dict(id=7, name="red"), dict(id=3, name="green")]
    return dict(images=images, annotations=notes, categories=categories)


def write_coco(root: Path, name: str, content: dict, change: Callable[[dict], object] | None = None) -> str:
    """Write COCO content, changed, to `root/name`; return `name`."""
    content = json.loads(json.dumps(content))
    if change:
        change(content)
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content))
    return name


def coco_config(
    root: Path, train: str, val: str, load: str = "mixmae_bench.LoadImage", masks: bool = True, **more: object
) -> Config:
    """Return a detection config with the model `Finder`; `more` goes into both data sets."""

    def loader(file: str, pipeline: list[dict], **own: object) -> dict:
        dataset = dict(type="CocoDataset", data_root=str(root), ann_file=file, data_prefix=dict(img=""))
        dataset |= dict(pipeline=pipeline, metainfo=dict(classes=tuple(COLOURS))) | own | more
        return dict(batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler"), dataset=dataset)

    keys = ("img_id", "img_path", "ori_shape", "img_shape")
    notes = dict(type="LoadAnnotations", with_bbox=True, with_mask=masks)
    packed = dict(type="PackDetInputs", meta_keys=keys)
    metric = ["bbox", "segm"] if masks else "bbox"
    return Config(
        dict(
            default_scope="mmdet",
            model=dict(type="Finder", masks=masks),
            train_dataloader=loader(train, [dict(type=load), notes, packed]),
            val_dataloader=loader(val, [dict(type=load), packed], test_mode=True),
            val_evaluator=dict(type="CocoMetric", ann_file=str(root / val), metric=metric),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            work_dir=str(root / "work"),
        ),
        cfg_text=" ",
        filename="my.py",
    )


def seg_config(root: Path, train: str, val: str, load_map: dict, **more: object) -> Config:
    """Return a segmentation config with the model `Painter`; maps are in the folders `train` and `val`."""

    def loader(maps: str) -> dict:
        prefix = dict(img_path="img", seg_map_path=maps)
        dataset = dict(type="BaseSegDataset", data_root=str(root), data_prefix=prefix, img_suffix=".png")
        pipeline = [dict(type="mixmae_bench.LoadImage"), load_map, dict(type="PackSegInputs")]
        dataset |= dict(pipeline=pipeline, metainfo=dict(classes=("ground", "thing"))) | more
        return dict(batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler"), dataset=dataset)

    return Config(
        dict(
            default_scope="mmseg",
            model=dict(type="Painter"),
            train_dataloader=loader(train),
            val_dataloader=loader(val),
            val_evaluator=dict(type="IoUMetric", iou_metrics=["mIoU"]),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            work_dir=str(root / "work"),
        ),
        cfg_text=" ",
        filename="my.py",
    )


def make_scene(root: Path, number: int) -> np.ndarray:
    """Paint a bright square into `root/img/NUMBER.png`; return its labels, 0 and 1."""
    rng = np.random.default_rng(number)
    pixels, labels = rng.integers(0, 60, (48, 48, 3), dtype=np.uint8), np.zeros((48, 48), np.uint8)
    x, y = rng.integers(0, 24, 2)
    labels[y : y + 22, x : x + 22] = 1
    pixels[labels == 1] = (230, 200, 40)
    save(root / "img" / f"{number}.png", pixels)
    return labels


class _Perfect(BaseModel):
    def __init__(self, **kwargs: object) -> None:
        super().__init__(**{k: v for k, v in kwargs.items() if k == "data_preprocessor"})
        self.weight = torch.nn.Parameter(torch.zeros(1))


@DET_MODELS.register_module(force=True)
class Finder(_Perfect):
    """Finds the pixels of each of COLOURS in the image that it is given (BGR), a box and a mask for each."""

    def __init__(self, masks: bool = True, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.masks = masks

    def forward(
        self, inputs: list[torch.Tensor], data_samples: list[DetDataSample], mode: str
    ) -> list[DetDataSample]:
        for image, sample in zip(inputs, data_samples, strict=True):
            found = []
            for label, colour in enumerate(COLOURS.values()):
                wanted = torch.tensor(colour[::-1])[:, None, None]
                mask = ((image.int() - wanted).abs() < 60).all(dim=0)
                if mask.any():
                    rows, columns = mask.nonzero().T
                    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                    found.append((label, torch.tensor(box).float(), mask))
            sample.pred_instances = InstanceData(
                labels=torch.tensor([label for label, _, _ in found], dtype=torch.long),
                bboxes=torch.stack([box for _, box, _ in found]),
                scores=torch.ones(len(found)),
                **(dict(masks=torch.stack([mask for _, _, mask in found])) if self.masks else {}),
            )
        return data_samples


@SEG_MODELS.register_module(force=True)
class Painter(_Perfect):
    """Gives every bright pixel the label 1 and every other 0."""

    def forward(
        self, inputs: list[torch.Tensor], data_samples: list[SegDataSample], mode: str
    ) -> list[SegDataSample]:
        for image, sample in zip(inputs, data_samples, strict=True):
            sample.pred_sem_seg = PixelData(data=(image[2:] > 150).long())
        return data_samples
