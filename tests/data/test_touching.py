"""Patches of touching nuclei and of nuclei alone: what touches is told, and their means tell nothing."""

import numpy as np
import pytest
from scipy.ndimage import find_objects
from sklearn.metrics import roc_auc_score

from isotypic.data import catalogue
from isotypic.data.config import DataConfig, TouchingConfig
from isotypic.data.datasets import bbbc038
from isotypic.data.datasets.touching import Patch, distance_to_others, of_equal_means, patches
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.labelled.ragged import Ragged
from isotypic.errors import RequestError

CONFIG = TouchingConfig(size=20, gap=1.5, apart=6)


def nuclei(*boxes, size=(60, 90)):
    labels = np.zeros(size, np.int32)
    for number, (top, left, height, width) in enumerate(boxes, start=1):
        labels[top : top + height, left : left + width] = number
    return labels


@pytest.mark.parametrize(
    ("second", "distance", "label"),
    [((20, 36, 6, 6), 1, 1), ((26, 36, 6, 6), 2**0.5, 1), ((20, 38, 6, 6), 3, None), ((20, 41, 6, 6), 6, None),
     ((20, 42, 6, 6), np.inf, 0), ((20, 60, 6, 6), np.inf, 0)],
)  # fmt: skip
def test_what_touches_and_what_is_alone(second, distance, label):
    labels = nuclei((20, 30, 6, 6), second)
    found = distance_to_others(labels, 1, find_objects(labels)[0], CONFIG.apart)
    assert found == pytest.approx(distance)
    image = np.arange(labels.size).reshape(labels.shape) % 251
    mine = [patch for patch in patches(image, labels, 7, CONFIG) if (patch.top, patch.left) == (13, 23)]
    assert [(patch.row, patch.label) for patch in mine] == ([] if label is None else [(7, label)])
    for patch in mine:
        assert patch.mean == image[13:33, 23:43].mean()


def test_patches_stay_inside_and_the_order_of_numbers_does_not_matter():
    boxes = ((0, 0, 6, 6), (30, 40, 6, 6), (30, 46, 6, 6), (54, 84, 6, 6))
    image = np.zeros((60, 90))
    found = [patch[1:4] for patch in patches(image, nuclei(*boxes), 0, CONFIG)]
    assert found == [(23, 33, 1), (23, 39, 1)]
    assert sorted(patch[1:4] for patch in patches(image, nuclei(*reversed(boxes)), 0, CONFIG)) == sorted(found)
    gap = nuclei(*boxes)
    gap[gap == 1] = 0
    assert len(list(patches(image, gap, 0, CONFIG))) == 2, "numbers may be missing"


def test_a_patch_shows_the_nucleus_and_all_that_is_near():
    """Of 20 pixels, with 6 on either side, 8 are left."""
    image = np.zeros((60, 90))
    assert len(list(patches(image, nuclei((20, 30, 8, 8)), 0, CONFIG))) == 1
    assert not list(patches(image, nuclei((20, 30, 6, 9)), 0, CONFIG))


def biased(count=400):
    """Patches whose mean tells their class."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, count)
    return [
        Patch(i, 0, 0, int(y), float(m)) for i, (y, m) in enumerate(zip(labels, generator.normal(labels), strict=True))
    ]


def auc(found):
    return roc_auc_score([patch.label for patch in found], [patch.mean for patch in found])


def test_means_tell_nothing_after_matching():
    found = biased()
    assert auc(found) > 0.7, "the control"
    matched = of_equal_means(found, 16, np.random.default_rng(1))
    assert abs(auc(matched) - 0.5) < 0.05
    assert 2 * sum(patch.label for patch in matched) == len(matched) > 100
    assert len(set(matched)) == len(matched)
    assert [patch.row for patch in matched] == sorted(patch.row for patch in matched)
    assert (
        of_equal_means(found, 16, np.random.default_rng(1))
        == matched
        != of_equal_means(found, 16, np.random.default_rng(2))
    )
    assert of_equal_means([patch for patch in found if patch.label], 4, np.random.default_rng(0)) == []


def photographs(kinds):
    """Photographs with pairs and single nuclei, two pieces each."""
    generator, images, labels = np.random.default_rng(0), [], []
    for _ in kinds:
        numbered = nuclei((20, 20, 6, 6), (20, 26, 6, 6), (20, 60, 6, 6), (40, 40, 6, 6), (40, 66, 6, 6))
        labels.append(numbered)
        images.append((generator.integers(0, 20, (1, *numbered.shape)) + 100 * (numbered > 0)).astype(np.uint8))
    names = np.array([f"photo{i:02}" for i in range(len(kinds))])
    origins = Origins(names, subjects=names[np.arange(len(kinds)) // 2 * 2], kinds=np.array(kinds))
    return LabelledImages("bbbc038", Ragged.of(images), Ragged.of(labels), origins)


def test_the_set_is_split_by_photograph_and_of_fluorescence_alone(monkeypatch, tmp_path):
    found = photographs(["fluorescence"] * 40 + ["brightfield"] * 4)
    monkeypatch.setattr(bbbc038, "load", lambda *_: found)
    config = DataConfig(dataset="touching", path=tmp_path, touching=CONFIG.model_copy(update={"levels": 2}))
    patches_ = catalogue.load(config, tmp_path)
    assert patches_.shape == (1, 20, 20)
    assert patches_.classes == ("alone", "touching")
    assert {part: patches_.labels[patches_.split == part].mean() for part in ("train", "validation", "test")} == {
        "train": 0.5, "validation": 0.5, "test": 0.5,
    }  # fmt: skip
    assert not any(name >= "photo40" for name in patches_.subjects)
    few = photographs(["brightfield"] * 40)
    monkeypatch.setattr(bbbc038, "load", lambda *_: few)
    with pytest.raises(RequestError, match="the train photographs have no patches of both classes at equal levels"):
        catalogue.load(config, tmp_path)
