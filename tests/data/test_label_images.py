import io

import numpy as np
import pytest
import tifffile

from isotypic.data.readers import label
from isotypic.errors import RequestError


def tiff(pixels):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels)
    return buffer.getvalue()


NUMBERS = np.array([[0, 3, 3], [300, 0, 7]])


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.uint32, np.float32])
def test_numbers_of_every_type_lose_their_gaps(kind):
    found = label.decode("a.tif", tiff(NUMBERS.astype(kind)))
    assert found.dtype == np.int32
    assert found.tolist() == [[0, 1, 1], [3, 0, 2]]


def test_a_png_of_16_bits(png):
    assert label.decode("a.png", png(NUMBERS.astype(np.uint16))).max() == 3


def test_without_background_the_first_object_is_1():
    assert label.consecutive("a", np.array([[5, 9]])).tolist() == [[1, 2]]
    assert label.consecutive("a", np.zeros((2, 2), np.uint8)).tolist() == [[0, 0], [0, 0]]


def test_a_mask_of_one_piece_is_one_object_and_of_several_is_refused(png):
    mask = np.zeros((6, 6), np.uint8)
    mask[1:3, 1:3] = 255
    assert label.decode("a.png", png(mask)).sum() == 4
    mask[4, 4] = 255
    for black_and_white in (mask, mask > 0):
        with pytest.raises(RequestError, match=r"a\.png: a black and white mask of several pieces"):
            label.decode("a.png", png(black_and_white))
    with pytest.raises(RequestError, match=r"a\.png: .* number them, for example by skimage\.measure\.label"):
        label.decode("a.png", png((mask > 0) * np.uint16(65535)))
    assert label.decode("a.png", png(mask // 255)).max() == 1
    assert label.decode("a.png", png(mask.astype(np.uint16))).max() == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the image file is empty"),
        (b"no image", "cannot be read as an image"),
        (tiff(np.zeros((4, 4, 3), np.uint8)), "expected a label image of one channel, received colours"),
        (tiff(np.array([[0.0, 0.5]], np.float32)), r"expected whole numbers from 0, received 0\.\.0\.5"),
        (tiff(np.array([[-1, 4]], np.int32)), r"expected whole numbers from 0, received -1\.\.4"),
    ],
)
def test_wrong_files_are_refused(content, message):
    with pytest.raises(RequestError, match=rf"a\.tif: {message}"):
        label.decode("a.tif", content)
