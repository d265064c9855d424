"""A test set scored: what a perfect segmenter gets, what pools, what moves, and what is kept of an image."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.inference.segmentation_evaluation import ALL, Sample, evaluate_segmentation
from isotypic.models.heads import HeadChoice
from isotypic.tasks.recipe import Merit
from isotypic.tasks.segmentation.grouping import GroupingConfig

SIZES = {"few.png": (40, 40), "wide.png": (30, 53), "many.png": (64, 64)}
COUNTS = {"few.png": 2, "wide.png": 3, "many.png": 16}
KINDS = {"few.png": "stained", "wide.png": "dark", "many.png": "dark"}


def squares(name):
    """Squares on a grid, numbered with gaps; the picture holds the numbers, so that they move with it."""
    labels = np.zeros(SIZES[name], dtype=np.int32)
    places = [(y, x) for y in range(3, labels.shape[0] - 8, 15) for x in range(3, labels.shape[1] - 8, 15)]
    for number, (y, x) in enumerate(places[: COUNTS[name]], 1):
        labels[y : y + 8, x : x + 8] = 3 * number
    assert len(places) >= COUNTS[name]
    return labels


def samples(names=tuple(SIZES), kinds=False):
    return [Sample(name, squares(name)[None], squares(name), KINDS[name] if kinds else ALL) for name in names]


def pointing(labels):
    """The outputs of offset heads that give back labels."""
    offset, places = np.zeros((2, *labels.shape)), np.indices(labels.shape)
    for label in np.unique(labels[labels > 0]):
        inside = labels == label
        offset[:, inside] = places[:, inside].mean(1, keepdims=True) - places[:, inside]
    seed = np.where(labels > 0, 0.99, 0.01)
    return np.concatenate([offset, np.zeros((1, *labels.shape)), seed[None]])


def perfect(image):
    return pointing(image[0])


def without_the_first(image):
    """Loses the topmost, leftmost instance of the image as it is turned."""
    labels = image[0].copy()
    labels[labels == labels[labels > 0][0]] = 0
    return pointing(labels)


def evaluated(outputs, some, group="p4m", **changes):
    choice = {"heads": HeadChoice.OFFSET, "grouping": GroupingConfig(), "merit": Merit.AP50}
    return evaluate_segmentation(outputs, some, named(group), **{**choice, **changes})


def test_a_perfect_segmenter_has_one_everywhere_and_no_pixel_differs():
    found = evaluated(perfect, samples())
    assert (found.scores == 1).all()
    assert found.scores.shape == found.differing.shape == (8, 3)
    for scores in (found.upright[ALL], found.moved[ALL]):
        assert all(float(figure) == 1 for figure in (scores.dice, scores.pq, scores.aji, *scores.ap))
    assert found.differing.sum() == found.changed == found.differing_fraction == 0
    assert int(found.upright[ALL].found) == int(found.upright[ALL].true) == sum(COUNTS.values())


def test_one_that_is_not_equivariant_shows_differing_pixels():
    found = evaluated(without_the_first, samples())
    assert found.changed == 3
    assert (found.differing[0] == 0).all()
    # Another square of 64 pixels is lost, and the one that was lost is back; a mirror of the two equals the turn.
    assert set(found.differing[1:].ravel()) <= {0, 128}
    assert found.differing_fraction == pytest.approx((found.differing[1:] / [1600, 1590, 4096]).mean())
    scores = found.upright[ALL]
    assert all(float(figure) < 1 for figure in (scores.dice, scores.pq, scores.aji, *scores.ap))
    assert int(scores.found) == int(scores.true) - 3


def test_average_precision_is_pooled_over_images():
    found = evaluated(without_the_first, samples(["few.png", "many.png"]))
    assert found.scores[0].tolist() == [1 / 2, 15 / 16]
    pooled = float(found.upright[ALL].ap[0])
    assert pooled == pytest.approx((1 + 15) / (2 + 16))
    assert pooled != pytest.approx(found.scores[0].mean())


def test_moved_scores_are_those_of_every_element():
    found = evaluated(without_the_first, samples(), "p4")
    upright, moved = found.upright[ALL], found.moved[ALL]
    for count in ("images", "true", "found"):
        assert int(getattr(moved, count)) == 4 * int(getattr(upright, count))

    def only_upright(image):
        return perfect(image) if image.shape[1:] == (30, 53) else without_the_first(image)

    spoilt = evaluated(only_upright, samples(["wide.png"]), "p4")
    assert float(spoilt.upright[ALL].ap[0]) == 1
    # Two of the four elements leave the size; the other two lose one of three.
    assert float(spoilt.moved[ALL].ap[0]) == pytest.approx((3 + 3 + 2 + 2) / 12)


def test_kinds_partition_the_set():
    found = evaluated(without_the_first, samples(kinds=True), "p4")
    for pooled in (found.upright, found.moved):
        assert set(pooled) == {ALL, "stained", "dark"}
        for count in ("images", "true", "found"):
            whole, *parts = (int(getattr(pooled[kind], count)) for kind in (ALL, "stained", "dark"))
            assert whole == sum(parts)
    alone = evaluated(without_the_first, samples(["wide.png", "many.png"]), "p4")
    assert float(found.upright["dark"].ap[0]) == float(alone.upright[ALL].ap[0])
    assert float(found.upright["dark"].ap[0]) != float(found.upright[ALL].ap[0])
    assert set(alone.upright) == {ALL}


@pytest.mark.parametrize("group", ["trivial", "p4", "p4m"])
def test_an_image_is_segmented_once_an_element_and_watched_once(group):
    asked, seen = [], []

    def counting(image):
        asked.append(image.shape)
        return perfect(image)

    found = evaluated(counting, iter(samples()), group, watch=seen.append)
    order = named(group).order
    assert len(asked) == 3 * order
    assert [image.sample.name for image in seen] == list(found.names) == list(SIZES)
    assert all(len(image.found) == order for image in seen)
    assert np.stack([image.scores for image in seen], 1).tolist() == found.scores.tolist()
    assert [image.seconds for image in seen] == found.seconds.tolist()
    assert (found.seconds > 0).all()


def logits(image):
    """Noisy logits of inside and boundary; the noise stays where it is when the image moves."""
    noise = np.random.default_rng(image.shape[2]).normal(size=image.shape[1:])
    return np.stack([np.zeros(image.shape[1:]), 2.0 * (image[0] > 0) - 1 + noise])


def test_boundaries_are_ranked_over_all_images():
    some = samples(["few.png", "many.png"], kinds=True)
    choice = {"heads": HeadChoice.BOUNDARY, "merit": Merit.AUC}
    found = evaluated(logits, some, "p4", **choice)
    scores = [logits(sample.pixels)[1].ravel() for sample in some]
    truths = [(sample.labels > 0).ravel() for sample in some]
    pooled = float(found.upright[ALL].auc)
    assert pooled == pytest.approx(roc_auc_score(np.concatenate(truths), np.concatenate(scores)), abs=1e-3)
    assert found.scores[0] == pytest.approx(
        [roc_auc_score(*pair) for pair in zip(truths, scores, strict=True)], abs=1e-3
    )
    right = np.concatenate(truths) == (np.concatenate(scores) > 0)
    assert float(found.upright[ALL].accuracy) == pytest.approx(right.mean())
    assert float(found.upright["stained"].auc) == pytest.approx(found.scores[0, 0])
    assert float(found.moved[ALL].auc) != float(found.upright[ALL].auc)


def test_without_an_image_there_is_nothing_to_evaluate():
    with pytest.raises(RequestError, match="expected at least one image to evaluate, received none"):
        evaluated(perfect, [])
