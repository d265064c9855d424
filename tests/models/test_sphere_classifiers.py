"""Classifiers of spherical images: their sizes, and how far a rotation moves their logits."""

import pytest
import torch
from laws import signal

from isotypic.errors import RequestError
from isotypic.models.catalogue import begin, begin_of_points, build, build_of_points
from isotypic.models.hourglass import HourglassClassifierConfig, HourglassConfig
from isotypic.models.s2cnn import S2CNN_204K, S2CNNClassifierConfig, S2CNNConfig
from isotypic.models.s2cnn_start import smooth_noise
from isotypic.nn.sphere.transform import SphericalTransform
from isotypic.tasks.sphere.symmetry import rotation_error


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def test_the_default_segmenter_is_the_papers_at_its_bandwidth():
    assert S2CNNConfig(bandwidth=50).widths(1, 11) == S2CNN_204K
    assert parameters(build_of_points(S2CNNConfig(bandwidth=12), 1, 11)) == 204_073, "whatever the bandwidth"


@pytest.mark.parametrize(("widths", "count"), [("218k", 218_144), ("1m", 1_042_013), ("5m", 5_519_335)])
def test_the_cnns_are_the_papers(widths, count):
    assert parameters(build_of_points(HourglassConfig(widths=widths), 1, 11)) == count


def test_classifiers_are_of_the_sizes_that_they_are_called():
    s2cnn = parameters(build(S2CNNClassifierConfig(bandwidth=12), 1, 10))
    cnn = parameters(build(HourglassClassifierConfig(widths="150k"), 1, 10))
    assert s2cnn == 148_502
    assert cnn == pytest.approx(s2cnn, rel=0.01)
    assert parameters(build(HourglassClassifierConfig(widths="1m"), 1, 10)) == pytest.approx(1e6, rel=0.02)
    assert parameters(build(HourglassClassifierConfig(widths="5m"), 1, 10)) == pytest.approx(5e6, rel=0.02)


def smooth(bandwidth, degrees):
    """Two images of low degrees."""
    transform = SphericalTransform(bandwidth).double()
    spectrum = signal(transform.band.entries, 2, 1)
    spectrum[sum((2 * degree + 1) for degree in range(degrees)) :] = 0
    return transform.synthesise(spectrum)


@pytest.mark.parametrize("n_max", [None, 1])
def test_a_rotation_moves_the_logits_of_a_spherical_classifier_little(n_max):
    torch.manual_seed(0)
    net = build(S2CNNClassifierConfig(bandwidth=12, channels=[4, 6, 8], bandwidths=[10, 8, 6], n_max=n_max), 1, 5)
    plain = build(HourglassClassifierConfig(widths={"features": [6, 8], "kernels": [3, 3], "strides": [1, 2]}), 1, 5)
    images = smooth(12, 4)
    assert rotation_error(net, images) < 0.08
    assert rotation_error(plain, images) > 0.25, "the control"


def test_the_error_is_that_of_rounding_without_a_nonlinearity():
    images = smooth(8, 8)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 1)).double()
    assert rotation_error(net, images) < 1e-10
    shifted = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1)).double()
    assert rotation_error(shifted, images) > 0.1


def test_a_network_without_a_bandwidth_is_refused():
    with pytest.raises(RequestError, match="expected the bandwidth of the images, received none"):
        build(S2CNNClassifierConfig(), 1, 10)


def deviations(net, images):
    found, x = [], images
    with torch.no_grad():
        for layer in net.convolutions:
            y = layer(x)
            found.append(float(y.std()))
            x = y.relu()
    return torch.tensor(found)


def segmenter(**settings):
    return begin_of_points(S2CNNConfig(bandwidth=12, **settings), 1, 11)


def classifier(**settings):
    return begin(S2CNNClassifierConfig(bandwidth=12, **settings), 1, 10)


@pytest.mark.parametrize("make", [segmenter, classifier])
def test_signals_keep_their_variance_where_training_begins(make):
    torch.manual_seed(0)
    noise, one = smooth_noise(12, 1).float(), torch.ones(len(make().convolutions))
    assert deviations(make(), noise) == pytest.approx(one, rel=1e-3)
    assert deviations(make(start="reference"), noise) != pytest.approx(one, rel=1e-1), "the control"


def test_at_the_scale_of_the_reference_a_segmenter_says_nearly_nothing():
    torch.manual_seed(0)
    assert deviations(segmenter(start="reference"), smooth_noise(12, 1).float())[-1] < 0.02


def test_the_start_is_the_same_for_the_same_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return begin(S2CNNClassifierConfig(bandwidth=6, channels=[3, 4], bandwidths=[5, 4]), 1, 3).lift.weight

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
