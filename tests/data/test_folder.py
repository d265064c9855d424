import os
import re
from itertools import count

import numpy as np
import pytest

from isotypic.data.catalogue import load
from isotypic.data.config import DataConfig
from isotypic.errors import RequestError


@pytest.fixture
def place(tmp_path, write_png, grey):
    """Write small images of different greys at some paths below a folder."""
    values = count(20)

    def make(*names, **shape):
        for name in names:
            write_png(tmp_path / "root" / name, grey(next(values), **shape))
        return tmp_path / "root"

    return make


@pytest.fixture
def read(tmp_path):
    def reading(root, **config):
        return load(DataConfig(dataset="folder", path=root, **config), tmp_path / "cache")

    return reading


@pytest.fixture
def refused(read):
    def refusing(message, root, **config):
        with pytest.raises(RequestError, match=message):
            read(root, **config)

    return refusing


class TestLayouts:
    def test_classes(self, place, read):
        found = read(place("dog/1.png", "cat/1.png", "cat/2.png"))
        assert found.classes == ("cat", "dog")
        assert found.labels.tolist() == [0, 0, 1]
        assert found.images[:, 0, 1, 1].tolist() == [21, 22, 20]
        assert found.subjects is None
        assert found.split is None
        assert found.name == "root"

    def test_split_and_classes(self, place, read):
        found = read(place("train/a/1.png", "train/b/1.png", "valid/a/1.png", "Test/b/1.png"))
        assert found.split.tolist() == ["test", "train", "train", "validation"]
        assert found.labels.tolist() == [1, 0, 1, 0]

    def test_split_classes_and_patients(self, place, read):
        found = read(place("train/a/p1/1.png", "train/a/p1/2.png", "val/b/p2/1.png", "test/b/p3/x/1.png"))
        assert found.subjects.tolist() == ["p3", "p1", "p1", "p2"]
        assert found.split.tolist() == ["test", "train", "train", "validation"]

    def test_table(self, place, read):
        root = place("x/1.png", "x/2.png", "3.png", "unlisted.png")
        (root / "list.csv").write_text("file,patient,label,split\n3.png,p,b,train\nx/1.png,q,a,valid\n")
        found = read(root)
        assert found.labels.tolist() == [1, 0]
        assert found.images[:, 0, 1, 1].tolist() == [22, 20]
        assert found.subjects.tolist() == ["p", "q"]
        assert found.split.tolist() == ["train", "validation"]

    def test_colour_and_size(self, place, read):
        assert read(place("a/1.png", "b/1.png"), resize=(3, 4), colour="rgb").images.shape == (2, 3, 3, 4)

    def test_different_sizes_with_resize(self, place, read):
        place("a/1.png")
        assert read(place("b/1.png", height=9), resize=4).images.shape == (2, 1, 4, 4)


class TestRefusals:
    def test_nothing_there(self, place, refused, tmp_path):
        refused("'folder' needs a path", None)
        refused("gone: no such folder", tmp_path / "gone")
        refused("no images in this folder", tmp_path)

    def test_one_class(self, place, refused, tmp_path):
        refused("one class only: all 2 images are 'a'", place("a/1.png", "a/2.png"))
        assert not (tmp_path / "cache").exists()

    def test_different_sizes_name_two_files(self, place, refused):
        place("a/1.png")
        root = place("b/2.png", height=9)
        refused(r"different sizes: \S*a/1\.png is 5x6 and \S*b/2\.png is 9x6; use --set data\.resize=", root)

    def test_different_channels(self, place, refused, write_png):
        root = place("a/1.png")
        write_png(root / "b/1.png", np.zeros((5, 6, 3), np.uint8))
        refused(r"different channels: \S*a/1\.png has 1 and \S*b/1\.png has 3; use --set data\.colour", root)

    def test_an_unreadable_image_is_named_and_leaves_no_cache(self, place, refused, tmp_path):
        root = place("a/1.png", "b/1.png")
        (root / "b/2.png").write_text("no image")
        refused(r"b/2\.png: cannot be read as an image", root)
        assert list((tmp_path / "cache").iterdir()) == []

    def test_a_patient_on_both_sides(self, place, refused):
        refused("the split leaks: patient 'p1' is in test and train", place("train/a/p1/1.png", "test/b/p1/1.png"))

    def test_strange_layouts(self, place, refused):
        root = place("a/1.png", "b/1.png", "lost.png")
        refused(r"lost\.png: an image outside the class folders", root)
        (root / "lost.png").unlink()
        place("a/p/1.png")
        refused("some images lie in patient folders", root)

    def test_half_a_split(self, place, refused):
        refused("'train' is a part of a split but 'other' is not", place("train/a/1.png", "other/b/1.png"))

    def test_a_split_without_classes(self, place, refused):
        refused("images without a class", place("train/1.png", "test/1.png"))

    def test_tables(self, place, refused):
        root = place("1.png", "2.png")
        (root / "list.csv").write_text("file,label,split\n1.png,a,train\n2.png,b,tset\n")
        refused(r"list\.csv: unknown split 'tset': did you mean 'test'?", root)
        refused("unknown table 'lsit.csv': did you mean 'list.csv'?", root, table="lsit.csv")
        (root / "other.csv").write_text("file,label\n1.png,a\ngone.png,b\n")
        refused(r"several CSV files \(list\.csv, other\.csv\); name one with --set data\.table", root)
        refused(r"gone\.png: no such image file", root, table="other.csv")


class TestCache:
    def files(self, folder):
        return sorted(path.name for path in folder.iterdir())

    def test_decoded_once_and_mapped(self, place, read, tmp_path, monkeypatch):
        root = place("a/1.png", "b/1.png")
        first = read(root)
        monkeypatch.setattr("isotypic.data.readers.image.read", None)
        second = read(root)
        assert isinstance(second.images, np.memmap)
        np.testing.assert_array_equal(first.images, second.images)
        assert len(self.files(tmp_path / "cache")) == 1

    def test_another_request_or_a_changed_file_makes_another_array(self, place, read, tmp_path, write_png, grey):
        root = place("a/1.png", "b/1.png")
        read(root)
        read(root, resize=4)
        read(root, colour="rgb")
        assert len(self.files(tmp_path / "cache")) == 3
        write_png(root / "b/1.png", grey(99))
        os.utime(root / "b/1.png", ns=(1, 1))
        assert read(root).images[1, 0, 1, 1] == 99

    def test_the_same_names_in_another_folder_are_other_images(self, place, read, tmp_path, write_png, grey):
        read(place("a/1.png", "b/1.png"))
        for name in ("a/1.png", "b/1.png"):
            write_png(tmp_path / "twin" / name, grey(99))
            os.utime(tmp_path / "twin" / name, ns=(1, 1))
            os.utime(tmp_path / "root" / name, ns=(1, 1))
        read(tmp_path / "root")
        assert (read(tmp_path / "twin").images[:, 0, 1, 1] == 99).all()

    def test_a_full_disk_is_refused_before_it_is_filled(self, place, refused, monkeypatch):
        usage = type("Usage", (), {"free": 1})
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
        refused(re.escape("need 0.0 GB, 0.0 GB are free; use --set data.resize"), place("a/1.png", "b/1.png"))

    def test_many_images_keep_their_order(self, place, read):
        names = [f"{'ab'[i % 2]}/{i:03}.png" for i in range(150)]
        root = place(*names)
        assert read(root).images[:, 0, 1, 1].tolist() == [*range(20, 170, 2), *range(21, 170, 2)]
