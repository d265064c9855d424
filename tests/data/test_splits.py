import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageSet
from isotypic.data.splits import Splits, nested_subsets, split
from isotypic.errors import RequestError

seeds = st.integers(0, 2**31)
fractions = st.floats(0.05, 0.6)
laws = settings(max_examples=40)


def image_set(labels, subjects=None, own=None):
    labels = np.asarray(labels, dtype=np.int64)
    images = np.zeros((len(labels), 1, 1, 1), dtype=np.uint8)
    classes = tuple(map(str, range(labels.max() + 1)))
    return ImageSet(
        "set",
        images,
        labels,
        classes,
        subjects=None if subjects is None else np.asarray(subjects, dtype=str),
        split=None if own is None else np.asarray(own),
    )


def parts(splits):
    return splits.train, splits.validation, splits.test


def is_partition(splits, count):
    return np.array_equal(np.sort(np.concatenate(parts(splits))), np.arange(count))


def shared_subjects(splits, subjects):
    sides = [set(np.asarray(subjects)[part].tolist()) for part in parts(splits)]
    return (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])


@st.composite
def labelled(draw):
    """Labels of two to five classes with at least ten images each, in any order."""
    counts = draw(st.lists(st.integers(10, 40), min_size=2, max_size=5))
    return draw(st.permutations(np.repeat(np.arange(len(counts)), counts).tolist()))


@laws
@given(labelled(), seeds, fractions, fractions)
def test_stratified_split_is_a_partition_near_the_fraction_of_every_class(labels, seed, test, validation):
    config = DataConfig(test_fraction=test, validation_fraction=validation, split_seed=seed)
    splits = split(image_set(labels), config)
    assert is_partition(splits, len(labels))
    labels = np.array(labels)
    for label in np.unique(labels):
        counts = [(labels[part] == label).sum() for part in parts(splits)]
        assert abs(counts[2] - test * sum(counts)) <= 1
        assert abs(counts[1] - validation * (sum(counts) - counts[2])) <= 1
        assert min(counts) >= 1


@laws
@given(seeds, st.integers(0, 1000))
def test_split_depends_on_its_seed_alone(seed, other):
    labels = np.arange(200) % 3
    one, again = (split(image_set(labels), DataConfig(split_seed=seed)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(parts(one), parts(again), strict=True))
    if other != seed:
        assert not np.array_equal(one.test, split(image_set(labels), DataConfig(split_seed=other)).test)


@st.composite
def patients(draw):
    """Images of 8 to 30 patients, each patient of one class, 5 to 9 images each, in any order."""
    sizes = draw(st.lists(st.integers(5, 9), min_size=8, max_size=30))
    subjects = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(draw(seeds)).permutation(len(subjects))
    return (subjects % 2)[order], subjects[order]


@laws
@given(patients(), seeds)
def test_no_patient_is_ever_in_two_parts(drawn, seed):
    labels, subjects = drawn
    splits = split(image_set(labels, subjects), DataConfig(split_seed=seed))
    assert is_partition(splits, len(labels))
    assert not shared_subjects(splits, subjects)
    assert all(len(part) for part in parts(splits))


def test_a_split_by_image_would_share_patients():
    labels, subjects = np.arange(200) % 2, np.arange(200) // 10
    assert shared_subjects(split(image_set(labels), DataConfig()), subjects)
    assert not shared_subjects(split(image_set(labels, subjects), DataConfig()), subjects)


def test_the_partition_law_sees_a_lost_and_a_double_image():
    splits = split(image_set(np.arange(50) % 2), DataConfig())
    assert is_partition(splits, 50)
    assert not is_partition(Splits(splits.train[1:], splits.validation, splits.test), 50)
    assert not is_partition(Splits(splits.train, splits.validation, splits.test[[0, *range(len(splits.test))]]), 50)


@pytest.mark.parametrize("seed", range(5))
def test_patients_are_dealt_near_the_fraction_of_every_class(seed):
    draw = np.random.default_rng(seed)
    subjects = draw.integers(0, 60, 3000)
    labels = (subjects % 3 == 0).astype(int)
    splits = split(image_set(labels, subjects), DataConfig(split_seed=seed))
    shares = np.bincount(labels[splits.test]) / np.bincount(labels)
    np.testing.assert_allclose(shares, 0.3, atol=0.02)


def test_two_large_patients_are_still_divided():
    splits = split(image_set(np.arange(300) % 2, np.arange(300) // 100), DataConfig(validation_fraction=0.05))
    assert [len(part) for part in parts(splits)] == [100, 100, 100]


def test_an_own_split_is_kept_and_its_missing_parts_are_cut():
    labels = np.arange(300) % 3
    own = np.repeat(["train", "validation", "test"], 100)
    whole = split(image_set(labels, own=own), DataConfig())
    assert [part.tolist() for part in parts(whole)] == [list(range(a, a + 100)) for a in (0, 100, 200)]
    no_validation = split(image_set(labels, own=np.repeat(["train", "test"], [200, 100])), DataConfig())
    assert no_validation.test.tolist() == list(range(200, 300))
    assert len(no_validation.validation) == pytest.approx(30, abs=2)
    no_test = split(image_set(labels, own=np.repeat(["train", "validation"], [200, 100])), DataConfig())
    assert no_test.validation.tolist() == list(range(200, 300))
    assert len(no_test.test) == pytest.approx(60, abs=2)


@pytest.mark.parametrize(
    ("labels", "subjects", "own", "message"),
    [
        ([0, 1], None, None, "2 images cannot be split with the fraction 0.3 held out: a part would be empty"),
        ([0, 1, 0, 1], ["p"] * 4, None, "give more images or patients"),
        ([0, 0, 1, 1] * 5, ["a", "b", "c", "c"] * 5, None, "the training part would have one class only"),
        ([0, 1, 0, 1], None, ["test", "test", "validation", "validation"], "one class only .0 images."),
    ],
)
def test_impossible_splits_are_refused(labels, subjects, own, message):
    with pytest.raises(RequestError, match=message):
        split(image_set(labels, subjects, own), DataConfig(test_fraction=0.3, validation_fraction=0.5))


@laws
@given(labelled(), seeds, st.data())
def test_subsets_are_nested_balanced_and_of_their_size(labels, seed, data):
    labels = np.array(labels)
    candidates = np.flatnonzero(np.arange(len(labels)) % 5 > 0)
    classes, counts = np.unique(labels[candidates], return_counts=True)
    size = st.integers(len(classes), len(candidates))
    sizes = data.draw(st.lists(size, min_size=2, max_size=5))
    subsets = nested_subsets(labels, candidates, sizes, seed)
    for small, large in zip(sorted(sizes), sorted(sizes)[1:], strict=False):
        assert np.array_equal(subsets[small], subsets[large][:small])
    for size, rows in subsets.items():
        assert len(rows) == len(set(rows.tolist())) == size
        assert set(rows.tolist()) <= set(candidates.tolist())
        drawn = np.array([(labels[rows] == label).sum() for label in classes])
        assert drawn.min() >= 1
        assert ((drawn >= drawn.max() - 1) | (drawn == counts)).all()


def test_subsets_depend_on_their_seed():
    labels, rows = np.arange(100) % 4, np.arange(100)
    one, again, other = (nested_subsets(labels, rows, [40], seed)[40] for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_random_subsets_would_not_be_balanced():
    labels = np.array([0] * 90 + [1] * 10)
    random = np.random.default_rng(0).permutation(100)[:20]
    assert abs((labels[random] == 0).sum() - (labels[random] == 1).sum()) > 1
    balanced = labels[nested_subsets(labels, np.arange(100), [20], 0)[20]]
    assert np.bincount(balanced).tolist() == [10, 10]


@pytest.mark.parametrize("size", [3, 101, 0, -1])
def test_impossible_sizes_are_refused(size):
    message = rf"expected training sizes from 4 \(one image a class\) to 100 .*received {size}"
    with pytest.raises(RequestError, match=message):
        nested_subsets(np.arange(100) % 4, np.arange(100), [10, size], 0)
