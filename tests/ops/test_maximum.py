"""The maximum over fields against torch's own reduction: values, gradients, ties, NaN, layouts."""

import pytest
import torch
from laws import signal

from isotypic.ops import maximum, native

needs_compiler = pytest.mark.skipif(native._compiler() is None, reason="no C++ compiler on this machine")
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
SHAPES = [(3, 4, 9, 7), (2, 48, 17, 5), (2, 96, 3, 1), (2, 48, 3, 4, 5)]


def laid_out(x):
    return x.contiguous(memory_format=FORMATS[x.dim()])


def plain(x, order):
    return x.unflatten(1, (-1, order)).amax(2)


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr(native, "SHARE", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("order", [1, 2, 4, 8, 48])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_agrees_with_torch_to_the_bit(shape, order, dtype, threads):
    """Values of five levels: most fields have ties, which share the gradient."""
    shape = (shape[0], shape[1] * order // 4 if order > 4 else shape[1], *shape[2:])
    x = laid_out(signal(*shape, dtype=dtype).mul(2).round()).requires_grad_()
    other = x.detach().clone().requires_grad_()
    assert maximum._serves(x)
    found, wanted = maximum.field_maximum(x, order), plain(other, order)
    weights = signal(*found.shape, seed=1, dtype=dtype)
    (found * weights).sum().backward()
    (wanted * weights).sum().backward()
    assert torch.equal(found, wanted)
    assert torch.equal(x.grad, other.grad)
    assert found.is_contiguous(memory_format=FORMATS[x.dim()])
    assert x.grad.is_contiguous(memory_format=FORMATS[x.dim()])


@needs_compiler
@pytest.mark.parametrize("order", [4, 8, 3])
def test_nan_is_the_maximum(order):
    x = laid_out(signal(1, 6 * order, 2, 3))
    for channel in range(order):
        spoiled = x.clone()
        spoiled[0, channel, 1, 1] = torch.nan
        found = maximum.field_maximum(spoiled, order)
        assert torch.isnan(found).nonzero().tolist() == [[0, 0, 1, 1]]


@needs_compiler
def test_gradients_of_gradients():
    x = laid_out(signal(2, 8, 3, 2)).requires_grad_()
    squared = lambda x: maximum.field_maximum(x, 4).square()  # noqa: E731
    assert torch.autograd.gradcheck(squared, x)
    assert torch.autograd.gradgradcheck(squared, x)


def test_every_other_layout_is_torchs(monkeypatch):
    x = signal(2, 16, 5, 6)
    assert not maximum._serves(x)
    assert not maximum._serves(laid_out(x).to(torch.bfloat16))
    wanted = plain(x, 8)
    assert torch.equal(maximum.field_maximum(x, 8), wanted)
    assert torch.equal(maximum.field_maximum(laid_out(x), 8), wanted)
    gap = laid_out(signal(2, 32, 5, 6))[:, 8:24]
    assert torch.equal(maximum.field_maximum(gap, 8), plain(gap, 8))
    monkeypatch.setattr(maximum, "_library", lambda dtype: None)
    assert torch.equal(maximum.field_maximum(laid_out(x), 8), wanted)
