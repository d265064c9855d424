"""Warps are read off images of coordinates: what an image of x shows at a pixel is where that pixel came from."""

import pytest
import torch
from scipy.stats import kstest

from isotypic.data.augmentations.catalogue import augmentation
from isotypic.data.augmentations.warps import elastic, shear, turn

SIDE = 41
REACH = 5
"""Pixels about the centre that no warp here fills from outside."""


def coordinates(count, height=SIDE, width=SIDE):
    """Return images ``[count, 2, height, width]`` of x and y, zero at the centre."""
    y, x = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in (height, width)), indexing="ij")
    return torch.stack([x, y]).expand(count, -1, -1, -1)


def maps(warp, count=400):
    """Return matrices ``[n, 2, 2]`` and shifts ``[n, 2]`` by which pixels find their sources, and the largest error."""
    torch.manual_seed(0)
    images = coordinates(count)
    near = images[0].abs().amax(0) <= REACH
    places = torch.cat([images[0][:, near], torch.ones(1, int(near.sum()))]).T
    sources = warp(images)[..., near].transpose(1, 2)
    solved = torch.linalg.lstsq(places.expand(count, -1, -1), sources).solution
    return solved[:, :2].transpose(1, 2), solved[:, 2], (places @ solved - sources).abs().max()


@pytest.mark.parametrize("degrees", [45, 90])
def test_turns_are_rotations_by_uniform_angles(degrees):
    matrices, shifts, left = maps(lambda images: turn(images, degrees=degrees))
    assert left < 1e-4
    assert shifts.abs().max() < 1e-4
    angles = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    radians = torch.deg2rad(angles)
    rotations = torch.stack([radians.cos(), -radians.sin(), radians.sin(), radians.cos()], 1).reshape(-1, 2, 2)
    torch.testing.assert_close(matrices, rotations, atol=1e-4, rtol=0)
    assert kstest(angles, "uniform", (-degrees, 2 * degrees)).pvalue > 0.01
    assert kstest(angles, "uniform", (-degrees * 1.2, 2.4 * degrees)).pvalue < 0.01, "the control: wider angles"


def test_shears_run_along_rows_and_shifts_along_both_axes():
    matrices, shifts, left = maps(lambda images: shear(images, degrees=45, shift=0.1))
    assert left < 1e-4
    straight = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).expand(400, 2, 2).clone()
    straight[:, 0, 1] = matrices[:, 0, 1]
    torch.testing.assert_close(matrices, straight, atol=1e-4, rtol=0)
    assert kstest(torch.rad2deg(torch.atan(matrices[:, 0, 1])), "uniform", (-45, 90)).pvalue > 0.01
    reach = 0.1 * SIDE
    assert kstest(shifts[:, 1], "uniform", (-reach, 2 * reach)).pvalue > 0.01
    assert shifts[:, 0].abs().max() > 0.8 * reach


@pytest.mark.parametrize("size", [(64, 64), (56, 90)])
def test_the_elastic_field_has_the_deviation_asked_for_along_both_axes(size):
    torch.manual_seed(0)
    images = coordinates(300, *size)
    field = (elastic(images, displacement=1.5, width=4) - images)[..., 16:-16, 16:-16]
    for axis in (0, 1):
        assert field[:, axis].std() == pytest.approx(1.5, rel=0.05)
        assert abs(field[:, axis].mean()) < 0.1
    assert field.diff(dim=-1).abs().max() < 1.5, "neighbours stay in order nearly everywhere"
    edge = (elastic(images, displacement=1.5, width=4) - images)[:, 1, 16:-16, 0]
    assert edge.std() == pytest.approx(0.8 * 1.5, rel=0.05)
    still = elastic(images, displacement=0, width=4)
    torch.testing.assert_close(still, images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["tilt45", "shear", "elastic"])
def test_what_lies_outside_is_reflected(name):
    """The levels of a bright border stay: nothing dark comes in, as it does with zeros outside."""
    torch.manual_seed(0)
    images = 2 + torch.rand(60, 1, 21, 21)
    assert augmentation(name)(images).min() >= 2 - 1e-5
    assert augmentation("rotate")(images).min() < 1
