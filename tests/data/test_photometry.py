import pytest
import torch
from scipy.stats import binomtest, kstest
from skimage.color import rgb2hsv

from isotypic.data.augmentations.photometry import OfLevels, blur, in_turn, light, lose_pixels, one_of, stain
from isotypic.data.normalisation import Normalisation

COUNT = 500


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def uniform(values, low, high):
    """Whether values are uniform between two numbers, and not in a range a fifth wider."""
    wide = 0.2 * (high - low)
    inside = kstest(values, "uniform", (low, high - low)).pvalue > 0.01
    return inside and kstest(values, "uniform", (low - wide / 2, high - low + wide)).pvalue < 0.01


def test_light_multiplies_and_spreads_about_the_mean():
    levels = (0.4 + 0.2 * torch.rand(1, 1, 8, 8)).expand(COUNT, -1, -1, -1)
    changed = light(levels, exposure=0.5, contrast=0.5)
    exposure = changed.mean((1, 2, 3)) / levels.mean((1, 2, 3))
    slope = changed.std((1, 2, 3)) / levels.std((1, 2, 3))
    assert uniform(exposure, 0.5, 1.5)
    assert uniform(slope / exposure, 0.5, 1.5)
    assert abs(torch.corrcoef(torch.stack([exposure, slope / exposure]))[0, 1]) < 0.15


def test_stain_turns_hues_and_scales_saturation_and_leaves_grey_alone():
    colour = torch.tensor([0.7, 0.4, 0.6])[:, None, None].expand(COUNT, 3, 4, 4)
    hue, saturation, _ = rgb2hsv(stain(colour, hue=0.05, saturation=0.0)[:, :, 0, 0].numpy()).T
    known = rgb2hsv(colour[:1, :, 0, 0].numpy())[0]
    assert uniform(hue - known[0], -0.05, 0.05)
    assert abs(saturation - known[1]).max() < 1e-5
    paler = stain(colour, hue=0.0, saturation=0.5)[:, :, 0, 0]
    assert uniform((paler[:, 0] - paler[:, 1]) / 0.3, 0.5, 1.5)
    assert abs(rgb2hsv(paler.numpy())[:, 0] - known[0]).max() < 1e-5
    grey = torch.rand(COUNT, 1, 4, 4).expand(-1, 3, -1, -1)
    torch.testing.assert_close(stain(grey, hue=0.05, saturation=0.5), grey, atol=1e-6, rtol=0)


def test_blur_has_the_deviations_of_its_range():
    point = torch.zeros(COUNT, 1, 31, 31)
    point[..., 15, 15] = 1
    spread = blur(point, least=0.8, most=1.5)
    torch.testing.assert_close(spread.sum((1, 2, 3)), torch.ones(COUNT))
    distance = torch.arange(31.0) - 15
    variance = (spread.sum(2) * distance**2).sum((1, 2))
    # a window of three deviations cuts 2 % off the variance of the widest
    assert kstest(variance.sqrt(), "uniform", (0.8, 0.7)).statistic < 0.08
    constant = torch.rand(COUNT, 1, 1, 1).expand(-1, 2, 3, 4)
    torch.testing.assert_close(blur(constant, least=0.1, most=1.5), constant)


def test_lost_pixels_are_black_in_all_channels_and_of_a_uniform_share():
    levels = 0.5 + torch.rand(COUNT, 3, 64, 64) / 2
    changed = lose_pixels(levels, most=0.2)
    lost = changed == 0
    assert torch.equal(lost.any(1), lost.all(1))
    assert torch.equal(changed[~lost], levels[~lost])
    assert uniform(lost[:, 0].float().mean((1, 2)), 0, 0.2)


def test_one_of_several_is_drawn_for_each_image_and_all_are_as_likely():
    changed = one_of(torch.zeros(COUNT, 1, 2, 2), changes=[lambda x: x + 1, lambda x: x + 2, lambda x: x + 3])
    assert torch.equal(changed.amin((1, 2, 3)), changed.amax((1, 2, 3)))
    for value in (1, 2, 3):
        assert binomtest(int((changed[:, 0, 0, 0] == value).sum()), COUNT, 1 / 3).pvalue > 1e-3
    assert in_turn(torch.ones(1), changes=[lambda x: x + 1, lambda x: 3 * x]) == 6


def test_levels_are_those_of_the_images_and_clamped():
    normalisation = Normalisation((0.7, 0.5), (0.2, 0.25), 255.0)
    stored = torch.randint(0, 256, (4, 2, 5, 6)).byte()
    seen = []

    def twice(levels):
        seen.append(levels)
        return 2 * levels

    changed = OfLevels(twice, normalisation)(normalisation.apply(stored))
    torch.testing.assert_close(seen[0], stored / 255)
    torch.testing.assert_close(changed, normalisation.apply((2 * stored.float()).clamp(max=255)))
