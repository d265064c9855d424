"""Spherical batch norm commutes with rotations while it trains; the plain one, which counts samples, does not."""

import copy
import pickle

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn

from isotypic.errors import RequestError
from isotypic.groups.so3 import random_rotations
from isotypic.nn.sphere.norm import SphericalBatchNorm
from isotypic.nn.sphere.transform import RotationTransform, SphericalTransform

SPACES = {"sphere": SphericalTransform(4), "SO(3)": RotationTransform(4), "SO(3), n_max": RotationTransform(4, 1)}


def rotation_error(norm, space):
    space = copy.deepcopy(SPACES[space]).double()
    x = space.synthesise(signal(space.band.entries, 2, 3)) + 0.5
    errors = []
    for h in random_rotations(3, seed=3):
        y, turned = (copy.deepcopy(norm)(each).detach() for each in (x, space.rotate(x, h)))
        errors.append(float((turned - space.rotate(y, h)).norm() / y.norm()))
    return max(errors)


def trained(norm):
    torch.manual_seed(0)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.double()


@pytest.mark.parametrize("space", SPACES)
def test_it_commutes_with_every_rotation(space):
    assert rotation_error(trained(SphericalBatchNorm(3, 4)), space) < TOLERANCE["float64"]
    plain = nn.BatchNorm2d(3) if space == "sphere" else nn.BatchNorm3d(3)
    assert rotation_error(trained(plain), space) > BROKEN


@pytest.mark.parametrize("space", SPACES)
def test_mean_and_variance_are_those_of_the_spectrum(space):
    """By Parseval the variance is the sum of ``(2 l + 1) |x^l|^2`` over the degrees from 1."""
    transform = copy.deepcopy(SPACES[space]).double()
    spectrum = signal(transform.band.entries, 2, 3)
    norm = SphericalBatchNorm(3, 4, momentum=1.0).double()
    norm(transform.synthesise(spectrum))
    degree = torch.repeat_interleave(torch.arange(4), torch.tensor(transform.band.sizes))
    power = ((2 * degree + 1)[:, None, None] * spectrum.square()).sum(0)
    assert torch.allclose(norm.running_mean, spectrum[0].mean(0))
    assert torch.allclose(norm.running_var, power.mean(0) - spectrum[0].mean(0).square())


def test_evaluation_uses_what_training_has_seen():
    norm = trained(SphericalBatchNorm(3, 4, momentum=1.0))
    x = signal(5, 3, 8, 8)
    seen = norm(x)
    assert torch.allclose(norm.eval()(x), seen)
    assert not torch.allclose(norm(2 * x), seen)
    assert norm.num_batches_tracked == 1


def test_gradients_are_those_of_finite_differences():
    norm = trained(SphericalBatchNorm(2, 2))
    assert torch.autograd.gradcheck(norm, signal(2, 2, 4, 4).requires_grad_())


def test_it_is_an_ordinary_module():
    norm = trained(SphericalBatchNorm(3, 4))
    assert set(norm.state_dict()) == set(nn.BatchNorm2d(3).state_dict())
    x = signal(2, 3, 8, 8)
    assert torch.equal(pickle.loads(pickle.dumps(norm))(x), copy.deepcopy(norm)(x))
    assert torch.equal(SphericalBatchNorm(3, 4, affine=False)(x.float()), SphericalBatchNorm(3, 4)(x.float()))


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (2, 2, 8, 8), (2, 3, 8), (3, 8, 8)])
def test_another_shape_is_refused(shape):
    with pytest.raises(RequestError, match=r"SphericalBatchNorm: expected \[batch, 3, 8, 8\].*received"):
        SphericalBatchNorm(3, 4)(torch.zeros(shape))


def test_no_channels_are_refused():
    with pytest.raises(RequestError, match="expected at least one channel, received 0"):
        SphericalBatchNorm(0, 4)
