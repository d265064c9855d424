"""What is written is read back by others: the pixels of every region, its numbers, its size; or nothing changes."""

import io
import json
import re
import resource
import zipfile

import imageio.v3
import numpy as np
import pandas as pd
import pytest
import roifile
import tifffile
from skimage.measure import points_in_poly

from isotypic.data.readers.micrograph import PixelSize, open_micrograph
from isotypic.errors import RequestError
from isotypic.inference.labels import Labels
from isotypic.inference.writers import overlay
from isotypic.inference.writers.catalogue import Format, paths, save

SHAPE = (60, 45)
CENTRES = np.stack(np.mgrid[: SHAPE[0], : SHAPE[1]][::-1], -1).reshape(-1, 2) + 0.5


def labelled():
    """A square, a ring around another region, a region in two pieces that touch in a corner, one at the edge."""
    image = np.zeros(SHAPE, np.int32)
    image[2:9, 3:8] = 1
    image[15:40, 10:35], image[20:30, 15:30], image[22:28, 17:23] = 2, 0, 3
    image[45:50, 5:10], image[50:54, 10:18] = 7, 7
    image[55:, 40:] = 12
    return image


def result(image=None, **changes):
    image = labelled() if image is None else image
    pixels = np.random.default_rng(0).integers(0, 4000, (1, *image.shape), dtype=np.uint16)
    return Labels(
        **{
            "image": image,
            "source": "plate A.tif",
            "pixel_size": PixelSize(0.5),
            "pixels": pixels,
            "channels": ("DAPI",),
            **changes,
        }
    )


def even_odd(rings):
    """The pixels whose centres are in an odd number of rings."""
    return np.logical_xor.reduce([points_in_poly(CENTRES, np.asarray(ring, float)) for ring in rings]).reshape(SHAPE)


def read_rois(path):
    with zipfile.ZipFile(path) as archive:
        rois = [roifile.ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    return {roi.name: roi.coordinates(multi=True) for roi in rois}


def written(tmp_path, labels, kind):
    (path,) = save(labels, tmp_path / "plate A", [kind])
    return path


@pytest.mark.parametrize("size", [None, PixelSize(0.5), PixelSize(325.0, "nm")])
def test_the_label_image_keeps_labels_axes_and_pixel_size(tmp_path, size):
    path = written(tmp_path, result(pixel_size=size), Format.LABELS)
    micrograph = open_micrograph(path)
    assert path.name == "plate A_labels.ome.tif"
    np.testing.assert_array_equal(micrograph.pixels[:, : SHAPE[0], : SHAPE[1]][0], labelled())
    assert (micrograph.axes, micrograph.pixel_size, micrograph.pixels.dtype) == ("YX", size, np.uint16)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_many_labels_take_32_bits(tmp_path):
    image = np.where(labelled() == 12, 70_000, 0).astype(np.int32)
    pixels = open_micrograph(written(tmp_path, result(image), Format.LABELS)).pixels
    assert pixels.dtype == np.uint32
    np.testing.assert_array_equal(pixels[:, : SHAPE[0], : SHAPE[1]][0], image)


def test_csv_is_the_table(tmp_path):
    labels = result()
    table = pd.read_csv(written(tmp_path, labels, Format.CSV))
    pd.testing.assert_frame_equal(table, labels.regions(), rtol=1e-8, check_dtype=False)
    assert {"area_um2", "centroid_x_um", "mean_DAPI"} <= set(table.columns)


def test_imagej_rois_enclose_the_regions(tmp_path):
    found = read_rois(written(tmp_path, result(), Format.ROIS))
    assert list(found) == ["01", "02", "03", "07", "12"]
    for name, rings in found.items():
        np.testing.assert_array_equal(even_odd(rings), labelled() == int(name), err_msg=name)


def test_imagej_rois_far_from_the_origin(tmp_path):
    image = np.zeros((8, 40_000), np.int32)
    image[2:5, 39_990:39_997] = 1
    (rings,) = read_rois(written(tmp_path, Labels(image, "a"), Format.ROIS)).values()
    assert (rings[0].min(0).tolist(), rings[0].max(0).tolist()) == ([39_990, 2], [39_997, 5])


def test_geojson_encloses_the_regions_with_their_measurements(tmp_path):
    labels = result()
    found = json.loads(written(tmp_path, labels, Format.GEOJSON).read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    assert len(found["features"]) == labels.count
    for feature, (_, row) in zip(found["features"], labels.regions().iterrows(), strict=True):
        geometry, properties = feature["geometry"], feature["properties"]
        parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        rings = [ring for part in parts for ring in part]
        assert all(ring[0] == ring[-1] for ring in rings)
        np.testing.assert_array_equal(even_odd([ring[:-1] for ring in rings]), labels.image == row["label"])
        assert (properties["objectType"], properties["name"]) == ("detection", str(int(row["label"])))
        assert properties["measurements"] == pytest.approx(row.drop("label").to_dict())
    kinds = {feature["properties"]["name"]: feature["geometry"] for feature in found["features"]}
    assert [kinds[name]["type"] for name in ("1", "2", "7")] == ["Polygon", "Polygon", "MultiPolygon"]
    assert len(kinds["2"]["coordinates"]) == 2, "a ring and its hole"


def test_ids_are_the_same_for_the_same_result_and_of_one_region_each(tmp_path):
    first, again = (written(tmp_path, result(), Format.GEOJSON).read_text() for _ in range(2))
    assert first == again
    assert len({feature["id"] for feature in json.loads(first)["features"]}) == 5


def test_the_overlay_has_contours_and_nothing_else_changed(tmp_path):
    labels = result()
    shown = imageio.v3.imread(written(tmp_path, labels, Format.OVERLAY))
    bare = overlay.picture(result(np.zeros(SHAPE, np.int32)))
    changed = (shown != bare).any(-1)
    assert shown.shape == (*SHAPE, 3)
    assert (labelled()[changed] > 0).all()
    assert changed[2, 3:8].all(), "the first row of the square"
    assert not changed[4:7, 5:6].any(), "its inside"
    assert bare.min() == 0
    assert bare.max() == 255
    assert len({tuple(colour) for colour in shown[(2, 15, 22, 45, 55), (3, 10, 17, 5, 44)]}) == 5


@pytest.mark.parametrize("side", [60, 30, 20, 13])
def test_a_large_overlay_is_bounded_and_averages(monkeypatch, side):
    monkeypatch.setattr(overlay, "SIDE", side)
    block = -(-60 // side)
    image = np.random.default_rng(0).normal(size=(2, *SHAPE))
    small = overlay._reduced(image, block)
    assert max(overlay.picture(result(pixels=image, channels=("a", "b"))).shape[:2]) <= side
    for i, j in np.ndindex(small.shape[1:]):
        part = image[:, i * block : (i + 1) * block, j * block : (j + 1) * block]
        np.testing.assert_allclose(small[:, i, j], part.mean((1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("block", [1, 3, 64])
def test_the_windows_that_are_read_do_not_show(monkeypatch, dtype, block):
    image = (np.random.default_rng(0).normal(size=(2, 603, 517)) * 1000).astype(dtype)
    rows = [image[:, top : top + block].mean(1, dtype=np.float64) for top in range(0, 603, block)]
    columns = [np.add.reduceat(row, np.arange(0, 517, block), 1) for row in rows]
    wanted = np.stack(columns, 1) / np.diff([*range(0, 517, block), 517])
    for values in (1, 50_000, 1 << 22):
        monkeypatch.setattr(overlay, "STRIP_VALUES", values)
        np.testing.assert_array_equal(overlay._reduced(image, block), wanted.astype(np.float32))


@pytest.mark.parametrize("image", [np.zeros(SHAPE), np.full(SHAPE, np.nan), np.where(labelled(), np.inf, 3.0)])
def test_an_overlay_of_constant_or_missing_values(image):
    assert overlay.picture(result(pixels=image[None])).dtype == np.uint8


def test_colours_keep_their_proportions():
    image = np.stack([np.tile(np.linspace(0, 100, 45), (60, 1)) * factor for factor in (1, 0.5, 0.0)])
    bare = overlay.picture(result(np.zeros(SHAPE, np.int32), pixels=image, channels=("r", "g", "b")))
    np.testing.assert_allclose(bare[..., 1], bare[..., 0] / 2.0, atol=1.5)
    assert not bare[..., 2].any()


def test_nothing_found_is_written_in_every_format(tmp_path):
    files = paths(tmp_path / "a", Format)
    assert save(result(np.zeros(SHAPE, np.int32)), tmp_path / "a", Format) == list(files.values())
    assert not tifffile.imread(files[Format.LABELS]).any()
    assert len(pd.read_csv(files[Format.CSV])) == 0
    assert files[Format.CSV].read_text().startswith("label,area_um2,")
    assert read_rois(files[Format.ROIS]) == {}
    assert json.loads(files[Format.GEOJSON].read_text())["features"] == []
    assert imageio.v3.imread(files[Format.OVERLAY]).shape == (*SHAPE, 3)


def test_an_overlay_needs_the_image():
    with pytest.raises(RequestError, match=r"plate A.tif: expected labels with the image's pixels for an overlay"):
        overlay.picture(result(pixels=None, channels=()))


@pytest.mark.parametrize("kind", Format)
def test_when_the_disk_is_full_the_old_file_stays_and_the_error_is_one_line(tmp_path, kind):
    random = np.random.default_rng(0).integers(0, 1000, (80, 60), dtype=np.int32)
    path = written(tmp_path, result(), kind)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(RequestError, match=re.escape(f"{path}: cannot be written (")) as caught:
            save(result(random), tmp_path / "plate A", [kind])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_roi_is_what_imagej_writes_for_its_wand(tmp_path):
    """The header of a traced polygon: type 8, bounds from corner to corner, coordinates relative to them."""
    path = written(tmp_path, result(), Format.ROIS)
    with zipfile.ZipFile(path) as archive:
        header = np.frombuffer(io.BytesIO(archive.read("01.roi")).read(), np.uint8)
    assert bytes(header[:4]) == b"Iout"
    assert header[6] == 8
    assert header[8:18].view(">i2").tolist() == [2, 3, 9, 8, 4]
    assert header[64:80].view(">i2").tolist() == [0, 5, 5, 0, 0, 0, 7, 7]
