"""The norm of fields against torch's own on fields laid out as channels: values, gradients, statistics, layouts."""

import pytest
import torch
from laws import signal
from torch import nn

from isotypic.nn import GroupBatchNorm
from isotypic.ops import native, norm

needs_compiler = pytest.mark.skipif(native._compiler() is None, reason="no C++ compiler on this machine")
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
AGREES = {torch.float32: 2e-6, torch.float64: 1e-12}
SHAPES = [(3, 24, 9, 7), (2, 40, 17, 5), (2, 56, 1, 1), (5, 8, 31, 2), (2, 24, 3, 4, 5)]


def pair(fields, order, dtype, affine=True):
    group = {4: "C4", 8: "D4"}[order]
    ours, plain = (
        GroupBatchNorm(fields, group, affine=affine).to(dtype),
        nn.BatchNorm1d(fields, affine=affine).to(dtype),
    )
    if affine:
        for name, seed in (("weight", 1), ("bias", 2)):
            value = signal(fields, seed=seed, dtype=dtype)
            getattr(ours, name).data.copy_(value)
            getattr(plain, name).data.copy_(value)
    return ours, plain


def by_fields(x, order):
    """Every field as one channel."""
    return x.movedim(1, -1).reshape(-1, x.shape[1] // order, order)


@needs_compiler
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_agrees_with_torch_in_everything(shape, dtype, affine):
    ours, plain = pair(shape[1] // 8, 8, dtype, affine)
    x = (signal(*shape, dtype=dtype) * 3 + 40).contiguous(memory_format=FORMATS[len(shape)]).requires_grad_()
    reference = by_fields(x.detach(), 8).requires_grad_()
    weights = signal(*shape, seed=3, dtype=dtype)
    running = norm.Running(ours.running_mean, ours.running_var, 0.1)
    y = norm.field_batch_norm(x, (ours.weight, ours.bias), running, order=8, eps=ours.eps)
    wanted = plain(reference)
    (y * weights).sum().backward()
    (wanted * by_fields(weights, 8)).sum().backward()
    assert y.is_contiguous(memory_format=FORMATS[len(shape)])
    pairs = [(by_fields(y, 8), wanted), (by_fields(x.grad, 8), reference.grad), (ours.running_mean, plain.running_mean)]
    pairs += [(ours.running_var, plain.running_var)]
    pairs += [(ours.weight.grad, plain.weight.grad), (ours.bias.grad, plain.bias.grad)] if affine else []
    for found, expected in pairs:
        assert (found - expected).detach().abs().max() <= 40 * AGREES[dtype] * max(
            1.0, float(expected.detach().abs().max())
        )


@needs_compiler
def test_statistics_of_each_channel_apart_are_others():
    shared, _ = pair(3, 8, torch.float64)
    x = signal(2, 24, 6, 6).mul(torch.arange(1, 25).view(1, -1, 1, 1)).contiguous(memory_format=torch.channels_last)
    assert (shared(x) - nn.BatchNorm2d(24).double()(x)).abs().max() > 0.1


@needs_compiler
@pytest.mark.parametrize("threads", [1, 3])
def test_a_large_mean_costs_no_precision(threads, monkeypatch):
    monkeypatch.setattr(native, "SHARE", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = (signal(4, 16, 40, 40) + 1000).contiguous(memory_format=torch.channels_last)
        single, double = pair(2, 8, torch.float32)[0], pair(2, 8, torch.float64)[0]
        rounded = x.float()
        assert (single(rounded) - double(rounded.double())).abs().max() < 1e-4
    finally:
        torch.set_num_threads(before)


@needs_compiler
def test_gradients_of_gradients():
    ours, _ = pair(2, 4, torch.float64)
    x = signal(2, 8, 3, 2).contiguous(memory_format=torch.channels_last).requires_grad_()

    def function(x, weight, bias):
        running = norm.Running(torch.zeros_like(weight), torch.ones_like(weight), 0.1)
        return norm.field_batch_norm(x, (weight, bias), running, order=4, eps=1e-5)

    inputs = (x, ours.weight, ours.bias)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_without_the_kernel_torch_gives_the_same(last, monkeypatch):
    x = signal(3, 24, 5, 6)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    ours, again = pair(3, 8, torch.float64)[0], pair(3, 8, torch.float64)[0]
    found = ours(x)
    monkeypatch.setattr(norm, "_serves", lambda *tensors: False)
    assert (found - again(x)).abs().max() < 1e-12
    assert (ours.running_var - again.running_var).abs().max() < 1e-12


def test_one_sample_has_no_variance():
    with pytest.raises(ValueError, match="more than 1 value"):
        GroupBatchNorm(3, "trivial")(torch.zeros(1, 3, 1, 1))
