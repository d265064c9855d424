"""What is written as a folder is read back as the same set, also where writing was stopped; images are whole."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lookalikes import pack, write_cifar, write_pcam
from PIL import Image
from resuming import interrupted_after

from isotypic.data.catalogue import load
from isotypic.data.config import DataConfig, TouchingConfig
from isotypic.data.image_set import ImageSet
from isotypic.data.writers import image_folder, output_folder
from isotypic.errors import RequestError

COLUMNS = ("labels", "subjects", "split")


def same(one, other):
    """Whether two sets have the same pixels, classes, labels, patients and parts."""
    columns = [(getattr(one, name), getattr(other, name)) for name in COLUMNS]
    return (
        one.classes == other.classes
        and all((a is None and b is None) or a.tolist() == b.tolist() for a, b in columns)
        and one.images.dtype == other.images.dtype
        and np.array_equal(one.images[:], other.images[:])
    )


def written(image_set, folder, made_of=None):
    """How many images were there before."""
    return image_folder.write(image_set, folder, made_of or {"data": "a test"}, lambda *_: None)


def read(folder, **config):
    return load(DataConfig(dataset="folder", path=folder, **config), folder.parent / "cache")


def made(count=12, channels=3, dtype=np.uint8, **columns):
    pixels = np.random.default_rng(0).integers(0, 256, (count, channels, 5, 7)).astype(dtype)
    return ImageSet("made", pixels, np.arange(count) % 3, ("a", "b", "c"), **columns)


@pytest.fixture
def sources(tmp_path, write_idx, write_png):
    """Every data set of the library that has classes, in small: what reads it."""
    generator, place = np.random.default_rng(0), tmp_path / "sources"
    for name in ("pcam", "packed", "cifar", "mnist"):
        (place / name).mkdir(parents=True)
    for name in ("pcam", "packed"):
        write_pcam(place / name, {"train": 20, "valid": 9, "test": 6}, tables=name == "pcam", side=16)
    for path in list((place / "packed").iterdir()):
        pack(path)
    write_cifar(place / "cifar", "cifar-10, binary", each=20)
    _mnist(place / "mnist", write_idx, generator)
    _medmnist(place / "organs.npz", generator)
    _oral(place / "oral", write_png, generator)
    _nuclei(place / "nuclei", write_png)
    touching = TouchingConfig(size=32, gap=1.5, apart=6, levels=1)
    return {
        "digits": DataConfig(),
        "pcam": DataConfig(dataset="pcam", path=place / "pcam"),
        "packed": DataConfig(dataset="pcam", path=place / "packed", colour="grey", resize=12),
        "cifar": DataConfig(dataset="cifar", path=place / "cifar"),
        "mnist": DataConfig(dataset="mnist", path=place / "mnist"),
        "medmnist": DataConfig(dataset="medmnist", path=place / "organs.npz"),
        "folder": DataConfig(dataset="folder", path=place / "oral"),
        "touching": DataConfig(dataset="touching", path=place / "nuclei", touching=touching),
    }


def _mnist(folder, write_idx, generator):
    for prefix, count in (("train", 24), ("t10k", 12)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", generator.integers(0, 256, (count, 9, 8)))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count) % 12)


def _medmnist(path, generator):
    """Eleven classes, whose numbers are no alphabet."""
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = generator.integers(0, 256, (11, 7, 7), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(11)[::-1, None]
    np.savez(path, **arrays)


def _oral(folder, write_png, generator):
    """A table with names that no folder can have."""
    rows = []
    for number in range(12):
        write_png(folder / f"{number}.png", generator.integers(0, 256, (6, 5, 3), dtype=np.uint8))
        label, patient = ("healthy/normal", "cancer: T1?")[number % 2], f"0{number // 2}/x"
        rows.append(
            {"file": f"{number}.png", "label": label, "patient": patient, "split": "val" if number < 4 else "train"}
        )
    pd.DataFrame(rows).to_csv(folder / "cells.csv", index=False)


def _nuclei(folder, write_png):
    """Photographs with two nuclei that touch and two that do not."""
    generator = np.random.default_rng(1)
    for number in range(12):
        photo = generator.integers(5, 60, (80, 160), dtype=np.uint8)
        write_png(folder / f"n{number}" / "images" / f"n{number}.png", photo)
        for mask, (top, left) in enumerate([(36, 40), (36, 46), (36, 80), (36, 120)]):
            pixels = np.zeros_like(photo)
            pixels[top : top + 6, left : left + 6] = 255
            write_png(folder / f"n{number}" / "masks" / f"{mask}.png", pixels)


def test_every_data_set_is_read_back_as_it_was(sources, tmp_path):
    for name, config in sources.items():
        original = load(config, tmp_path / "cache")
        assert written(original, tmp_path / name) == 0
        back = read(tmp_path / name)
        assert same(original, back), name
        assert back.images.shape == original.images.shape


def test_the_folders_alone_say_the_same(tmp_path):
    """Without the table, images are in the order of their paths."""
    people, split = np.repeat(["p", "q", "r", "s"], 3), np.repeat(["train", "validation", "test"], [6, 3, 3])
    original = made(subjects=people, split=split)
    written(original, tmp_path / "out")
    files = pd.read_csv(tmp_path / "out" / "images.csv")["file"].tolist()
    assert files[:2] == ["train/a/p/00.png", "train/b/p/01.png"]
    (tmp_path / "out" / "images.csv").unlink()
    order = np.argsort(files)
    rows = {name: getattr(original, name)[order] for name in COLUMNS}
    sorted_set = ImageSet("made", original.images[order], classes=original.classes, **rows)
    assert same(sorted_set, read(tmp_path / "out"))


@pytest.mark.parametrize("spoil", ["pixel", "label", "split", "patient"])
def test_a_difference_is_seen(spoil, tmp_path):
    """The comparison of these tests fails where one pixel or one cell of the table is another."""
    original = made(subjects=np.arange(12).astype(str), split=np.repeat(["train", "validation", "test"], 4))
    written(original, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "images.csv", dtype=str)
    if spoil == "pixel":
        path = tmp_path / "out" / table["file"][7]
        pixels = np.array(Image.open(path))
        pixels[2, 3, 1] ^= 1
        Image.fromarray(pixels).save(path)
    else:
        table.loc[7, spoil] = {"label": "a", "split": "train", "patient": "99"}[spoil]
        table.to_csv(tmp_path / "out" / "images.csv", index=False)
    assert not same(original, read(tmp_path / "out"))


def test_what_was_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(output_folder, "_BLOCK", 4)
    original, out = made(count=30), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        image_folder.write(original, out, {"data": "a test"}, interrupted_after(8))
    with pytest.raises(RequestError, match="no such image file"):
        read(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert len(times) == 8
    assert written(original, out) == 8
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert same(original, read(out))
    assert written(original, out) == 30


def test_only_what_is_missing_is_read(tmp_path):
    original, asked = made(count=200), []

    class Watched:
        shape, dtype, ndim = original.images.shape, original.images.dtype, 4

        def __len__(self):
            return 200

        def __getitem__(self, rows):
            asked.extend(np.atleast_1d(rows).tolist())
            return original.images[rows]

    lazy = ImageSet("lazy", Watched(), original.labels, original.classes)
    written(lazy, tmp_path / "out")
    assert asked == list(range(200))
    for number in (3, 150):
        next((tmp_path / "out").rglob(f"{number:03}.png")).unlink()
    asked.clear()
    written(lazy, tmp_path / "out")
    assert asked == [3, 150]


def test_a_full_disk_is_one_line_and_leaves_whole_images(tmp_path, monkeypatch):
    original, out, write_bytes = made(), tmp_path / "out", Path.write_bytes

    def full(path, content):
        if path.name == ".07.png":
            write_bytes(path, content[:9])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        RequestError, match=r"out: cannot be written \(No space left on device\); what is written stays"
    ):
        written(original, out)
    found = sorted(path.name for path in out.rglob("*.png"))
    assert found == [f"{number:02}.png" for number in range(7)]
    monkeypatch.undo()
    assert written(original, out) == 7
    assert same(original, read(out))


WRONG = {
    "other files": (lambda out: (out / "mine.txt").write_text("x"), "found 'mine.txt'; give another --out"),
    "another request": (lambda out: written(made(), out, {"data": "other"}), "files of another request"),
    "other labels": (lambda out: written(made(count=11), out), "images.csv: the folder holds files of another"),
}


@pytest.mark.parametrize(("prepare", "message"), WRONG.values(), ids=WRONG)
def test_a_folder_with_something_else_is_refused(prepare, message, tmp_path):
    (tmp_path / "out").mkdir()
    prepare(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RequestError, match=re.escape(message)):
        written(made(), tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_no_png_is_refused(tmp_path):
    for image_set, message in ((made(channels=2), "received 2 channels"), (made(dtype=np.float32), "of float32")):
        with pytest.raises(RequestError, match=message):
            written(image_set, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="found a file"):
        written(made(), tmp_path / "file")
