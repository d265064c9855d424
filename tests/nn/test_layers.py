"""Every layer commutes with every element, on every size; what must not commute does not."""

import pytest
import torch
from laws import BROKEN, PLANE_GROUPS, TOLERANCE, signal
from torch import nn

from isotypic.errors import RequestError
from isotypic.groups import named, regular, trivial
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn import (
    GroupBatchNorm,
    GroupConv2d,
    GroupConvTranspose2d,
    GroupDropout,
    GroupInstanceNorm,
    GroupLayerNorm,
    GroupPool,
    InvariantHead,
    ParityAvgPool,
    ParityMaxPool,
    ParityUpsample,
)
from isotypic.ops.action import act

SIZES = [(16, 16), (17, 17), (16, 19), (21, 18)]


def error(layer, group, size, fields=4, lift=False, out=regular):
    rho = trivial(group) if lift else regular(group)
    x = signal(2, fields * rho.dimension, *size)
    output = out(group) if out else None
    errors = equivariance_error(layer.double(), x, group, input_representation=rho, output_representation=output)
    return float(errors.max())


CONVOLUTIONS = {
    "k3": {"kernel_size": 3, "padding": 1},
    "k1": {"kernel_size": 1},
    "k3 s2 p1": {"kernel_size": 3, "stride": 2, "padding": 1},
    "k2 s2": {"kernel_size": 2, "stride": 2},
    "k5 s3 p2": {"kernel_size": 5, "stride": 3, "padding": 2},
    "k3 d2": {"kernel_size": 3, "dilation": 2, "padding": 2},
    "k4 s3 p1 d2": {"kernel_size": 4, "stride": 3, "padding": 1, "dilation": 2},
    "k3 same": {"kernel_size": 3, "padding": "same"},
    "groups 2": {"kernel_size": 3, "groups": 2, "padding": 1},
    "depthwise s2": {"kernel_size": 3, "groups": 4, "stride": 2, "padding": 1, "bias": False},
    "reflect s2": {"kernel_size": 5, "padding": 2, "stride": 2, "padding_mode": "reflect"},
    "replicate": {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
    "circular": {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
}


@pytest.mark.parametrize("name", PLANE_GROUPS)
@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolutions_commute_with_the_group(name, options):
    group = named(name)
    layer = GroupConv2d(4, 8, options["kernel_size"], group, **{k: v for k, v in options.items() if k != "kernel_size"})
    nn.init.normal_(layer.bias) if layer.bias is not None else None
    for size in SIZES:
        assert error(layer, group, size) < TOLERANCE["float64"], size


@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_output_sizes_and_values_of_the_trivial_group_are_torchs(options):
    """The trivial group gives the ordinary CNN; sizes are torch's for every group."""
    plain = nn.Conv2d(4, 8, **options).double()
    layer = GroupConv2d(4, 8, group="trivial", **options).double()
    larger = GroupConv2d(4, 8, group="p4m", lift=True, **options).double()
    with torch.no_grad():
        layer.weight.copy_(plain.weight)
        if plain.bias is not None:
            layer.bias.copy_(plain.bias)
    for size in SIZES:
        x = signal(2, 4, *size)
        y = plain(x)
        assert layer(x).shape == y.shape
        assert larger(x).shape[2:] == y.shape[2:]
        if layer.window.fitted(size) == (layer.window.padding, (0, 0)):
            assert (layer(x) - y).abs().max() < TOLERANCE["float64"]


@pytest.mark.parametrize("name", ["p4", "p4m", "Cs"])
def test_lifting_convolutions_commute(name):
    group = named(name)
    for options in ({}, {"stride": 2}, {"groups": 4}):
        layer = GroupConv2d(4, 8, 3, group, lift=True, padding=1, **options)
        for size in SIZES:
            assert error(layer, group, size, lift=True) < TOLERANCE["float64"]


def test_rectangular_kernels_where_the_group_keeps_them():
    layer = GroupConv2d(4, 4, (3, 5), "D2", padding=(1, 2), stride=(2, 1))
    for size in SIZES:
        assert error(layer, named("D2"), size) < TOLERANCE["float64"]


@pytest.mark.parametrize("name", PLANE_GROUPS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (4, 2, 1), (5, 3, 1)])
@pytest.mark.parametrize("excess", [(0, 0), (1, 0), (1, 1)])
def test_transposed_convolutions_reach_the_size_they_are_told(name, kernel, stride, padding, excess):
    group = named(name)
    layer = GroupConvTranspose2d(4, 6, kernel, group, stride=stride, padding=padding, groups=2).double()
    rho = regular(group)
    x = signal(1, 4 * group.order, 6, 7)
    least = layer(x).shape[2:]
    target = tuple(n + e for n, e in zip(least, excess, strict=True))
    y = layer(x, output_size=target)
    assert y.shape[2:] == target
    for g in range(group.order):
        wanted = act(y, g, group, rho)
        moved = layer(act(x, g, group, rho), output_size=tuple(wanted.shape[2:]))
        assert (moved - wanted).abs().max() / y.std() < TOLERANCE["float64"]


@pytest.mark.parametrize("size", [(16, 16), (17, 16)])
def test_the_transposed_convolution_is_the_adjoint(size):
    """``<conv x, y> = <x, conv^T y>`` with one weight, whatever the parity."""
    group = named("p4m")
    direct = GroupConv2d(3, 2, 3, group, stride=2, padding=1, bias=False).double()
    adjoint = GroupConvTranspose2d(2, 3, 3, group, stride=2, padding=1, bias=False).double()
    with torch.no_grad():
        adjoint.weight.copy_(direct.weight)
    x = signal(1, 24, *size)
    y = direct(x)
    z = torch.randn_like(y)
    back = adjoint(z, output_size=size)
    assert abs((y * z).sum() - (x * back).sum()) < TOLERANCE["float64"]


def test_negative_controls_fail_the_same_test():
    """A plain convolution, batch norm with unshared statistics, and a stride without the parity rule."""
    group = named("p4m")
    assert error(nn.Conv2d(32, 32, 3, padding=1), group, (16, 16)) > BROKEN
    unshared = nn.BatchNorm2d(32).double()
    nn.init.normal_(unshared.weight)
    assert error(unshared, group, (16, 16)) > BROKEN
    plain_stride = nn.Sequential(GroupConv2d(4, 4, 3, group, padding=1), _Every(2))
    assert error(plain_stride, group, (17, 17)) < TOLERANCE["float64"]
    assert error(plain_stride, group, (16, 16)) > BROKEN
    assert error(nn.Sequential(GroupConv2d(4, 4, 3, group), nn.MaxPool2d(2)), group, (17, 17)) > BROKEN
    assert (
        error(
            nn.Sequential(GroupConv2d(4, 4, 3, group), nn.Flatten(), nn.Linear(32 * 196, 3)), group, (16, 16), out=None
        )
        > BROKEN
    )


class _Every(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, x):
        return x[..., :: self.step, :: self.step]


NORMS = {
    "batch": lambda group: GroupBatchNorm(4, group),
    "instance shared": lambda group: GroupInstanceNorm(4, group, affine=True),
    "instance per element": lambda group: GroupInstanceNorm(4, group, shared=False, affine=True),
    "layer": lambda group: GroupLayerNorm(4, group),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_norms_commute_and_normalise(make, training, memory_format):
    group = named("p4m")
    layer = make(group).double().train(training)
    x = 3 + 2 * signal(4, 32, 9, 9).to(memory_format=memory_format)
    if isinstance(layer, GroupBatchNorm):
        for _ in range(200):
            layer.train()(x)
        layer.train(training)
    assert abs(layer(x).mean()) < 0.02
    assert abs(layer(x).std() - 1) < 0.02
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    for size in SIZES:
        assert error(layer, group, size) < TOLERANCE["float64"]


def test_batch_norm_is_torchs_on_the_fields():
    layer, plain = GroupBatchNorm(3, "p4").double(), nn.BatchNorm1d(3).double()
    x = signal(5, 12, 6, 7)
    fields = x.unflatten(1, (3, 4)).flatten(2)
    assert torch.allclose(layer(x).unflatten(1, (3, 4)).flatten(2), plain(fields))
    assert torch.allclose(layer.running_var, plain.running_var)
    assert torch.allclose(layer.eval()(x).unflatten(1, (3, 4)).flatten(2), plain.eval()(fields))


def test_pools_and_upsampling_commute():
    group = named("p4m")
    for layer in (
        ParityMaxPool(2),
        ParityAvgPool(3, 2, 1),
        ParityMaxPool(2, round_up=True),
        ParityUpsample(),
        nn.ReLU(),
    ):
        for size in SIZES:
            assert error(layer, group, size) < TOLERANCE["float64"]


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_pooling_over_the_group_gives_scalar_fields(reduce):
    group = named("p4m")
    layer = GroupPool(4, group, reduce)
    assert error(layer, group, (16, 19), out=trivial) < TOLERANCE["float64"]
    assert layer(signal(1, 32, 5, 5)).shape == (1, 4, 5, 5)
    head = nn.Sequential(GroupConv2d(4, 4, 3, group), nn.ReLU(), InvariantHead(4, 7, group, reduce))
    for size in SIZES:
        assert error(head, group, size, out=None) < TOLERANCE["float64"]


def test_dropout_drops_whole_fields_and_commutes_for_one_draw():
    group = named("p4m")
    layer = GroupDropout(64, group, 0.25)
    x = torch.ones(8, 512, 4, 4)
    torch.manual_seed(0)
    y = layer(x)
    fields = y.unflatten(1, (64, 8)).flatten(2)
    assert ((fields == 0).all(2) | (fields == 1 / 0.75).all(2)).all()
    assert abs(float((fields[..., 0] == 0).float().mean()) - 0.25) < 0.06

    def seeded(z):
        torch.manual_seed(1)
        return layer(z)

    z = signal(2, 512, 5, 5)
    assert (
        equivariance_error(
            seeded, z, group, input_representation=regular(group), output_representation=regular(group)
        ).max()
        == 0
    )
    pointwise = GroupDropout(64, group, 0.5, pointwise=True)(x).unflatten(1, (64, 8))
    assert ((pointwise == 0).all(2) | (pointwise == 2).all(2)).all()
    assert torch.equal(layer.eval()(z), z)


@pytest.mark.parametrize("lift", [True, False])
def test_initialisation_keeps_the_variance(lift):
    torch.manual_seed(0)
    layer = GroupConv2d(64, 64, 3, "p4m", lift=lift)
    channels = 64 if lift else 512
    y = layer(torch.randn(2, channels, 12, 12))
    assert abs(float(y.detach().var()) / 2 - 1) < 0.1
    transposed = GroupConvTranspose2d(64, 64, 2, "p4", stride=2)
    assert abs(float(transposed(torch.randn(2, 256, 8, 8)).detach().var()) / 2 - 1) < 0.1


BAD_LAYERS = {
    "C8 is not of the grid": (lambda: GroupConv2d(1, 1, 3, "C8"), "maps the pixel grid to itself, received C8"),
    "kernel": (
        lambda: GroupConv2d(1, 1, (3, 5), "p4"),
        r"same kernel_size on the axes that C4 swaps, received \(3, 5\)",
    ),
    "stride": (lambda: GroupConv2d(1, 1, 3, "p4", stride=(1, 2)), "same stride on the axes that C4 swaps"),
    "kernel 0": (lambda: GroupConv2d(1, 1, 0, "p4"), "expected kernel_size of 2 integers >= 1, received 0"),
    "same, even": (lambda: GroupConv2d(1, 1, 4, "p4", padding="same"), "expected an odd kernel and stride 1"),
    "padding name": (lambda: GroupConv2d(1, 1, 3, "p4", padding="sam"), "unknown padding 'sam': did you mean 'same'"),
    "padding mode": (lambda: GroupConv2d(1, 1, 3, "p4", padding_mode="zero"), "did you mean 'zeros'"),
    "groups": (
        lambda: GroupConv2d(4, 6, 3, "p4", groups=4),
        "expected out_fields to be a multiple of groups=4, received 6",
    ),
    "space group": (
        lambda: GroupConv2d(1, 1, 3, named("O", 3)),
        "expected a group acting on 2 axes, received O acting on 3",
    ),
    "reduction": (lambda: GroupPool(1, "p4", "sum"), "unknown reduction over the group 'sum'"),
    "probability": (lambda: GroupDropout(1, "p4", 1.5), "dropout probability between 0 and 1, received 1.5"),
    "outputs": (lambda: InvariantHead(1, 0, "p4"), "expected at least one output feature, received 0"),
}


@pytest.mark.parametrize(("make", "text"), BAD_LAYERS.values(), ids=BAD_LAYERS)
def test_bad_layers_are_refused(make, text):
    with pytest.raises(RequestError, match=text):
        make()


def test_bad_signals_are_refused_at_the_call():
    layer = GroupConv2d(3, 2, 3, "p4")
    with pytest.raises(
        RequestError, match=r"GroupConv2d\(3 -> 2 fields.*expected \[batch, 12, y, x\].*received \[1, 13, 8, 8\]"
    ):
        layer(signal(1, 13, 8, 8))
    with pytest.raises(RequestError, match=r"received \[12, 8, 8\]"):
        layer(signal(12, 8, 8))
    up = GroupConvTranspose2d(1, 1, 2, "p4", stride=2)
    with pytest.raises(RequestError, match=r"expected output_size between \(8, 8\) and \(9, 9\), received \(10, 8\)"):
        up(torch.zeros(1, 4, 4, 4), output_size=(10, 8))
    with pytest.raises(RequestError, match="expected one number or 2, one an axis"):
        ParityMaxPool((2, 2, 2))(signal(1, 1, 4, 4))
