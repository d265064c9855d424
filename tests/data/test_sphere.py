"""Images on the sphere: where the rays go, what is read there, what a rotation does, what is kept on disk."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from isotypic.data.catalogue import load_sphere
from isotypic.data.config import SphereDataConfig
from isotypic.data.sphere import samples as module
from isotypic.data.sphere.augmentation import augmented, copies_of
from isotypic.data.sphere.digits import Layout, ProjectedDigits
from isotypic.data.sphere.fields import SphereFields
from isotypic.data.sphere.loading import normalisation_of
from isotypic.data.sphere.points import areas, grid_points, nearest_points, read_at, turned_back
from isotypic.data.sphere.projection import HALF_SIDE, nearest, on_plane, project
from isotypic.data.sphere.samples import Sampled, Samples, Turns, on_disk
from isotypic.data.sphere.view import FROM_SOUTH, SOUTH, following, seen
from isotypic.errors import RequestError
from isotypic.groups.so3.rotations import random_rotations


class Linear(SphereFields):
    """Functions ``100 + 50 axis . p``, known at every point; of class 1 where the last coordinate is positive."""

    channels, dtype = 1, np.dtype(np.float32)

    def __init__(self, axes):
        self.axes = np.asarray(axes, dtype=float)

    @property
    def state(self):
        return str(self.axes.tolist())

    def __len__(self):
        return len(self.axes)

    def values(self, rows, points):
        return 100 + 50 * np.einsum("npi,ni->np", points, self.axes[rows])[:, None]

    def classes(self, rows, points):
        return (points[..., 2] > 0).astype(np.uint8)


def test_areas_add_up_to_the_sphere_and_integrate_it():
    b = 6
    points, area = grid_points(b), areas(b)
    assert area.sum() == pytest.approx(4 * np.pi)
    assert (area[..., None] * points**2).sum((0, 1)) == pytest.approx(np.full(3, 4 * np.pi / 3))
    alike = np.full_like(area, area.mean())
    assert (alike[..., None] * points**2).sum((0, 1))[2] != pytest.approx(4 * np.pi / 3, rel=0.1), "the control"


def test_a_ray_meets_the_plane_where_geometry_says():
    beta, alpha = np.deg2rad(150), 0.7
    point = np.array([np.sin(beta) * np.cos(alpha), np.sin(beta) * np.sin(alpha), np.cos(beta)])
    eye, lifted = np.array([0, 0, 2.001]), point + np.array([0, 0, 1])
    t = eye[2] / (eye[2] - lifted[2])
    foot = eye + t * (lifted - eye)
    assert foot[2] == pytest.approx(0)
    assert on_plane(point) == pytest.approx(foot[:2] / HALF_SIDE)


def on_sphere(x, y):
    """The point of the sphere that the eye sees in front of (x, y) of the plane, in half sides of an image."""
    target, eye = np.array([x * HALF_SIDE, y * HALF_SIDE, 0]), np.array([0, 0, 2.001])
    way, start = target - eye, eye - [0, 0, 1]
    a, b, c = way @ way, 2 * way @ start, start @ start - 1
    return start + way * (-b + np.sqrt(b * b - 4 * a * c)) / (2 * a)


def test_a_pixel_is_seen_where_it_lies_and_halfway_between_two_their_mean():
    image = np.arange(16.0).reshape(1, 4, 4)
    row, column = 1, 2
    centre = [(2 * column + 1) / 4 - 1, (2 * row + 1) / 4 - 1]
    beside = [centre[0] + 0.25, centre[1]]
    points = np.array([[on_sphere(*centre), on_sphere(*beside), [0, 0, 1.0], on_sphere(-1.3, 0)]])
    assert project(image, points)[0] == pytest.approx([6, 6.5, 0, 0])
    assert nearest(image, points[:, [0, 3]])[0].tolist() == [6, 0]


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_the_projection_of_a_turned_image_is_the_turned_projection(quarter):
    """Quarter turns of the image about its middle are rotations about the axis of the poles."""
    image = np.random.default_rng(0).random((1, 9, 9))
    turned = np.rot90(image, -quarter, (1, 2))  # rows are along y and columns along x: from x to y
    about = Rotation.from_euler("z", quarter * np.pi / 2)
    upright = project(turned, read_at(8, None, 1))
    assert upright == pytest.approx(project(image, read_at(8, Rotation.concatenate([about]), 1)))
    assert upright != pytest.approx(project(image, read_at(8, None, 1)))


def test_a_rotation_moves_the_function_and_nothing_is_resampled():
    axes = [[0, 0, 1.0], [1, 0, 0]]
    turns = Turns((3,))
    found = Samples(Linear(axes), np.arange(2), 5, turns).images(np.arange(2))[:, 0]
    moved = turns.of(np.arange(2), 2).apply(axes)
    assert found == pytest.approx(100 + 50 * np.einsum("abi,ni->nab", grid_points(5), moved), abs=1e-4)
    assert found != pytest.approx(Samples(Linear(axes), np.arange(2), 5).images(np.arange(2))[:, 0])


def test_a_rotation_leaves_the_mean_over_areas():
    drawn = digits(bandwidth=24)
    rows = np.arange(6)
    upright, turned = (Samples(drawn.fields, rows, 24, turns).images(rows)[:, 0] for turns in (None, Turns((0,))))
    weight = areas(24) / (4 * np.pi)
    assert (turned * weight).sum((1, 2)) == pytest.approx((upright * weight).sum((1, 2)), rel=0.02)
    assert turned.mean((1, 2)) != pytest.approx(upright.mean((1, 2)), rel=0.02), "points of a grid are no areas"


def digits(**settings):
    return load_sphere(SphereDataConfig(**settings), None)


def test_digits_have_their_class_where_they_are_bright_and_none_in_the_north():
    drawn, rows = digits(bandwidth=12), np.arange(20)
    samples = Samples(drawn.fields, rows, 12)
    images, classes = samples.images(rows)[:, 0], samples.classes(rows)
    assert (classes[:, :12] == 0).all()
    for image, found, label in zip(images, classes, drawn.labels[rows], strict=True):
        assert set(np.unique(found)) == {0, label + 1}
        certain = np.abs(image.astype(int) - 150) > 1
        assert ((found > 0) == (image > 150))[certain].all()


def test_of_four_digits_every_one_has_its_own_class_and_none_is_of_another_part():
    images = np.full((12, 4, 4), 255, np.uint8)
    labels, parts = np.arange(12), np.repeat([0, 1, 2], 4)
    fields = ProjectedDigits(images, labels, Layout(4, 12, 150, 0), parts)
    pixels, owners = fields.canvases(np.arange(12))
    for row, (pixel, owner) in enumerate(zip(pixels, owners, strict=True)):
        there = set(np.unique(owner)) - {0}
        assert row + 1 in there
        assert {parts[label - 1] for label in there} == {parts[row]}
        assert (pixel > 0).sum() == 4 * 16
        assert ((owner > 0) == (pixel > 0)).all()


def test_a_digit_has_a_place_of_its_own_on_a_larger_canvas():
    images = np.full((5, 4, 4), 255, np.uint8)
    fields = ProjectedDigits(images, np.arange(5), Layout(1, 16, 150, 0), np.zeros(5))
    places = {tuple(np.argwhere(canvas).min(0)) for canvas in fields.canvases(np.arange(5))[0]}
    assert len(places) > 1
    with pytest.raises(RequestError, match=r"received 4 x 4: set data.canvas to at least 8"):
        ProjectedDigits(images, np.arange(5), Layout(4, 7, 150, 0), np.zeros(5))


def test_in_blocks_or_one_by_one_or_from_disk_samples_are_the_same(tmp_path, monkeypatch):
    drawn, rows = digits(bandwidth=6), np.arange(10)
    samples = Samples(drawn.fields, rows, 6, Turns((1,), copies=2))
    whole, classes = Sampled(samples)[:], Sampled(samples, classes=True)[:]
    assert whole.shape == (20, 1, 12, 12)
    assert np.array_equal(np.stack([Sampled(samples)[row] for row in range(20)]), whole)
    monkeypatch.setattr(module, "BLOCK", 3)
    stored = on_disk(Sampled(samples), tmp_path)
    assert isinstance(stored, np.memmap)
    assert np.array_equal(stored, whole)
    assert np.array_equal(on_disk(Sampled(samples, classes=True), tmp_path), classes)
    other = Samples(drawn.fields, rows, 6, Turns((2,), copies=2))
    assert not np.array_equal(on_disk(Sampled(other), tmp_path), whole)
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_copies_are_of_all_images_in_turn_and_more_of_them_leave_the_first_as_they_are():
    few, many = (Turns((5,), copies).of(np.arange(6), 6).as_quat() for copies in (1, 4))
    assert np.array_equal(few, many)
    second = Turns((5,), 4).of(np.arange(6, 12), 6).as_quat()
    assert not np.isclose(second, few).any()


@pytest.mark.parametrize(
    ("name", "copies"), [("none", 0), ("1 rotation", 1), ("16 rotations", 16), ("rotations", None)]
)
def test_the_amount_of_augmentation(name, copies):
    assert copies_of(name) == copies
    samples = augmented(Linear(np.eye(3)), np.arange(3), 4, name, seen=10, seed=0)
    assert len(samples) == {0: 3, None: 12}.get(copies, 3 * (copies or 0))
    upright = Samples(Linear(np.eye(3)), np.arange(3), 4).images(np.arange(3))
    assert np.allclose(samples.images(np.arange(3)), upright) == (copies == 0)


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(RequestError, match="such as '4 rotations', received 'rot90'"):
        copies_of("rot90")


def test_training_never_sees_the_rotations_of_the_test():
    tested = Turns((0, 0)).of(np.arange(50), 50).as_quat()
    trained = augmented(Linear(np.ones((50, 3))), np.arange(50), 4, "rotations", seen=100, seed=0)
    assert not np.isclose(trained.rotations(np.arange(50)).as_quat(), tested).any()


def test_the_normalisation_is_that_of_areas():
    found = normalisation_of(Samples(Linear([[0, 0, 1.0]]), np.arange(1), 8))
    assert found.mean[0] == pytest.approx(100, rel=1e-6)
    assert found.std[0] == pytest.approx(50 / np.sqrt(3), rel=1e-6)


def test_the_nearest_point_of_a_grid_point_is_itself():
    row, column = nearest_points(grid_points(7), 7)
    assert np.array_equal(row, np.repeat(np.arange(14)[:, None], 14, 1))
    assert np.array_equal(column, np.repeat(np.arange(14)[None], 14, 0))


def test_what_was_turned_comes_back():
    b, rotations = 20, random_rotations(3, seed=2)
    smooth = Samples(Linear(np.tile([0, 0, 1.0], (3, 1))), np.arange(3), b).images(np.arange(3))[:, 0]
    turned = 100 + 50 * (read_at(b, rotations, 3) @ [0, 0, 1.0]).reshape(3, 2 * b, 2 * b)
    assert np.abs(turned_back(turned, rotations) - smooth).max() < 50 * np.pi / (2 * b)
    assert np.abs(turned_back(turned, rotations.inv()) - smooth).max() > 20


def test_a_sphere_is_seen_from_where_the_view_is():
    b = 16
    height = grid_points(b)[..., 2]
    shown, facing = seen(height, FROM_SOUTH, 41)
    assert shown[20, 20] == height.min()
    assert facing[0, 0] == 0
    assert facing[20, 20] == pytest.approx(1, abs=1e-3)
    columns = seen(grid_points(b)[..., 0], FROM_SOUTH, 41)[0]
    rows = seen(grid_points(b)[..., 1], FROM_SOUTH, 41)[0]
    assert columns[20, 30] > 0 > columns[20, 10]
    assert rows[30, 20] > 0 > rows[10, 20], "rows go down, as in the image"


def test_the_view_follows_the_south_pole():
    for turn in random_rotations(5, seed=1):
        assert following(turn).apply(turn.apply(SOUTH)) == pytest.approx([0, 0, 1])
    assert following(Rotation.identity()).as_matrix() == pytest.approx(FROM_SOUTH.as_matrix())
