"""Every layer of volumes commutes with every element, on every size; windows that a group does not keep are refused."""

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn

from isotypic.errors import RequestError
from isotypic.groups import FieldType, named, regular, regular_fields, scalar_fields, trivial, vector
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn import (
    BlurPool,
    FieldPReLU,
    GatedNonlinearity,
    GroupBatchNorm,
    GroupConv3d,
    GroupConvTranspose3d,
    GroupDropout,
    GroupGroupNorm,
    GroupInstanceNorm,
    GroupLayerNorm,
    GroupLinear,
    GroupPool,
    InvariantHead,
    InvariantPool,
    NormNonlinearity,
    ParityAvgPool,
    ParityMaxPool,
    ParityUpsample,
    PointwiseNonlinearity,
    Restrict,
    SteerableBatchNorm,
    SteerableConv2d,
)
from isotypic.ops.action import act, move_channels

GROUPS = ["Cs", "C4", "D4", "D4h", "T", "O", "Oh"]
PRISMS = ["Cs", "C4", "D4", "D4h"]
SIZES = [(4, 4, 4), (5, 5, 5), (4, 5, 6)]


def error(layer, group, size, fields=2, into=regular, out=regular):
    rho = into(group)
    x = signal(1, fields * rho.dimension, *size)
    output = out(group) if out else None
    errors = equivariance_error(layer.double(), x, group, input_representation=rho, output_representation=output)
    return float(errors.max())


def randomised(layer):
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


CONVOLUTIONS = {
    "k3": {"kernel_size": 3, "padding": 1},
    "k3 s2 p1": {"kernel_size": 3, "stride": 2, "padding": 1},
    "k2 s2": {"kernel_size": 2, "stride": 2},
    "k3 d2 same": {"kernel_size": 3, "dilation": 2, "padding": "same"},
    "depthwise s2": {"kernel_size": 3, "groups": 2, "stride": 2, "padding": 1, "bias": False},
    "reflect": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
}
FLAT = {
    "1x3x3 s122": {"kernel_size": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)},
    "3x2x2 s122": {"kernel_size": (3, 2, 2), "stride": (1, 2, 2), "padding": (1, 0, 0)},
}


def convolution(group, kernel_size, **options):
    return randomised(GroupConv3d(2, 2, kernel_size, group, compute="dense", **options))


@pytest.mark.parametrize("name", GROUPS)
def test_convolutions_commute(name):
    group = named(name, 3)
    for label, options in (CONVOLUTIONS | (FLAT if name in PRISMS else {})).items():
        layer = convolution(group, **options)
        for size in SIZES:
            assert error(layer, group, size) < TOLERANCE["float64"], (label, size)


@pytest.mark.parametrize("name", GROUPS)
def test_transposed_convolutions_reach_the_size_they_are_told(name):
    group = named(name, 3)
    rho, x = regular(group), signal(1, 2 * group.order, 3, 3, 4)
    windows = [(2, 2, 0), (3, 2, 1)] + ([((1, 2, 2), (1, 2, 2), 0)] if name in PRISMS else [])
    for kernel, stride, padding in windows:
        layer = randomised(GroupConvTranspose3d(2, 1, kernel, group, stride=stride, padding=padding)).double()
        least = layer(x).shape[2:]
        target = (*least[:2], least[2] + 1)
        y = layer(x, output_size=target)
        assert y.shape[2:] == target
        for g in range(group.order):
            wanted = act(y, g, group, rho)
            found = layer(act(x, g, group, rho), output_size=tuple(wanted.shape[2:]))
            assert (found - wanted).abs().max() / y.std() < TOLERANCE["float64"]


NORMS = {
    "batch norm": lambda g: GroupBatchNorm(2, g),
    "instance norm": lambda g: GroupInstanceNorm(2, g, affine=True),
    "instance norm, each element": lambda g: GroupInstanceNorm(2, g, shared=False, affine=True),
    "layer norm": lambda g: GroupLayerNorm(2, g),
    "group norm": lambda g: GroupGroupNorm(2, 2, g),
    "batch norm of any fields": lambda g: SteerableBatchNorm(regular_fields(g, 2)),
}
LAYERS = {
    "PReLU": lambda g: FieldPReLU(2, g),
    "max pool": lambda g: ParityMaxPool(2),
    "max pool, rounded up": lambda g: ParityMaxPool(2, round_up=True),
    "mean pool": lambda g: ParityAvgPool(3, 2, 1, count_include_pad=False),
    "upsampling": lambda g: ParityUpsample(),
    "nearest": lambda g: ParityUpsample(mode="nearest"),
    "blur pool": lambda g: BlurPool(2, width=0.5, dim=3),
    "pointwise": lambda g: PointwiseNonlinearity(regular_fields(g, 2), nn.functional.silu),
    "norm": lambda g: NormNonlinearity(regular_fields(g, 2)),
}
FLAT_LAYERS = {
    "max pool 1x2x2": ParityMaxPool((1, 2, 2)),
    "mean pool 2x3x3": ParityAvgPool((2, 3, 3), (2, 1, 1), (0, 1, 1)),
    "upsampling 1x2x2": ParityUpsample((1, 2, 2)),
}


@pytest.mark.parametrize("name", GROUPS)
def test_layers_commute(name):
    group = named(name, 3)
    layers = {label: randomised(make(group)) for label, make in LAYERS.items()}
    for label, layer in (layers | (FLAT_LAYERS if name in PRISMS else {})).items():
        for size in SIZES:
            assert error(layer, group, size) < TOLERANCE["float64"], (label, size)


@pytest.mark.parametrize("name", GROUPS)
def test_norms_commute_and_normalise(name):
    group = named(name, 3)
    for label, make in NORMS.items():
        layer = make(group).double()
        y = layer(3 + 2 * signal(3, 2 * group.order, 4, 4, 4)).detach()
        assert abs(float(y.mean())) < 0.02, label
        assert abs(float(y.std()) - 1) < 0.02, label
        for training in (True, False):
            assert error(randomised(layer).train(training), group, SIZES[2]) < TOLERANCE["float64"], label


@pytest.mark.parametrize("reduce", ["max", "mean"])
@pytest.mark.parametrize("name", GROUPS)
def test_pooling_over_the_group_is_invariant(name, reduce):
    group = named(name, 3)
    head = InvariantHead(2, 3, name, reduce, hidden=(4,), dim=3)
    for size in SIZES:
        assert error(GroupPool(2, name, reduce, dim=3), group, size, out=trivial) < TOLERANCE["float64"]
        assert error(InvariantPool(regular_fields(group, 2), reduce), group, size, out=trivial) < TOLERANCE["float64"]
        assert error(head, group, size, out=None) < TOLERANCE["float64"]


@pytest.mark.parametrize("name", GROUPS)
def test_dropout_drops_whole_fields_and_commutes_for_one_draw(name):
    group = named(name, 3)
    layer = GroupDropout(32, name, 0.5, dim=3)

    def seeded(x):
        torch.manual_seed(1)
        return layer(x)

    fields = seeded(torch.ones(2, 32 * group.order, 3, 3, 3)).unflatten(1, (32, group.order)).flatten(2)
    assert ((fields == 0).all(2) | (fields == 2).all(2)).all()
    assert 0.25 < float((fields[..., 0] == 0).float().mean()) < 0.75
    both = {"input_representation": regular(group), "output_representation": regular(group)}
    assert equivariance_error(seeded, signal(2, 32 * group.order, 3, 4, 5), group, **both).max() == 0


def test_linear_maps_of_pooled_fields_commute():
    group = named("O", 3)
    layer = randomised(GroupLinear(3, 4, "O", dim=3)).double()
    x, rho = signal(5, 72), regular(group)
    gaps = [(layer(move_channels(x, g, rho, 1)) - move_channels(layer(x), g, rho, 1)).abs().max() for g in range(24)]
    assert torch.stack(gaps).max() < TOLERANCE["float64"]


@pytest.mark.parametrize(("name", "smaller"), [("Oh", "O"), ("Oh", "D4h"), ("O", "D4"), ("D4h", "C4"), ("D4h", "Cs")])
def test_restriction_is_exact(name, smaller):
    """Cubes below, prisms above: from the restriction on windows may differ along z."""
    layer = Restrict(regular_fields(named(name, 3), 2), smaller)
    group, start = named(smaller, 3), layer.in_type
    fields = 2 * named(name, 3).order // group.order
    assert layer.out_type.parts == (regular_fields(group, fields),)
    flat = (1, 2, 2) if smaller in PRISMS else (2, 2, 2)
    net = nn.Sequential(
        GroupConv3d(1, 2, 3, name, lift=True, padding=1, compute="dense"),
        layer,
        ParityMaxPool(flat),
        GroupConv3d(fields, 1, flat, group, compute="dense"),
    )
    for size in SIZES:
        assert error(net, group, size, fields=1, into=trivial) < TOLERANCE["float64"]
    layer.reorder.order, layer.reorder.moves = torch.arange(start.channels).roll(1), True
    assert error(net, group, SIZES[0], fields=1, into=trivial) > BROKEN


def test_gates_of_vectors_commute():
    group = named("O", 3)
    layer = GatedNonlinearity((scalar_fields(group, 2), FieldType(vector(group), 3)))
    assert (layer.in_type.channels, layer.out_type.channels) == (14, 11)
    x, (before, after) = signal(2, 14, 3, 3, 3), (layer.in_type.representation, layer.out_type.representation)
    for g in range(group.order):
        gap = layer(act(x, g, group, before)) - act(layer(x), g, group, after)
        assert gap.abs().max() < TOLERANCE["float64"]


CONTROLS = {
    "plain convolution": lambda: nn.Conv3d(48, 48, 3, padding=1),
    "norm of each channel": lambda: randomised(nn.BatchNorm3d(48)),
    "pool that drops a border": lambda: nn.MaxPool3d(2),
    "pool 1x2x2": lambda: ParityMaxPool((1, 2, 2)),
    "upsampling 1x2x2": lambda: ParityUpsample((1, 2, 2)),
}


@pytest.mark.parametrize("make", CONTROLS.values(), ids=CONTROLS)
def test_what_does_not_commute_fails_the_same_test(make):
    """Each breaks O on 7 x 7 x 7; a pool of another shape than the wanted one counts as broken."""
    group, layer = named("O", 3), make().double()
    x, rho = signal(2, 48, 7, 7, 7), regular(group)
    y = layer(x)
    gaps = []
    for g in range(group.order):
        wanted, found = act(y, g, group, rho), layer(act(x, g, group, rho))
        gaps.append(float((wanted - found).detach().abs().max()) if wanted.shape == found.shape else float("inf"))
    assert max(gaps) > BROKEN


O_PRISM = r"on the axes that O swaps, received \(1, 3, 3\): .*take a group that keeps the axes \(D4h, D4, C4, Cs\)"
REFUSED = {
    "kernel": (lambda: GroupConv3d(1, 1, (1, 3, 3), "O"), f"same kernel_size {O_PRISM}"),
    "stride": (lambda: GroupConv3d(1, 1, 3, "O", stride=(1, 3, 3)), f"same stride {O_PRISM}"),
    "padding": (lambda: GroupConv3d(1, 1, 3, "O", padding=(1, 3, 3)), f"same padding {O_PRISM}"),
    "transposed": (lambda: GroupConvTranspose3d(1, 1, (1, 3, 3), "O"), f"same kernel_size {O_PRISM}"),
    "y and x": (
        lambda: GroupConv3d(1, 1, (1, 3, 5), "D4h"),
        r"the axes that D4h swaps, received \(1, 3, 5\): .*keeps the axes \(Cs\)",
    ),
    "plane": (lambda: GroupConv3d(1, 1, 3, "p4"), "unknown group of space 'p4'.*Known: C1, Cs, C4, D4"),
    "steerable": (
        lambda: SteerableConv2d(regular_fields(named("O", 3), 1), regular_fields(named("O", 3), 1), 3),
        "expected fields of a group of the plane, received 1 regular fields of O",
    ),
    "pool of two axes": (lambda: ParityMaxPool((1, 2))(signal(1, 1, 4, 4, 4)), "expected one number or 3"),
    "image": (lambda: GroupBatchNorm(2, "O", dim=3)(signal(1, 48, 4, 4)), r"expected \[batch, 48, z, y, x\]"),
    "blur": (lambda: BlurPool(2, dim=3)(signal(1, 1, 4, 4)), r"expected \[batch, channels, z, y, x\]"),
    "blur of four axes": (lambda: BlurPool(2, dim=4), "expected 2 or 3 axes of space, received dim=4"),
    "subgroup": (lambda: Restrict(regular_fields(named("O", 3), 1), "D4h"), "subgroup of O, received D4h"),
}


@pytest.mark.parametrize(("make", "text"), REFUSED.values(), ids=REFUSED)
def test_what_a_group_does_not_keep_is_refused(make, text):
    with pytest.raises(RequestError, match=text):
        make()
