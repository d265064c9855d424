"""The parity rule, and the table of where plain layers break."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import BROKEN, TOLERANCE, signal
from torch import nn
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn import ParityAvgPool, ParityMaxPool, ParityUpsample
from isotypic.ops.resampling import pool_window, remainders, resize_linear, widen


def symmetric(weight):
    """A depthwise kernel that D4 does not change, so that any break is the window's."""
    return (weight + weight.flip(-1) + weight.flip(-2) + weight.flip(-1, -2)) / 4


def d4_error(function, size):
    x = signal(1, 1, size, size)
    return float(equivariance_error(function, x, named("D2")).max())


def conv(kernel, stride, padding):
    weight = symmetric(signal(1, 1, kernel, kernel, seed=1))
    return lambda x: functional.conv2d(x, weight, stride=stride, padding=padding)


def transposed(kernel, stride, padding, output_padding=0):
    weight = symmetric(signal(1, 1, kernel, kernel, seed=1))
    return lambda x: functional.conv_transpose2d(x, weight, None, stride, padding, output_padding)


def interpolated(mode):
    return nn.Upsample(scale_factor=2, mode=mode)


TABLE = {
    "conv k3 s2 p1": (conv(3, 2, 1), False, True),
    "max pool k3 s2 p1": (nn.MaxPool2d(3, 2, 1), False, True),
    "max pool k2 s2": (nn.MaxPool2d(2), True, False),
    "avg pool k2 s2": (nn.AvgPool2d(2), True, False),
    "bilinear x2": (interpolated("bilinear"), True, True),
    "nearest x2": (interpolated("nearest"), True, True),
    "one-sided pad": (lambda x: functional.pad(x, (0, 1, 0, 1)), False, False),
    "one-sided crop": (lambda x: x[..., 1:, 1:], False, False),
    "nearest to 2n+1": (lambda x: functional.interpolate(x, size=2 * x.shape[-1] + 1), False, False),
    "transposed k2 s2": (transposed(2, 2, 0), True, True),
    "transposed k4 s2 p1": (transposed(4, 2, 1), True, True),
    "transposed k3 s2 p1 op1": (transposed(3, 2, 1, 1), False, False),
}


@pytest.mark.parametrize(("operation", "even", "odd"), TABLE.values(), ids=TABLE)
def test_the_table_of_where_plain_layers_break(operation, even, odd):
    for size, exact in ((16, even), (17, odd)):
        error = d4_error(operation, size)
        assert error < TOLERANCE["float64"] if exact else error > BROKEN, (size, error)


@pytest.mark.parametrize("pool", [ParityMaxPool, ParityAvgPool])
@pytest.mark.parametrize("arguments", [(2,), (3, 2, 1), (3, 2, 0), (2, 2, 1), (3, 1, 1), (2, 3), (4, 3, 2)])
@pytest.mark.parametrize("round_up", [False, True])
def test_parity_pools_are_exact_on_every_size(pool, arguments, round_up):
    if round_up and 3 in arguments[1:2]:
        with pytest.raises(RequestError, match="expected stride 1 or 2 for a pool that rounds up, received 3"):
            pool(*arguments, round_up=True)
        return
    layer = pool(*arguments, round_up=round_up)
    for size in range(16, 24):
        assert d4_error(layer, size) < TOLERANCE["float64"]


@given(st.integers(8, 60), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2))
def test_windows_fit_and_sizes_are_the_usual_ones(size, kernel, stride, padding):
    padding = min(padding, kernel // 2)
    usual = (size + 2 * padding - kernel) // stride + 1
    fits = (size + 2 * padding - kernel) % stride == 0
    for round_up in (False, True):
        window, sides = pool_window(size, kernel, stride, padding, round_up=round_up)
        assert (size + 2 * sides - window) % stride == 0
        assert (size + 2 * sides - window) // stride + 1 == usual + (round_up and not fits)
    assert fits == (remainders((size,), (kernel,), (stride,), (padding,), (1,)) == (0,))


@given(st.integers(10, 30), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
def test_a_widened_kernel_is_a_mean_of_neighbouring_outputs(size, kernel, dilation, stride):
    """Convolving with the box of r + 1 is the stride-1 convolution, then the mean over r + 1 neighbours."""
    (r,) = remainders((size,), (kernel,), (stride,), (0,), (dilation,))
    if size <= dilation * (kernel - 1) + stride:
        return
    x, weight = signal(1, 1, size), signal(1, 1, kernel, seed=2)
    wide, left = widen(weight, (r,), (dilation,))
    result = functional.conv1d(x, wide, stride=stride, dilation=left[0])
    fine = functional.conv1d(x, weight, dilation=dilation)
    mean = functional.avg_pool1d(fine, r + 1, stride=stride)
    assert result.shape[-1] == (size - dilation * (kernel - 1) - 1) // stride + 1
    assert (result - mean).abs().max() < TOLERANCE["float64"]


@pytest.mark.parametrize("space", [(8, 8), (8, 9), (5, 6, 7)])
@pytest.mark.parametrize("odd", [False, True])
def test_upsampling_commutes_with_reflections(space, odd):
    target = tuple(2 * n - (odd and i == 0) for i, n in enumerate(space))
    x = signal(1, 2, *space)
    for axis in range(2, 2 + len(space)):
        difference = resize_linear(x.flip(axis), target) - resize_linear(x, target).flip(axis)
        assert difference.abs().max() < TOLERANCE["float64"]
    assert ParityUpsample()(x).shape[2:] == tuple(2 * n for n in space)
    assert ParityUpsample()(x, target).shape[2:] == target


def test_pool_and_upsample_give_back_the_size():
    for size in (16, 17, 18, 19):
        x = signal(1, 1, size, size)
        coarse = ParityMaxPool(2, round_up=True)(x)
        assert ParityUpsample()(coarse, x.shape[2:]).shape == x.shape


def test_a_constant_stays_constant():
    x = torch.ones(1, 1, 17, 16, dtype=torch.float64)
    assert torch.allclose(ParityAvgPool(2)(x), torch.ones(1, 1, 8, 8, dtype=torch.float64))
    assert torch.allclose(ParityUpsample()(x), torch.ones(1, 1, 34, 32, dtype=torch.float64))
