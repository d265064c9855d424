import re

import pytest
import torch

from isotypic.data.augmentations.catalogue import AUGMENTATIONS, MOVES, augmentation, pair_augmentation
from isotypic.data.augmentations.intensity import INTENSITIES, RandomIntensity, Ranges, intensity, tone_curve
from isotypic.errors import RequestError

EXACT = ["none", "rot90", "flips", "d4", "flips25", "flips30"]


def pairs(count=40, height=9, width=9, seed=0):
    """Return images that are their own labels."""
    labels = torch.randint(0, 200, (count, height, width), generator=torch.Generator().manual_seed(seed))
    return labels[:, None].float(), labels


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("size", [(9, 9), (8, 8), (7, 10)])
def test_labels_move_with_their_images(name, size):
    torch.manual_seed(0)
    images, labels = pairs(40, *size)
    moved, followed = pair_augmentation(name)(images, labels)
    assert followed.dtype == torch.int64
    assert torch.equal(moved[:, 0].long(), followed)
    assert torch.equal(moved, images) == (name == "none")


def test_draws_of_their_own_would_tear_them_apart():
    torch.manual_seed(0)
    images, labels = pairs()
    torn = augmentation("d4")(images), augmentation("d4")(labels[:, None])
    assert not torch.equal(torn[0].long(), torn[1])


@pytest.mark.parametrize("name", EXACT)
def test_the_images_move_as_they_do_alone(name):
    images, labels = pairs()
    moved = []
    for move in (lambda: pair_augmentation(name)(images, labels)[0], lambda: augmentation(name)(images)):
        torch.manual_seed(1)
        moved.append(move())
    assert torch.equal(*moved)


def test_any_angle_takes_the_nearest_label():
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
    labels = torch.where((x**2 + y**2) < 18**2, torch.where(x > 0, 7, 100_000), 0).expand(30, 41, 41)
    images, followed = pair_augmentation("rotate")((labels > 0)[:, None].float() + (labels == 7)[:, None], labels)
    assert followed.dtype == torch.int64
    assert followed.unique().tolist() == [0, 7, 100_000]
    nearest = torch.tensor([0, 100_000, 7])[images[:, 0].round().long()]
    assert (nearest == followed).float().mean() > 0.97
    assert (nearest == labels).float().mean() < 0.8
    assert (pair_augmentation("rotate")(torch.ones(30, 1, 41, 41), labels + 1)[1][:, 0, 0] == 0).float().mean() > 0.5


@pytest.mark.parametrize("name", MOVES)
def test_mixed_precision_of_the_network_leaves_pairs_alone(name):
    moved = []
    for mixed in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            moved.append(pair_augmentation(name)(*pairs()))
    assert all(map(torch.equal, *moved))


@pytest.mark.parametrize("name", ["none", *MOVES])
def test_evaluation_changes_nothing(name):
    images, labels = pairs()
    moving = pair_augmentation(name).eval()
    assert all(map(torch.equal, moving(images, labels), (images, labels)))
    assert moving.state_dict() == {}


@pytest.mark.parametrize("name", [*sorted({*AUGMENTATIONS} - {"none", *MOVES}), "d4+elastic"])
def test_what_would_tear_labels_from_images_is_refused(name):
    message = f"augmentation {name!r} does not move label images: for segmentation take one of none, rot90, flips, d4, "
    with pytest.raises(RequestError, match=re.escape(message)):
        pair_augmentation(name)


def test_wrong_pairs_are_refused():
    with pytest.raises(RequestError, match=r"unknown augmentation 'rot': did you mean 'rot90'\?"):
        pair_augmentation("rot")
    images, labels = pairs(4)
    message = re.escape("expected labels [4, 9, 9] for these images, received [4, 9, 8]")
    with pytest.raises(RequestError, match=message):
        pair_augmentation("none")(images, labels[..., :-1])
    with pytest.raises(RequestError, match=re.escape("expected a batch of images [B, C, H, W], received [4, 9, 9]")):
        pair_augmentation("d4")(labels, labels)


class TestIntensity:
    IMAGES = torch.randn(500, 2, 6, 6, generator=torch.Generator().manual_seed(0))

    def changed(self, ranges, seed=0):
        torch.manual_seed(seed)
        return RandomIntensity(ranges)(self.IMAGES)

    def fits(self, ranges):
        """Return the factor and the shift of every image by least squares, and what they leave."""
        before, after = self.IMAGES.flatten(1), self.changed(ranges).flatten(1)
        design = torch.stack([before, torch.ones_like(before)], dim=2)
        solved = torch.linalg.lstsq(design, after[..., None]).solution
        return solved[:, 0, 0], solved[:, 1, 0], (design @ solved - after[..., None]).std(dim=(1, 2))

    def test_factors_and_shifts_lie_in_their_ranges(self):
        factors, shifts, left = self.fits(Ranges(contrast=0.4, brightness=0.3))
        assert left.max() < 1e-5
        for values, bound in ((factors.log(), 0.4), (shifts, 0.3)):
            assert values.abs().max() <= bound + 1e-5
            assert values.std() == pytest.approx(bound / 3**0.5, rel=0.1)

    def test_light_becomes_dark_as_often_as_asked(self):
        factors, _, _ = self.fits(Ranges(invert=0.25))
        assert (factors < 0).float().mean() == pytest.approx(0.25, abs=0.06)
        torch.testing.assert_close(factors.abs(), torch.ones(500))

    def test_noise_has_its_deviation(self):
        _, _, left = self.fits(Ranges(noise=0.2))
        assert left.mean() == pytest.approx(0.1, rel=0.15)
        assert left.max() < 0.3

    def test_tone_keeps_the_ends_and_the_order_and_no_factor_and_shift_does_the_same(self):
        levels = torch.linspace(-1, 1, 36).reshape(1, 1, 6, 6).expand(500, -1, -1, -1)
        torch.manual_seed(0)
        after = RandomIntensity(Ranges(tone=1.5))(levels)
        torch.testing.assert_close(after[:, 0, [0, -1], [0, -1]], torch.tensor([[-1.0, 1.0]]).expand(500, -1))
        assert (after.flatten(1).diff() > 0).all()
        middle = after.flatten(1)[:, 17:19].mean(1)
        assert middle.min() < -0.25 < 0.25 < middle.max()

    @pytest.mark.parametrize("name", INTENSITIES)
    def test_draws_come_from_the_global_generator_and_evaluation_changes_nothing(self, name):
        one, same, other = (self.changed(INTENSITIES[name], seed) for seed in (1, 1, 2))
        assert torch.equal(one, same)
        assert torch.equal(one, other) == (name == "none")
        assert torch.equal(intensity(name).eval()(self.IMAGES), self.IMAGES)

    @pytest.mark.parametrize(("name", "commutes"), [("contrast", True), ("noise", False)])
    def test_changes_of_whole_images_commute_with_the_symmetries(self, name, commutes):
        turned = self.IMAGES.rot90(1, (2, 3))
        torch.manual_seed(0)
        after = intensity(name)(turned)
        assert torch.equal(after, self.changed(INTENSITIES[name]).rot90(1, (2, 3))) == commutes

    @pytest.mark.parametrize("bend", [-3.0, -0.5, 0.0, 1e-4, 1.5])
    def test_the_tone_curve_has_its_formula_and_light_for_dark_bends_it_back(self, bend):
        levels, k = torch.linspace(-1, 1, 41, dtype=torch.float64), torch.tensor(bend, dtype=torch.float64)
        u = (levels + 1) / 2
        formula = levels if bend == 0 else 2 * (torch.exp(k * u) - 1) / (torch.exp(k) - 1) - 1
        torch.testing.assert_close(tone_curve(levels, k), formula, rtol=0, atol=1e-4 if 0 < bend < 1e-3 else 1e-12)
        torch.testing.assert_close(tone_curve(-levels, k), -tone_curve(levels, -k))

    def test_the_tone_curve_goes_on_along_its_tangents(self):
        k = torch.tensor(1.5, dtype=torch.float64)
        for end in (-1.0, 1.0):
            places = torch.tensor([end * (1 - 1e-6), end, end * 2, end * 3], dtype=torch.float64)
            near, at, far, farther = tone_curve(places, k)
            assert (at - near) / (1e-6 * end) == pytest.approx(float((far - at) / end), rel=1e-5)
            assert farther - far == pytest.approx(float(far - at))

    def test_wrong_requests_are_refused(self):
        with pytest.raises(RequestError, match=r"unknown intensity augmentation 'inverse': did you mean 'invert'\?"):
            intensity("inverse")
        with pytest.raises(RequestError, match="expected ranges of at least 0 and a probability"):
            Ranges(invert=1.5)
        with pytest.raises(RequestError, match="expected a batch of images"):
            intensity("contrast")(torch.zeros(3, 8, 8))
