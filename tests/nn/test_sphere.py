"""Spherical convolutions commute with rotations; compat's layer to a larger bandwidth and a wrong sign do not."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn

from isotypic.errors import RequestError
from isotypic.groups.so3 import S2Kernel, SO3Kernel, from_zyz, random_rotations, to_zyz
from isotypic.groups.so3.real import real_change
from isotypic.nn.sphere.layers import S2Conv, SO3Conv, SO3Integrate, SO3ToS2
from isotypic.nn.sphere.transform import RotationTransform, SphericalTransform

FLOAT32 = 1e-5
WIDE = {"kernel": SO3Kernel(1.0), "mode": "band-limited"}
LAYERS = {
    "S2Conv down": (S2Conv, (6, 4), {"kernel": S2Kernel(1.0)}),
    "S2Conv up": (S2Conv, (4, 6), {"kernel": S2Kernel(1.0), "mode": "band-limited"}),
    "S2Conv n_max": (S2Conv, (6, 5), {"n_max": 2}),
    "SO3Conv down": (SO3Conv, (5, 3), WIDE),
    "SO3Conv up": (SO3Conv, (3, 5), WIDE),
    "SO3Conv n_max": (SO3Conv, (4, 5), {**WIDE, "n_max": 1}),
    "SO3ToS2 down": (SO3ToS2, (5, 4), WIDE),
    "SO3ToS2 up": (SO3ToS2, (4, 6), WIDE),
    "SO3ToS2 n_max": (SO3ToS2, (5, 5), {**WIDE, "n_max": 2}),
    "SO3Conv compat down": (SO3Conv, (5, 3), {**WIDE, "mode": "compat"}),
}


def make(case, **more):
    kind, bandwidths, options = LAYERS[case]
    torch.manual_seed(0)
    layer = kind(2, 3, *bandwidths, **{**options, **more})
    nn.init.normal_(layer.bias) if layer.bias is not None else None
    return layer


def ends(layer):
    """The transforms of the signals at either end."""
    bands, kind = layer.bandwidths, type(layer)
    into = SphericalTransform(bands.into) if kind is S2Conv else RotationTransform(bands.into, bands.n_max)
    out = SphericalTransform(bands.out) if kind is SO3ToS2 else RotationTransform(bands.out, bands.n_max)
    return into, out


def rotation_error(layer, dtype=torch.float64, change=lambda rotation: rotation):
    """``|layer(h x) - h layer(x)| / |layer(x)|``, the largest of three h, on band-limited signals.

    Transforms and comparison are in float64, so that the error is that of the layer.
    """
    layer, (into, out) = layer.to(dtype), (end.double() for end in ends(layer))
    x = into.synthesise(signal(into.band.entries, 2, 2)).to(dtype)
    y = layer(x).detach().double()
    errors = []
    for h in random_rotations(3, seed=2):
        turned = layer(into.rotate(x.double(), h).to(dtype)).detach().double()
        errors.append(float((turned - out.rotate(y, change(h))).norm() / y.norm()))
    return max(errors)


@pytest.mark.parametrize("case", LAYERS)
def test_linear_layers_commute_with_every_rotation(case):
    assert rotation_error(make(case)) < TOLERANCE["float64"]
    assert rotation_error(make(case), torch.float32) < FLOAT32


def test_a_wrong_sign_of_m_does_not_commute():
    def negated(h):
        alpha, beta, gamma = to_zyz(h)
        return from_zyz(-alpha, beta, gamma)

    assert rotation_error(make("S2Conv down"), change=negated) > BROKEN
    assert rotation_error(make("SO3Conv down"), change=lambda h: h.inv()) > BROKEN


@pytest.mark.parametrize("case", ["S2Conv up", "SO3Conv up", "SO3ToS2 up"])
def test_compat_aliases_where_the_bandwidth_grows(case):
    layer = make(case, mode="compat")
    layer.bias.data.zero_()
    assert 0.01 < rotation_error(layer) < 1.0


def test_an_unlimited_n_is_the_limit_b_minus_one():
    full, limited = (SO3Conv(2, 3, 4, 4, n_max=n).double() for n in (None, 3))
    limited.load_state_dict(full.state_dict())
    x = signal(1, 2, 8, 8, 8)
    assert torch.equal(full(x), limited(x))


def test_a_layer_does_what_the_definition_says():
    """``z = x conj(y)^T`` of complex spectra, and the sum over n behind SO3ToS2, against the layers."""
    conv = SO3Conv(2, 3, 4, 4, kernel=SO3Kernel(1.0), bias=False).double()
    project = SO3ToS2(2, 3, 4, 4, kernel=SO3Kernel(1.0), bias=False).double()
    project.load_state_dict(conv.state_dict())
    sphere, rotations = SphericalTransform(4).double(), RotationTransform(4).double()
    x = signal(1, 2, 8, 8, 8)
    full, flat = rotations.analyse(conv(x)), sphere.analyse(project(x))
    for degree, (part, left) in enumerate(
        zip(full.split(rotations.band.sizes), flat.split(sphere.band.sizes), strict=True)
    ):
        change, size = real_change(degree), 2 * degree + 1
        z = np.einsum("rm,rpo,pn->omn", change.conj(), part.view(size, size, 3).numpy(force=True), change)
        # The real part of sum_m s_m e^{i m alpha} d_m0 has the coefficients (s_m + (-1)^m conj(s_-m)) / 2.
        total = z.sum(-1)
        sign = (-1.0) ** np.arange(-degree, degree + 1)
        expected = (change @ (total + sign * total[:, ::-1].conj()).T / 2).real
        assert np.abs(left.view(size, 3).numpy(force=True) - expected).max() < TOLERANCE["float64"]


def test_the_integral_is_invariant_and_the_mean_of_a_constant():
    layer, transform = SO3Integrate(4, n_max=2).double(), RotationTransform(4, n_max=2).double()
    x = transform.synthesise(signal(transform.band.entries, 2, 3))
    turned = transform.rotate(x, random_rotations(1, seed=0)[0])
    assert (layer(turned) - layer(x)).abs().max() < TOLERANCE["float64"]
    assert (turned.mean((2, 3, 4)) - x.mean((2, 3, 4))).abs().max() > BROKEN
    assert (layer(torch.full_like(x, 2.5)) - 2.5).abs().max() < TOLERANCE["float64"]


@pytest.mark.parametrize("case", ["S2Conv up", "SO3Conv down", "SO3ToS2 n_max"])
def test_gradients_are_those_of_finite_differences(case):
    kind, _, options = LAYERS[case]
    layer = kind(1, 2, 3, 3, **options).double()
    x = signal(2, 1, *layer.in_samples.space).requires_grad_()

    def call(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,)).square()

    weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    assert torch.autograd.gradcheck(call, (x, weight, bias), fast_mode=True)


@pytest.mark.parametrize("case", ["S2Conv down", "SO3Conv up", "SO3ToS2 up"])
def test_the_kept_kernel_follows_the_weight_and_is_not_saved(case):
    layer, other = make(case).eval(), make(case)
    nn.init.normal_(other.weight)
    x = signal(1, 2, *layer.in_samples.space, dtype=torch.float32)
    assert set(layer.state_dict()) == {"weight", "bias"}
    with torch.no_grad():
        before = layer(x)
        assert layer.bank._kept is not None
        assert torch.equal(layer(x), before)
        assert torch.equal(copy.deepcopy(layer)(x), before)
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x), before)
        layer.load_state_dict(other.state_dict())
        assert torch.equal(layer(x), other(x))
        assert not torch.allclose(layer(x), before)
    layer(x).sum().backward()
    assert layer.weight.grad is not None


def test_under_autocast_transforms_stay_single():
    layer = make("SO3Conv down")
    x = signal(1, 2, *layer.in_samples.space, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        low = layer(x.bfloat16())
    assert y.dtype == low.dtype == torch.float32
    assert torch.equal(y, layer(x))
    assert torch.equal(low, layer(x.bfloat16().float()))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: S2Conv(1, 1, 4, 4)(torch.zeros(1, 1, 8, 6)), r"S2Conv: expected \[batch, 1, 8, 8\], axes beta, alpha"),
        (lambda: S2Conv(1, 1, 4, 4)(torch.zeros(1, 1, 9, 9)), r"for bandwidth 4, received \[1, 1, 9, 9\]: sample it"),
        (lambda: S2Conv(2, 1, 4, 4)(torch.zeros(1, 1, 8, 8)), r"expected \[batch, 2, 8, 8\]"),
        (lambda: SO3Conv(1, 1, 4, 4, n_max=1)(torch.zeros(1, 1, 8, 8, 8)), r"expected \[batch, 1, 8, 8, 4\]"),
        (lambda: SO3Conv(1, 1, 4, 3, n_max=3), "SO3Conv: expected n_max from 0 to 2, .* received 3"),
        (lambda: S2Conv(1, 1, 4, 4, n_max=-1), "S2Conv: expected n_max from 0 to 3, .* received -1"),
        (lambda: SO3ToS2(1, 1, 4, 0), "SO3ToS2: expected bandwidths of at least 1, received 4 and 0"),
        (lambda: SO3ToS2(1, 0, 4, 4), r"SO3ToS2: expected at least one channel, received \(1, 0\)"),
        (lambda: S2Conv(1, 1, 4, 4, mode="compatible"), "unknown mode 'compatible': did you mean 'compat'"),
        (lambda: S2Conv(1, 1, 2, 2)(torch.full((1, 1, 4, 4), torch.nan)), "S2Conv: expected finite samples"),
        (
            lambda: S2Conv(1, 1, 2, 2)(torch.zeros(1, 1, 4, 4).double()),
            "expected torch.float32 as its weight, received",
        ),
        (lambda: SO3Integrate(4)(torch.zeros(1, 1, 8, 8)), r"SO3Integrate: expected \[batch, channels, 8, 8, 8\]"),
        (lambda: SphericalTransform(2).synthesise(torch.zeros(5, 1, 1)), r"expected a spectrum \[4, batch, channels\]"),
    ],
)
def test_wrong_requests_are_refused(call, says):
    with pytest.raises(RequestError, match=says):
        call()


def test_a_bandwidth_that_grows_unsaid_warns():
    with pytest.warns(UserWarning, match=r"SO3Conv: the output's degrees from 3 to 4 stay zero"):
        SO3Conv(1, 1, 3, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SO3Conv(1, 1, 3, 5, mode="band-limited")
        SO3Conv(1, 1, 5, 3)
