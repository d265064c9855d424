"""Every window of every format is what the whole image holds there; what a file says about it is kept."""

import builtins
import json
import re
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile
from PIL import Image

from isotypic.data.readers import tiff
from isotypic.data.readers.micrograph import Micrograph, PixelSize, decode, open_micrograph
from isotypic.data.readers.tiff import _SegmentedPixels
from isotypic.errors import RequestError

WINDOWS = [(slice(0, 90), slice(0, 75)), (slice(13, 14), slice(70, 75)), (slice(30, 64), slice(5, 33))]


def values(*shape, dtype=np.uint16, seed=0):
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(scale=1e4, size=shape).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def agrees(micrograph, wanted):
    """All windows hold the right values, of the right type."""
    pixels = micrograph.pixels
    assert tuple(pixels.shape) == wanted.shape
    assert pixels.dtype == wanted.dtype
    assert pixels.dtype.isnative
    for rows, columns in WINDOWS:
        window = pixels[:, rows, columns]
        assert window.dtype.isnative
        np.testing.assert_array_equal(window, wanted[:, rows, columns])
    return True


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16"])
def test_png_of_every_mode(tmp_path, mode):
    grey, colour = values(90, 75, dtype=np.uint8), values(90, 75, 4, dtype=np.uint8)
    source = {
        "L": Image.fromarray(grey),
        "LA": Image.fromarray(colour[..., :2].copy(), "LA"),
        "RGB": Image.fromarray(colour[..., :3].copy()),
        "RGBA": Image.fromarray(colour),
        "P": Image.fromarray(colour[..., :3].copy()).quantize(16),
        "1": Image.fromarray(grey > 99),
        "I;16": Image.fromarray(values(90, 75)),
    }[mode]
    source.save(tmp_path / "a.png")
    wanted = {
        "L": grey[None],
        "LA": colour[None, ..., 0],
        "RGB": np.moveaxis(colour[..., :3], -1, 0),
        "RGBA": np.moveaxis(colour[..., :3], -1, 0),
        "P": np.moveaxis(np.asarray(source.convert("RGB")), -1, 0),
        "1": (grey > 99)[None],
        "I;16": values(90, 75)[None],
    }[mode]
    micrograph = open_micrograph(tmp_path / "a.png")
    assert agrees(micrograph, wanted)
    assert micrograph.pixel_size is None
    assert micrograph.channels == (("grey",) if len(wanted) == 1 else ("red", "green", "blue"))


def test_jpeg(tmp_path):
    Image.fromarray(values(90, 75, 3, dtype=np.uint8)).save(tmp_path / "a.jpg")
    assert agrees(open_micrograph(tmp_path / "a.jpg"), np.moveaxis(np.asarray(Image.open(tmp_path / "a.jpg")), -1, 0))


def test_pillows_limit_of_pixels_is_none_of_ours(tmp_path, monkeypatch):
    pixels = values(90, 75, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for limit in (5000, 1000):  # it warns, and it refuses
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert agrees(open_micrograph(tmp_path / "a.png"), pixels[None])
            assert agrees(decode("a.png", (tmp_path / "a.png").read_bytes()), pixels[None])
            with pytest.raises((Image.DecompressionBombWarning, Image.DecompressionBombError)):
                Image.open(tmp_path / "a.png")


STORED = {
    "one piece": {},
    "strips": {"compression": "zlib", "rowsperstrip": 7},
    "tiles": {"compression": "zlib", "tile": (32, 16)},
    "uncompressed tiles": {"tile": (16, 32)},
    "big-endian": {"byteorder": ">"},
    "big-endian strips": {"byteorder": ">", "compression": "zlib", "predictor": True, "rowsperstrip": 11},
    "bigtiff": {"bigtiff": True, "compression": "lzma", "tile": (48, 64)},
}
AXES = {
    "grey": ("YX", (90, 75), "minisblack", {}),
    "channels": ("CYX", (2, 90, 75), "minisblack", {}),
    "RGB": ("YXS", (90, 75, 3), "rgb", {}),
    "RGBA": ("YXS", (90, 75, 4), "rgb", {"extrasamples": ["unassalpha"]}),
    "planar": ("SYX", (3, 90, 75), "rgb", {"planarconfig": "separate"}),
    "white is zero": ("YX", (90, 75), "miniswhite", {}),
}


def channels_first(data, axes, photometric):
    data = np.moveaxis(data, -1, 0)[:3] if axes == "YXS" else data.reshape(-1, 90, 75)
    return ~data if photometric == "miniswhite" else data


@pytest.mark.parametrize("decoded", ["whole", "by segment"])
@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
@pytest.mark.parametrize(("axes", "shape", "photometric", "more"), AXES.values(), ids=AXES)
def test_tiff_of_every_layout(tmp_path, monkeypatch, axes, shape, photometric, more, stored, decoded):
    if decoded == "by segment":
        monkeypatch.setattr(tiff, "KEPT_BYTES", 5000)
    data = values(*shape)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric=photometric, metadata={"axes": axes}, **stored, **more)
    in_memory = decode("a.tif", (tmp_path / "a.tif").read_bytes())
    for micrograph in (open_micrograph(tmp_path / "a.tif"), in_memory):
        assert micrograph.axes == axes
        assert agrees(micrograph, channels_first(data, axes, photometric))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32, np.float64])
def test_tiff_keeps_its_type(tmp_path, dtype):
    data = values(90, 75, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", data)
    assert agrees(open_micrograph(tmp_path / "a.tif"), data[None])


def test_decoded_segments_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "KEPT_BYTES", 20_000)
    data = values(512, 512)
    tifffile.imwrite(tmp_path / "a.tif", data, compression="zlib", tile=(64, 64))
    pixels = open_micrograph(tmp_path / "a.tif").pixels
    assert isinstance(pixels, _SegmentedPixels)
    for top in range(0, 512, 32):
        np.testing.assert_array_equal(pixels[:, top : top + 32, :], data[None, top : top + 32])
        held = sum(segment.nbytes for segment in pixels._kept.values())
        assert held == pixels._bytes <= 20_000


def test_ome_keeps_pixel_size_and_channels(tmp_path):
    metadata = {
        "axes": "CYX",
        "PhysicalSizeX": 325.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 325.0,
        "PhysicalSizeYUnit": "nm",
        "Channel": {"Name": ["DAPI", "actin"]},
    }
    data = values(2, 90, 75)
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=metadata, photometric="minisblack")
    micrograph = open_micrograph(tmp_path / "a.ome.tif")
    assert (micrograph.pixel_size, micrograph.channels) == (PixelSize(325.0, "nm"), ("DAPI", "actin"))
    assert agrees(micrograph, data)


def test_imagej_keeps_pixel_size(tmp_path):
    options = {"imagej": True, "resolution": (4.0, 4.0), "metadata": {"axes": "CYX", "unit": "micron"}}
    tifffile.imwrite(tmp_path / "a.tif", values(2, 90, 75), **options)
    micrograph = open_micrograph(tmp_path / "a.tif")
    assert micrograph.pixel_size == PixelSize(0.25, "µm")
    assert micrograph.channels == ("channel_1", "channel_2")


@pytest.mark.parametrize(
    ("unit", "per", "wanted"),
    [("CENTIMETER", 40_000, PixelSize(0.25)), ("CENTIMETER", 118, None), ("INCH", 72, None), ("NONE", 1, None)],
)
def test_only_a_scanners_resolution_is_a_pixel_size(tmp_path, unit, per, wanted):
    tifffile.imwrite(tmp_path / "a.tif", values(90, 75), resolution=(per, per), resolutionunit=unit)
    assert open_micrograph(tmp_path / "a.tif").pixel_size == wanted


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_stack_is_refused_until_a_plane_is_chosen(tmp_path, compression):
    data = values(2, 3, 2, 90, 75)
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata={"axes": "TZCYX"}, compression=compression)
    with pytest.raises(RequestError, match=r"a.ome.tif: expected one image, received a stack of 6 planes \(TZCYX \[2,"):
        open_micrograph(tmp_path / "a.ome.tif")
    with pytest.raises(RequestError, match="expected a plane from 0 to 5, received 6"):
        open_micrograph(tmp_path / "a.ome.tif", plane=6)
    for plane in range(6):
        assert agrees(open_micrograph(tmp_path / "a.ome.tif", plane=plane), data[plane // 3, plane % 3])


def test_a_thumbnail_beside_the_image_is_ignored_and_a_second_image_is_not(tmp_path):
    data = values(90, 75)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(data[::4, ::4], metadata=None)
        file.write(data, metadata=None)
    assert agrees(open_micrograph(tmp_path / "a.tif"), data[None])
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        file.write(data, metadata=None, compression="zlib")
        file.write(data.reshape(75, 90), metadata=None)
    with pytest.raises(RequestError, match=r"b.tif: expected one image, received 2; save them as single files"):
        open_micrograph(tmp_path / "b.tif")


def zarr_image(path, data, version):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", shape=data.shape, chunks=(1, 1, 32, 32), dtype=data.dtype)[:] = data
    axes = [{"name": name} for name in "tc"] + [{"name": name, "unit": "micrometer"} for name in "yx"]
    transformations = [{"type": "scale", "scale": [1, 1, 0.5, 0.5]}]
    described = {
        "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transformations}]}],
        "omero": {"channels": [{"label": "DAPI"}, {"label": "actin"}]},
    }
    group.attrs.update(described if version == "0.4" else {"ome": {**described, "version": version}})
    return group


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path, version):
    data = values(3, 2, 90, 75)
    zarr_image(tmp_path / "a.zarr", data, version)
    micrograph = open_micrograph(tmp_path / "a.zarr", plane=2)
    assert agrees(micrograph, data[2])
    assert (micrograph.pixel_size, micrograph.channels, micrograph.axes) == (PixelSize(0.5), ("DAPI", "actin"), "TCYX")
    with pytest.raises(RequestError, match="a stack of 3 planes"):
        open_micrograph(tmp_path / "a.zarr")


def test_a_zarr_group_that_is_no_image_or_is_broken(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.open_group(tmp_path / "a.zarr", mode="w").attrs["plate"] = {}
    with pytest.raises(RequestError, match=r"expected an OME-Zarr image .* received \['plate'\]; give the folder of"):
        open_micrograph(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "zarr.json").write_text("{")
    with pytest.raises(RequestError, match=r"b.zarr: cannot be read as an image"):
        open_micrograph(tmp_path / "b.zarr")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps({}))
    real = builtins.__import__

    def without_zarr(name, *rest):
        if name == "zarr":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_zarr)
    with pytest.raises(RequestError, match=r"a.zarr: OME-Zarr needs the extra zarr: pip install isotypic\[zarr\]"):
        open_micrograph(tmp_path / "a.zarr")


def test_unequal_pixels_are_refused_unless_the_size_is_given(tmp_path):
    options = {"imagej": True, "resolution": (4.0, 2.0), "metadata": {"axes": "YX", "unit": "um"}}
    tifffile.imwrite(tmp_path / "a.tif", values(90, 75), **options)
    with pytest.raises(
        RequestError, match=re.escape("a.tif: expected square pixels, received 0.5 x 0.25 um; resample")
    ):
        open_micrograph(tmp_path / "a.tif")
    micrograph = open_micrograph(tmp_path / "a.tif", pixel_size=PixelSize(0.3))
    assert isinstance(micrograph, Micrograph)
    assert micrograph.pixel_size == PixelSize(0.3)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "a.png", "no such image file"),
        (b"", "a.png", "the image file is empty; remove it or fetch it again"),
        (b"", "a.tif", "the image file is empty"),
        (b"hello", "a.png", "cannot be read as an image ("),
        (b"hello", "a.tif", "cannot be read as an image (not a TIFF file"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "a.tif", "a.tif: "),
        (b"hello", "a.doc", "expected one of .bmp, .btf"),
    ],
)
def test_bad_files_are_one_line(tmp_path, content, name, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        open_micrograph(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kept", [2**28, 5000])
def test_a_truncated_tiff_is_one_line_on_opening_or_reading(tmp_path, monkeypatch, compression, kept):
    monkeypatch.setattr(tiff, "KEPT_BYTES", kept)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values(90, 75), compression=compression, rowsperstrip=9 if compression else None)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(RequestError, match=r"a.tif: cannot be read as an image \(") as caught:
        open_micrograph(path).pixels[:, 0:90, 0:75]
    assert "\n" not in str(caught.value)


def test_other_requests_that_cannot_be_met(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", values(90, 75).astype(np.complex64))
    with pytest.raises(RequestError, match=r"a.tif: expected a grey or RGB image, received MINISBLACK of complex64"):
        open_micrograph(tmp_path / "a.tif")
    with pytest.raises(RequestError, match="expected an image or an OME-Zarr folder, received another folder"):
        open_micrograph(tmp_path)
    Image.fromarray(values(90, 75, dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(RequestError, match="expected plane 0, the only one of this format, received 3"):
        open_micrograph(tmp_path / "a.png", plane=3)


@pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="imagecodecs is installed")
def test_a_compression_that_needs_imagecodecs_says_so(tmp_path):
    Image.fromarray(values(90, 75, dtype=np.uint8)).save(tmp_path / "b.tif", compression="tiff_lzw")
    with pytest.raises(
        RequestError, match=r"b.tif: .*LZW.* requires the 'imagecodecs' package: pip install imagecodecs"
    ):
        open_micrograph(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((0.0, "µm"), "expected a positive pixel size, received 0.0"),
        ((1.0, "inch"), "in nm, µm or mm, received 'inch'"),
    ],
)
def test_impossible_pixel_sizes(size, message):
    with pytest.raises(RequestError, match=message):
        PixelSize(*size)
