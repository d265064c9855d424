"""Regions and outlines against independent references: scikit-image, and rasterising what was traced."""

import re
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import points_in_poly, regionprops

from isotypic.data.readers.micrograph import Micrograph, PixelSize
from isotypic.errors import RequestError
from isotypic.inference.labels import Labels
from isotypic.inference.outlines import Polygon, outlines

RING = np.array([[3, 3, 3, 3], [3, 0, 5, 3], [3, 3, 0, 3], [0, 3, 3, 3]], np.int32)


def blobs(height=90, width=75, seed=0):
    """Discs, some with another region inside, some cut by the edge, some in two pieces."""
    random, image = np.random.default_rng(seed), np.zeros((height, width), np.int32)
    y, x = np.mgrid[:height, :width]
    for label in range(1, 15):
        centre, radius = random.uniform(0, (height, width)), random.uniform(3, 15)
        image[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = label * 3
    return image


def rasterised(found, shape):
    """Pixels whose centres lie in the outer ring and in no hole, by scikit-image."""
    image = np.zeros(shape, np.int32)
    centres = np.stack(np.mgrid[: shape[0], : shape[1]][::-1], -1).reshape(-1, 2) + 0.5
    for label, polygons in found.items():
        for polygon in polygons:
            inside = points_in_poly(centres, polygon.ring)
            for hole in polygon.holes:
                inside &= ~points_in_poly(centres, hole)
            assert not image.ravel()[inside].any(), "polygons do not overlap"
            image.ravel()[inside] = label
    return image


def area(ring):
    x, y = ring.T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def is_valid(polygon, shape):
    for ring in (polygon.ring, *polygon.holes):
        assert len(np.unique(ring, axis=0)) == len(ring) >= 4, "no corner twice"
        steps = np.roll(ring, -1, 0) - ring
        assert ((steps == 0).sum(1) == 1).all(), "along the axes"
        assert ((steps * np.roll(steps, -1, 0)).sum(1) == 0).all(), "a corner is a turn"
        assert (ring >= 0).all()
        assert (ring <= shape[::-1]).all()
    return area(polygon.ring) > 0 and all(area(hole) < 0 for hole in polygon.holes)


def outlines_hold(image):
    found = outlines(image)
    np.testing.assert_array_equal(rasterised(found, image.shape), image)
    assert all(is_valid(polygon, image.shape) for polygons in found.values() for polygon in polygons)
    assert list(found) == [label for label in np.unique(image) if label]
    return True


@given(arrays(np.int32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 3)))
def test_rasterising_the_outlines_gives_back_the_regions(image):
    assert outlines_hold(image)


@pytest.mark.parametrize(
    "image", [blobs(), RING, np.kron(RING, np.ones((300, 2), np.int32))], ids=["blobs", "ring", "strips"]
)
def test_outlines_of_blobs_of_nested_regions_and_across_strips(image):
    assert outlines_hold(image)


def test_an_island_in_a_hole_is_another_polygon_and_keeps_its_own_hole():
    image = np.zeros((9, 9), np.int32)
    image[:, :], image[1:8, 1:8], image[2:7, 2:7], image[3:6, 3:6] = 4, 0, 4, 0
    found = outlines(image)[4]
    assert [(area(polygon.ring), [area(hole) for hole in polygon.holes]) for polygon in found] == [
        (81, [-49]),
        (25, [-9]),
    ]


def fragments(side):
    """A sheet with side x side holes above as many specks, all of one region."""
    image = np.zeros((4 * side + 2, 2 * side + 1), np.int32)
    image[: 2 * side + 1] = 5
    image[1 : 2 * side : 2, 1::2], image[2 * side + 3 :: 2, 1::2] = 0, 5
    return image


def calls(function, *words):
    """How many functions in Python a call takes."""
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(counted)
    try:
        function(*words)
    finally:
        sys.setprofile(None)
    return count


def test_a_fragmented_region_is_traced_in_linear_time():
    few, many = (calls(outlines, fragments(side)) for side in (8, 16))
    assert few < many < 5 * few, "four times the holes and specks"
    sheet, *specks = outlines(fragments(50))[5]
    assert len(sheet.holes) == len(specks) == 2500
    assert {tuple(hole.min(0)) for hole in sheet.holes} == {(x, y) for x in range(1, 100, 2) for y in range(1, 100, 2)}
    assert all(area(hole) == -1 for hole in sheet.holes)
    assert all((area(speck.ring), speck.holes) == (1, ()) for speck in specks)


def test_rasterising_sees_a_wrong_outline():
    """The control: a polygon without its hole, or aside, is another region."""
    image = np.where(RING == 3, 3, 0)
    (polygon,) = outlines(image)[3]
    assert len(polygon.holes) == 1
    for wrong in (Polygon(polygon.ring), Polygon(polygon.ring + 0.75, polygon.holes)):
        assert (rasterised({3: (wrong,)}, image.shape) != image).any()


@pytest.mark.parametrize("size", [None, PixelSize(0.5), PixelSize(325.0, "nm")])
def test_regions_are_scikit_images_in_physical_units(size):
    image, pixels = blobs(), np.random.default_rng(1).normal(size=(2, 90, 75))
    table = Labels(image, "a.png", size, pixels, ("DAPI", "actin")).regions()
    unit, side = ("px", 1.0) if size is None else (size.plain_unit, size.value)
    wanted = regionprops(image, np.moveaxis(pixels, 0, -1))
    assert list(table["label"]) == [region.label for region in wanted]
    columns = {
        "area_px" if size is None else f"area_{unit}2": [region.area * side**2 for region in wanted],
        f"centroid_y_{unit}": [region.centroid[0] * side for region in wanted],
        f"centroid_x_{unit}": [region.centroid[1] * side for region in wanted],
        f"equivalent_diameter_{unit}": [region.equivalent_diameter_area * side for region in wanted],
        f"major_axis_{unit}": [region.axis_major_length * side for region in wanted],
        f"minor_axis_{unit}": [region.axis_minor_length * side for region in wanted],
        "eccentricity": [region.eccentricity for region in wanted],
        f"perimeter_{unit}": [region.perimeter * side for region in wanted],
        "top_px": [region.bbox[0] for region in wanted],
        "left_px": [region.bbox[1] for region in wanted],
        "bottom_px": [region.bbox[2] for region in wanted],
        "right_px": [region.bbox[3] for region in wanted],
        "mean_DAPI": [region.intensity_mean[0] for region in wanted],
        "mean_actin": [region.intensity_mean[1] for region in wanted],
    }
    assert list(table.columns) == ["label", *columns]
    for name, expected in columns.items():
        np.testing.assert_allclose(table[name], expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_turned_image_has_the_turned_regions():
    image = blobs()
    upright, turned = Labels(image, "a").regions(), Labels(np.rot90(image).copy(), "a").regions()
    same = ["label", "area_px", "major_axis_px", "minor_axis_px", "eccentricity", "perimeter_px"]
    pd.testing.assert_frame_equal(upright[same], turned[same])
    np.testing.assert_allclose(turned["centroid_x_px"], upright["centroid_y_px"])
    np.testing.assert_allclose(turned["centroid_y_px"], 74 - upright["centroid_x_px"])


def test_nothing_found_is_a_table_without_rows():
    empty = Labels(np.zeros((20, 30), np.int32), "a", None, np.zeros((1, 20, 30)), ("grey",))
    full = Labels(blobs(20, 30), "a", None, np.zeros((1, 20, 30)), ("grey",))
    assert (empty.count, empty.outlines, len(empty.regions())) == (0, {}, 0)
    assert list(empty.regions().columns) == list(full.regions().columns)


def test_regions_are_measured_once_and_cannot_be_changed_from_outside():
    labels = Labels(blobs(), "a")
    table = labels.regions()
    table.iloc[:, 1:] = 0
    assert (labels.regions()["area_px"] > 0).all()
    assert labels._regions is labels._regions
    assert labels.count == len(np.unique(labels.image)) - 1


def test_channels_of_one_name_are_numbered():
    labels = Labels(blobs(), "a", None, np.zeros((2, 90, 75)), ("x", "x"))
    assert list(labels.regions().columns[-2:]) == ["mean_x_1", "mean_x_2"]


def test_labels_of_a_micrograph_know_what_it_knows():
    pixels = np.zeros((1, 90, 75), np.uint8)
    labels = Labels.of(blobs(), Micrograph("a.tif", pixels, "YX", PixelSize(0.5), ("grey",)))
    assert (labels.source, labels.pixel_size, labels.channels) == ("a.tif", PixelSize(0.5), ("grey",))


def test_tracing_takes_memory_by_the_edges_not_by_the_pixels():
    image = np.zeros((3000, 3000), np.int32)
    image[::100, ::100] = np.arange(1, 901).reshape(30, 30)
    tracemalloc.start()
    assert len(outlines(image)) == 900
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < image.nbytes / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 3)), "a"), "expected a label image [y, x] of int32 from 0, received [2, 3] of float64 from 0.0"),
        ((np.zeros((1, 2, 3), np.int32), "a"), "received [1, 2, 3] of int32"),
        ((np.full((2, 3), -1, np.int32), "a"), "received [2, 3] of int32 from -1"),
        (
            (np.zeros((2, 3), np.int32), "a", None, np.zeros((1, 3, 2)), ("grey",)),
            "expected pixels [C, y, x] over (2, 3), received (1, 3, 2)",
        ),
        (
            (np.zeros((2, 3), np.int32), "a", None, np.zeros((2, 2, 3)), ("grey",)),
            "expected a name for each of 2 channels, received ['grey']",
        ),
    ],
)
def test_what_are_no_labels(arguments, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        Labels(*arguments)
