import numpy as np
import pytest

from isotypic.data.catalogue import load_labelled, recognise_labelled
from isotypic.data.config import SegmentationDataConfig
from isotypic.errors import RequestError


@pytest.fixture
def files(png):
    """Images of different sizes with a label image that has as many objects as the number says, two pixels each."""

    def make(images, labels, names, suffix="", kind=np.uint8):
        made = {}
        for number, name in enumerate(names, 1):
            pixels = np.full((20 + number, 30), 10 * number, np.uint8)
            numbers = np.zeros(pixels.shape, kind)
            for value in range(1, number + 1):
                numbers[2 * value, 3:5] = 3 * value
            made |= {f"{images}{name}.png": png(pixels), f"{labels}{name}{suffix}.png": png(numbers)}
        return made

    return make


@pytest.fixture
def read(tmp_path):
    def reading(path, **config):
        config = {"dataset": "labelled_folder", "path": path, **config}
        return load_labelled(SegmentationDataConfig(**config), tmp_path / "cache")

    return reading


def counts(found):
    return [int(labels.max()) for labels in found.labels]


class TestLayouts:
    @pytest.mark.parametrize("root", ["mine", "mine.zip"])
    @pytest.mark.parametrize(
        ("images", "labels", "suffix"),
        [
            ("images/", "labels/", ""),
            ("images/", "masks/", ""),
            ("deep/images/", "deep/masks/", ""),
            ("", "", "_labels"),
            ("x/", "x/", "_mask"),
        ],
    )
    def test_images_find_their_labels(self, files, place, read, root, images, labels, suffix):
        path = place(root, files(images, labels, "abc", suffix))
        assert recognise_labelled(path) == "labelled_folder"
        found = read(path)
        assert found.name == "mine"
        assert counts(found) == [1, 2, 3]
        assert found.sizes.tolist() == [[21, 30], [22, 30], [23, 30]]
        assert [int(image[0, 0, 0]) for image in found.images] == [10, 20, 30]
        assert [(labels > 0).sum() for labels in found.labels] == [2, 4, 6]
        assert found.origins.split is found.origins.subjects is found.classes is None

    def test_parts(self, files, place, read):
        layout = {}
        for part, names in (("train", "ab"), ("test", "c")):
            layout |= files(f"{part}/images/", f"{part}/masks/", names)
        found = read(place("mine", layout))
        assert found.origins.split.tolist() == ["test", "train", "train"]
        assert found.origins.names.tolist() == ["test/c", "train/a", "train/b"]

    def test_sources(self, files, place, read):
        found = read(place("mine", files("images/", "labels/", ["p1/a", "p1/b", "p2/a", "c"])))
        assert found.origins.subjects.tolist() == ["c", "p1", "p1", "p2"]

    def test_colours(self, files, place, read):
        path = place("mine", files("images/", "labels/", "ab"))
        assert read(path, colour="rgb").channels == 3


class TestRefusals:
    def test_wrong_folders(self, files, place, read, png, tmp_path):
        good = files("images/", "labels/", "abc", kind=np.uint16)

        def refused(message, name, changes):
            layout = {file: content for file, content in {**good, **changes}.items() if content is not None}
            with pytest.raises(RequestError, match=message):
                read(place(name, layout))

        with pytest.raises(RequestError, match="'labelled_folder' needs a path"):
            read(None)
        refused(r"'b' is in images and not in labels \(1 such\)", "a", {"labels/b.png": None})
        refused(r"'d' is in labels and not in images", "b", {"labels/d.png": b""})
        refused(
            "no labels: expected a folder labels or masks beside images", "c", {f"labels/{n}.png": None for n in "abc"}
        )
        refused(
            "b: the image is 22x30 pixels and its labels are 5x5",
            "d",
            {"labels/b.png": png(np.zeros((5, 5), np.uint8))},
        )
        refused(r"labels/b\.png: the image file is empty", "e", {"labels/b.png": b""})
        refused(r"images/b\.png: cannot be read as an image", "f", {"images/b.png": b"\x89PNG"})
        refused("several folders with images", "g", files("more/images/", "more/labels/", "a"))
        refused("images of different channels", "h", {"images/b.png": png(np.zeros((22, 30, 3), np.uint8))})
        assert list((tmp_path / "cache").iterdir()) == []

    def test_nothing_that_is_known(self, files, place, read, tmp_path):
        path = place("mine", {"a.png": b"", "b.png": b""})
        with pytest.raises(
            RequestError, match=r"expected images/NAME\.png with labels/NAME\.png or masks/NAME\.png, or"
        ):
            read(path)
        path = place("other", {**files("", "", "ab", "_labels"), "lonely.png": b""})
        with pytest.raises(RequestError, match=r"lonely\.png has no partner \(1 such\)"):
            read(path)
        with pytest.raises(RequestError, match="gone: no such file or folder"):
            read(tmp_path / "gone")


class TestCatalogue:
    def test_unknown_sets_and_paths(self, read, place):
        with pytest.raises(RequestError, match=r"unknown data set 'stick': did you mean 'sticks'\?"):
            read(None, dataset="stick")
        with pytest.raises(RequestError, match=r"expected a folder or a \.zip archive"):
            recognise_labelled(place("mine", {"a.png": b""}) / "a.png")

    def test_small_images_are_refused(self, files, place, read):
        with pytest.raises(RequestError, match=r"mine: a is 21x30 pixels \(2 such\), expected at least 23 a side"):
            read(place("mine", files("images/", "labels/", "abc")), minimum_side=23)
