"""Nonlinearities, norm, pooling and restriction commute with every element; what must not commute does not."""

import math

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn
from turning import CIRCLE, GROUPS, SIZES, grid_error, mixed, quotient_fields, turned_error

from isotypic.errors import RequestError
from isotypic.groups import (
    FieldType,
    named,
    regular_fields,
    scalar_fields,
    vector,
)
from isotypic.groups.circle import SO2Fields
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn import GroupBatchNorm, GroupPool, ParityMaxPool
from isotypic.nn.antialias import BlurPool
from isotypic.nn.fieldwise import InvariantPool, Restrict, SteerableBatchNorm
from isotypic.nn.nonlinearity import GatedNonlinearity, NormNonlinearity, PointwiseNonlinearity
from isotypic.nn.steerable import SteerableConv2d
from isotypic.ops.action import move_channels
from isotypic.ops.rotation import rotate_channels


def channel_error(layer, group, x):
    """The largest error over all elements when they move the channels alone."""
    ins, outs = layer.in_type.representation, layer.out_type.representation
    y = layer(x)
    gaps = [(layer(move_channels(x, g, ins, 1)) - move_channels(y, g, outs, 1)).abs().max() for g in range(group.order)]
    return float(torch.stack(gaps).max().detach() / y.detach().std())


def permuted(group):
    return (regular_fields(group, 3), quotient_fields(group, 2), scalar_fields(group, 2))


NONLINEARITIES = {
    "pointwise": lambda group: PointwiseNonlinearity(permuted(group), nn.functional.silu),
    "norm": lambda group: NormNonlinearity(mixed(group.name)),
    "gated": lambda group: GatedNonlinearity(mixed(group.name)),
    "gated vectors": lambda group: GatedNonlinearity(FieldType(vector(group), 3)),
    "batch norm": lambda group: SteerableBatchNorm(mixed(group.name)),
    "max pool": lambda group: InvariantPool(mixed(group.name)),
    "mean pool": lambda group: InvariantPool(mixed(group.name), "mean"),
}


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("make", NONLINEARITIES.values(), ids=NONLINEARITIES)
@pytest.mark.parametrize("training", [True, False])
def test_layers_on_fields_commute_with_every_element(name, make, training):
    group = named(name)
    layer = make(group).double().train(training)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = signal(3, layer.in_type.channels, 5, 4)
    assert channel_error(layer, group, x) < TOLERANCE["float64"]
    zero = torch.zeros_like(x, requires_grad=True)
    layer.eval()(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


@pytest.mark.parametrize("make", [NormNonlinearity, GatedNonlinearity, SteerableBatchNorm, InvariantPool])
def test_layers_on_fields_of_the_circle_commute_with_random_angles(make):
    layer = make(CIRCLE).double()
    x = signal(3, layer.in_type.channels, 5, 4)
    y = layer(x)
    for degrees in (17.0, 111.0, 250.5):
        gap = layer(rotate_channels(x, degrees, layer.in_type)) - rotate_channels(y, degrees, layer.out_type)
        assert gap.abs().max() < TOLERANCE["float64"]


def test_what_does_not_commute_fails_the_same_test():
    """Negative controls: relu on vectors, ordinary batch norm on regular fields."""
    layer = NormNonlinearity(FieldType(vector(named("C8")), 3))
    layer.forward = torch.relu
    assert channel_error(layer, named("C8"), signal(2, 6, 4, 4)) > BROKEN
    norm = SteerableBatchNorm(regular_fields(named("C8"), 2)).double()
    plain = nn.BatchNorm2d(16).double()
    nn.init.normal_(plain.weight)
    norm.forward = plain.forward
    assert channel_error(norm, named("C8"), signal(2, 16, 4, 4)) > BROKEN


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_regular_fields_is_group_batch_norm(training):
    ours, theirs = SteerableBatchNorm(regular_fields(named("p4m"), 3)).double(), GroupBatchNorm(3, "p4m").double()
    x = 2 + 3 * signal(4, 24, 6, 5)
    for _ in range(3):
        wanted, found = theirs(x), ours(x)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    assert torch.allclose(ours.running_mean, theirs.running_mean)
    assert torch.allclose(ours.running_var, theirs.running_var)
    if not training:
        wanted, found = theirs.eval()(x), ours.eval()(x)
    assert (wanted - found).abs().max() < TOLERANCE["float64"]


def test_batch_norm_takes_no_mean_from_a_vector():
    layer = SteerableBatchNorm(SO2Fields(1, 1)).double()
    x = 5 + signal(2, 2, 4, 4)
    assert torch.allclose(layer(x), x / (x.square().mean() + 1e-5).sqrt())


@pytest.mark.parametrize(
    ("name", "subgroup"), [("C8", "C4"), ("C8", "C2"), ("C8", "C1"), ("D8", "D4"), ("D8", "C8"), ("D8", "Cs")]
)
def test_restriction_is_exact(name, subgroup):
    group, smaller = named(name), named(subgroup)
    layer = Restrict(mixed(name), smaller)
    x = signal(2, layer.in_type.channels, 3, 3)
    before, after = layer.in_type.representation, layer.out_type.representation
    for h, matrix in enumerate(smaller.matrices):
        element = int(abs(group.matrices - matrix).sum((1, 2)).argmin())
        moved = layer(move_channels(x, element, before, 1))
        assert (moved - move_channels(layer(x), h, after, 1)).abs().max() < TOLERANCE["float64"]
    assert layer.out_type.parts[1] == regular_fields(smaller, group.order // smaller.order)
    assert not layer.state_dict()


@pytest.mark.parametrize("subgroup", ["C8", "C4"])
def test_the_circle_restricts_to_cyclic_groups(subgroup):
    layer = Restrict(CIRCLE, subgroup)
    x = signal(1, 20, 3, 3)
    turned = rotate_channels(x, 90.0, CIRCLE)
    assert torch.allclose(turned, rotate_channels(layer(x), 90.0, layer.out_type))
    deeper = SteerableConv2d(layer.out_type, regular_fields(named(subgroup), 2), 3)
    assert grid_error(deeper, layer.out_type, deeper.out_type, (9, 9)) < TOLERANCE["float64"]


def test_restriction_within_a_network():
    """C8 below, C4 above: exact under the quarter turns, on odd and even sizes, in training and evaluation."""
    start, wide = scalar_fields(named("C8"), 2), regular_fields(named("C8"), 3)
    restrict = Restrict(wide, "C4")
    narrow = regular_fields(named("C4"), 4)
    net = nn.Sequential(
        SteerableConv2d(start, wide, 5, padding=2),
        SteerableBatchNorm(wide),
        PointwiseNonlinearity(wide),
        BlurPool(2),
        restrict,
        SteerableConv2d(restrict.out_type, narrow, 3, stride=2, padding=1),
        PointwiseNonlinearity(narrow),
        InvariantPool(narrow),
    )
    out = scalar_fields(named("C4"), 4)
    for training in (True, False):
        for size in SIZES:
            assert grid_error(net.train(training), scalar_fields(named("C4"), 2), out, size) < TOLERANCE["float64"]


def test_invariant_pool_is_group_pool_on_regular_fields():
    x = signal(2, 24, 4, 4)
    for reduce in ("max", "mean"):
        pool = InvariantPool(regular_fields(named("p4m"), 3), reduce)
        assert torch.allclose(pool(x), GroupPool(3, "p4m", reduce)(x))
    vectors = InvariantPool(SO2Fields(1, 12))(x)
    assert torch.allclose(vectors, x.unflatten(1, (12, 2)).norm(dim=2))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_blur_pool_is_exact_on_the_grid_and_bounded_under_45_degrees(stride):
    group, layer = named("D4"), BlurPool(stride)
    kind = scalar_fields(group, 3)
    for size in SIZES:
        x = signal(2, 3, *size)
        assert equivariance_error(layer.double(), x, group).max() < TOLERANCE["float64"]
        assert layer(x).shape[2:] == tuple(math.ceil(n / stride) for n in size)
    assert torch.allclose(layer(torch.ones(1, 2, 9, 8, dtype=torch.float64)), torch.ones((), dtype=torch.float64))
    assert turned_error(layer, kind8(3), kind8(3), 33) < 0.02
    assert grid_error(nn.Sequential(ParityMaxPool(3, 1, 1), layer), kind, kind, (16, 19)) < TOLERANCE["float64"]


def kind8(fields):
    return scalar_fields(named("C8"), fields)


def test_blur_pool_beats_subsampling_on_an_image_that_aliases():
    class Every(nn.Module):
        def forward(self, x):
            return x[..., ::2, ::2]

    sharp = {"highest": math.pi}
    assert turned_error(BlurPool(2), kind8(8), kind8(8), 33, **sharp) < 0.5
    assert turned_error(Every(), kind8(8), kind8(8), 33, **sharp) > 0.9
    assert equivariance_error(Every(), signal(1, 3, 16, 16), named("C4")).max() > BROKEN


def c8(fields=1):
    return regular_fields(named("C8"), fields)


BAD = {
    "pointwise": (
        lambda: PointwiseNonlinearity(SO2Fields(1, 2)),
        "whose channels the group permutes, received 2 frequency 1 .*mixes their channels.*use NormNonlinearity",
    ),
    "no gates": (lambda: GatedNonlinearity(SO2Fields(0, 2)), "expected fields to gate, .*use PointwiseNonlinearity"),
    "subgroup": (lambda: Restrict(c8(), "C3"), "expected a subgroup of C8, received C3"),
    "subgroup of the circle": (lambda: Restrict(CIRCLE, "D4"), r"expected a subgroup of SO\(2\), received D4"),
    "stride": (lambda: BlurPool(0), "expected a stride of at least 1 and a positive width, received 0"),
    "reduction": (lambda: InvariantPool(c8(), "sum"), "unknown reduction over the group 'sum'"),
    "blur axes": (
        lambda: BlurPool(2)(torch.zeros(3, 8, 8)),
        r"expected \[batch, channels, y, x\], received \[3, 8, 8\]",
    ),
}


@pytest.mark.parametrize(("make", "text"), BAD.values(), ids=BAD)
def test_bad_requests_are_refused(make, text):
    with pytest.raises(RequestError, match=text):
        make()
