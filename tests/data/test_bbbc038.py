import zipfile
from collections import Counter

import numpy as np
import pytest
from scipy.ndimage import find_objects
from skimage.draw import disk
from skimage.morphology import disk as ball

from isotypic.data.catalogue import load_labelled, recognise_labelled
from isotypic.data.config import FourNucleiConfig, SegmentationDataConfig
from isotypic.data.datasets.bbbc038 import kind_of
from isotypic.data.datasets.four_nuclei import boxes
from isotypic.errors import RequestError

SIZE = (24, 30)


def nuclei(*places, size=SIZE):
    """Return one mask for each rectangle (top, bottom, left, right)."""
    masks = []
    for top, bottom, left, right in places:
        masks.append(np.zeros(size, np.uint8))
        masks[-1][top:bottom, left:right] = 255
    return masks


MASKS = nuclei((1, 5, 1, 6), (8, 20, 8, 20), (3, 7, 15, 25))


@pytest.fixture
def photographs(png, place):
    """Write photographs in the layout of the set, ``{id: (pixels, masks)}``."""

    def write(name, listing):
        files = {}
        for key, (pixels, masks) in listing.items():
            files[f"{key}/images/{key}.png"] = png(pixels)
            files |= {f"{key}/masks/{number:02}.png": png(mask) for number, mask in enumerate(masks)}
        return place(name, {f"stage1_train/{key}": value for key, value in files.items()})

    return write


@pytest.fixture
def read(tmp_path):
    def reading(path, **config):
        return load_labelled(SegmentationDataConfig(dataset="bbbc038", path=path, **config), tmp_path / "cache")

    return reading


def rgba(grey=9):
    pixels = np.full((*SIZE, 4), grey, np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, :3] = 200
    return pixels


@pytest.mark.parametrize("name", ["folder", "archive.zip"])
def test_masks_become_numbers(photographs, read, name):
    path = photographs(name, {"b": (rgba(), MASKS), "a": (rgba(3), MASKS[:1])})
    assert recognise_labelled(path) == "bbbc038"
    found = read(path)
    assert found.origins.names.tolist() == found.origins.subjects.tolist() == ["a", "b"]
    assert found.images[1].shape == (3, *SIZE)
    assert found.images[1][:, 0, 0].tolist() == [200] * 3
    for number, mask in enumerate(MASKS, 1):
        assert np.array_equal(found.labels[1] == number, mask > 0)
    assert (found.labels[1] == 0).sum() == (sum(mask > 0 for mask in MASKS) == 0).sum()
    assert read(path, colour="grey", pixel_size=0.5).channels == 1
    assert read(path, pixel_size=0.5).pixel_size == (0.5, 0.5)


def test_grey_and_16_bit_photographs(photographs, read):
    sixteen = np.full(SIZE, 257 * 40, np.uint16)
    path = photographs("folder", {"a": (sixteen, MASKS), "b": (np.full(SIZE, 40, np.uint8), MASKS)})
    found = read(path)
    assert np.array_equal(found.images[0], found.images[1])


def test_shared_pixels_go_to_the_smaller_nucleus_and_too_many_are_refused(photographs, read):
    few = nuclei((1, 11, 1, 11), (10, 12, 7, 13))
    found = read(photographs("few", {"a": (rgba(), few)}))
    assert [(found.labels[0] == number).sum() for number in (1, 2)] == [96, 12]
    many = nuclei((1, 11, 1, 11), (10, 12, 6, 13))
    message = r"a\.png: masks overlap in 5 pixels, for example 00\.png and 01\.png at row 10, column 6; give every"
    with pytest.raises(RequestError, match=message):
        read(photographs("many", {"a": (rgba(), many)}))


def test_only_stage_1_is_read_where_it_is_named(photographs, read):
    path = photographs("folder", {"a": (rgba(), MASKS)})
    other = path / "stage1_test" / "c" / "images"
    other.mkdir(parents=True)
    (other / "c.png").write_bytes(b"never read")
    assert read(path).origins.names.tolist() == ["a"]
    assert read(path / "stage1_train").origins.names.tolist() == ["a"]


def test_wrong_photographs_are_refused(photographs, read, place, tmp_path):
    def refused(message, path):
        with pytest.raises(RequestError, match=message):
            read(path)
        cache = tmp_path / "cache"
        assert not cache.exists() or not list(cache.iterdir())

    refused("'bbbc038' needs a path", None)
    refused("no nuclei: expected <id>/images/<id>.png", place("nothing", {"a.txt": b""}))
    refused(r"a/masks: no masks of this image", photographs("unmasked", {"a": (rgba(), [])}))
    small = nuclei((0, 2, 0, 2), size=(24, 29))
    refused(
        r"masks/00\.png: the mask is 24x29 pixels and its image \S+ is 24x30", photographs("s", {"a": (rgba(), small)})
    )
    refused(r"masks/00\.png: the mask is empty", photographs("e", {"a": (rgba(), nuclei((0, 0, 0, 0)))}))
    path = photographs("corrupt", {"a": (rgba(), MASKS)})
    (path / "stage1_train/a/masks/01.png").write_bytes(b"")
    refused(r"masks/01\.png: the image file is empty", path)
    (path / "stage1_train/a/masks/01.png").write_bytes(b"\x89PNG broken")
    refused(r"masks/01\.png: cannot be read as an image", path)
    (path / "stage1_train/a/images/b.png").write_bytes(b"")
    refused(r"a/images: expected one image, received 2", path)


def test_a_small_photograph_is_refused(photographs, read):
    path = photographs("folder", {"a": (rgba(), MASKS)})
    with pytest.raises(RequestError, match=r"a is 24x30 pixels \(1 such\), expected at least 25 a side"):
        read(path, minimum_side=25)


def test_kinds_by_the_pixels():
    dark = np.full((3, 8, 8), 20, np.uint8)
    dark[:, :3] = 250
    purple = dark.copy()
    purple[1] //= 2
    assert [kind_of(pixels) for pixels in (dark, dark[:1], 255 - dark, purple)] == [
        "fluorescence",
        "fluorescence",
        "brightfield",
        "brightfield",
    ]


def crowd(seed, side=200, count=40):
    """Return a label image of discs, some of which touch."""
    generator, labels = np.random.default_rng(seed), np.zeros((side, side), np.int32)
    for number in range(1, count + 1):
        rows, columns = disk(generator.integers(0, side, 2), generator.integers(4, 14), shape=labels.shape)
        labels[rows, columns] = number
    values = np.unique(labels)
    return np.searchsorted(values, labels).astype(np.int32)


class TestFourNuclei:
    CONFIG = FourNucleiConfig(size=128, train_images=12, validation_images=2, test_images=2)

    def test_a_box_holds_four_whole_nuclei(self):
        cut = 0
        for seed in range(10):
            labels = crowd(seed)
            for top, bottom, left, right in boxes(labels, self.CONFIG, np.random.default_rng(0)):
                inside = labels[top:bottom, left:right]
                numbers, sizes = np.unique(inside[inside > 0], return_counts=True)
                assert len(numbers) == 4
                assert sizes.tolist() == [(labels == number).sum() for number in numbers]
                assert max(bottom - top, right - left) <= 128
            around = find_objects(labels)
            naive = labels[
                min(around[n][0].start for n in range(4)) : max(around[n][0].stop for n in range(4)),
                min(around[n][1].start for n in range(4)) : max(around[n][1].stop for n in range(4)),
            ]
            cut += len(np.unique(naive[naive > 0])) != 4
        assert cut > 5

    def test_a_margin_is_kept_where_no_other_nucleus_is_met(self):
        labels = np.zeros((100, 100), np.int32)
        for number, (row, column) in enumerate([(30, 30), (30, 50), (50, 30), (50, 50), (30, 70)], 1):
            labels[row - 3 : row + 4, column - 3 : column + 4] = ball(3) * number
        found = set(boxes(labels, FourNucleiConfig(margin=8), np.random.default_rng(0)))
        assert (19, 62, 19, 62) in found
        assert (27, 54, 27, 54) in set(boxes(labels, FourNucleiConfig(margin=0), np.random.default_rng(0)))
        wider = {
            (box[1] - box[0], box[3] - box[2])
            for box in boxes(labels, FourNucleiConfig(margin=30), np.random.default_rng(1))
        }
        assert max(max(box) for box in wider) < 27 + 2 * 14

    @pytest.fixture
    def set_of(self, photographs, png):
        """Write twenty photographs of crowds."""
        listing = {}
        for seed in range(20):
            labels = crowd(seed, count=20)
            pixels = (20 + 200 * (labels > 0)).astype(np.uint8)
            masks = [((labels == number) * 255).astype(np.uint8) for number in range(1, labels.max() + 1)]
            listing[f"p{seed:02}"] = (pixels, masks)
        return photographs("crowds.zip", listing)

    def test_crops_are_split_by_photograph_and_padded_with_its_mean(self, set_of, read):
        whole, found = read(set_of), read(set_of, four_nuclei=self.CONFIG)
        origins = found.origins
        assert Counter(origins.split.tolist()) == {"train": 12, "validation": 2, "test": 2}
        sources = [set(origins.subjects[origins.split == part]) for part in ("train", "validation", "test")]
        assert not sources[0] & sources[1] | sources[0] & sources[2] | sources[1] & sources[2]
        assert len(sources[0]) == 12
        means = {
            str(name): np.rint(image.mean()) for name, image in zip(whole.origins.names, whole.images, strict=True)
        }
        for name, image, labels in zip(origins.subjects, found.images, found.labels, strict=True):
            assert image.shape == (1, 128, 128)
            assert np.unique(labels).tolist() == [0, 1, 2, 3, 4]
            assert image[0, 0, 0] == means[str(name)]
            assert (image[0][labels > 0] == 220).all()
            first = [np.flatnonzero(labels == number)[0] for number in (1, 2, 3, 4)]
            assert first == sorted(first)

    def test_photographs_take_turns_and_the_seed_decides(self, set_of, read):
        many = self.CONFIG.model_copy(update={"train_images": 40})
        found, again = (read(set_of, four_nuclei=many) for _ in range(2))
        other = read(set_of, four_nuclei=many.model_copy(update={"seed": 1}))
        assert np.array_equal(found.images.values, again.images.values)
        assert not np.array_equal(found.images.values, other.images.values)
        assert found.origins.names.tolist() == again.origins.names.tolist() != other.origins.names.tolist()
        assert len(set(found.origins.names.tolist())) == len(found)
        turns = found.origins.subjects[found.origins.split == "train"].tolist()
        rounds = Counter(turns)
        assert len(set(turns[: len(rounds)])) == len(rounds)

    def test_too_many_crops_are_refused(self, set_of, read):
        with pytest.raises(RequestError, match=r"the test photographs give \d+ crops of 4 nuclei, expected 4000; ask"):
            read(set_of, four_nuclei=self.CONFIG.model_copy(update={"test_images": 4000}))


def test_real_photographs(real, read, tmp_path):
    with zipfile.ZipFile(real("bbbc038.zip")) as archive, zipfile.ZipFile(tmp_path / "few.zip", "w") as few:
        ids = sorted({name.split("/")[1] for name in archive.namelist()})[:12]
        for name in archive.namelist():
            if name.split("/")[1] in ids:
                few.writestr(name, archive.read(name))
        counts = Counter(name.split("/")[1] for name in few.namelist() if "/masks/" in name)
    found = read(tmp_path / "few.zip")
    assert [int(labels.max()) for labels in found.labels] == [counts[name] for name in found.origins.names.tolist()]
    for image, labels, kind in zip(found.images, found.labels, found.origins.kinds, strict=True):
        inside, outside = (image.mean(axis=0)[where].mean() for where in (labels > 0, labels == 0))
        assert (inside > outside) == (kind == "fluorescence")
