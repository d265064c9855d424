from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.partition import differing_pixels, differing_when_moved, move_array

LABELS = arrays(np.int32, (4, 5), elements=st.integers(0, 3))
SIZES = [(16, 16), (17, 17), (16, 21)]


def blobs(image):
    """Components of the bright pixels, numbered in raster order: not the same numbers on a turned image."""
    return ndimage.label(image[0] > 0.6)[0]


def picture(size, seed=0):
    return np.random.default_rng(seed).random((1, *size))


def brute_force(first, second):
    """The smallest count over all renamings of the second image."""
    best = first.size
    for names in permutations([1, 2, 3]):
        renamed = np.array([0, *names])[second]
        best = min(best, int((first != renamed).sum()))
    return best


@given(LABELS, LABELS)
def test_it_is_the_smallest_count_over_all_names(first, second):
    assert differing_pixels(first, second) == brute_force(first, second)


@given(LABELS, LABELS, LABELS)
def test_it_is_a_distance_of_partitions(a, b, c):
    assert differing_pixels(a, b) == differing_pixels(b, a)
    assert differing_pixels(a, c) <= differing_pixels(a, b) + differing_pixels(b, c)
    assert (differing_pixels(a, b) == 0) == (brute_force(a, b) == 0)


def test_the_background_keeps_its_name():
    assert differing_pixels(np.array([[0, 0, 1]]), np.array([[1, 1, 0]])) == 3


@pytest.mark.parametrize("size", SIZES)
def test_a_segmentation_that_commutes_differs_nowhere(size):
    assert differing_when_moved(blobs, picture(size), named("p4m")).tolist() == [0] * 8


@pytest.mark.parametrize("size", SIZES)
def test_a_one_sided_one_differs_under_every_other_element(size):
    def shifted(image):
        return np.roll(blobs(image), 1, axis=0)

    counts = differing_when_moved(shifted, picture(size), named("p4m"))
    assert counts[0] == 0
    # The mirror that leaves rows where they are commutes with a shift along the columns.
    assert sorted(counts > 0) == [False, False] + [True] * 6


def test_a_segmentation_that_does_not_repeat_itself_shows_in_entry_zero():
    generator = np.random.default_rng(0)

    def drawn(image):
        return generator.integers(0, 3, image.shape[1:])

    assert differing_when_moved(drawn, picture((16, 16)), named("C4"))[0] > 0


def test_rectangles_come_transposed():
    seen = []

    def remember(image):
        seen.append(image.shape)
        return blobs(image)

    differing_when_moved(remember, picture((16, 21)), named("C4"))
    assert seen == [(1, 16, 21), (1, 16, 21), (1, 21, 16), (1, 16, 21), (1, 21, 16)]


def test_moving_is_numpys_rot90():
    image = picture((5, 7))
    assert np.array_equal(move_array(image, 1, named("C4")), np.rot90(image, 1, (1, 2)))


def test_labels_of_another_size_are_refused():
    with pytest.raises(RequestError, match=r"labels \[y, x\] of the image's size \(16, 16\), received shape \(8, 8\)"):
        differing_when_moved(lambda image: blobs(image)[:8, :8], picture((16, 16)), named("C4"))
