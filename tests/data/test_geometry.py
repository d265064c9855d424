"""Indices and world points are ITK's, for every direction; both maps are each other's inverse."""

import re

import numpy as np
import pytest
from scans import DIRECTIONS, SHAPE, image, scan_of, voxels

from isotypic.data.scans.geometry import Geometry
from isotypic.errors import RequestError

POINTS = np.random.default_rng(1).uniform(-60, 60, (40, 3))


def itk_index(found, point):
    return found.TransformPhysicalPointToContinuousIndex(point.tolist())[::-1]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_index_is_that_of_itk(direction):
    found = image(voxels(), direction)
    wanted = np.array([itk_index(found, point) for point in POINTS])
    geometry = scan_of(found).geometry
    assert abs(geometry.index_of(POINTS) - wanted).max() < 1e-9
    assert abs(geometry.world_of(geometry.index_of(POINTS)) - POINTS).max() < 1e-10
    last = [n - 1 for n in SHAPE]
    assert np.allclose(geometry.world_of(last), found.TransformIndexToPhysicalPoint(last[::-1]), atol=1e-10)


@pytest.mark.parametrize("direction", list(DIRECTIONS)[1:])
def test_without_the_direction_it_is_not(direction):
    found = image(voxels(), direction)
    wanted = np.array([itk_index(found, point) for point in POINTS])
    ignoring = Geometry(found.GetOrigin(), found.GetSpacing(), np.eye(3))
    assert abs(ignoring.index_of(POINTS) - wanted).max() > 1


def test_a_sheared_volume_is_taken_as_it_is():
    sheared = Geometry((1, 2, 3), (1, 1, 2), [[1, 0, 0], [0, 1, 0.6], [0, 0, 0.8]])
    assert np.allclose(sheared.world_of((2, 0, 0)), (1, 2 + 4 * 0.6, 3 + 4 * 0.8))
    assert np.allclose(sheared.index_of(sheared.world_of(POINTS)), POINTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"origin": (0, np.nan, 0)}, "expected origin of 3 finite numbers, received [0.0, nan, 0.0]"),
        ({"origin": (0, 0)}, "expected origin of 3 finite numbers, received [0.0, 0.0]"),
        ({"spacing": (1, 0, 1)}, "expected a positive spacing (x, y, z) in millimetres, received [1.0, 0.0, 1.0]"),
        ({"direction": np.ones((3, 3))}, "expected three directions that span space"),
    ],
)
def test_impossible_geometries_are_refused(change, message):
    arguments = {"origin": (0, 0, 0), "spacing": (1, 1, 1), "direction": np.eye(3)} | change
    with pytest.raises(RequestError, match=re.escape(message)):
        Geometry(**arguments)
