"""Images with labels are read back from a folder as they were, and an unfinished folder is refused."""

import numpy as np
import pytest
from resuming import interrupted_after

from isotypic.data.catalogue import load_labelled, recognise_either
from isotypic.data.config import SegmentationDataConfig, SticksConfig
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.labelled.ragged import Ragged
from isotypic.data.writers import labelled_folder, output_folder
from isotypic.errors import RequestError

COUNT = 9
SPLIT = np.repeat(["train", "validation", "test"], 3)


def made(channels=3, dtype=np.uint8, objects=4, classes=None, **origins):
    """Images of different sizes, every label in them."""
    generator = np.random.default_rng(0)
    sizes = [(17 + row, 20) for row in range(COUNT)]
    values = [generator.integers(0, 256, (channels, *size)) for size in sizes]
    images = [(value / 255 if dtype == np.float32 else value).astype(dtype) for value in values]
    labels = [np.arange(y * x, dtype=np.int32).reshape(y, x) % np.int32(objects + 1) for y, x in sizes]
    names = origins.pop("names", np.array([f"photo {row}.v1" for row in range(COUNT)]))
    return LabelledImages("made", Ragged.of(images), Ragged.of(labels), Origins(names, **origins), classes)


def written(labelled, folder, progress=lambda *_: None):
    return labelled_folder.write(labelled, folder, {"data": "a test"}, progress)


def read(folder):
    return load_labelled(SegmentationDataConfig(dataset="labelled_folder", path=folder), folder.parent / "cache")


def same(one, other):
    """Whether two sets have the same images, labels, sources and parts, whatever their order."""
    orders = [np.argsort([str(name).rsplit("/", 1)[-1] for name in each.origins.names]) for each in (one, other)]
    for first, second in zip(*orders, strict=True):
        if not (
            one.images.dtype == other.images.dtype
            and np.array_equal(one.images[first], other.images[second])
            and np.array_equal(one.labels[first], other.labels[second])
        ):
            return False
    columns = [(getattr(one.origins, name), getattr(other.origins, name)) for name in ("subjects", "split")]
    return all((a is None and b is None) or a[orders[0]].tolist() == b[orders[1]].tolist() for a, b in columns)


SETS = {
    "colours": made(),
    "grey": made(channels=1),
    "five channels": made(channels=5),
    "floats": made(channels=2, dtype=np.float32),
    "more objects than 16 bits": made(objects=300),
    "with sources": made(subjects=np.array(["a", "a", "b"] * 3)),
    "with a split": made(split=SPLIT),
    "with both": made(split=SPLIT, subjects=np.repeat(["p", "q", "r"], 3)),
}


@pytest.mark.parametrize("labelled", SETS.values(), ids=SETS)
def test_labelled_images_are_read_back_as_they_were(labelled, tmp_path):
    assert written(labelled, tmp_path / "out") == 0
    assert recognise_either(tmp_path / "out") == "labelled_folder"
    assert same(labelled, read(tmp_path / "out"))
    assert written(labelled, tmp_path / "out") == 2 * COUNT


def test_made_sticks_are_read_back_as_they_were(tmp_path):
    small = SticksConfig(size=48, train_images=5, validation_images=2, test_images=3)
    sticks = load_labelled(SegmentationDataConfig(sticks=small), tmp_path)
    written(sticks, tmp_path / "out")
    assert same(sticks, read(tmp_path / "out"))


def test_a_difference_is_seen(tmp_path):
    labelled = made(split=SPLIT)
    written(labelled, tmp_path / "out")
    assert not same(made(split=SPLIT[::-1]), read(tmp_path / "out"))
    assert not same(made(split=SPLIT, objects=5), read(tmp_path / "out"))
    labelled.images.values[-1] ^= 1
    assert not same(labelled, read(tmp_path / "out"))


@pytest.mark.parametrize("files", range(1, 2 * COUNT))
def test_wherever_it_is_stopped_it_is_refused_and_then_goes_on(files, tmp_path, monkeypatch):
    monkeypatch.setattr(output_folder, "_BLOCK", 1)
    labelled, out = made(split=SPLIT), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        written(labelled, out, interrupted_after(files))
    with pytest.raises(RequestError, match=r"no labels|is in images and not in"):
        read(out)
    assert written(labelled, out) == files
    assert same(labelled, read(out))


def test_classes_have_no_place_there(tmp_path):
    with pytest.raises(RequestError, match="received the classes inside, boundary"):
        written(made(objects=1, classes=("inside", "boundary")), tmp_path / "out")
    assert not (tmp_path / "out").exists()
