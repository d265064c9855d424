"""Latitudes and longitudes: what a grid says at any point, poles included or not; and files that are none."""

import numpy as np
import pytest
from PIL import Image

from isotypic.data.catalogue import load_sphere, recognise_sphere
from isotypic.data.config import SphereDataConfig
from isotypic.data.sphere.latlon import LatLonFields, LatLonGrid
from isotypic.data.sphere.points import grid_points
from isotypic.data.sphere.samples import Sampled, Samples, Turns, on_disk
from isotypic.errors import RequestError

POINTS = grid_points(10).reshape(1, -1, 3)


def known(points):
    """A smooth function on the sphere."""
    x, y, z = np.moveaxis(points, -1, 0)
    return x * y + 0.5 * z - 0.3 * x


def on(latitudes, longitudes):
    """The function on a grid, ``[1, 1, latitude, longitude]``."""
    up, around = np.deg2rad(np.asarray(latitudes))[:, None], np.deg2rad(np.asarray(longitudes))[None]
    z = np.broadcast_to(np.sin(up), (up.shape[0], around.shape[1]))
    return known(np.stack([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), z], -1))[None, None]


def error(latitudes, longitudes):
    grid = LatLonGrid.of("g", latitudes, longitudes)
    found = LatLonFields(grid, on(latitudes, longitudes), None, "").values(np.array([0]), POINTS)
    return np.abs(found[0, 0] - known(POINTS[0])).max()


STEP = 3.0
WITHOUT_POLES = np.arange(-90 + STEP / 2, 90, STEP)
WITH_POLES = np.arange(-90, 90 + STEP / 2, STEP)
AROUND = np.arange(0, 360, STEP)


@pytest.mark.parametrize("latitudes", [WITHOUT_POLES, WITH_POLES, WITHOUT_POLES[::-1], WITH_POLES[::-1]])
@pytest.mark.parametrize("longitudes", [AROUND, AROUND - 180, AROUND + STEP / 2, np.append(AROUND, 360)])
def test_every_grid_of_a_function_says_the_same(latitudes, longitudes):
    assert error(latitudes, longitudes) < np.deg2rad(STEP) ** 2


def test_a_grid_that_is_upside_down_does_not():
    grid = LatLonGrid.of("g", WITH_POLES[::-1], AROUND)
    found = LatLonFields(grid, on(WITH_POLES, AROUND), None, "").values(np.array([0]), POINTS)
    assert np.abs(found[0, 0] - known(POINTS[0])).max() > 0.5


def test_a_finer_grid_is_nearer():
    latitudes = np.arange(-90, 91, 1.0)
    assert error(latitudes, np.arange(0, 360, 1.0)) < 0.2 * error(WITH_POLES, AROUND)
    uneven = 90 - np.rad2deg(np.arccos(np.polynomial.legendre.leggauss(60)[0]))
    assert error(uneven, AROUND) < np.deg2rad(STEP) ** 2


def test_a_pole_is_one_point():
    values = on(WITH_POLES, AROUND)
    values[0, 0, -1] = np.arange(len(AROUND))
    fields = LatLonFields(LatLonGrid.of("g", WITH_POLES, AROUND), values, None, "")
    near = np.deg2rad(0.01)
    ring = np.array([[[np.sin(near) * np.cos(a), np.sin(near) * np.sin(a), np.cos(near)] for a in (0, 1, 2, 3)]])
    assert np.ptp(fields.values(np.array([0]), ring)) < 0.1
    assert fields.values(np.array([0]), np.array([[[0, 0, 1.0]]])).item() == pytest.approx(values[0, 0, -1].mean())


def test_a_picture_has_north_on_top_and_goes_east():
    pixels = np.zeros((1, 1, 4, 8), np.uint8)
    pixels[0, 0, 0] = 200
    pixels[0, 0, 2, 1] = 100
    fields = LatLonFields(LatLonGrid.equirectangular("p", 4, 8), pixels, pixels[:, 0] // 100, "")
    up, around = np.deg2rad([67.5, -22.5]), np.deg2rad([100, 67.5])
    points = np.stack([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)], -1)[None]
    assert fields.values(np.array([0]), points)[0, 0] == pytest.approx([200, 100])
    assert fields.classes(np.array([0]), points).tolist() == [[2, 1]]
    assert fields.dtype == np.uint8


def test_turned_it_is_the_turned_function():
    fine = np.arange(-90, 91, 1.0)
    fields = LatLonFields(LatLonGrid.of("g", fine, np.arange(0, 360, 1.0)), on(fine, np.arange(0, 360, 1.0)), None, "")
    samples = Samples(fields, np.array([0]), 8, Turns((4,)))
    back = samples.rotations(np.array([0]))[0].inv()
    found = samples.images(np.array([0]))[0, 0]
    assert found == pytest.approx(known(back.apply(grid_points(8).reshape(-1, 3))).reshape(16, 16), abs=1e-3)
    assert found != pytest.approx(known(grid_points(8)), abs=1e-1)


@pytest.mark.parametrize(
    ("latitudes", "longitudes", "message"),
    [
        (np.arange(0, 91, 3.0), AROUND, "expected latitudes from pole to pole, received 0 to 90"),
        (WITH_POLES, np.arange(0, 180, 3.0), r"around the whole circle, received 0 to 177 in 60 steps"),
        (WITH_POLES, np.array([0.0, 10, 30, 360]), "in equal steps"),
        (np.array([-90.0, 10, 0, 90]), AROUND, "expected latitudes in order"),
        (WITH_POLES * 2, AROUND, "from -90 to 90 degrees, received -180 to 180"),
        (WITH_POLES[:, None], AROUND, "in a row each, at least two"),
    ],
)
def test_a_grid_that_is_not_around_the_sphere_is_refused(latitudes, longitudes, message):
    with pytest.raises(RequestError, match=message):
        LatLonGrid.of("g", latitudes, longitudes)


def archive(folder, **changes):
    height = 8
    latitudes = 90 - 180 / height * (np.arange(height) + 0.5)
    values = np.random.default_rng(0).random((12, height, 2 * height)).astype(np.float32)
    arrays = {"images": values, "labels": (values > 0.5).astype(int), "lat": latitudes}
    arrays |= {"lon": np.arange(2 * height) * 180 / height, **changes}
    path = folder / "grids.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def loaded(path, **settings):
    return load_sphere(
        SphereDataConfig(dataset=recognise_sphere(path), path=path, bandwidth=5, **settings), path.parent
    )


def test_a_file_of_grids_has_classes_of_points(tmp_path):
    found = loaded(archive(tmp_path))
    assert found.point_classes == ("background", "1")
    images = Samples(found.fields, np.arange(12), 5)
    assert images.images(np.arange(12)).shape == (12, 1, 10, 10)
    assert set(np.unique(images.classes(np.arange(12)))) == {0, 1}
    assert sorted(np.concatenate(list(vars(found.splits).values()))) == list(range(12))


def test_or_one_of_every_image(tmp_path):
    found = loaded(archive(tmp_path, labels=np.arange(12) % 2))
    assert found.classes == ("0", "1")
    with pytest.raises(RequestError, match="expected the class of every point, received images alone"):
        found.fields.classes(np.array([0]), POINTS)


def test_what_is_wrong_with_a_file_is_said(tmp_path):
    with pytest.raises(RequestError, match=r"unknown array 'labels'.*Known: images, lat, lon"):
        loaded(archive(tmp_path, labels=None))
    with pytest.raises(RequestError, match="whole numbers from 0 to 254"):
        loaded(archive(tmp_path, labels=np.full(12, 0.5)))
    with pytest.raises(RequestError, match=r"expected values \[N, C, 8, 16\] .* received \[12, 1, 8, 15\]"):
        loaded(archive(tmp_path, images=np.zeros((12, 8, 15)), labels=np.arange(12) % 2))
    holes = np.zeros((12, 8, 16))
    holes[7, 2, 3] = np.nan
    broken = loaded(archive(tmp_path, images=holes))
    with pytest.raises(RequestError, match="received NaN or infinity in image 7: fill what is missing"):
        Samples(broken.fields, np.arange(12), 5).images(np.arange(12))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(RequestError, match="cannot be read as a NumPy archive"):
        loaded(tmp_path / "text.npz")


def test_netcdf_is_read_as_an_archive_is(tmp_path):
    xarray = pytest.importorskip("xarray", reason="the extra sphere is not installed")
    same = np.load(archive(tmp_path))
    space = ("sample", "latitude", "longitude")
    data = {"images": (space, same["images"]), "labels": (space, same["labels"].astype("int32"))}
    path = tmp_path / "grids.nc"
    where = {"latitude": same["lat"], "longitude": same["lon"]}
    xarray.Dataset(data, coords=where).to_netcdf(path, engine="scipy")
    found, expected = (Samples(loaded(p).fields, np.arange(12), 5) for p in (path, tmp_path / "grids.npz"))
    assert np.array_equal(found.images(np.arange(12)), expected.images(np.arange(12)))
    assert np.array_equal(found.classes(np.arange(12)), expected.classes(np.arange(12)))


def pictures(folder, size=(8, 16), names=("images", "classes")):
    generator = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(10):
            levels = generator.integers(0, 3, size) if name == "classes" else generator.integers(0, 255, size)
            Image.fromarray(levels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def test_a_folder_of_pictures_with_classes_of_points(tmp_path):
    found = loaded(pictures(tmp_path / "world"))
    assert found.point_classes == ("background", "1", "2")
    assert found.fields.channels == 1
    (tmp_path / "world" / "classes" / "3.png").unlink()
    with pytest.raises(RequestError, match="received no image with the classes of 3"):
        loaded(tmp_path / "world")


def test_classes_that_were_edited_are_read_anew(tmp_path):
    root = pictures(tmp_path / "world")
    before = on_disk(Sampled(Samples(loaded(root).fields, np.arange(10), 5, None), classes=True), tmp_path)
    for path in (root / "classes").iterdir():
        Image.fromarray(np.full((8, 16), 2, np.uint8)).save(path)
    after = on_disk(Sampled(Samples(loaded(root).fields, np.arange(10), 5, None), classes=True), tmp_path)
    assert set(np.unique(before)) == {0, 1, 2}
    assert set(np.unique(after)) == {2}


def test_pictures_and_their_classes_are_brought_to_another_size(tmp_path):
    root = pictures(tmp_path / "world")
    for path in (root / "classes").iterdir():
        halves = np.repeat([[1], [2]], 4, 0) * np.ones((1, 16))
        Image.fromarray(halves.astype(np.uint8)).save(path)
    fields = loaded(root, resize=2).fields
    assert fields.grid.shape == (2, 4)
    assert np.array_equal(fields._points[0], [[1] * 4, [2] * 4])


@pytest.mark.parametrize(("name", "value"), [("digits", 4), ("threshold", 10.0), ("canvas", 60)])
def test_what_pictures_have_no_use_for_is_refused(tmp_path, name, value):
    with pytest.raises(RequestError, match=f"does not read data.{name}, received {value}: leave it out"):
        loaded(pictures(tmp_path / "world"), **{name: value})
    with pytest.raises(RequestError, match=r"'grids' does not read data\.resize"):
        loaded(archive(tmp_path), resize=4)


def test_a_folder_with_a_folder_a_class(tmp_path):
    found = loaded(pictures(tmp_path / "world", names=("land", "sea")))
    assert found.classes == ("land", "sea")
    assert len(found) == 20


def test_pictures_of_another_shape_are_refused(tmp_path):
    with pytest.raises(RequestError, match=r"twice as wide as high, received 8 x 8 \(y, x\)"):
        loaded(pictures(tmp_path / "world", size=(8, 8), names=("land", "sea")))
