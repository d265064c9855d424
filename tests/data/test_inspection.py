"""What is said of a set is what can be counted in it; copies and telling grey levels are found, and only these."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageSet
from isotypic.data.inspection.classified import inspect, part_of
from isotypic.data.inspection.copies import find_copies, pixel_hash
from isotypic.data.inspection.labelled import inspect_labelled
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.labelled.ragged import Ragged
from isotypic.data.normalisation import Normalisation
from isotypic.data.splits import split, split_labelled

COUNT = 60


def made(pixels=None, **columns):
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 6, 5), dtype=np.uint8)
    return ImageSet("made", pixels, np.arange(len(pixels)) % 2, ("a", "b"), **columns)


def inspected(image_set, **config):
    return inspect(image_set, split(image_set, DataConfig(**config)))


def pixels_with_copies():
    """Image 0 three times in training and test (classes a, b, a), image 5 twice in training, of one class."""
    pixels = made().images.copy()
    pixels[[41, 50]] = pixels[0]
    pixels[7] = pixels[5]
    return pixels


GIVEN = np.repeat(["train", "validation", "test"], [30, 10, 20])


def test_counts_split_and_statistics():
    people = np.repeat([f"p{number}" for number in range(12)], 5)
    image_set = made(subjects=people, split=GIVEN)
    found = inspected(image_set)
    assert {name: (part.images, part.patients, part.given) for name, part in found.parts.items()} == {
        "train": (30, 6, True), "validation": (10, 2, True), "test": (20, 4, True)
    }  # fmt: skip
    assert found.parts["test"].classes == {"a": 10, "b": 10}
    assert found.normalisation == Normalisation.of(image_set.images, np.arange(30))
    assert found.normalisation != Normalisation.of(image_set.images)
    auc = roc_auc_score(image_set.labels, image_set.images.mean((1, 2, 3)))
    assert found.grey_auc == pytest.approx(max(auc, 1 - auc))
    assert (found.copies.images, found.copies.examples, found.warnings) == (0, [], [])


def test_a_part_that_is_made_says_so():
    image_set = made(split=np.repeat(["train", "test"], [40, 20]))
    assert {name: part.given for name, part in inspected(image_set).parts.items()} == {
        "train": True, "validation": False, "test": True
    }  # fmt: skip
    seeds = [inspected(made(), split_seed=seed).normalisation for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    splits = split(image_set, DataConfig())
    assert all((part_of(splits)[getattr(splits, name)] == name).all() for name in ("train", "validation", "test"))


def test_every_image_is_read_once():
    read, images = [], made().images

    class Watched:
        shape, dtype, ndim = images.shape, images.dtype, 4

        def __len__(self):
            return COUNT

        def __getitem__(self, rows):
            read.extend(rows.tolist())
            return images[rows]

    steps = []
    image_set = made(Watched())
    inspect(image_set, split(image_set, DataConfig()), lambda *step: steps.append(step))
    assert sorted(read) == list(range(COUNT))
    assert steps[-1] == (COUNT, COUNT)


def test_copies_are_named_across_parts_first():
    names = np.array([f"{number}.png" for number in range(COUNT)])
    found = inspected(made(pixels_with_copies(), split=GIVEN, names=names))
    assert (found.copies.images, found.copies.across, found.copies.contradicting) == (5, 3, 3)
    assert found.copies.examples == [
        ["0.png, a (train)", "41.png, b (test)", "50.png, a (test)"],
        ["5.png, b (train)", "7.png, b (train)"],
    ]
    assert [warning.split(":")[0] for warning in found.warnings] == [
        "3 images have a copy in another part of the split",
        "3 images have a copy of another class",
    ]


def test_a_pixel_that_differs_makes_no_copy():
    pixels = pixels_with_copies()
    for row in (7, 41, 50):
        pixels[row, 0, 0, 0] ^= row
    assert inspected(made(pixels, split=GIVEN)).copies.images == 0


def test_grey_levels_that_tell_the_classes_are_a_warning_either_way_round():
    pixels = np.random.default_rng(0).integers(90, 160, (COUNT, 1, 6, 5), dtype=np.uint8)
    for brighter in (0, 1):
        moved = pixels.copy()
        moved[brighter::2] += 60
        found = inspected(made(moved))
        assert found.grey_auc == 1
        assert "mean intensity alone tells the classes apart with an AUC of 1.000" in found.warnings[0]
    assert not inspected(made(pixels)).warnings


def test_a_class_that_a_part_lacks_is_a_warning():
    split_ = np.where(np.arange(COUNT) % 2 == 0, "train", GIVEN)
    assert inspected(made(split=np.where(np.arange(COUNT) < 4, "train", split_))).warnings == [
        "the validation part has no image of class 'a'",
        "the test part has no image of class 'a'",
    ]


def test_the_hash_is_of_shape_and_pixels_and_not_of_their_order_in_memory():
    image = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    turned = np.ascontiguousarray(image.transpose(0, 2, 1)).transpose(0, 2, 1)
    assert pixel_hash(image) == pixel_hash(turned)
    assert len({pixel_hash(image), pixel_hash(image.reshape(1, 6, 4)), pixel_hash(image + 1)}) == 3


def test_one_copy_is_said_in_the_singular_and_thousands_with_a_comma():
    hashes = [b"a"] * 1500
    parts = np.array(["train"] * 1499 + ["test"])
    found = find_copies(hashes, parts, np.zeros(1500), list(map(str, range(1500))))
    assert found.warnings == ["1,500 images have a copy in another part of the split: figures there are too good"]
    assert found.examples == [["0 (train)", "1 (train)", "2 (train)"]]


def labelled_set(classes=None):
    """Eight images of two kinds, row + 1 objects each; the last is a copy of the first."""
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (1, 16 + row, 20), dtype=np.uint8) for row in range(8)]
    labels = [np.zeros(image.shape[1:], np.int32) for image in images]
    for row, label in enumerate(labels):
        label[0, : row + 1] = 1 if classes else np.arange(1, row + 2)
    images[7], labels[7] = images[0], np.zeros_like(labels[0])
    names, split_ = np.array(list("abcdefgh")), np.repeat(["train", "validation", "test"], [5, 1, 2])
    origins = Origins(names, split=split_, kinds=np.array(["dark", "light"] * 4), subjects=np.array(list("aabbcdef")))
    return LabelledImages("made", Ragged.of(images), Ragged.of(labels), origins, classes)


def test_labelled_images_are_counted():
    labelled = labelled_set()
    found = inspect_labelled(labelled, split_labelled(labelled, DataConfig()))
    assert [part.images for part in found.parts.values()] == [5, 1, 2]
    assert [part.objects for part in found.parts.values()] == [15, 6, 7]
    assert [part.sources for part in found.parts.values()] == [3, 1, 2]
    assert found.parts["train"].kinds == {"dark": 3, "light": 2}
    assert found.sizes == ((16, 20), (22, 20))
    assert found.objects == (0, 3.5, 7)
    assert found.labelled == 28 / labelled.labels.values.size
    assert found.normalisation == Normalisation.of_each([labelled.images[row] for row in range(5)], 255.0)
    assert found.copies.examples == [["a (train)", "h (test)"]]
    assert found.warnings == found.copies.warnings != []


def test_of_labels_that_are_classes_no_objects_are_counted():
    labelled = labelled_set(classes=("background", "membrane"))
    found = inspect_labelled(labelled, split_labelled(labelled, DataConfig()))
    assert found.objects is None
    assert {part.objects for part in found.parts.values()} == {None}
