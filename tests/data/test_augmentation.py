import copy
import pickle
import re
from contextlib import nullcontext

import pytest
import torch
from scipy.stats import binomtest

from isotypic.data.augmentations.catalogue import (
    AUGMENTATIONS,
    MOVES,
    PHOTOMETRIC,
    REPORTS,
    WARPS,
    Sometimes,
    augmentation,
    parts_of,
)
from isotypic.data.augmentations.intensity import intensity
from isotypic.data.normalisation import Normalisation
from isotypic.errors import RequestError

COLOUR = Normalisation((0.7, 0.5, 0.6), (0.2, 0.25, 0.15), 255.0)
GREY = Normalisation((0.4,), (0.2,), 1.0)
COMBINED = "d4+light+elastic"
NAMES = [*AUGMENTATIONS, COMBINED]

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


def photographs(count, side=16, seed=0):
    """Return normalised images ``[count, 3, side, side]`` of 8 bits."""
    stored = torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed))
    return COLOUR.apply(stored.byte())


@pytest.mark.parametrize("name", NAMES)
def test_draws_come_from_the_global_generator(name):
    images, results = photographs(64), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augmentation(name, COLOUR)(images))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2]) == (name == "none")


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_changes_nothing_and_nothing_is_saved(name):
    images, moving = photographs(8), augmentation(name, COLOUR)
    moving(images)
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


UNCHANGED = {
    "rot90": 1 / 4, "flips": 1 / 4, "d4": 1 / 8, "rotate": 0, "flips25": 0.75**2, "flips30": 0.7**2,
    "tilt45": 0, "tilt90": 0.7, "shear": 0.7, "elastic": 0,
    "light": 0, "stain": 0, "blur": 0, "jitter": 0.7, "appearance": 0.5, "lost-pixels": 0,
    "inception": 0, "pathology": 0, COMBINED: 0,
}  # fmt: skip


@pytest.mark.parametrize("name", UNCHANGED)
def test_as_many_images_as_said_stay_as_they_are_to_the_bit(name):
    images, expected = photographs(1000), UNCHANGED[name]
    torch.manual_seed(0)
    same = (augmentation(name, COLOUR)(images) == images).flatten(1).all(1).sum().item()
    assert binomtest(same, 1000, expected).pvalue > 1e-3
    assert binomtest(same, 1000, expected + 0.1).pvalue < 1e-3, "the control: another probability"


def test_the_table_of_probabilities_is_complete():
    assert {*UNCHANGED, "none"} == set(NAMES)


@pytest.mark.parametrize("name", [*WARPS, *PHOTOMETRIC, *REPORTS, COMBINED, "rotate"])
def test_every_image_has_draws_of_its_own(name):
    image = photographs(1)
    torch.manual_seed(0)
    changed = augmentation(name, COLOUR)(image.expand(40, -1, -1, -1)).flatten(1)
    different = changed[(changed != image.flatten()).any(1)]
    assert len(different) > 4
    assert len(different.unique(dim=0)) == len(different)


def moves_with_the_others(change):
    """Whether the first images of a batch change otherwise when the last ones are others."""
    images, results = photographs(60), []
    for rest in (images[30:], 0.1 * images[30:]):
        torch.manual_seed(0)
        results.append(change(torch.cat([images[:30], rest]))[:30])
    return not torch.equal(*results)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_see_the_others_of_its_batch(name):
    assert not moves_with_the_others(augmentation(name, COLOUR))
    assert moves_with_the_others(Sometimes(lambda images: images - images.mean(), 1.0)), "the control"


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_of_the_network_leaves_them_alone(name):
    images, results = photographs(40), []
    for mixed in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            results.append(augmentation(name, COLOUR)(images))
    assert torch.equal(*results)
    assert results[1].dtype == torch.float32


def test_mixed_precision_would_move_pixels(monkeypatch):
    """The control."""
    images, change = photographs(40), augmentation("tilt45")
    torch.manual_seed(0)
    expected = change(images)
    monkeypatch.setattr("isotypic.data.augmentations.catalogue.as_they_are", lambda images: nullcontext())
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert (change(images) - expected).abs().max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_levels_stay_within_those_of_images(name):
    torch.manual_seed(0)
    levels = COLOUR.undo(augmentation(name, COLOUR)(photographs(200))) / 255
    assert levels.min() > -1e-6
    assert levels.max() < 1 + 1e-6


def test_changes_that_know_nothing_of_images_leave_their_range():
    levels = COLOUR.undo(intensity("contrast")(photographs(200))) / 255
    assert levels.min() < -0.1
    assert levels.max() > 1.1


@pytest.mark.parametrize("name", [*MOVES, *WARPS])
@pytest.mark.parametrize("size", [(16, 16), (15, 22)])
def test_constant_images_stay_constant_but_for_zeros_outside(name, size):
    torch.manual_seed(0)
    constant = torch.full((50, 2, *size), 0.7)
    error = (augmentation(name)(constant) - constant).abs().max()
    assert (error < 1e-5) == (name != "rotate")


@pytest.mark.parametrize("name", [*MOVES, *WARPS, *PHOTOMETRIC])
def test_a_change_keeps_the_type_of_its_images_and_passes_no_gradient(name):
    torch.manual_seed(0)
    for dtype in (torch.float64, torch.bfloat16):
        images = photographs(20).to(dtype)
        changed = augmentation(name, COLOUR)(images)
        assert (changed.dtype, changed.shape, changed.requires_grad) == (dtype, images.shape, False)
        assert not torch.equal(changed, images)


def test_mirrors_are_drawn_for_each_axis_with_their_probability():
    images = torch.randn(4000, 2, 5, 6)
    counts, outside = drawn("flips30", images, FLIPS)
    assert outside == 0
    for count, probability in zip(counts, (0.7**2, 0.3 * 0.7, 0.7 * 0.3, 0.3**2), strict=True):
        assert binomtest(count, 4000, probability).pvalue > 1e-3


@pytest.mark.parametrize("name", ["d4+tilt45", "light+lost-pixels", *REPORTS])
def test_several_are_made_from_left_to_right(name):
    images = photographs(30)
    torch.manual_seed(0)
    together = augmentation(name, COLOUR)(images)
    torch.manual_seed(0)
    for part in parts_of(name):
        images = augmentation(part, COLOUR)(images)
    assert torch.equal(together, images)
    backwards = "+".join(reversed(parts_of(name)))
    torch.manual_seed(0)
    assert not torch.equal(together, augmentation(backwards, COLOUR)(photographs(30)))


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_grey_images_take_what_changes_no_colours(name):
    if not PHOTOMETRIC[name].colours:
        images = GREY.apply(torch.rand(10, 1, 8, 8))
        assert augmentation(name, GREY)(images).shape == images.shape
        return
    message = (
        f"augmentation '{name}' changes hue and saturation and needs images of 3 channels, these have 1: take light"
    )
    with pytest.raises(RequestError, match=message):
        augmentation(f"d4+{name}", GREY)


def test_wrong_requests_are_refused():
    with pytest.raises(RequestError, match=r"unknown augmentation 'rot': did you mean 'rot90'\?"):
        augmentation("rot")
    message = re.escape("expected a batch of images [B, C, H, W], received [3, 8, 8]")
    for name in ("rot90", "rotate", "flips25", "tilt45"):
        with pytest.raises(RequestError, match=message):
            augmentation(name)(torch.zeros(3, 8, 8))
    with pytest.raises(RequestError, match=r"unknown augmentation 'lihgt': did you mean 'light'\?"):
        augmentation("d4+lihgt", COLOUR)
    with pytest.raises(RequestError, match=r"'light' changes levels in 0..1 and needs the normalisation of the images"):
        augmentation("light")
    for name in ("d4+d4", "inception+jitter", "none+d4"):
        message = re.escape(f"'{name}' has an augmentation twice, or none beside another")
        with pytest.raises(RequestError, match=message):
            augmentation(name, COLOUR)
