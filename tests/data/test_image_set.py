import pickle
import re

import numpy as np
import pytest

from isotypic.data.image_set import ImageSet
from isotypic.errors import RequestError

IMAGES = np.zeros((4, 1, 3, 5), dtype=np.uint8)
LABELS = np.array([0, 1, 1, 0])
CLASSES = ("cat", "dog")


def test_length_shape_and_range():
    image_set = ImageSet("pets", IMAGES, LABELS, CLASSES)
    assert (len(image_set), image_set.shape, image_set.value_range) == (4, (1, 3, 5), 255.0)
    assert ImageSet("pets", IMAGES.astype(np.float32), LABELS, CLASSES).value_range == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": IMAGES[:, 0]},
            "pets: expected images [N, C, y, x] or volumes [N, C, z, y, x] of uint8, float32 or float16, "
            "received [4, 3, 5]",
        ),
        ({"images": IMAGES.astype(np.float64)}, "received [4, 1, 3, 5] of float64"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "pets: no images"),
        ({"labels": LABELS[:3]}, "pets: expected labels [4], one per image, received [3]"),
        ({"subjects": np.array(["a"])}, "expected subjects [4]"),
        ({"split": np.array(["train"])}, "expected split [4]"),
        ({"labels": LABELS.astype(np.int32)}, "expected labels of int64, received int32"),
        ({"labels": LABELS + 1}, "labels out of range: expected 0..1 for 2 classes, received 1..2"),
        ({"labels": LABELS - 1}, "labels out of range: expected 0..1 for 2 classes, received -1..0"),
        ({"labels": LABELS * 0 + 1}, "one class only: all 4 images are 'dog'"),
        ({"split": np.array(["train", "test", "train", "dev"])}, "received 'dev'"),
    ],
)
def test_wrong_sets_are_refused(change, message):
    arguments = {"images": IMAGES, "labels": LABELS, "classes": CLASSES} | change
    with pytest.raises(RequestError, match=re.escape(message)):
        ImageSet("pets", **arguments)


def test_a_leaking_split_is_refused_by_the_patients_name():
    split = np.array(["train", "train", "test", "test"])
    ImageSet("pets", IMAGES, LABELS, CLASSES, subjects=np.array(["a", "b", "c", "c"]), split=split)
    with pytest.raises(RequestError, match="the split leaks: patient 'b' is in test and train"):
        ImageSet("pets", IMAGES, LABELS, CLASSES, subjects=np.array(["a", "b", "b", "c"]), split=split)


def test_a_memory_map_is_pickled_as_its_file(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (64, 1, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    image_set = ImageSet("big", mapped, np.arange(64) % 2, CLASSES)
    content = pickle.dumps(image_set)
    again = pickle.loads(content)
    assert len(content) < images.nbytes / 10
    assert isinstance(again.images, np.memmap)
    np.testing.assert_array_equal(again.images, images)


def test_a_slice_of_a_memory_map_is_pickled_by_value(tmp_path):
    np.save(tmp_path / "images.npy", np.arange(4 * 15, dtype=np.uint8).reshape(4, 1, 3, 5))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")[2:]
    again = pickle.loads(pickle.dumps(ImageSet("part", mapped, LABELS[:2], CLASSES)))
    np.testing.assert_array_equal(again.images, mapped)
