"""PatchCamelyon: what is read is what was written, nothing is read before it is asked for, wrong files are named."""

import os
import re

import h5py
import numpy as np
import pytest
from lookalikes import COUNTS, name, pack, write_pcam

from isotypic.data.catalogue import load, recognise
from isotypic.data.config import DataConfig
from isotypic.data.readers.hdf5 import Hdf5Images
from isotypic.errors import RequestError


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "pcam"
    folder.mkdir()
    return folder


def loaded(folder, **config):
    return load(DataConfig(dataset="pcam", path=folder, **config), folder.parent / "cache")


def test_images_labels_parts_and_slides(files):
    images, labels = write_pcam(files)
    found = loaded(files)
    assert recognise(files) == "pcam"
    assert found.shape == (3, 96, 96)
    assert (np.asarray(found.images[:]) == images.transpose(0, 3, 1, 2)).all()
    assert found.labels.tolist() == labels.tolist()
    assert [int((found.split == part).sum()) for part in ("train", "validation", "test")] == list(COUNTS.values())
    assert len(set(found.subjects)) == 9
    assert found.classes == ("normal", "tumor")


def test_packed_files_are_unpacked_once(files):
    images, _ = write_pcam(files)
    for path in list(files.glob("*.h5")):
        pack(path)
    cache = files.parent / "cache"
    assert (loaded(files).images[[0, -1]] == images[[0, -1]].transpose(0, 3, 1, 2)).all()
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(before) == 6
    loaded(files)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before


def test_prepared_as_asked(files):
    images, _ = write_pcam(files)
    found = loaded(files, colour="grey", resize=48)
    assert found.shape == (1, 48, 48)
    assert found.images[[3, 5]].shape == (2, 1, 48, 48)
    assert found.images[3].shape == (1, 48, 48)
    grey = loaded(files, colour="grey").images[7]
    assert (grey[0] == np.rint(images[7] @ np.array([0.2989, 0.587, 0.114]))).all()


def test_nothing_is_read_before_it_is_asked_for(files):
    """A full training part, sparse on disk."""
    write_pcam(files, tables=False)
    with h5py.File(files / name("train", "x"), "w") as file:
        file.create_dataset("x", (262_144, 96, 96, 3), np.uint8, chunks=(64, 96, 96, 3))
    with h5py.File(files / name("train", "y"), "w") as file:
        file["y"] = (np.arange(262_144) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)
    assert os.path.getsize(files / name("train", "x")) < 1e7
    found = loaded(files)
    assert len(found) == 262_144 + 70
    assert found.images[[262_143, 3]].max() == 0
    assert found.images[262_144].max() > 0


def without(part, key):
    return lambda folder: (folder / name(part, key)).unlink()


def rewritten(part, key, **datasets):
    def spoil(folder):
        with h5py.File(folder / name(part, key), "w") as file:
            for dataset, values in datasets.items():
                file[dataset] = values

    return spoil


def cut(part, key):
    def spoil(folder):
        path = folder / name(part, key)
        path.write_bytes(path.read_bytes()[:3000])

    return spoil


def exchanged_labels(folder):
    """As many rows, other labels: those of the other part."""
    with h5py.File(folder / name("valid", "y"), "r+") as one, h5py.File(folder / name("test", "y"), "r+") as other:
        first, second = one["y"][:], other["y"][:]
        one["y"][:], other["y"][:] = second, first


def leaking(folder):
    path = folder / "camelyonpatch_level_2_split_test_meta.csv"
    path.write_text(path.read_text().replace("camelyon16_test_20", "camelyon16_train_00"))


def unreadable_pack(folder):
    path = folder / name("test", "x")
    pack(path)
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(packed.read_bytes()[:-2000])


ONES = np.ones((30, 1, 1, 1), np.uint8)
WRONG = {
    "a part is missing": (without("valid", "x"), "no camelyonpatch_level_2_split_valid_x.h5, packed as .gz or not"),
    "its labels are missing": (without("test", "y"), "no camelyonpatch_level_2_split_test_y.h5"),
    "no x": (rewritten("test", "x", images=np.zeros((30, 96, 96, 3), np.uint8)), "received none; it has images"),
    "no y": (rewritten("test", "y", x=ONES), "expected y [N, 1, 1, 1], received none"),
    "x of floats": (rewritten("test", "x", x=np.zeros((30, 96, 96, 3))), "received [30, 96, 96, 3] of float64"),
    "x of another shape": (rewritten("test", "x", x=np.zeros((30, 96, 96), np.uint8)), "received [30, 96, 96] of"),
    "x of another size": (rewritten("test", "x", x=np.zeros((30, 64, 64, 3), np.uint8)), "expected parts of one size"),
    "y of another shape": (rewritten("test", "y", y=np.ones((30, 2), np.uint8)), "received [30, 2]"),
    "y a number": (rewritten("test", "y", y=np.uint8(1)), "expected y [N, 1, 1, 1], received []"),
    "y a group": (rewritten("test", "y", **{"y/a": ONES}), "expected y [N, 1, 1, 1], received []"),
    "too few labels": (rewritten("test", "y", y=ONES[:29]), "30 images, and 29 labels in the file of y"),
    "a label of 2": (rewritten("test", "y", y=2 * ONES), "expected labels 0 and 1, received 2"),
    "cut short": (cut("train", "x"), "cannot be read as HDF5"),
    "a packed file cut short": (unreadable_pack, "cannot be unpacked"),
    "a slide on both sides": (leaking, "the split leaks: patient 'camelyon16_train_00' is in test and train"),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_wrong_files_are_named(files, spoil, message):
    write_pcam(files)
    spoil(files)
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        loaded(files)
    assert "\n" not in str(caught.value)
    cache = files.parent / "cache"
    assert not cache.exists() or not [path for path in cache.iterdir() if path.name.startswith(".")]


def test_labels_of_another_part_are_told_by_the_table(files):
    write_pcam(files, {"train": 150, "valid": 30, "test": 30})
    exchanged_labels(files)
    with pytest.raises(RequestError, match="labels of valid are not what its table says; they are those of test: the"):
        loaded(files)


def test_without_tables_the_training_part_is_the_largest(files):
    write_pcam(files, {"train": 40, "valid": 150, "test": 30}, tables=False)
    with pytest.raises(RequestError, match="received 40 images, and 150 in valid: are the files swapped"):
        loaded(files)


def test_a_forked_process_reads_too(files):
    images, _ = write_pcam(files)
    found = Hdf5Images(files / name("train", "x"), "x")
    assert (found[5] == images[5].transpose(2, 0, 1)).all()
    child = os.fork()
    if child == 0:
        os._exit(0 if (found[[9, 8]] == images[[9, 8]].transpose(0, 3, 1, 2)).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
