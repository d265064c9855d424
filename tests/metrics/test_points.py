"""Counts of classes of points, by hand."""

import numpy as np
import pytest

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


def test_bytes_are_no_trap():
    counts = PointCounts.of(TRUTH.astype(np.uint8), FOUND.astype(np.uint8), 5)
    assert counts.mean_iou() == PointCounts.of(TRUTH, FOUND, 5).mean_iou()


def test_other_shapes_are_refused():
    with pytest.raises(RequestError, match=r"expected predictions \[2, 6\] as the truth, received \[2, 5\]"):
        PointCounts.of(TRUTH, FOUND[:, :5], 5)
