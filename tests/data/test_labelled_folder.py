import io

import numpy as np
import pytest
import tifffile

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
def tiff():
    """The bytes of a TIFF file."""

    def encode(pixels, **options):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        return buffer.getvalue()

    return encode


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


def squares(png, *numbers, kind=np.uint8):
    """Label images with one square, or with two squares of the numbers of a pair."""
    made = {}
    for place, pair in enumerate(numbers):
        pixels = np.zeros((20, 30), kind)
        for corner, number in zip((2, 12), pair, strict=False):
            pixels[corner : corner + 4, 3:9] = number
        made |= {f"images/{place}.png": png(np.zeros((20, 30), np.uint8)), f"labels/{place}.png": png(pixels)}
    return made


class TestMasks:
    @pytest.mark.parametrize(("number", "kind"), [(1, np.uint8), (1, np.uint16), (7, np.uint8), (65535, np.uint16)])
    def test_a_folder_of_masks_is_refused_where_one_is_in_pieces(self, place, read, png, number, kind):
        path = place("mine", squares(png, (), (number,), (number, number), kind=kind))
        for _ in range(2):  # also where it is decoded already
            with pytest.raises(RequestError, match=r"labels/2\.png: a black and white mask of several pieces"):
                read(path)

    def test_masks_of_one_piece_are_single_objects(self, place, read, png):
        assert counts(read(place("mine", squares(png, (1,), (), (1,))))) == [1, 0, 1]

    def test_where_objects_are_numbered_one_may_be_in_pieces(self, place, read, png):
        assert counts(read(place("mine", squares(png, (1, 1), (1, 2))))) == [1, 2]
        with pytest.raises(RequestError, match=r"labels/0\.png: a black and white mask"):
            read(place("white", squares(png, (255, 255), (1, 2))))


class TestDepth:
    """What a set keeps of its images."""

    LABELS = np.eye(20, 30, dtype=np.uint8)

    @pytest.fixture
    def folder(self, place, tiff, png):
        def make(*images, **options):
            named = {f"images/{place}.tif": tiff(image, **options) for place, image in enumerate(images)}
            return place("mine", named | {f"labels/{n}.png": png(self.LABELS) for n in range(len(images))})

        return make

    def test_8_bits_stay_8_bits(self, folder, read):
        eight = np.arange(600, dtype=np.uint8).reshape(20, 30)
        for normalise in ("set", "image"):
            found = read(folder(eight, eight > 99, photometric="minisblack"), normalise=normalise)
            assert found.images.dtype == np.uint8
            np.testing.assert_array_equal(found.images[0][0], eight)
            np.testing.assert_array_equal(found.images[1][0], (eight > 99) * 255)

    def test_a_set_is_in_shares_of_the_white_of_its_types(self, folder, read):
        sixteen = np.arange(600, dtype=np.uint16).reshape(20, 30) * 7
        eight, floats = (sixteen // 20).astype(np.uint8), (sixteen / 4200).astype(np.float64)
        found = read(folder(sixteen, eight, floats, eight > 99, photometric="minisblack"), normalise="set")
        for image, wanted in zip(found.images, (sixteen / 65535, eight / 255, floats, eight > 99), strict=True):
            np.testing.assert_array_equal(image[0], wanted.astype(np.float32))
        assert len(np.unique(found.images[0])) == 600

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.arange(600, dtype=np.int32).reshape(20, 30), "expected values of 8 or 16 bits without sign or floats"),
            (
                np.arange(600, dtype=np.float32).reshape(20, 30),
                r"expected floats in 0\.\.1 .*received 0\.\.599; rescale",
            ),
            (np.full((20, 30), np.nan, np.float32), "expected finite values, received NaN"),
        ],
    )
    def test_a_set_takes_no_values_without_a_white(self, folder, read, tmp_path, image, message):
        path = folder(image)
        with pytest.raises(RequestError, match=rf"images/0\.tif: {message}"):
            read(path, normalise="set")
        if np.isnan(image).any():
            with pytest.raises(RequestError, match=rf"images/0\.tif: {message}"):
                read(path, normalise="image")
        else:
            assert read(path, normalise="image").images.dtype == np.float32

    def test_channels_that_are_no_colours_are_kept_and_not_made_grey(self, folder, read):
        options = {"ome": True, "metadata": {"axes": "CYX"}, "photometric": "minisblack"}
        path = folder(np.arange(1800, dtype=np.uint16).reshape(3, 20, 30), **options)
        assert read(path, normalise="image").channels == 3
        with pytest.raises(RequestError, match=r"0\.tif: expected a grey or RGB image to make it grey, received 3 ch"):
            read(path, colour="grey")

    def test_a_stack_is_refused(self, folder, read):
        with pytest.raises(RequestError, match=r"0\.tif: expected one image, received a stack of 5 planes"):
            read(folder(np.zeros((5, 20, 30), np.uint8)))

    def test_files_of_every_name_that_is_segmented(self, place, read, tiff):
        pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
        path = place("mine", {"a.btf": tiff(pixels, bigtiff=True), "a_labels.btf": tiff(self.LABELS, bigtiff=True)})
        assert counts(read(path, normalise="image")) == [1]


class TestCatalogue:
    def test_unknown_sets_and_paths(self, read, place):
        with pytest.raises(RequestError, match=r"unknown data set 'stick': did you mean 'sticks'\?"):
            read(None, dataset="stick")
        with pytest.raises(RequestError, match=r"expected a folder or a \.zip archive"):
            recognise_labelled(place("mine", {"a.png": b""}) / "a.png")

    def test_small_images_are_refused(self, files, place, read):
        with pytest.raises(RequestError, match=r"mine: a is 21x30 pixels \(2 such\), expected at least 23 a side"):
            read(place("mine", files("images/", "labels/", "abc")), minimum_side=23)
