import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import label as pieces

from isotypic.data.config import SegmentationDataConfig
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.labelled.ragged import Ragged
from isotypic.data.labelled.windows import (
    WholeDataset,
    Window,
    WindowDataset,
    WindowSampler,
    _mirrored,
    balanced,
    normaliser_of,
    whole_loader,
    window_loader,
)
from isotypic.data.loading import BatchSampler
from isotypic.data.normalisation import Normalisation, Percentiles
from isotypic.errors import RequestError


class Plain:
    """Leaves every value as it is."""

    def for_image(self, image):
        return Normalisation((0.0,), (1.0,), 1.0)


PLAIN = Plain()
SIZES = [(40, 52), (33, 33), (64, 35), (45, 60)]


def made(sizes=SIZES, classes=None):
    """Images whose pixels are their labels, each pixel of a set with its own value."""
    starts = np.cumsum([0, *(height * width for height, width in sizes)])
    labels = [
        np.arange(start, start + height * width, dtype=np.int32).reshape(height, width)
        for start, (height, width) in zip(starts, sizes, strict=False)
    ]
    images = [array[None].astype(np.float32) for array in labels]
    names = np.array([f"n{i}" for i in range(len(sizes))])
    return LabelledImages("set", Ragged.of(images), Ragged.of(labels), Origins(names), classes)


def dataset(size=(16, 24), rows=range(4), **changes):
    return WindowDataset(made(**changes), np.array(rows), PLAIN, size)


def epochs(loading, count=1):
    return [[(images.clone(), labels.clone()) for images, labels in loading] for _ in range(count)]


def same(one, other):
    flat = [[tensor for epoch in run for batch in epoch for tensor in batch] for run in (one, other)]
    return len(flat[0]) == len(flat[1]) and all(map(torch.equal, *flat))


def of_kinds(*kinds):
    """A set whose images are of these kinds; none of them has none."""
    whole = made([(9, 9)] * max(len(kinds), 7))
    return replace(whole, origins=replace(whole.origins, kinds=np.array(kinds) if kinds else None))


class TestBalance:
    @pytest.mark.parametrize(("frequent", "rare"), [(6, 1), (5, 2), (4, 3), (9, 2)])
    def test_kinds_come_about_equally_often_and_images_of_a_kind_equally(self, frequent, rare):
        labelled = of_kinds(*["grey"] * frequent, *["stained"] * rare)
        rows, times = np.unique(balanced(labelled, np.arange(frequent + rare)), return_counts=True)
        assert rows.tolist() == list(range(frequent + rare))
        assert (times[:frequent] == 1).all()
        assert len(set(times[frequent:])) == 1
        assert abs(times[frequent:].sum() - frequent) <= rare / 2

    def test_only_the_images_of_the_part_count(self):
        labelled = of_kinds(*["grey"] * 5, "stained", "stained")
        assert balanced(labelled, np.array([5, 0, 1])).tolist() == [5, 5, 0, 1]
        assert balanced(labelled, np.array([6, 5])).tolist() == [6, 5]

    def test_a_set_without_kinds_stays(self):
        assert balanced(of_kinds(), np.array([3, 1])).tolist() == [3, 1]


class TestWindows:
    def test_labels_are_those_of_the_pixels(self):
        for images, labels in window_loader(dataset(), 3, seed=0, steps=20):
            assert images.shape == (3, 1, 16, 24)
            assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
            assert torch.equal(images[:, 0].long(), labels)
            assert (labels.diff(dim=2) == 1).all()

    @pytest.mark.parametrize("steps", [None, 5])
    def test_the_same_for_any_number_of_workers_and_any_global_seed(self, steps):
        runs = []
        for workers in (0, 2):
            torch.manual_seed(workers)
            before = torch.random.get_rng_state()
            runs.append(epochs(window_loader(dataset(), 3, seed=3, workers=workers, steps=steps), 2))
            assert torch.equal(before, torch.random.get_rng_state())
        assert same(*runs)
        assert not same(runs[0], epochs(window_loader(dataset(), 3, seed=4, steps=steps), 2))
        assert not same(runs[0][:1], runs[0][1:])

    def test_an_epoch_can_be_resumed_by_its_number(self):
        whole, resumed = (WindowSampler(BatchSampler(4, 3, True, 1, 5), 1) for _ in range(2))
        runs = [list(whole) for _ in range(3)]
        resumed.set_epoch(2)
        assert list(resumed) == runs[2] != runs[1]
        assert len(resumed) == 5

    def test_the_stream_can_be_resumed_at_any_batch(self):
        whole = WindowSampler(BatchSampler(4, 3, True, 1, 5), 1)
        batches = [batch for _ in range(3) for batch in whole]
        for first in range(len(batches)):
            resumed = WindowSampler(BatchSampler(4, 3, True, 1, 5), 1)
            resumed.start_at(first)
            assert [batch for _ in range(3) for batch in resumed][: len(batches) - first] == batches[first:]

    def test_every_place_comes_equally_often(self):
        part = dataset(size=(38, 52), rows=[0])
        firsts = torch.cat([labels[:, 0, 0] for _, labels in window_loader(part, 50, seed=0, steps=60)])
        assert torch.bincount(firsts // 52).tolist() == pytest.approx([1000] * 3, abs=150)
        assert part[[Window(0, 0.999999, 0.0)]][1][0, 0, 0] == 2 * 52

    def test_whole_images_of_one_size(self):
        part = dataset(size=None, sizes=[(20, 30)] * 3, rows=range(3))
        ((_, labels),) = epochs(window_loader(part, 3, seed=0))[0]
        assert sorted(labels[:, 0, 0].tolist()) == [0, 600, 1200]

    def test_every_image_has_its_own_percentiles_and_not_its_windows(self):
        labelled = made()
        part = WindowDataset(labelled, np.array([2]), Percentiles(0, 100, least=1e-9), (16, 16))
        image, labels = part[[Window(0, 0.5, 0.5)]]
        low, high = labelled.labels[2].min(), labelled.labels[2].max()
        torch.testing.assert_close(image[0, 0], (2 * (labels[0] - low) / (high - low) - 1).float(), atol=1e-4, rtol=0)

    def test_the_request_names_the_normaliser(self):
        labelled = made()
        fitted = normaliser_of(labelled, np.array([1]), SegmentationDataConfig())
        assert fitted == Normalisation.of(labelled.images[1][None])
        assert fitted != normaliser_of(labelled, np.array([0, 1]), SegmentationDataConfig())
        assert normaliser_of(labelled, np.array([1]), SegmentationDataConfig(normalise="image")) == Percentiles()

    def test_a_dataset_can_travel(self):
        part = pickle.loads(pickle.dumps(dataset()))
        assert torch.equal(part[[Window(1, 0.3, 0.4)]][0], dataset()[[Window(1, 0.3, 0.4)]][0])

    def test_wrong_requests_are_refused(self):
        with pytest.raises(RequestError, match=r"set: images of 4 different sizes, from 33x33 to 64x35, cannot make"):
            dataset(size=None)
        with pytest.raises(RequestError, match=r"set: expected at least one index in 0\.\.3"):
            dataset(rows=[4])
        with pytest.raises(RequestError, match="expected batch size of at least 1, received 0"):
            window_loader(dataset(), 0, seed=0)
        with pytest.raises(RequestError, match="expected workers of at least 0, received -1"):
            window_loader(dataset(), 1, seed=0, workers=-1)


class TestMirroring:
    LABELS = np.zeros((6, 7), np.int32)
    LABELS[0:2, 2:4], LABELS[3:5, 3:6], LABELS[5, 0] = 1, 2, 5

    def mirrored(self, renumber, size=(14, 15)):
        image = (self.LABELS[None] * 10 + np.arange(7)).astype(np.uint8)
        return _mirrored(image, self.LABELS, size, renumber=renumber)

    def test_the_image_stays_in_the_middle(self):
        image, labels = self.mirrored(renumber=True)
        original, _ = self.mirrored(renumber=True, size=(1, 1))
        assert image.shape == (1, 14, 15)
        assert np.array_equal(labels[4:10, 4:11], self.LABELS)
        assert np.array_equal(image[:, 4:10, 4:11], original)
        assert np.array_equal(image[0, 3], image[0, 4])
        assert np.array_equal(image[0, 10], image[0, 9])

    def test_what_is_seen_is_labelled(self):
        image, labels = self.mirrored(renumber=True)
        assert np.array_equal(image[0] >= 10, labels > 0)

    def test_an_object_and_its_mirror_image_are_two_unless_they_touch(self):
        _, labels = self.mirrored(renumber=True)
        _, copied = self.mirrored(renumber=False)
        assert all(pieces(labels == number, np.ones((3, 3)))[1] == 1 for number in np.unique(labels) if number)
        assert pieces(copied == 2, np.ones((3, 3)))[1] > 1
        assert (labels == 1).sum() == 2 * (self.LABELS == 1).sum()
        assert (labels == 2).sum() == (self.LABELS == 2).sum()
        assert np.array_equal(labels > 0, copied > 0)

    def test_an_object_in_pieces_stays_one(self):
        pair = np.zeros((4, 4), np.int32)
        pair[1, 1] = pair[2, 3] = 1
        assert (_mirrored(pair[None].astype(np.uint8), pair, (4, 5), renumber=True)[1] == 1).sum() == 3

    def test_classes_keep_their_numbers(self):
        labels = WindowDataset(made([(5, 5)], ("a", "b")), np.array([0]), PLAIN, (16, 16))[[Window(0, 0, 0)]][1]
        assert set(labels.unique().tolist()) == set(range(25))
        renumbered = WindowDataset(made([(5, 5)]), np.array([0]), PLAIN, (16, 16))[[Window(0, 0, 0)]][1]
        assert len(renumbered.unique()) > 25

    def test_larger_sides_stay(self):
        image, labels = self.mirrored(renumber=True, size=(4, 9))
        assert image.shape[1:] == labels.shape == (6, 9)
        assert self.mirrored(renumber=True, size=(2, 2))[1] is self.LABELS


class TestWholeImages:
    def test_one_by_one_in_their_order(self):
        found = epochs(whole_loader(WholeDataset(made(), np.array([2, 0]), PLAIN)))[0]
        assert [tuple(labels.shape) for _, labels in found] == [(1, 64, 35), (1, 40, 52)]
        for (image, labels), row in zip(found, (2, 0), strict=True):
            assert image.dtype == torch.float32
            assert torch.equal(image[:, 0].long(), labels)
            assert np.array_equal(labels[0], made().labels[row])

    def test_workers_change_nothing(self):
        runs = [epochs(whole_loader(WholeDataset(made(), np.arange(4), PLAIN), workers=n)) for n in (0, 2)]
        assert same(*runs)

    def test_a_dataset_ends(self):
        assert len(list(WholeDataset(made(), np.arange(3), PLAIN))) == 3
