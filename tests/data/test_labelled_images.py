import re
from itertools import pairwise

import numpy as np
import pytest

from isotypic.data.config import SegmentationDataConfig
from isotypic.data.labelled.images import LabelledImages, Origins, refuse_small
from isotypic.data.labelled.ragged import Ragged
from isotypic.data.splits import by_depth, split_labelled
from isotypic.errors import RequestError

SIZES = [(20, 30), (16, 17), (40, 40), (33, 20)]


def made(count=4, **changes):
    sizes = [SIZES[i % len(SIZES)] for i in range(count)]
    parts = {
        "images": Ragged.of([np.zeros((2, *size), np.uint8) for size in sizes]),
        "labels": Ragged.of([np.zeros(size, np.int32) for size in sizes]),
        "origins": Origins(np.array([f"n{i}" for i in range(count)])),
    }
    return LabelledImages("set", **{**parts, **changes})


def test_what_a_set_tells_of_itself():
    labelled = made()
    assert (len(labelled), labelled.channels, labelled.value_range) == (4, 2, 255.0)
    assert labelled.sizes.tolist() == [list(size) for size in SIZES]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": Ragged.of([np.zeros((20, 30), np.uint8)])}, "expected images [C, y, x] of uint8 or float32"),
        ({"images": Ragged.of([np.zeros((1, 20, 30))])}, "received 3 axes of float64"),
        ({"labels": Ragged.of([np.zeros((20, 30), np.int64)] * 4)}, "expected labels [y, x] of int32"),
        ({"labels": Ragged.of([np.zeros((20, 30), np.int32)])}, "expected labels for 4 images, received 1"),
        (
            {"labels": Ragged.of([np.zeros(size, np.int32) for size in [(20, 30), (17, 16), *SIZES[2:]]])},
            "n1 is 16x17 pixels and its labels are 17x16; give labels of the same size",
        ),
        ({"origins": Origins(np.array(["a"]))}, "expected names [4], one per image, received [1]"),
        (
            {"images": Ragged.of([np.zeros((1 + i % 2, *size), np.uint8) for i, size in enumerate(SIZES)])},
            "expected images of the same channels, received [1, 2]",
        ),
        (
            {"origins": Origins(np.array(list("abcd")), split=np.array(["train", "tset", "test", "test"]))},
            "expected split names train, validation, test, received 'tset'",
        ),
        (
            {"origins": Origins(np.array(list("abcd")), np.array(list("ppqq")), np.array(["train", "test"] * 2))},
            "the split leaks: source 'p' is in test and train (2 such); keep each source on one side",
        ),
    ],
)
def test_wrong_sets_are_refused(changes, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        made(**changes)


def test_a_small_image_is_named():
    refuse_small(made(), 16)
    with pytest.raises(RequestError, match=r"set: n1 is 16x17 pixels \(1 such\), expected at least 17 a side"):
        refuse_small(made(), 17)


class TestSplits:
    CONFIG = SegmentationDataConfig(test_fraction=0.2, validation_fraction=0.25)

    def test_kinds_are_balanced(self):
        kinds = np.array(["a", "b", "b", "b", "b"] * 20)
        splits = split_labelled(made(100, origins=Origins(np.arange(100).astype(str), kinds=kinds)), self.CONFIG)
        assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [60, 20, 20]
        assert [(kinds[part] == "a").sum() for part in (splits.train, splits.validation, splits.test)] == [12, 4, 4]
        assert sorted(np.concatenate([splits.train, splits.validation, splits.test])) == list(range(100))

    def test_sources_stay_together(self):
        subjects = np.repeat(np.arange(20).astype(str), 5)
        held = split_labelled(made(100, origins=Origins(np.arange(100).astype(str), subjects)), self.CONFIG)
        torn = split_labelled(made(100, origins=Origins(np.arange(100).astype(str))), self.CONFIG)
        assert not set(subjects[held.train]) & set(subjects[held.test])
        assert set(subjects[torn.train]) & set(subjects[torn.test])

    def test_an_own_split_stays(self):
        own = np.array(["test", "train", "validation", "train"])
        splits = split_labelled(made(origins=Origins(np.array(list("abcd")), split=own)), self.CONFIG)
        assert [part.tolist() for part in (splits.train, splits.validation, splits.test)] == [[1, 3], [2], [0]]

    @pytest.mark.parametrize("count", [3, 4, 16, 125])
    def test_depth_gives_three_blocks_in_order(self, count):
        parts = by_depth("stack", count, self.CONFIG).tolist()
        changes = [pair for pair in pairwise(parts) if pair[0] != pair[1]]
        assert changes == [("train", "validation"), ("validation", "test")]
        assert parts.count("test") == max(round(0.2 * count), 1)

    def test_too_few_sections_are_refused(self):
        with pytest.raises(RequestError, match="stack: expected at least 3 sections, one a part, received 2"):
            by_depth("stack", 2, self.CONFIG)
