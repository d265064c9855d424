"""Patches are upright however a scan lies, and turned when the world is turned; between voxels they are ITK's."""

import re

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import BROKEN, TOLERANCE
from scans import DIRECTIONS, OBLIQUE, image, scan_of, voxels

from isotypic.data.readers.scan import Scan
from isotypic.data.scans import patches
from isotypic.data.scans.geometry import Geometry
from isotypic.data.scans.patches import HU, Lattice, Patches, box
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.ops.action import move_space

FINE = (0.4, 0.45, 0.7)
"""Millimetres a voxel (x, y, z): finer than the lattices, so that the scan is averaged along every axis."""

PRISM = Lattice((5, 6, 6), (1.25, 0.5, 0.5))
CUBE = Lattice((4, 4, 4), (0.8, 0.8, 0.8))


def sampled(scan, position, lattice=PRISM):
    return Patches(scan, lattice, HU, torch.float64).sampled(position)


def inside(scan, count=6, seed=2):
    """Points (x, y, z) in a scan; patches around some of them reach outside."""
    last = np.array(scan.voxels.shape) - 1
    return scan.geometry.world_of(np.random.default_rng(seed).uniform(0, last, (count, 3)))


def moved(scan, matrix):
    """The scan in a world that was moved about its origin by a matrix on (x, y, z)."""
    geometry = scan.geometry
    origin, direction = matrix @ geometry.origin, matrix @ geometry.direction
    return Scan(scan.name, scan.voxels, Geometry(origin, geometry.spacing, direction))


def stored(how):
    """One scan stored in another order of its voxels, its geometry changed accordingly by SimpleITK."""
    return {
        "x": lambda found: sitk.Flip(found, (True, False, False), False),
        "y": lambda found: sitk.Flip(found, (False, True, False), False),
        "z": lambda found: sitk.Flip(found, (False, False, True), False),
        "all": lambda found: sitk.Flip(found, (True, True, True), False),
        "zxy": lambda found: sitk.PermuteAxes(found, (2, 0, 1)),
        "quarter turn": lambda found: sitk.Flip(sitk.PermuteAxes(found, (1, 0, 2)), (True, False, False), False),
    }[how]


@pytest.mark.parametrize("how", ["x", "y", "z", "all", "zxy", "quarter turn"])
@pytest.mark.parametrize("direction", ["identity", "oblique"])
def test_the_order_of_storage_does_not_matter(how, direction):
    found = image(voxels(), direction, FINE)
    other = scan_of(stored(how)(found))
    position = inside(scan_of(found))
    wanted = sampled(scan_of(found), position)
    assert (sampled(other, position) - wanted).abs().max() < TOLERANCE["float64"]
    unchanged = Scan("a", other.voxels, scan_of(found).geometry)
    assert (sampled(unchanged, position) - wanted).abs().max() > 0.1, "a flip that the geometry does not know of"


@pytest.mark.parametrize(("group", "lattice"), [("D4h", PRISM), ("Oh", CUBE)])
@pytest.mark.parametrize("direction", ["flipped in the plane", "oblique"])
def test_patches_of_a_turned_world_are_turned(group, lattice, direction):
    group = named(group, 3)
    scan = scan_of(image(voxels(), direction, FINE))
    position = inside(scan)
    wanted = sampled(scan, position, lattice)
    halves = Patches(scan, lattice).at(position)[:, 0]
    for element in range(group.order):
        matrix = group.grid_matrices[element][::-1, ::-1].astype(float)
        turned = sampled(moved(scan, matrix), position @ matrix.T, lattice)
        assert (turned - move_space(wanted, element, group)).abs().max() < TOLERANCE["float64"]
        half = Patches(moved(scan, matrix), lattice).at(position @ matrix.T)[:, 0]
        given = move_space(torch.from_numpy(halves), element, group).numpy()
        assert abs(half.astype(float) - given).max() <= np.spacing(np.float16(1)), "in half precision to one unit"


def test_patches_about_a_corner_of_their_middle_are_not(monkeypatch):
    """Offsets (i - n / 2) s, as of a patch that is cut by rounding its middle down."""
    symmetric = Lattice.offsets.fget
    shift = np.array((0.25, 0.25, 0.625))
    monkeypatch.setattr(Lattice, "offsets", property(lambda lattice: symmetric(lattice) - shift))
    group = named("D4h", 3)
    scan = scan_of(image(voxels(), "oblique", FINE))
    position = inside(scan)
    broken = 0
    for element in range(1, group.order):
        matrix = group.grid_matrices[element][::-1, ::-1].astype(float)
        turned = sampled(moved(scan, matrix), position @ matrix.T)
        broken += bool((turned - move_space(sampled(scan, position), element, group)).abs().max() > BROKEN)
    assert broken == group.order - 2, "all but the identity and the mirror that keeps that corner"


def test_a_turn_that_exchanges_unequal_spacings_is_no_symmetry():
    lattice = Lattice((4, 4, 4), (1.25, 0.5, 0.5))
    group = named("O", 3)
    element = next(g for g in range(group.order) if abs(group.grid_matrices[g][0, 0]) == 0)
    matrix = group.grid_matrices[element][::-1, ::-1].astype(float)
    scan = scan_of(image(voxels(), "identity", FINE))
    position = inside(scan)
    turned = sampled(moved(scan, matrix), position @ matrix.T, lattice)
    assert (turned - move_space(sampled(scan, position, lattice), element, group)).abs().max() > BROKEN


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_between_voxels_the_values_are_those_of_itk(direction):
    """A scan coarser than the lattice, within the window, is resampled only."""
    array = np.random.default_rng(3).integers(-900, 200, (14, 26, 22)).astype(np.int16)
    found = image(array, direction, (1.2, 1.1, 2.5))
    centre = scan_of(found).geometry.world_of((6.3, 12.2, 10.4))
    lattice = Lattice((4, 7, 6), (0.8, 0.9, 0.7))
    target = sitk.Image(6, 7, 4, sitk.sitkFloat64)
    target.SetSpacing(lattice.spacing[::-1])
    target.SetOrigin((centre + lattice.offsets[0, 0, 0]).tolist())
    wanted = sitk.GetArrayFromImage(sitk.Resample(sitk.Cast(found, sitk.sitkFloat64), target, sitk.Transform(), 2))
    assert wanted.min() < wanted.max() < 200
    got = sampled(scan_of(found), centre[None], lattice)[0].numpy()
    assert abs(got - ((wanted + 1000) / 650 - 1)).max() < 1e-9
    single = Patches(scan_of(found), lattice).sampled(centre[None])[0].numpy()
    assert abs(single - got).max() < TOLERANCE["float32"]


def alternating(shape=(24, 8, 8)):
    """Slices of -1000 and 300 in turn, 0.5 mm apart, and a lattice that takes one of every two."""
    array = np.where(np.arange(shape[0]) % 2, 300, -1000)[:, None, None] * np.ones(shape[1:], int)
    scan = scan_of(image(array.astype(np.int16), spacing=(1, 1, 0.5), origin=(0, 0, 0)))
    return scan, Lattice((5, 2, 2), (1, 1, 1)), np.array([[3.5, 3.5, 6.0]])


def test_what_is_finer_than_the_lattice_is_averaged(monkeypatch):
    scan, lattice, position = alternating()
    assert sampled(scan, position, lattice).abs().max() < TOLERANCE["float64"]
    monkeypatch.setattr(patches, "box", lambda width: np.ones(1))
    assert (sampled(scan, position, lattice) + 1).abs().max() < TOLERANCE["float64"], "air alone, without it"


def test_an_average_keeps_what_is_linear():
    ramp = (np.arange(24)[:, None, None] * 20 - 700 + np.zeros((24, 20, 20))).astype(np.float32)
    scan = scan_of(image(ramp, spacing=(0.3, 0.35, 0.4), origin=(0, 0, 0)))
    lattice = Lattice((3, 3, 3), (1, 0.5, 0.5))
    found = sampled(scan, scan.geometry.world_of([(11.5, 9.5, 9.5)]), lattice)[0, :, 1, 1]
    hounsfield = -700 + 20 * (11.5 + np.array((-1, 0, 1)) / 0.4)
    assert abs(found.numpy() - ((hounsfield + 1000) / 650 - 1)).max() < 1e-9


@given(st.floats(0.1, 9))
def test_a_box_is_symmetric_and_sums_to_one(width):
    weights = box(width)
    assert len(weights) % 2 == 1
    assert np.array_equal(weights, weights[::-1])
    assert abs(weights.sum() - 1) < TOLERANCE["table"]
    assert (weights >= 0).all()


def test_the_average_does_not_turn_with_the_scan():
    """An isotropic lattice averages a scan of cubic voxels over as many of them, whatever way it lies."""
    for direction in (np.eye(3), OBLIQUE):
        per_mm = np.linalg.inv(Geometry((0, 0, 0), (0.5,) * 3, direction).steps)
        assert np.allclose(np.linalg.norm(per_mm * 0.8, axis=1), 1.6)


def test_outside_is_air_and_counted():
    bright = (250 - voxels((8, 9, 10)) % 9).astype(np.int16)
    scan = scan_of(image(bright, spacing=(1, 1, 1), origin=(0, 0, 0)))
    lattice = Lattice((3, 3, 3), (1, 1, 1))
    cutter = Patches(scan, lattice)
    position = np.array([(4, 4, 4), (1, 1, 1), (8, 7, 6), (0.5, 4, 4), (4, 7.5, 4), (4, 4, 60), (-1, -1, -1)], float)
    assert cutter.outside(position).tolist() == [False, False, False, True, True, True, True]
    found = cutter.at(position)
    assert found.dtype == np.float16
    assert found.shape == (7, 1, 3, 3, 3)
    assert found[0].min() > 0.9
    assert (found[5] == -1).all()
    assert (found[6] != -1).sum() == 1, "the first voxel at the corner of the patch"
    assert (found[4, 0, :, 2] < 0).all()
    assert found[4, 0, :, :2].min() > 0.9


@pytest.mark.parametrize("direction", ["identity", "oblique and flipped"])
def test_outside_is_said_of_every_patch_with_a_sample_there(direction):
    scan = scan_of(image(voxels(), direction, (1.4, 1.3, 1.2)))
    cutter = Patches(scan, CUBE)
    position = inside(scan, 300)
    index = scan.geometry.index_of(position[:, None, None, None] + CUBE.offsets).reshape(300, -1, 3)
    wanted = ((index < 0) | (index > np.array(scan.voxels.shape) - 1)).any(axis=(1, 2))
    assert 30 < wanted.sum() < 270
    box_of = (index.min(1) < -1e-6) | (index.max(1) > np.array(scan.voxels.shape) - 1 + 1e-6)
    assert np.array_equal(cutter.outside(position), box_of.any(1))
    assert np.array_equal(cutter.outside(position), wanted)


def test_values_beyond_the_window_are_its_ends():
    scan = scan_of(image(voxels(), spacing=(1, 1, 1)))
    whole = scan.geometry.world_of(np.array([(n - 1) / 2 for n in scan.voxels.shape]))[None]
    found = Patches(scan, Lattice(scan.voxels.shape, (1, 1, 1)), (-500, 100), torch.float64).sampled(whole)[0].numpy()
    assert abs(found - (np.clip(scan.voxels, -500, 100) + 200) / 300).max() < TOLERANCE["float64"]
    assert (found.min(), found.max()) == (-1, 1)


def test_batches_are_joined(monkeypatch):
    scan = scan_of(image(voxels()))
    cutter, position = Patches(scan, PRISM), inside(scan, 7)
    whole = cutter.at(position)
    monkeypatch.setattr(patches, "_AT_ONCE", 400)  # two patches
    assert np.array_equal(cutter.at(position), whole)
    assert cutter.at(position[:0]).shape == (0, 1, *PRISM.size)


@pytest.mark.parametrize("wrong", [{"size": (0, 4, 4)}, {"spacing": (1, -1, 1)}, {"spacing": (1, 1, np.inf)}])
def test_impossible_lattices_are_refused(wrong):
    with pytest.raises(RequestError, match=re.escape("expected a lattice (z, y, x) of positive sizes and spacings")):
        Lattice(**wrong)
