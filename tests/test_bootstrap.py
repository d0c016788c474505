"""Standard errors: equal to brute force on copied images, and covering the truth as often as they say."""

import copy

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mixmae_bench.engine.outcomes import detected
from mixmae_bench.results.bootstrap import resample_weights, spread, top1_error
from mixmae_bench.results.outcomes import Segmented, make_outcomes

IMAGES, CLASSES = 12, 3


def coco(images: list[int], seed: int = 0) -> tuple[dict, list[dict]]:
    """Return annotations and detections of `images`, numbered anew; what an image holds follows its number.

    Scores are unlike each other; some objects are crowds, some images and one class of image 0 are empty.
    """
    annotations, detections = [], []
    for new, image in enumerate(images, 1):
        generator = np.random.default_rng([seed, image])
        for _ in range(generator.integers(0, 5)):
            x, y, w, h = generator.uniform(5, 50, size=4)
            category = int(generator.integers(1, CLASSES + 1))
            annotation = dict(
                image_id=new, category_id=category, bbox=[x, y, w, h], area=w * h, id=len(annotations) + 1
            )
            annotations.append(annotation | dict(iscrowd=int(generator.random() < 0.15)))
            for _ in range(generator.integers(0, 3)):
                moved = np.array([x, y, w, h]) + generator.normal(scale=0.15 * min(w, h), size=4)
                score = float(generator.random())
                detections.append(
                    dict(image_id=new, category_id=category, bbox=np.abs(moved).tolist(), score=score)
                )
    categories = [dict(id=i + 1, name=str(i)) for i in range(CLASSES)]
    truth = dict(
        images=[dict(id=i + 1, width=100, height=100) for i in range(len(images))],
        annotations=annotations,
        categories=categories,
        info={},
    )
    return truth, detections


def evaluation(images: list[int]) -> COCOeval:
    content, detections = coco(images)
    truth = COCO()
    truth.dataset = content
    truth.createIndex()
    matching = COCOeval(truth, truth.loadRes(copy.deepcopy(detections)), "bbox")
    matching.evaluate()
    return matching


def brute_force_ap(images: list[int]) -> float:
    """Return what pycocotools says of these images, copies and all."""
    matching = evaluation(images)
    matching.accumulate()
    matching.summarize()
    return 100 * float(matching.stats[0])


def test_draws_are_seeded_and_hold_as_many_images_as_there_are() -> None:
    first, second = list(resample_weights(7, 20)), list(resample_weights(7, 20))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert all(weights.sum() == 7 and len(weights) == 7 for weights in first)
    assert len({tuple(weights) for weights in first}) > 15
    assert not all((a == b).all() for a, b in zip(first, resample_weights(7, 20, seed=1), strict=True))


def test_ap_with_every_image_once_is_that_of_pycocotools() -> None:
    part = detected(evaluation(list(range(IMAGES))))
    assert part.ignored.any(), "no detection in a crowd"
    ours = part.value(np.ones(IMAGES, int))
    assert 5 < ours < 95
    assert ours == pytest.approx(brute_force_ap(list(range(IMAGES))), abs=1e-9)


@pytest.mark.parametrize("draw", range(8))
def test_ap_of_weighted_images_is_that_of_copied_images(draw: int) -> None:
    weights = list(resample_weights(IMAGES, 8))[draw]
    ours = detected(evaluation(list(range(IMAGES)))).value(weights)
    assert ours == pytest.approx(brute_force_ap(np.repeat(np.arange(IMAGES), weights).tolist()), abs=1e-9)


def test_ap_without_any_object_is_no_number() -> None:
    assert np.isnan(detected(evaluation(list(range(IMAGES)))).value(np.zeros(IMAGES, int)))


def test_ap_error_is_the_spread_of_brute_force() -> None:
    part = detected(evaluation(list(range(IMAGES))))
    values = [
        brute_force_ap(np.repeat(np.arange(IMAGES), weights).tolist()) for weights in resample_weights(IMAGES)
    ]
    resampled = make_outcomes([str(i) for i in range(IMAGES)], {"box_ap": part}).resampled["box_ap"]
    assert spread(resampled) == pytest.approx(np.std(values, ddof=1), rel=1e-9)


def areas(images: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Return intersections and unions (images, classes) of images that differ in how hard they are."""
    generator = np.random.default_rng(seed)
    unions = generator.integers(1, 400, size=(images, CLASSES)) * (generator.random((images, CLASSES)) < 0.6)
    share = np.clip(generator.normal(0.6, 0.2, size=(images, 1)), 0, 1)
    return np.round(unions * share).astype(int), unions


def segmented(intersections: NDArray, unions: NDArray) -> Segmented:
    """Return outcomes with these areas: what is missed is predicted as one more class, never labelled."""
    images, classes = unions.shape
    image, category = (own.ravel() for own in np.mgrid[:images, :classes])
    missed = (unions - intersections).ravel()
    return Segmented(
        image=np.tile(image, 2),
        truth=np.tile(category, 2),
        prediction=np.concatenate([category, np.full(image.size, classes)]),
        pixels=np.concatenate([intersections.ravel(), missed]),
        images=np.array(images),
        classes=np.array([str(k) for k in range(classes)]),
    )


def miou(intersections: NDArray, unions: NDArray) -> float:
    total_i, total_u = intersections.sum(0), unions.sum(0)
    return 100 * np.nanmean(total_i / np.where(total_u == 0, np.nan, total_u))


def resampled_miou(intersections: NDArray, unions: NDArray) -> NDArray:
    part = segmented(intersections, unions)
    return make_outcomes([str(i) for i in range(len(unions))], {"miou": part}).resampled["miou"]


def test_areas_are_those_of_the_confusion_counts() -> None:
    intersections, unions = areas(IMAGES)
    found = segmented(intersections, unions).areas
    assert (found[0] == intersections).all()
    assert (found[1] == unions).all()


def test_miou_error_is_the_spread_of_brute_force() -> None:
    intersections, unions = areas(IMAGES)
    values = []
    for weights in resample_weights(IMAGES):
        chosen = np.repeat(np.arange(IMAGES), weights)
        values.append(miou(intersections[chosen], unions[chosen]))
    assert spread(resampled_miou(intersections, unions)) == pytest.approx(np.std(values, ddof=1), rel=1e-9)


def test_miou_leaves_out_classes_that_do_not_occur() -> None:
    part = segmented(np.array([[5, 0, 0]]), np.array([[10, 0, 4]]))
    assert part.value(np.ones(1, int)) == 25.0
    assert part.absent_classes() == ["1"]


def test_top1_error_is_that_of_a_binomial() -> None:
    assert top1_error(80.0, 100) == pytest.approx(4.0)
    assert top1_error(100.0, 100) == 0.0


def test_two_errors_around_a_measured_miou_cover_the_true_one_in_95_of_100_samples() -> None:
    intersections, unions = areas(20_000, seed=1)
    truth = miou(intersections, unions)
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        sample = generator.integers(20_000, size=80)
        measured = miou(intersections[sample], unions[sample])
        error = spread(resampled_miou(intersections[sample], unions[sample]))
        covered += abs(measured - truth) < 1.96 * error
    # 95 % of 200, and three standard deviations of a binomial either way.
    assert 181 <= covered <= 199


def test_two_errors_around_a_measured_top1_cover_the_true_one_in_95_of_100_samples() -> None:
    generator = np.random.default_rng(0)
    measured = 100 * generator.binomial(500, 0.8, size=1000) / 500
    covered = sum(abs(m - 80) < 1.96 * top1_error(m, 500) for m in measured)
    assert 929 <= covered <= 971
