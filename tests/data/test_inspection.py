"""What is said of a set is what can be counted in it; copies and telling grey levels are found, and only these."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageSet
from isotypic.data.inspection import inspect, part_of
from isotypic.data.normalisation import Normalisation
from isotypic.data.splits import split

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
        ["0.png (train, a)", "41.png (test, b)", "50.png (test, a)"],
        ["5.png (train, b)", "7.png (train, b)"],
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
