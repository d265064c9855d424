"""Counts of classes of points, by hand."""

import numpy as np
import pytest

from isotypic.data.sphere.points import areas, grid_points
from isotypic.errors import RequestError
from isotypic.metrics.points import PointCounts

TRUTH = np.array([[0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 0, 0]])
FOUND = np.array([[0, 1, 1, 1, 2, 0], [0, 0, 1, 1, 0, 3]])


def test_the_mean_iou_is_that_of_one_confusion_matrix():
    counts = PointCounts.of(TRUTH, FOUND, classes=5)
    # Class 1: 4 of both, 6 of either. Class 2: 1 of 2. Class 3: none of 1. Class 4 is nowhere.
    assert counts.iou()[:3] == pytest.approx([4 / 6, 1 / 2, 0])
    assert np.isnan(counts.iou()[3])
    assert counts.mean_iou() == pytest.approx((4 / 6 + 1 / 2 + 0) / 3)
    each = [PointCounts.of(TRUTH[[i]], FOUND[[i]], 5).mean_iou() for i in (0, 1)]
    assert counts.mean_iou() != pytest.approx(np.mean(each)), "the mean over images is another figure"


def test_the_background_counts_for_accuracy_alone():
    counts = PointCounts.of(TRUTH, FOUND, classes=5)
    assert counts.accuracy() == pytest.approx(8 / 12)
    nothing = np.zeros_like(TRUTH)
    assert PointCounts.of(nothing, nothing, 5).accuracy() == 1
    assert np.isnan(PointCounts.of(nothing, nothing, 5).mean_iou())
    assert PointCounts.of(TRUTH, nothing, 5).mean_iou() == 0


def test_counts_of_parts_add_up():
    whole = PointCounts.of(TRUTH, FOUND, 5)
    parts = PointCounts.joined([PointCounts.of(TRUTH[[i]], FOUND[[i]], 5) for i in (0, 1)])
    for name in ("shared", "true", "found"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_a_point_counts_by_its_area():
    areas = np.array([1.0, 5, 1, 1, 1, 1])
    assert PointCounts.of(TRUTH[[0]], FOUND[[0]], 3, areas).iou() == pytest.approx([2 / 7, 1 / 2])
    alike = PointCounts.of(TRUTH[[0]], FOUND[[0]], 3, np.full(6, 0.3))
    assert alike.iou() == pytest.approx(PointCounts.of(TRUTH[[0]], FOUND[[0]], 3).iou())


def test_by_area_an_answer_counts_the_same_wherever_it_is_turned_to():
    points = grid_points(32).reshape(64, 64, 3)
    iou = {}
    for place, axis in (("pole", [0.0, 0, 1]), ("equator", [1.0, 0, 0])):
        truth, found = ((points @ axis > height).astype(int)[None] for height in (0.6, 0.8))
        for how, weights in (("area", areas(32)), ("points", None)):
            iou[place, how] = PointCounts.of(truth, found, 2, weights).mean_iou()
    assert iou["pole", "area"] == pytest.approx(0.5, abs=0.02)
    assert iou["equator", "area"] == pytest.approx(0.5, abs=0.02)
    assert iou["pole", "points"] - iou["equator", "points"] > 0.15, "points counted once each are no such measure"


def test_bytes_are_no_trap():
    counts = PointCounts.of(TRUTH.astype(np.uint8), FOUND.astype(np.uint8), 5)
    assert counts.mean_iou() == PointCounts.of(TRUTH, FOUND, 5).mean_iou()


def test_other_shapes_are_refused():
    with pytest.raises(RequestError, match=r"expected predictions \[2, 6\] as the truth, received \[2, 5\]"):
        PointCounts.of(TRUTH, FOUND[:, :5], 5)
