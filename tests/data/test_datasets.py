import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from isotypic.data.catalogue import DATASETS, load, recognise
from isotypic.data.config import DataConfig
from isotypic.errors import RequestError

REAL = Path(os.environ.get("ISOTYPIC_DATA", Path(__file__).parents[2] / "../shared/data"))
DRAW = np.random.default_rng(0)


def refused(message, cache, **config):
    with pytest.raises(RequestError, match=re.escape(message)):
        load(DataConfig(**config), cache)


def test_digits_span_0_to_255(tmp_path):
    digits = load(DataConfig(), tmp_path)
    assert digits.images.shape == (1797, 1, 8, 8)
    assert digits.classes == tuple("0123456789")
    levels = load_digits().images
    np.testing.assert_array_equal(digits.images[:, 0], np.rint(levels * 255 / 16))
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert load(DataConfig(resize=(6, 4), colour="rgb"), tmp_path).shape == (3, 6, 4)


def test_digits_refuse_a_path(tmp_path):
    refused("'digits' comes with scikit-learn and reads no path", tmp_path, path=tmp_path)


def test_unknown_data_set(tmp_path):
    refused("unknown data set 'minst': did you mean 'mnist'?", tmp_path, dataset="minst")
    assert list(DATASETS) == ["digits", "mnist", "medmnist", "cifar", "pcam", "touching", "mitochondria", "folder"]


class TestMnist:
    @pytest.fixture
    def write(self, tmp_path, write_idx):
        def make(prefix, count, end=".gz", labels=None):
            images = DRAW.integers(0, 256, (count, 6, 7), dtype=np.uint8)
            write_idx(tmp_path / f"{prefix}images-idx3-ubyte{end}", images)
            write_idx(tmp_path / f"{prefix}labels-idx1-ubyte{end}", np.arange(labels or count) % 3)
            return images

        return make

    def test_one_pair_has_no_split(self, tmp_path, write):
        images = write("t10k-", 6)
        mnist = load(DataConfig(dataset="mnist", path=tmp_path), tmp_path)
        np.testing.assert_array_equal(mnist.images[:, 0], images)
        assert mnist.split is None
        assert mnist.classes == ("0", "1", "2")

    def test_both_pairs_bring_their_split(self, tmp_path, write):
        train, test = write("train-", 6), write("t10k-", 3, end="")
        mnist = load(DataConfig(dataset="mnist", path=tmp_path), tmp_path)
        np.testing.assert_array_equal(mnist.images[:, 0], np.concatenate([train, test]))
        assert mnist.split.tolist() == ["train"] * 6 + ["test"] * 3

    def test_a_file_is_read_alone(self, tmp_path, write):
        write("train-", 6)
        write("t10k-", 3)
        path = tmp_path / "train-images-idx3-ubyte.gz"
        assert len(load(DataConfig(dataset="mnist", path=path), tmp_path)) == 6

    def test_wrong_folders_are_refused(self, tmp_path, write):
        refused("'mnist' needs a path", tmp_path, dataset="mnist")
        refused("gone: no such file or folder", tmp_path, dataset="mnist", path=tmp_path / "gone")
        refused("no MNIST files", tmp_path, dataset="mnist", path=tmp_path)
        write("train-", 6)
        write("extra-", 6)
        refused("several sets in one folder (extra-images", tmp_path, dataset="mnist", path=tmp_path)

    def test_labels_must_be_there_and_agree(self, tmp_path, write):
        write("", 6, labels=5)
        path = tmp_path / "images-idx3-ubyte.gz"
        refused("holds 6 images and", tmp_path, dataset="mnist", path=path)
        (tmp_path / "labels-idx1-ubyte.gz").unlink()
        refused("its labels are missing", tmp_path, dataset="mnist", path=path)

    @pytest.mark.skipif(not (REAL / "mnist-t10k").is_dir(), reason="the real MNIST test images are not here")
    def test_the_real_test_images(self, tmp_path):
        mnist = load(DataConfig(dataset="mnist", path=REAL / "mnist-t10k"), tmp_path)
        assert mnist.images.shape == (10000, 1, 28, 28)
        assert mnist.labels[:5].tolist() == [7, 2, 1, 0, 4]
        assert np.bincount(mnist.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


class TestMedmnist:
    def write(self, path, sizes=(8, 8, 8)):
        arrays = {}
        for part, size in zip(("train", "val", "test"), sizes, strict=True):
            arrays[f"{part}_images"] = DRAW.integers(0, 256, (4, size, size, 3), dtype=np.uint8)
            arrays[f"{part}_labels"] = np.arange(4)[:, None] % 2
        np.savez(path, **arrays)
        return arrays

    def test_parts_are_joined_with_their_split(self, tmp_path):
        arrays = self.write(tmp_path / "pathmnist.npz")
        config = DataConfig(dataset="medmnist", path=tmp_path / "pathmnist.npz")
        pathmnist = load(config, tmp_path)
        assert pathmnist.name == "pathmnist"
        assert pathmnist.images.shape == (12, 3, 8, 8)
        assert pathmnist.split.tolist() == ["train"] * 4 + ["validation"] * 4 + ["test"] * 4
        np.testing.assert_array_equal(pathmnist.images[8:], arrays["test_images"].transpose(0, 3, 1, 2))

    def test_volumes_have_three_axes(self, tmp_path):
        arrays = {}
        for part, count in (("train", 6), ("val", 2), ("test", 4)):
            arrays[f"{part}_images"] = DRAW.integers(0, 256, (count, 7, 8, 9), dtype=np.uint8)
            arrays[f"{part}_labels"] = np.arange(count)[:, None] % 2
        np.savez(tmp_path / "organs.npz", **arrays)
        organs = load(DataConfig(dataset="medmnist", path=tmp_path / "organs.npz"), tmp_path)
        assert organs.images.shape == (12, 1, 7, 8, 9)
        np.testing.assert_array_equal(organs.images[6:8, 0], arrays["val_images"])
        tripled = load(DataConfig(dataset="medmnist", path=tmp_path / "organs.npz", colour="rgb"), tmp_path)
        assert tripled.shape == (3, 7, 8, 9)
        resized = {"dataset": "medmnist", "path": tmp_path / "organs.npz", "resize": 16}
        refused("received volumes [6, 1, 7, 8, 9]; leave it out", tmp_path, **resized)

    def test_wrong_requests_are_refused(self, tmp_path):
        refused("'medmnist' needs a path", tmp_path, dataset="medmnist")
        refused("gone.npz: no such file", tmp_path, dataset="medmnist", path=tmp_path / "gone.npz")
        self.write(tmp_path / "a.npz", sizes=(8, 8, 9))
        refused("images of different sizes", tmp_path, dataset="medmnist", path=tmp_path / "a.npz")


def test_recognise(tmp_path):
    assert recognise(tmp_path) == "folder"
    for name, dataset in (("a.npz", "medmnist"), ("t10k-images-idx3-ubyte.gz", "mnist")):
        (tmp_path / name).touch()
        assert recognise(tmp_path / name) == dataset
    assert recognise(tmp_path) == "mnist"
    nuclei = tmp_path / "nuclei"
    for part in ("images", "masks"):
        (nuclei / "ab" / part).mkdir(parents=True)
        (nuclei / "ab" / part / "ab.png").touch()
    shutil.make_archive(str(nuclei), "zip", nuclei)
    assert recognise(nuclei) == recognise(tmp_path / "nuclei.zip") == "touching"
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RequestError, match=r"notes\.txt: not a data set"):
        recognise(tmp_path / "notes.txt")
    with pytest.raises(RequestError, match="gone: no such file or folder"):
        recognise(tmp_path / "gone")
