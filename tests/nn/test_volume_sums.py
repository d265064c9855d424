"""Group convolutions of volumes against their definition, summed over the group by hand.

The elements are signed permutations written here, kernels are moved by NumPy's transpose and flip, and every pair of
elements is an ordinary convolution. Of the library only the order in which it counts its elements is taken. The layers
compute by expanded filters; that the isotypic way gives the same is tests/ops/test_isotypic.py's.
"""

import itertools

import numpy as np
import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch.nn import functional

from isotypic.groups import named
from isotypic.nn import GroupConv3d, GroupConvTranspose3d

SIGNED = [
    np.array([[sign * (axis == j) for j in range(3)] for axis, sign in zip(order, signs, strict=True)])
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
"""All 48 symmetries of the cube, as matrices on (z, y, x)."""


def turns(matrix):
    return round(np.linalg.det(matrix)) == 1


MEMBERS = {
    "D4": lambda m: turns(m) and abs(m[0, 0]) == 1,
    "D4h": lambda m: abs(m[0, 0]) == 1,
    "O": turns,
    "Oh": lambda m: True,
}
ORDERS = {"D4": 8, "D4h": 16, "O": 24, "Oh": 48}


def elements_of(name):
    """The group's matrices, written here, in the order of the library's channels."""
    ours = {m.tobytes(): m for m in SIGNED if MEMBERS[name](m)}
    theirs = [np.rint(m).astype(int) for m in named(name, 3).matrices]
    assert {m.tobytes() for m in theirs} == set(ours)
    return [ours[m.tobytes()] for m in theirs]


def place(matrix, elements):
    return next(i for i, m in enumerate(elements) if np.array_equal(m, matrix))


def moved(kernel, matrix):
    """``(L_g psi)(x) = psi(g^-1 x)`` of ``[..., z, y, x]`` by a transpose and flips."""
    first, source = kernel.ndim - 3, np.abs(matrix).argmax(axis=1)
    turned = np.transpose(kernel, (*range(first), *(first + source)))
    backwards = [first + i for i in range(3) if matrix[i, source[i]] < 0]
    return np.flip(turned, backwards).copy()


def summed(x, layer, elements, padding, component=lambda g, h: g.T @ h, move=moved):
    """``y(p, g) = b + sum_h (f_h * L_g psi_{g^-1 h})(p)``, or ``b + (f * L_g psi)(p)`` for a plain volume."""
    order, weight = len(elements), layer.weight.detach().numpy()
    lift = layer.in_type.representation.dimension == 1
    fields = x[:, :, None] if lift else x.unflatten(1, (-1, order))
    psi = weight.reshape(len(weight), layer.in_type.fields, -1, *weight.shape[2:])
    answers = []
    for g in elements:
        parts = [0] if lift else [place(component(g, h), elements) for h in elements]
        pairs = ((fields[:, :, i], move(psi[:, :, part], g)) for i, part in enumerate(parts))
        answers.append(sum(functional.conv3d(f, torch.as_tensor(k), padding=padding) for f, k in pairs))
    bias = layer.bias.detach()[:, None, None, None, None]
    return (torch.stack(answers, 2) + bias).flatten(1, 2)


def sampled(y, stride, padded, kernel):
    """Every s-th sample of a stride-1 convolution; where the stride does not fit, the mean of what it would miss."""
    for axis, (s, n, k) in enumerate(zip(stride, padded, kernel, strict=True), 2):
        missed = (n - k) % s
        runs = y.unfold(axis, missed + 1, s)
        y = runs.mean(-1)
    return y


def made(name, kernel, stride, lift):
    torch.manual_seed(0)
    padding = tuple(k // 2 for k in kernel)
    options = {"lift": lift, "stride": stride, "padding": padding, "compute": "dense"}
    layer = GroupConv3d(2, 2, kernel, named(name, 3), **options).double()
    torch.nn.init.normal_(layer.bias)
    return layer, padding


def difference(found, wanted):
    return float((found - wanted).detach().abs().max() / wanted.detach().std())


CASES = [
    *((name, (3, 3, 3), (1, 1, 1)) for name in ORDERS),
    *((name, (3, 3, 3), (2, 2, 2)) for name in ORDERS),
    *((name, (1, 3, 3), (1, 1, 1)) for name in ("D4", "D4h")),
    *((name, (1, 3, 3), (1, 2, 2)) for name in ("D4", "D4h")),
    ("D4h", (3, 3, 3), (1, 2, 2)),
]
SIZES = [(4, 5, 6), (5, 4, 4)]


@pytest.mark.parametrize("lift", [True, False], ids=["lifting", "group to group"])
@pytest.mark.parametrize(("name", "kernel", "stride"), CASES, ids=str)
def test_the_layer_is_the_sum_over_the_group(name, kernel, stride, lift):
    layer, padding = made(name, kernel, stride, lift)
    elements = elements_of(name)
    assert len(elements) == ORDERS[name]
    for size in SIZES:
        x = signal(1, layer.in_type.channels, *size)
        fine = summed(x, layer, elements, padding)
        wanted = sampled(fine, stride, [n + 2 * p for n, p in zip(size, padding, strict=True)], kernel)
        assert layer(x).shape == wanted.shape
        assert difference(layer(x), wanted) < TOLERANCE["float64"], size


WRONG = {
    "h g^-1 for g^-1 h": {"component": lambda g, h: h @ g.T},
    "h^-1 g for g^-1 h": {"component": lambda g, h: h.T @ g},
    "kernels moved by the inverse": {"move": lambda kernel, g: moved(kernel, g.T)},
    "kernels not moved": {"move": lambda kernel, g: kernel},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", ["D4h", "O"])
def test_another_order_or_an_inverse_is_another_sum(name, wrong):
    layer, padding = made(name, (3, 3, 3), (1, 1, 1), lift=False)
    x, elements = signal(1, layer.in_type.channels, *SIZES[0]), elements_of(name)
    assert difference(layer(x), summed(x, layer, elements, padding, **wrong)) > BROKEN


def test_samples_without_the_mean_are_others():
    """The control of the strides: on an even axis every second sample alone is not what the layer gives."""
    layer, padding = made("D4h", (3, 3, 3), (2, 2, 2), lift=True)
    x = signal(1, 2, 4, 4, 4)
    fine = summed(x, layer, elements_of("D4h"), padding)
    assert difference(layer(x), fine[..., ::2, ::2, ::2]) > BROKEN


@pytest.mark.parametrize(
    ("name", "kernel", "stride"),
    [("D4h", (1, 3, 3), (1, 2, 2)), ("O", (3, 3, 3), (2, 2, 2)), ("Oh", (2, 2, 2), (2, 2, 2))],
    ids=str,
)
@pytest.mark.parametrize("size", [(4, 6, 5), (5, 4, 7)])
def test_the_transposed_convolution_is_the_adjoint(name, kernel, stride, size):
    """``<conv x, y> = <x, conv^T y>`` with one weight, whatever the parity of each axis."""
    options = {"stride": stride, "padding": tuple((k - 1) // 2 for k in kernel), "bias": False}
    direct = GroupConv3d(2, 1, kernel, name, compute="dense", **options).double()
    adjoint = GroupConvTranspose3d(1, 2, kernel, name, **options).double()
    with torch.no_grad():
        adjoint.weight.copy_(direct.weight)
    x = signal(1, direct.in_type.channels, *size)
    y = direct(x)
    z = signal(*y.shape, seed=1)
    back = adjoint(z, output_size=size)
    assert abs((y * z).sum() - (x * back).sum()) < TOLERANCE["float64"]
    with torch.no_grad():
        adjoint.weight.copy_(direct.weight.roll(1, 1))
    assert abs((y * z).sum() - (x * adjoint(z, output_size=size)).sum()) > BROKEN
