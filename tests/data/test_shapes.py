"""Solids in volumes: their volumes are those of the formulas, in any orientation, on any grid."""

import numpy as np
import pytest

from isotypic.data.synthetic.shapes import BLUR, Cone, Ellipsoid, Grid, Part, direction, fill, frame, near_direction

SPACINGS = ((0.5, 0.5, 0.5), (0.6, 0.6, 2.0))


def grid(spacing=SPACINGS[0], sign=(1, 1, 1), side=24.0):
    """A cube around the origin of the world."""
    spacing, sign = np.array(spacing), np.array(sign, float)
    counts = np.round(side / spacing).astype(int)
    return Grid(tuple(counts[::-1].tolist()), spacing, -sign * spacing * (counts - 1) / 2, sign)


def filled(solid, where, density=1.0):
    tissue = np.zeros(where.shape, np.float32)
    fill(tissue, where, Part(solid, density))
    return tissue


def whole(where):
    return where.mesh(tuple(slice(None) for _ in range(3)))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("sign", [(1, 1, 1), (-1, -1, 1)])
def test_a_solid_has_its_volume_and_its_centre_on_any_grid(spacing, sign):
    generator, where = np.random.default_rng(0), grid(spacing, sign)
    centre = np.array([1.3, -2.1, 0.4])
    axis = direction(generator)
    for solid, volume, middle in (
        (Ellipsoid(centre, np.full(3, 4.0), np.eye(3)), 4 / 3 * np.pi * 4**3, centre),
        (Ellipsoid(centre, np.array([3.0, 4.0, 6.0]), frame(generator)), 4 / 3 * np.pi * 3 * 4 * 6, centre),
        (Cone(centre - 3 * axis, centre + 3 * axis, (2.0, 2.0)), np.pi * 4 * 6 + 4 / 3 * np.pi * 8, centre),
    ):
        tissue = filled(solid, where)
        x, y, z = whole(where)
        assert tissue.sum() * where.spacing.prod() == pytest.approx(volume, rel=0.06)
        found = [float((tissue * c).sum() / tissue.sum()) for c in (x, y, z)]
        assert found == pytest.approx(middle, abs=0.1)


def test_a_cone_tapers_and_what_is_scaled_is_thinner():
    where = grid()
    cone = Cone(np.array([-6.0, 0, 0]), np.array([6.0, 0, 0]), (3.0, 1.0))
    area = filled(cone, where).sum(axis=(0, 1)) * 0.25
    assert area[12:16].mean() == pytest.approx(np.pi * 3**2, rel=0.1)
    assert area[34:36].mean() == pytest.approx(np.pi * 1.1**2, rel=0.15)
    assert filled(cone.scaled(0.5), where).sum() < 0.4 * filled(cone, where).sum()
    ball = Ellipsoid(np.zeros(3), np.full(3, 4.0), np.eye(3))
    assert np.allclose(
        filled(ball.scaled(0.5), where), filled(Ellipsoid(np.zeros(3), np.full(3, 2.0), np.eye(3)), where)
    )


def test_edges_are_soft_and_the_denser_tissue_stays():
    where = grid()
    ball = Ellipsoid(np.zeros(3), np.full(3, 4.0), np.eye(3))
    depth, tissue = ball.depth(whole(where)), filled(ball, where, 0.8)
    assert np.allclose(tissue, 0.8 * np.clip(0.5 + depth / (2 * BLUR), 0, 1), atol=1e-6)
    x, y, z = whole(where)
    assert np.allclose(depth, 4 - np.sqrt(x**2 + y**2 + z**2), atol=1e-6)
    fill(tissue, where, Part(ball.scaled(0.5), 0.3))
    assert np.allclose(tissue, filled(ball, where, 0.8))
    fill(tissue, where, Part(ball.scaled(0.5), 1.0))
    assert tissue.max() == 1


def test_what_leaves_the_grid_is_cut_off():
    where = grid()
    edge = np.array([12.0, 0, 0])
    half = filled(Ellipsoid(edge, np.full(3, 4.0), np.eye(3)), where).sum()
    assert half == pytest.approx(filled(Ellipsoid(np.zeros(3), np.full(3, 4.0), np.eye(3)), where).sum() / 2, rel=0.05)
    assert not filled(Ellipsoid(5 * edge, np.full(3, 4.0), np.eye(3)), where).any()


def test_directions_and_frames_prefer_nothing():
    generator = np.random.default_rng(0)
    drawn = np.stack([direction(generator) for _ in range(4000)])
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1)
    assert np.abs(drawn.mean(axis=0)).max() < 0.04
    assert np.allclose(drawn.T @ drawn / 4000, np.eye(3) / 3, atol=0.02)
    frames = np.stack([frame(generator) for _ in range(2000)])
    assert np.allclose(frames @ frames.transpose(0, 2, 1), np.eye(3))
    assert np.abs(frames.mean(axis=0)).max() < 0.06
    near = np.stack([near_direction(np.array([0, 0, 1.0]), 0.15, generator) for _ in range(500)])
    assert not np.allclose(near.T @ near / 500, np.eye(3) / 3, atol=0.02), "the control"
    assert near[:, 2].min() > 0.8
