"""CREMI volumes and stacks of sections."""

import io

import h5py
import numpy as np
import pytest
import tifffile
from scipy.ndimage import distance_transform_edt

from isotypic.data.catalogue import load_labelled, recognise_labelled
from isotypic.data.config import SegmentationDataConfig
from isotypic.data.datasets.cremi import boundary
from isotypic.errors import RequestError

DRAW = np.random.default_rng(0)
RAW = DRAW.integers(0, 256, (6, 24, 30), dtype=np.uint8)
NEURONS = np.kron(DRAW.integers(1, 2**40, (6, 4, 5), dtype=np.uint64), np.ones((1, 6, 6), np.uint64))


@pytest.fixture
def read(tmp_path):
    def reading(dataset, path, **config):
        return load_labelled(SegmentationDataConfig(dataset=dataset, path=path, **config), tmp_path / "cache")

    return reading


@pytest.fixture
def volume(tmp_path):
    """Write a CREMI volume; ``border`` voxels of raw data more on each side of the labels."""

    def write(name="sample.hdf", border=(0, 0, 0), neurons=NEURONS, offset=None, raw=RAW):
        with h5py.File(tmp_path / name, "w") as file:
            padded = file.create_dataset("volumes/raw", data=np.pad(raw, [(side, side) for side in border]))
            padded.attrs["resolution"] = (40.0, 4.0, 4.0)
            if neurons is not None:
                labels = file.create_dataset("volumes/labels/neuron_ids", data=neurons)
                labels.attrs["resolution"] = (40.0, 4.0, 4.0)
                if any(border) or offset:
                    labels.attrs["offset"] = offset or tuple(np.array(border) * (40.0, 4.0, 4.0))
        return tmp_path / name

    return write


def neighbours(section):
    """Return the boundary pixel by pixel, from its definition."""
    height, width = section.shape
    edge = np.zeros(section.shape, bool)
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width:
                    edge[y, x] |= section[y, x] != section[v, u]
    return edge


class TestBoundary:
    SECTION = DRAW.integers(0, 3, (9, 12))

    def test_is_its_definition(self):
        assert np.array_equal(boundary(self.SECTION), neighbours(self.SECTION))

    @pytest.mark.parametrize("distance", [0, 1, 1.5, 3])
    def test_turns_and_mirrors_with_the_section(self, distance):
        for turns in range(4):
            for flip in (lambda array: array, np.fliplr):
                section = flip(np.rot90(NEURONS[0], turns))
                assert np.array_equal(
                    boundary(section, distance), flip(np.rot90(boundary(NEURONS[0], distance), turns))
                )

    def test_one_sided_differences_would_not_turn(self):
        def one_sided(section):
            return np.pad(section[1:] != section[:-1], ((0, 1), (0, 0)))

        assert not np.array_equal(one_sided(np.rot90(self.SECTION, 2)), np.rot90(one_sided(self.SECTION), 2))

    def test_the_distance_is_euclidean(self):
        thin = boundary(NEURONS[0])
        far = distance_transform_edt(~thin)
        assert np.array_equal(boundary(NEURONS[0], 2), far <= 2)
        assert boundary(NEURONS[0], 2).sum() > boundary(NEURONS[0], 1).sum() > thin.sum()

    def test_one_neuron_has_no_boundary(self):
        assert not boundary(np.ones((5, 5)), distance=3).any()


class TestCremi:
    def test_sections_with_boundaries(self, volume, read):
        found = read("cremi", volume())
        assert recognise_labelled(volume()) == "cremi"
        assert found.classes == ("inside", "boundary")
        assert found.pixel_size == (0.004, 0.004)
        assert found.origins.split.tolist() == ["train"] * 4 + ["validation", "test"]
        assert found.origins.names[0] == "sample-0000"
        for z in range(6):
            assert np.array_equal(found.images[z][0], RAW[z])
            assert np.array_equal(found.labels[z], neighbours(NEURONS[z]))
        wide = read("cremi", volume(), cremi={"distance": 1})
        assert wide.labels.values.sum() > found.labels.values.sum()

    def test_neurons_are_numbered_in_each_section(self, volume, read):
        found = read("cremi", volume(), cremi={"target": "neurons"})
        assert found.classes is None
        for z in range(6):
            pairs = {(int(a), int(b)) for a, b in zip(found.labels[z].ravel(), NEURONS[z].ravel(), strict=True)}
            assert len(pairs) == len(np.unique(NEURONS[z])) == found.labels[z].max()

    def test_the_labels_of_a_padded_volume_lie_inside(self, volume, read):
        plain, padded = read("cremi", volume()), read("cremi", volume("padded.hdf", border=(2, 5, 7)))
        assert np.array_equal(plain.images.values, padded.images.values)
        shifted = read("cremi", volume("shifted.hdf", border=(2, 5, 7), offset=(80.0, 20.0, 24.0)))
        assert not np.array_equal(plain.images.values, shifted.images.values)

    def test_a_folder_holds_several_volumes(self, volume, read):
        path = volume("a.hdf").parent
        volume("b.h5")
        found = read("cremi", path)
        assert recognise_labelled(path) == "cremi"
        assert found.origins.names.tolist()[5:7] == ["a-0005", "b-0000"]
        assert found.origins.split.tolist() == 2 * (["train"] * 4 + ["validation", "test"])

    def test_wrong_volumes_are_refused(self, volume, read, tmp_path):
        def refused(message, path):
            with pytest.raises(RequestError, match=message):
                read("cremi", path)

        refused("'cremi' needs a path", None)
        refused("no HDF5 files", tmp_path)
        refused(r"expected a volume volumes/labels/neuron_ids \[z, y, x\]; is this a test", volume(neurons=None))
        refused(r"start at voxel \[0\.0, 0\.5, 0\.0\] of the raw volume", volume(offset=(0.0, 2.0, 0.0)))
        refused(r"expected whole voxels inside it", volume(offset=(40.0, 0.0, 0.0)))
        refused("expected volumes/raw of uint8", volume(raw=RAW.astype(np.uint16)))
        refused("expected at least 3 sections", volume(raw=RAW[:2], neurons=NEURONS[:2]))
        for name, content in (("corrupt.hdf", b"no volume"), ("empty.h5", b"")):
            (tmp_path / "bad").mkdir(exist_ok=True)
            (tmp_path / "bad" / name).write_bytes(content)
            refused(f"{name}: cannot be read as HDF5", tmp_path / "bad" / name)


MASKS = NEURONS % 3 == 0


def tiff(pixels):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="minisblack")
    return buffer.getvalue()


@pytest.fixture
def sections(png):
    """The files of a stack in two folders."""
    files = {f"top/raw/{z:02}.tif": tiff(RAW[z]) for z in range(6)}
    return files | {f"top/membranes/{z:02}.png": png(MASKS[z]) for z in range(6)}


class TestStack:
    @pytest.mark.parametrize("name", ["em", "em.zip"])
    def test_folders_and_archives(self, sections, place, read, name):
        path = place(name, sections)
        assert recognise_labelled(path) == "stack"
        found = read("stack", path, pixel_size=0.0046)
        assert (found.name, found.classes, found.pixel_size) == ("em", ("background", "membranes"), (0.0046, 0.0046))
        assert found.origins.names.tolist() == [f"{z:02}" for z in range(6)]
        assert found.origins.split.tolist() == ["train"] * 4 + ["validation", "test"]
        assert np.array_equal(np.stack(list(found.images))[:, 0], RAW)
        assert np.array_equal(np.stack(list(found.labels)), MASKS)

    def test_files_of_several_pages(self, sections, place, read):
        path = place("pages", {"volume.tif": tiff(RAW), "labels.tif": tiff((~MASKS * 255).astype(np.uint8))})
        names = {"images": "volume", "labels": "labels"}
        found = read("stack", path, stack={**names, "invert": True})
        assert np.array_equal(found.images.values, read("stack", place("folders", sections)).images.values)
        assert np.array_equal(np.stack(list(found.labels)), MASKS)
        assert np.array_equal(np.stack(list(read("stack", path, stack=names).labels)), ~MASKS)

    def test_wrong_stacks_are_refused(self, sections, place, read, png):
        def refused(message, name, changes, **config):
            files = {file: content for file, content in {**sections, **changes}.items() if content is not None}
            with pytest.raises(RequestError, match=message):
                read("stack", place(f"{name}.zip", files), **config)

        two = {"images": "a", "labels": "b"}
        refused("no folder mitochondria and no file mitochondria.tif", "a", {}, stack={"labels": "mitochondria"})
        refused(r"'03' is in raw and not in membranes \(1 such\)", "b", {"top/membranes/03.png": None})
        small = png(MASKS[0][1:])
        refused("00: the image is 24x30 pixels and its labels are 23x30", "c", {"top/membranes/00.png": small})
        many = png(RAW[0])
        refused(
            r"membranes/00\.png: expected a mask of one channel and at most two values",
            "d",
            {"top/membranes/00.png": many},
        )
        refused(r"02\.tif: the image file is empty", "e", {"top/raw/02.tif": b""})
        refused(r"02\.tif: cannot be read as an image", "f", {"top/raw/02.tif": b"II no tiff"})
        refused("has 6 pages and .*has 5", "g", {"a.tif": tiff(RAW), "b.tif": tiff(RAW[:5])}, stack=two)
        refused("must both be folders or both TIFF files", "h", {"a.tif": tiff(RAW)}, stack={"images": "a"})

    def test_the_real_sections(self, real, read):
        found = read("stack", real("em-vnc.zip"))
        assert (len(found), found.images.shapes.tolist()) == (16, [[1, 1024, 1024]] * 16)
        dark = [
            image[0][labels == 1].mean() < image[0][labels == 0].mean()
            for image, labels in zip(found.images, found.labels, strict=True)
        ]
        assert all(dark)
