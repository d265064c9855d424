"""What a network learns from is what it sees later: an image of a training set and the same file that is segmented."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from isotypic.data.catalogue import load_labelled
from isotypic.data.config import SegmentationDataConfig
from isotypic.data.labelled.windows import normaliser_of
from isotypic.data.readers import image as eight_bits
from isotypic.inference.intake import as_micrograph, with_channels

SIDES = 40, 48


def cells(*channels, seed=0):
    """Discs on a dim ground in 0..1, a hot pixel among them."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: SIDES[0], : SIDES[1]]
    discs = sum(np.hypot(y - a, x - b) < 5 for a, b in random.uniform(5, 35, (4, 2)))
    field = 0.1 + 0.3 * discs + 0.02 * random.random((*channels, *SIDES))
    field[..., 3, 4] = 1.0
    return field


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels, **options)


STORED = {
    "8 bits": ("a.png", (cells() * 255).astype(np.uint8), {}),
    "8 bits, dark": ("a.png", (cells() * 4).astype(np.uint8), {}),
    "8 bits, colours": ("a.png", np.moveaxis((cells(3) * 255).astype(np.uint8), 0, -1), {}),
    "black and white": ("a.png", cells() > 0.3, {}),
    "16 bits in a PNG": ("a.png", (cells() * 65535).astype(np.uint16), {}),
    "12 of 16 bits": ("a.tif", (cells() * 4095).astype(np.uint16), {}),
    "few counts of 16 bits": ("a.tif", (cells() * 90).astype(np.uint16), {}),
    "32 bits": ("a.tif", (cells() * 100_000).astype(np.int32) - 20_000, {}),
    "32 bits by strips": ("a.tif", (cells() * 1e6).astype(np.uint32), {"compression": "zlib", "rowsperstrip": 7}),
    "floats in 0..1": ("a.tif", cells().astype(np.float32), {}),
    "large floats": ("a.tif", cells() * 3000 - 500, {}),
    "small floats": ("a.tif", (cells() / 1000).astype(np.float32), {}),
    "half floats": ("a.tif", (cells() * 3000).astype(np.float16), {}),
    "white is zero": ("a.tif", (cells() * 4095).astype(np.uint16), {"photometric": "miniswhite"}),
    "OME, CYX": (
        "a.ome.tif",
        (cells(2) * 4095).astype(np.uint16),
        {"metadata": {"axes": "CYX"}, "photometric": "minisblack"},
    ),
    "4 samples": (
        "a.tif",
        np.moveaxis((cells(4) * 255).astype(np.uint8), 0, -1),
        {"photometric": "minisblack", "planarconfig": "contig"},
    ),
    "16 bits, colours": ("a.tif", np.moveaxis((cells(3) * 65535).astype(np.uint16), 0, -1), {"photometric": "rgb"}),
}
OF_A_SET = ["8 bits", "black and white", "16 bits in a PNG", "12 of 16 bits", "floats in 0..1", "16 bits, colours"]
"""What has a full white without looking at its own levels."""


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        files = []
        for place, (name, pixels, options) in enumerate(STORED[each] for each in names):
            files.append(tmp_path / "set" / "images" / f"{place:02}{name[1:]}")
            write(files[-1], pixels, **options)
            write(tmp_path / "set" / "labels" / f"{files[-1].stem}.png", np.eye(*SIDES, dtype=np.uint8))
        return files

    return make


@pytest.fixture
def trained(tmp_path):
    """What training sees of every image: the set, the normaliser, and the normalised images."""

    def read(**config):
        asked = SegmentationDataConfig(dataset="labelled_folder", path=tmp_path / "set", **config)
        labelled = load_labelled(asked, tmp_path / "cache")
        normaliser = normaliser_of(labelled, np.arange(len(labelled)), asked)
        return labelled, normaliser, [_normalised(normaliser, image) for image in labelled.images]

    return read


def _normalised(normaliser, pixels):
    return normaliser.for_image(pixels).apply(torch.from_numpy(np.array(pixels[:, :, :])).float())


def _seen(normaliser, path, channels):
    return _normalised(normaliser, with_channels(as_micrograph(path), channels))


@pytest.mark.parametrize("name", STORED)
def test_every_image_is_seen_as_in_training(folder, trained, name):
    files = folder(name)
    labelled, normaliser, images = trained(normalise="image")
    assert labelled.images.dtype == (np.float32 if STORED[name][1].dtype.itemsize > 1 else np.uint8)
    torch.testing.assert_close(images[0], _seen(normaliser, files[0], labelled.channels))


@pytest.mark.parametrize("normalise", ["image", "set"])
def test_so_is_every_image_of_a_mixed_set(folder, trained, normalise):
    names = [name for name in (STORED if normalise == "image" else OF_A_SET) if _grey(name)]
    files = folder(*names)
    labelled, normaliser, images = trained(normalise=normalise)
    assert labelled.images.dtype == np.float32
    for name, file, image in zip(names, files, images, strict=True):
        torch.testing.assert_close(image, _seen(normaliser, file, 1), msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", ["8 bits, colours", "16 bits, colours"])
@pytest.mark.parametrize("normalise", ["image", "set"])
def test_so_are_colours_made_grey(folder, trained, name, normalise):
    files = folder(name)
    _, normaliser, images = trained(normalise=normalise, colour="grey")
    torch.testing.assert_close(images[0], _seen(normaliser, files[0], 1))


def test_12_bits_rounded_to_8_are_seen_otherwise(folder, trained):
    files = folder("12 of 16 bits")
    _, normaliser, images = trained(normalise="image")
    rounded = _normalised(normaliser, eight_bits.read(files[0]))
    assert (rounded - images[0]).abs().max() > 0.1
    assert len(rounded.unique()) < 20 < len(images[0].unique())


def _grey(name):
    return not {"colours", "CYX", "samples"} & set(name.replace(",", "").split())
