import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isotypic.data.labelled.decoded_pairs import Pair, _append, decoded_pairs
from isotypic.errors import RequestError


def pair(number, kind="a"):
    size = (3 + number % 4, 2 + number % 3)
    return Pair(f"n{number}", np.full((1, *size), number, np.uint8), np.full(size, number, np.int32), kind)


def files(folder):
    return sorted(path.name.split("-")[0] for path in folder.iterdir())


def test_pairs_keep_their_order_and_are_decoded_once(tmp_path):
    calls = []

    def decode(number):
        calls.append(number)
        return pair(number)

    first, second = (decoded_pairs(range(100), decode, ("set", "state"), tmp_path) for _ in range(2))
    assert len(calls) == 100
    for found in (first, second):
        assert isinstance(found.images.values, np.memmap)
        assert found.names.tolist() == [f"n{number}" for number in range(100)]
        assert found.kinds.tolist() == ["a"] * 100
        for number, (image, labels) in enumerate(zip(found.images, found.labels, strict=True)):
            assert np.array_equal(image, pair(number).image)
            assert np.array_equal(labels, pair(number).labels)
    assert files(tmp_path) == ["images", "index", "labels"]


def test_another_origin_is_decoded_anew(tmp_path):
    decoded_pairs([1], pair, ("set", "one"), tmp_path)
    assert decoded_pairs([2], pair, ("set", "other"), tmp_path).names.tolist() == ["n2"]
    assert decoded_pairs([2], pair, ("set", "one"), tmp_path).names.tolist() == ["n1"]


def test_a_truncated_file_is_decoded_anew(tmp_path):
    decoded_pairs([1, 2], pair, ("set",), tmp_path)
    labels = next(tmp_path.glob("labels-*"))
    labels.write_bytes(labels.read_bytes()[:-4])
    assert decoded_pairs([1, 2], pair, ("set",), tmp_path).labels[1].tolist() == pair(2).labels.tolist()


def test_no_kinds_are_none(tmp_path):
    assert decoded_pairs([1], lambda number: pair(number, None), ("set",), tmp_path).kinds is None


def deep(number):
    return replace(pair(number), image=pair(number).image / np.float32(100))


def test_one_deep_image_makes_a_set_of_floats(tmp_path):
    made = [pair(1), pair(255), deep(7), pair(3)]
    found = decoded_pairs(made, lambda each: each, ("set",), tmp_path)
    assert isinstance(found.images.values, np.memmap)
    assert found.images.dtype == np.float32
    wanted = [1 / 255, 1, 0.07, 3 / 255]
    for image, each, value in zip(found.images, made, wanted, strict=True):
        np.testing.assert_array_equal(image, np.full(each.image.shape, value, np.float32))
    for labels, each in zip(found.labels, made, strict=True):
        np.testing.assert_array_equal(labels, each.labels)
    assert files(tmp_path) == ["images", "index", "labels"]


@pytest.mark.parametrize(("make", "size"), [(pair, 1), (deep, 4)])
def test_a_pixel_takes_no_more_bytes_than_it_needs(tmp_path, make, size):
    found = decoded_pairs([1, 2], make, ("set",), tmp_path)
    assert found.images.dtype.itemsize == size
    assert next(tmp_path.glob("images-*")).stat().st_size == size * len(found.images.values)


def test_an_index_without_a_type_is_of_8_bits(tmp_path):
    wanted = decoded_pairs([1, 2], pair, ("set",), tmp_path).images[1]
    index = next(tmp_path.glob("index-*"))
    record = json.loads(index.read_text())
    assert record.pop("type") == "uint8"
    index.write_text(json.dumps(record))
    assert np.array_equal(decoded_pairs([], pair, ("set",), tmp_path).images[1], wanted)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            Pair("b", np.zeros((3, 4, 4), np.uint8), np.zeros((4, 4), np.int32)),
            "images of different channels: n1 has 1 and b has 3; use --set data.colour=grey",
        ),
        (
            Pair("b", np.zeros((1, 4, 5), np.uint8), np.zeros((4, 4), np.int32)),
            "b: the image is 4x5 pixels and its labels are 4x4; give labels of the same size",
        ),
    ],
)
def test_a_wrong_pair_is_refused_and_leaves_nothing(tmp_path, wrong, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        decoded_pairs([pair(1), wrong], lambda made: made, ("set",), tmp_path)
    assert files(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    with (
        Path("/dev/full").open("wb", buffering=0) as file,
        pytest.raises(RequestError, match=r"labels\.raw: cannot be"),
    ):
        _append(file, tmp_path / "labels.raw", np.zeros(100_000, np.int32))
