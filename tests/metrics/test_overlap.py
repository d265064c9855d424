from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from isotypic.errors import RequestError
from isotypic.metrics import overlap
from isotypic.metrics.overlap import overlaps

LABELS = st.tuples(*[arrays(np.int32, (6, 7), elements=st.sampled_from([0, 1, 2, 5, 9]))] * 2)


def dense(truth, prediction):
    """The same table, pixel by pixel."""
    table = np.zeros((10, 10), dtype=int)
    np.add.at(table, (truth, prediction), 1)
    return table


@given(LABELS)
def test_the_table_is_the_pixelwise_count(labels):
    truth, prediction = labels
    table, counts = overlaps(truth, prediction), dense(truth, prediction)
    true, predicted = np.unique(truth[truth > 0]), np.unique(prediction[prediction > 0])
    assert np.array_equal(table.true_sizes, counts.sum(1)[true])
    assert np.array_equal(table.predicted_sizes, counts.sum(0)[predicted])
    inner = counts[np.ix_(true, predicted)]
    assert np.array_equal(np.argwhere(inner), np.stack([table.true, table.predicted], 1))
    assert np.array_equal(inner[inner > 0], table.shared)
    assert (table.background, table.pixels) == (counts[0, 0], 42)


@given(LABELS)
def test_the_table_does_not_depend_on_the_block(labels):
    whole = overlaps(*labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_AT_ONCE", 10)
        parts = overlaps(*labels)
    for name in ("true_sizes", "predicted_sizes", "true", "predicted", "shared", "background"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


@given(LABELS, st.sampled_from(["dice", "iou", "shared"]))
def test_the_best_matching_is_the_dense_hungarian_one(labels, worth):
    table = overlaps(*labels)
    values = getattr(table, worth)
    grid = np.zeros((len(table.true_sizes), len(table.predicted_sizes)))
    grid[table.true, table.predicted] = values
    rows, columns = linear_sum_assignment(grid, maximize=True)
    chosen = table.best_matching(values)
    assert values[chosen].sum() == pytest.approx(grid[rows, columns].sum())
    assert len(set(table.true[chosen])) == len(set(table.predicted[chosen])) == len(chosen)


def test_a_greedy_matching_is_not_the_best():
    truth, prediction = np.array([[1, 1, 1, 2, 2]]), np.array([[4, 3, 3, 3, 3]])
    table = overlaps(truth, prediction)
    assert table.shared[table.greedy_matching()].tolist() == [2]
    assert table.shared[table.best_matching(table.shared)].tolist() == [1, 2]


def test_the_greedy_matching_goes_by_the_order_of_the_true_labels():
    first, second, prediction = np.array([[1, 1, 2, 2, 2]]), np.array([[2, 2, 1, 1, 1]]), np.full((1, 5), 6)
    for truth, size in ((first, 2), (second, 3)):
        table = overlaps(truth, prediction)
        assert table.shared[table.greedy_matching()].tolist() == [size]


@given(LABELS, st.sampled_from(list(permutations([1, 2, 5, 9]))))
def test_names_mean_nothing_to_the_best_matching(labels, names):
    truth, prediction = labels
    renamed = np.zeros_like(prediction)
    for name, other in zip([1, 2, 5, 9], names, strict=True):
        renamed[prediction == name] = other
    one, two = overlaps(truth, prediction), overlaps(truth, renamed)
    assert one.dice[one.best_matching(one.dice)].sum() == pytest.approx(two.dice[two.best_matching(two.dice)].sum())


def test_nothing_anywhere():
    table = overlaps(np.zeros((3, 4), int), np.zeros((3, 4), int))
    assert len(table.best_matching(table.dice)) == len(table.greedy_matching()) == 0
    assert table.background_dice == 1.0
    assert overlaps(np.ones((2, 2), int), np.ones((2, 2), int)).background_dice is None
    assert overlaps(np.ones((0, 2), int), np.ones((0, 2), int)).pixels == 0


@pytest.mark.parametrize(
    ("truth", "prediction", "text"),
    [
        (
            np.zeros((2, 2)),
            np.zeros((2, 2), int),
            r"expected label images \[y, x\] of integers, received \[2, 2\] of f",
        ),
        (np.zeros((1, 2, 2), int), np.zeros((2, 2), int), r"received \[1, 2, 2\] of int64"),
        (np.zeros((2, 2), bool), np.zeros((2, 2), int), "of bool"),
        (np.zeros((2, 2), int), np.zeros((2, 3), int), r"of one size, received \(2, 2\) and \(2, 3\)"),
        (np.full((2, 2), -1), np.zeros((2, 2), int), "expected labels from 0 to 2147483647, received -1 to -1; number"),
        (np.zeros((2, 2), int), np.full((2, 2), 2**31), "received 2147483648 to 2147483648"),
    ],
)
def test_bad_requests(truth, prediction, text):
    with pytest.raises(RequestError, match=text):
        overlaps(truth, prediction)
