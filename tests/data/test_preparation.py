import numpy as np
import pytest

from isotypic.data.config import DataConfig
from isotypic.data.preparation import coloured, prepare, resized
from isotypic.errors import RequestError

RGB = np.random.default_rng(0).integers(0, 256, (3, 3, 9, 12), dtype=np.uint8)


def test_grey_is_the_luma_of_red_green_and_blue():
    red, green, blue = (RGB[:, i].astype(float) for i in range(3))
    expected = np.rint(0.2989 * red + 0.587 * green + 0.114 * blue)
    np.testing.assert_array_equal(coloured(RGB, "grey")[:, 0], expected)


def test_rgb_of_grey_is_grey_three_times_and_back():
    grey = coloured(RGB, "grey")
    assert coloured(grey, "rgb").shape == RGB.shape
    np.testing.assert_array_equal(coloured(coloured(grey, "rgb"), "grey"), grey)


def test_two_channels_have_no_colour():
    with pytest.raises(RequestError, match="expected images of 1 or 3 channels to make them grey, received 2"):
        coloured(RGB[:, :2], "grey")


@pytest.mark.parametrize("size", [(4, 6), (5, 5), (18, 24)])
def test_resizing_commutes_with_flips_up_to_rounding(size):
    for axis in (-1, -2):
        one, other = np.flip(resized(RGB, size), axis), resized(np.flip(RGB, axis), size)
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_resizing_keeps_a_constant_image_and_averages_twofold():
    assert (resized(np.full((1, 1, 7, 9), 200, np.uint8), (3, 4)) == 200).all()
    board = np.indices((8, 8)).sum(axis=0)[None, None] % 2 * 200
    inner = resized(board.astype(np.uint8), (4, 4))[..., 1:-1, 1:-1]
    assert (inner == 100).all()


def test_nothing_to_do_returns_the_same_array():
    assert prepare(RGB, DataConfig()) is RGB
    assert prepare(RGB, DataConfig(resize=(9, 12))) is RGB
    assert prepare(RGB, DataConfig(resize=4, colour="grey")).shape == (3, 1, 4, 4)
    assert prepare(RGB[:0], DataConfig(resize=4)).shape == (0, 3, 4, 4)
