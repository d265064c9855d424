"""Slides as pyramids: what is read is what was written, at every level, by every reader; what is broken is said."""

import re
import sys

import numpy as np
import pytest
import tifffile
import torch
from slides import slide, write_slide
from torch.nn.functional import interpolate

from isotypic.data.readers.micrograph import PixelSize
from isotypic.data.readers.resampling import Resampled
from isotypic.data.readers.slide import open_slide
from isotypic.errors import RequestError

PIXELS = slide(300, 250)
CHANNELS_FIRST = np.moveaxis(PIXELS, -1, 0)


def test_levels_are_what_was_written(tmp_path):
    found = open_slide(write_slide(tmp_path / "a.ome.tif", PIXELS, levels=3))
    assert [level.shape for level in found.levels] == [(3, 300, 250), (3, 150, 125), (3, 75, 63)]
    assert (found.size, found.microns, found.source) == ((300, 250), 0.5, "a.ome.tif")
    for k, level in enumerate(found.levels):
        np.testing.assert_array_equal(level[:, 10:70, 5:60], CHANNELS_FIRST[:, :: 2**k, :: 2**k][:, 10:70, 5:60])


def test_a_level_is_read_after_its_slide_has_gone(tmp_path):
    level = open_slide(write_slide(tmp_path / "a.ome.tif", PIXELS)).levels[1]
    np.testing.assert_array_equal(level[:, :, :], CHANNELS_FIRST[:, ::2, ::2])


def test_pyramids_of_pages_and_files_of_one_level(tmp_path):
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for k in (1, 2):
            file.write(PIXELS[::k, ::k], photometric="rgb", tile=(64, 64), subfiletype=int(k > 1))
    tifffile.imwrite(tmp_path / "plain.tif", PIXELS, photometric="rgb")
    assert [level.shape for level in open_slide(tmp_path / "pages.tif").levels] == [(3, 300, 250), (3, 150, 125)]
    (plain,) = open_slide(tmp_path / "plain.tif").levels
    np.testing.assert_array_equal(plain[1:2, 7:9, 3:200], CHANNELS_FIRST[1:2, 7:9, 3:200])


def test_aperio_says_its_microns_in_words(tmp_path):
    words = "Aperio Image Library v11.2.1\r\n46000x32914 -> 300x250|AppMag = 20|MPP = 0.4990|Left = 25.6"
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        file.write(PIXELS, photometric="rgb", tile=(64, 64), description=words, metadata=None)
        file.write(PIXELS[::4, ::4], photometric="rgb", description="Aperio thumbnail", metadata=None)
        file.write(PIXELS[::2, ::2], photometric="rgb", tile=(64, 64), description=words, metadata=None)
    found = open_slide(tmp_path / "a.svs")
    assert found.microns == 0.499
    assert [level.shape for level in found.levels] == [(3, 300, 250), (3, 150, 125)]


def test_the_resolution_that_is_asked_for(tmp_path):
    found = open_slide(write_slide(tmp_path / "a.ome.tif", PIXELS, levels=3))
    assert found.size_at(0.5) == found.size_at(0.51) == (300, 250)
    assert found.size_at(0.99) == (150, 125), "a level that is near enough is taken as it is"
    assert found.at((150, 125)) is found.levels[1]
    assert found.size_at(1.5) == (100, 83)
    resampled = found.at((100, 83))
    assert isinstance(resampled, Resampled)
    assert resampled.pixels is found.levels[1], "the next finer level"
    assert found.at((400, 400)).pixels is found.levels[0]
    assert found.size_at(0.25) == (600, 500)


def test_resampled_is_smoothed_not_picked(tmp_path):
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    found = open_slide(write_slide(tmp_path / "a.ome.tif", stripes, levels=1))
    inner = found.at(found.size_at(1.3))[:, 4:-4, 4:-4]
    assert abs(inner - 127.5).max() < 30


@pytest.mark.parametrize("size", [(100, 83), (33, 32), (77, 64)])
def test_integers_are_resampled_to_the_bit_however_they_are_turned(size):
    image = CHANNELS_FIRST
    upright = Resampled(image, size)[:, :, :]
    for turns in range(4):
        for flip in (False, True):
            moved = np.rot90(image[:, ::-1] if flip else image, turns, (1, 2))
            wanted = np.rot90(upright[:, ::-1] if flip else upright, turns, (1, 2))
            np.testing.assert_array_equal(Resampled(moved, wanted.shape[1:])[:, :, :], wanted)
    floats = torch.from_numpy(image.astype(np.float64))[None]  # a control: weights that are rounded
    there, back = (interpolate(each, size, mode="bilinear", antialias=True) for each in (floats, floats.flip(2)))
    assert not torch.equal(there, back.flip(2))


def test_the_pixel_size_given_goes_before_that_of_the_file(tmp_path):
    path = write_slide(tmp_path / "a.ome.tif", PIXELS, microns=None)
    assert open_slide(path).microns is None
    assert open_slide(path, PixelSize(250, "nm")).size_at(0.5) == (150, 125)
    with pytest.raises(
        RequestError, match=r"a.ome.tif: expected a slide that says its microns per pixel.*--pixel-size"
    ):
        open_slide(path).size_at(0.5)
    with pytest.raises(RequestError, match=r"expected at least 0.25 microns per pixel of a slide scanned at 0.5"):
        open_slide(path, PixelSize(0.5)).size_at(0.2)


def test_tiffslide_reads_the_same(tmp_path, monkeypatch):
    pytest.importorskip("tiffslide")
    path = write_slide(tmp_path / "a.ome.tif", PIXELS, levels=3)
    monkeypatch.setattr("isotypic.data.readers.slide._TIFFSLIDE", {".tif"})
    found = open_slide(path)
    assert [level.shape for level in found.levels] == [(3, 300, 250), (3, 150, 125), (3, 75, 63)]
    for k, level in enumerate(found.levels):
        np.testing.assert_array_equal(level[1:, 11:70, 5:61], CHANNELS_FIRST[1:, :: 2**k, :: 2**k][:, 11:70, 5:61])


@pytest.mark.parametrize(("suffix", "module"), [(".ndpi", "tiffslide"), (".mrxs", "openslide")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, suffix, module):
    (tmp_path / f"a{suffix}").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        RequestError, match=rf"a{suffix}: {suffix} needs the extra slides: pip install isotypic\[slides\]"
    ):
        open_slide(tmp_path / f"a{suffix}")


def truncated(folder):
    path = write_slide(folder / "a.ome.tif", PIXELS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    return path


def written(content, name="a.tif"):
    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.svs", "none.svs: no such slide"),
        (written(b""), "a.tif: the image file is empty"),
        (written(b"not a picture"), "a.tif: cannot be read as an image"),
        (written(b"not a slide", "a.ndpi"), "a.ndpi: (cannot be read as an image|.ndpi needs the extra)"),
        (written(b"x", "a.png"), "a.png: expected a slide, one of .bif"),
        (truncated, "a.ome.tif: cannot be read as an image"),
        (
            lambda folder: write_slide(folder / "a.ome.tif", PIXELS, PhysicalSizeY=1.0),
            "a.ome.tif: expected square pixels, received 1 x 0.5",
        ),
        (
            lambda folder: write_slide(folder / "a.ome.tif", PIXELS, halved=lambda image: image[::2, ::3]),
            r"a.ome.tif: expected levels of one image, received \[3, 300, 250\] and, as level 1, \[3, 150, 84\]",
        ),
    ],
)
def test_bad_slides_are_refused_in_one_line(tmp_path, make, message):
    path = make(tmp_path)
    with pytest.raises(RequestError, match=message) as refused:
        open_slide(path).levels[0][:, :, :]
    assert re.fullmatch(r"[^\n]+", str(refused.value))
