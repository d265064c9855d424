import copy
import pickle
import re

import pytest
import torch

from isotypic.data.augmentation import AUGMENTATIONS, augmentation
from isotypic.errors import RequestError

QUARTERS = [lambda x, k=k: x.rot90(k, (-2, -1)) for k in range(4)]
FLIPS = [lambda x, d=d: x.flip(d) for d in ((), (-1,), (-2,), (-2, -1))]
ORBITS = {
    "none": FLIPS[:1],
    "rot90": QUARTERS,
    "flips": FLIPS,
    "d4": QUARTERS + [lambda x, q=q: q(x.flip(-1)) for q in QUARTERS],
}


def drawn(name, images, orbit, seed=0):
    """Return how often each element of an orbit was applied, and how many images lie outside it."""
    torch.manual_seed(seed)
    moved = augmentation(name)(images)
    candidates = [move(images) for move in orbit]
    matches = torch.stack(
        [
            (moved == other).flatten(1).all(1) if other.shape == moved.shape else torch.zeros(len(moved)).bool()
            for other in candidates
        ]
    )
    return matches.sum(1).tolist(), int((matches.sum(0) != 1).sum())


@pytest.mark.parametrize("name", ORBITS)
@pytest.mark.parametrize("side", [5, 6])
def test_every_image_is_moved_by_a_uniformly_random_element(name, side):
    images = torch.randn(4000, 2, side, side)
    counts, outside = drawn(name, images, ORBITS[name])
    expected = 4000 / len(counts)
    assert outside == 0
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts)


@pytest.mark.parametrize(("name", "kept"), [("rot90", 2), ("flips", 4), ("d4", 4)])
def test_rectangles_keep_their_shape(name, kept):
    images = torch.randn(400, 1, 5, 8)
    counts, outside = drawn(name, images, ORBITS[name])
    assert outside == 0
    assert sum(count > 0 for count in counts) == kept


def test_flips_are_no_quarter_turns():
    _, outside = drawn("flips", torch.randn(400, 1, 5, 5), QUARTERS)
    assert 100 < outside < 300


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_draws_come_from_the_global_generator(name):
    images, results = torch.randn(64, 1, 8, 8), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augmentation(name)(images))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2]) == (name == "none")


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_evaluation_changes_nothing_and_nothing_is_saved(name):
    images, moving = torch.randn(8, 1, 6, 6), augmentation(name)
    assert moving.state_dict() == {}
    for copied in (copy.deepcopy(moving), pickle.loads(pickle.dumps(moving))):
        assert torch.equal(copied.eval()(images), images)


def test_any_angle_keeps_the_disc_and_fills_with_zero():
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij")
    disc = torch.exp(-(x**2 + y**2) / 60)
    rotated = augmentation("rotate")(disc.expand(50, 1, 33, 33))
    inside = (x**2 + y**2) < 15**2
    assert (rotated - disc)[..., inside].abs().max() < 0.02
    white = augmentation("rotate")(torch.ones(50, 1, 33, 33))
    torch.testing.assert_close(white[..., inside], torch.ones(50, 1, int(inside.sum())))
    assert (white[:, 0, 0, 0] == 0).float().mean() > 0.5


def test_any_angle_takes_all_angles_and_never_reflects():
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 33, 33)
    image[..., 16, 28], image[..., 8, 16] = 2.0, 1.0  # the weaker spot a quarter turn counterclockwise
    rotated = augmentation("rotate")(image.expand(300, 1, 33, 33))
    y, x = torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij")
    far, near = (((x**2 + y**2).sqrt() - r).abs() < 2 for r in (12, 8))

    def angle(ring):
        weights = rotated[:, 0] * ring
        return torch.atan2(-(weights * y).sum((1, 2)), (weights * x).sum((1, 2)))

    turn = torch.remainder(angle(near) - angle(far), 2 * torch.pi)
    torch.testing.assert_close(turn, torch.full((300,), torch.pi / 2), atol=0.15, rtol=0)
    assert torch.histc(angle(far), 12, -torch.pi, torch.pi).min() > 5


def test_wrong_requests_are_refused():
    with pytest.raises(RequestError, match=r"unknown augmentation 'rot': did you mean 'rot90'\?"):
        augmentation("rot")
    message = re.escape("expected a batch of images [B, C, H, W], received [3, 8, 8]")
    for name in ("rot90", "rotate"):
        with pytest.raises(RequestError, match=message):
            augmentation(name)(torch.zeros(3, 8, 8))
