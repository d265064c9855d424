"""What happens to volumes of a training batch: moves that permute voxels, a pose that is resampled, noise."""

import re

import pytest
import torch

from isotypic.data.augmentations.catalogue import IN_SPACE, VOLUME_AUGMENTATIONS, augmentation, parts_of
from isotypic.data.augmentations.volumes import noise, pose
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.ops.action import act

GROUPS = {"rot90": "C4", "d4": "D4", "d4h": "D4h", "o": "O", "oh": "Oh"}


def orbit(volumes, group):
    """Yield the volumes moved by every element that keeps their shape."""
    for element in range(group.order):
        moved = act(volumes, element, group)
        if moved.shape == volumes.shape:
            yield moved


def applied(name, volumes, group):
    """Return how often every element was applied, and how many volumes lie outside the orbit."""
    torch.manual_seed(0)
    moved = augmentation(name, axes=3)(volumes)
    matches = torch.stack([(moved == other).flatten(1).all(1) for other in orbit(volumes, group)])
    return matches.sum(1).tolist(), int((matches.sum(0) != 1).sum())


@pytest.mark.parametrize("name", GROUPS)
def test_every_volume_is_moved_by_a_random_element_of_the_group(name):
    volumes = torch.randn(1200, 1, 3, 3, 3)
    counts, outside = applied(name, volumes, named(GROUPS[name], 3))
    expected = len(volumes) / len(counts)
    assert outside == 0
    assert len(counts) == named(GROUPS[name], 3).order
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts)


def test_a_box_keeps_its_shape():
    volumes = torch.randn(600, 1, 2, 3, 3)
    counts, outside = applied("oh", volumes, named("Oh", 3))
    assert (len(counts), outside) == (16, 0), "the elements of Oh that keep z are those of D4h"


def test_a_network_of_another_group_is_told_from_it():
    """The control: quarter turns about z alone are not all of O."""
    counts, _ = applied("rot90", torch.randn(400, 1, 3, 3, 3), named("O", 3))
    assert sum(count > 0 for count in counts) == 4


def test_flips_are_the_mirrors_of_all_axes():
    counts = []
    torch.manual_seed(0)
    volumes = torch.randn(800, 1, 2, 3, 4)
    moved = augmentation("flips", axes=3)(volumes)
    for number in range(8):
        axes = [axis for axis in range(3) if number >> axis & 1]
        counts.append(int((moved == volumes.flip([2 + axis for axis in axes])).flatten(1).all(1).sum()))
    assert sum(counts) == 800
    assert min(counts) > 60


def ball(centre, size=(9, 21, 21), radius=4.0):
    """A soft ball, its centre in voxels from the middle."""
    grids = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in size), indexing="ij")
    away = sum((grid - c) ** 2 for grid, c in zip(grids, centre, strict=True))
    return torch.sigmoid(2 * (radius - away.sqrt()))[None, None]


def middle(volumes):
    """The centre of mass (z, y, x) of every volume, in voxels from the middle, and its mass."""
    grids = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in volumes.shape[2:]), indexing="ij")
    mass = volumes.sum((1, 2, 3, 4))
    return torch.stack([(volumes[:, 0] * grid).sum((1, 2, 3)) / mass for grid in grids], 1), mass


def test_a_pose_turns_about_z_and_keeps_heights_and_distances():
    torch.manual_seed(0)
    volumes = ball((1.0, 0.0, 4.0), radius=2.5).expand(60, -1, -1, -1, -1)
    where, mass = middle(pose(volumes, shift=0.0, zoom=0.0))
    assert torch.allclose(where[:, 0], torch.tensor(1.0), atol=0.05)
    assert torch.allclose(where[:, 1:].norm(dim=1), torch.tensor(4.0), atol=0.15)
    assert where[:, 1:].std(0).min() > 2, "all around"
    assert torch.allclose(mass, middle(volumes[:1])[1], rtol=0.02)


def test_a_pose_shifts_by_so_many_voxels_along_every_axis():
    torch.manual_seed(0)
    where, _ = middle(pose(ball((0.0, 0.0, 0.0), radius=2.0).expand(200, -1, -1, -1, -1), shift=2.0, zoom=0.0))
    assert where.abs().max() < 2.1
    assert where.abs().amax(0).min() > 1.8
    assert where.mean(0).abs().max() < 0.3


def test_a_pose_enlarges_by_its_factor_along_every_axis():
    torch.manual_seed(0)
    volumes = ball((0.0, 0.0, 0.0), size=(21, 21, 21), radius=5.0)
    _, mass = middle(pose(volumes.expand(200, -1, -1, -1, -1), shift=0.0, zoom=0.2))
    sizes = (mass / middle(volumes)[1]) ** (1 / 3)
    assert 0.78 < sizes.min() < 0.82
    assert 1.18 < sizes.max() < 1.22


def test_noise_has_a_deviation_of_its_own_in_every_volume():
    torch.manual_seed(0)
    deviations = noise(torch.zeros(200, 1, 8, 8, 8), most=0.1).flatten(1).std(1)
    assert deviations.max() < 0.11
    assert 0.04 < deviations.mean() < 0.06


@pytest.mark.parametrize("name", [name for name in VOLUME_AUGMENTATIONS if name != "none"])
def test_draws_come_from_the_global_generator_and_evaluation_changes_nothing(name):
    volumes, change = torch.randn(8, 1, 6, 8, 8), augmentation(name, axes=3)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(change(volumes))
    assert torch.equal(*results)
    assert not torch.equal(results[0], volumes)
    assert torch.equal(change.eval()(volumes), volumes)


def test_names_of_images_and_of_volumes_are_told_apart():
    assert parts_of("d4h+noise", axes=3) == ["d4h", "noise"]
    assert parts_of("nodules", axes=3) == ["flips", "pose", "noise"]
    with pytest.raises(RequestError, match="unknown augmentation of volumes 'light'"):
        parts_of("light", axes=3)
    with pytest.raises(RequestError, match="unknown augmentation 'd4h'"):
        parts_of("d4h")
    for name in IN_SPACE:
        with pytest.raises(RequestError, match=re.escape("expected a batch of volumes [B, C, D, H, W]")):
            augmentation(name, axes=3)(torch.zeros(3, 1, 8, 8))
