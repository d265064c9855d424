"""Lazy arrays are the arrays that they stand for; blocks are read once; mixing them loses and repeats nothing."""

import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lookalikes import name, write_pcam

from isotypic.data import lazy
from isotypic.data.image_set import ImageSet
from isotypic.data.lazy import Blocks, Joined, fitted
from isotypic.data.loading import ArrayDataset, BatchSampler, Mixing, loader
from isotypic.data.normalisation import Normalisation
from isotypic.data.readers.hdf5 import Hdf5Images
from isotypic.errors import RequestError

ROWS = [3, slice(2, 9), [4, 4, 0], np.array([-1, 5]), slice(None, None, 7), np.empty(0, np.int64)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pcam")
    images, _ = write_pcam(folder, {"train": 300, "valid": 40, "test": 30}, side=16)
    arrays = [Hdf5Images(folder / name(part, "x"), "x") for part in ("train", "valid", "test")]
    return Joined(arrays), np.ascontiguousarray(images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_rows_are_those_of_the_array(files, rows):
    joined, images = files
    assert joined.shape == images.shape
    for array in (joined, joined.parts[0]):
        found = array[rows]
        assert found.dtype == np.uint8
        assert np.array_equal(found, images[: len(array)][rows])
    with pytest.raises(IndexError):
        joined[len(images)]


def test_parts_of_different_sizes_are_refused():
    with pytest.raises(RequestError, match="expected parts of one size and type"):
        Joined([np.zeros((2, 1, 4, 4), np.uint8), np.zeros((2, 1, 4, 5), np.uint8)])


class Counted:
    """An array that counts its readings."""

    def __init__(self, images):
        self.images, self.read = images, []
        self.shape, self.dtype, self.ndim = images.shape, images.dtype, 4

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        self.read.append(np.asarray(rows).tolist())
        return self.images[rows]


def test_a_block_is_read_once_and_forgotten_at_last(files, monkeypatch):
    _, images = files
    monkeypatch.setattr(lazy, "MIXED", 1)
    rows = np.arange(0, 370, 2)
    counted = Counted(images)
    blocks = Blocks(counted, rows)
    for positions in ([5, 70, 6], [63, 64, 184], [5]):
        assert np.array_equal(blocks[np.array(positions)], images[rows[positions]])
    assert [part[0] for part in counted.read] == [0, 128, 256, 0]
    assert counted.read[0] == rows[:64].tolist()


def test_a_fit_is_kept_until_the_files_change(files, tmp_path):
    joined, images = files
    rows = np.array([5, 1, 320])
    found = fitted(joined, rows, tmp_path)
    assert found == Normalisation.of(images, rows)
    (kept,) = tmp_path.iterdir()
    kept.write_text(kept.read_text().replace(": 255.0", ": 254.0"))
    assert fitted(joined, rows[::-1], tmp_path).scale == 254, "read again"
    assert fitted(joined, rows[:2], tmp_path).scale == 255, "of other images"
    os.utime(joined.parts[2].path, ns=(0, 0))
    assert fitted(joined, rows, tmp_path) == found, "of a changed file"
    assert fitted(images, rows, tmp_path) == found
    assert len(list(tmp_path.iterdir())) == 3


def mixed(image_set, **how):
    part = ArrayDataset(image_set, np.arange(300))
    return part, loader(part, 32, shuffle=True, seed=3, **how)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_epoch_is_the_same_for_any_number_of_workers(files):
    joined, images = files
    labels = np.arange(len(images)) % 2
    lazily = ImageSet("lazy", joined, labels, ("a", "b"))
    runs = [[(x.clone(), y) for x, y in mixed(lazily, workers=workers, steps=12)[1]] for workers in (0, 2, 4)]
    for run in runs[1:]:
        assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(runs[0], run, strict=True))
    part, _ = mixed(lazily)
    same = ArrayDataset(ImageSet("eager", images, labels, ("a", "b")), part.indices)
    assert all(torch.equal(a, b) for a, b in zip(part[[7, 299, 64]], same[[7, 299, 64]], strict=True))
    assert same.mixed is None
    again = pickle.loads(pickle.dumps(part))
    assert torch.equal(again[[1, 2]][0], part[[1, 2]][0])


def test_rows_of_a_lazy_array_are_put_in_order(files):
    joined, images = files
    part = ArrayDataset(
        ImageSet("lazy", joined, np.arange(len(images)) % 2, ("a", "b")),
        np.array([9, 3, 200]),
    )
    assert part.labels.tolist() == [1, 1, 0]
    assert torch.equal(part[1][0], torch.from_numpy(images[9]))


@settings(max_examples=60)
@given(st.integers(1, 400), st.integers(1, 50), st.integers(1, 6), st.integers(0, 99))
def test_mixing_takes_every_image_once_from_a_few_blocks_at_a_time(count, size, blocks, seed):
    sampler = BatchSampler(count, 1, True, seed, mixed=Mixing(size, blocks))
    stream = [position for (position,) in sampler]
    assert sorted(stream) == list(range(count))
    window, places = size * blocks, 0
    while places < count:
        numbers = {position // size for position in stream[places : places + window - size + 1]}
        assert len(numbers) <= blocks + 1
        places += window
    if count > 50:
        assert stream != sorted(stream)
        assert stream != [position for (position,) in sampler]
