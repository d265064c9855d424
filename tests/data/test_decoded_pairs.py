import re
from pathlib import Path

import numpy as np
import pytest

from isotypic.data.decoded_pairs import Pair, _append, decoded_pairs
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
