"""Steerable convolutions: exact for what the grid allows, bounded under 45 degrees; an ordinary one fails."""

import copy
import pickle

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn
from turning import (
    CIRCLE,
    GROUPS,
    SIZES,
    grid_error,
    grid_representation,
    mixed,
    turned_error,
)

from isotypic.errors import RequestError
from isotypic.groups import (
    FieldType,
    direct_sum,
    irreps,
    named,
    regular_fields,
    scalar_fields,
    vector,
)
from isotypic.groups.circle import O2Fields, SO2Fields, field_sum, restriction
from isotypic.groups.harmonics import Rings
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn.antialias import BlurPool
from isotypic.nn.fieldwise import InvariantPool, Restrict, SteerableBatchNorm, trivial_fields
from isotypic.nn.nonlinearity import GatedNonlinearity, NormNonlinearity
from isotypic.nn.steerable import SteerableConv2d, SteerableConvTranspose2d

CONVOLUTIONS = {
    "k3": {"kernel_size": 3, "padding": 1},
    "k5 same": {"kernel_size": 5, "padding": "same"},
    "k4": {"kernel_size": 4},
    "k3 s2 p1": {"kernel_size": 3, "stride": 2, "padding": 1},
    "k5 s3 p2": {"kernel_size": 5, "stride": 3, "padding": 2, "bias": False},
    "k3 d2": {"kernel_size": 3, "dilation": 2, "padding": 2},
    "reflect s2": {"kernel_size": 5, "padding": 2, "stride": 2, "padding_mode": "reflect"},
}


@pytest.mark.parametrize("name", ["Cs", "C8", "D8", "SO(2)"])
@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_quarter_turns_and_flips_are_exact_on_every_size(name, options):
    kind = mixed(name)
    layer = SteerableConv2d(kind, kind, **options)
    nn.init.normal_(layer.bias) if layer.bias is not None else None
    for size in SIZES:
        assert grid_error(layer, kind, kind, size) < TOLERANCE["float64"], size


@pytest.mark.parametrize("name", ["C8", "D8", "SO(2)"])
@pytest.mark.parametrize("excess", [(0, 0), (1, 0), (1, 1)])
def test_transposed_convolutions_reach_the_size_they_are_told(name, excess):
    kind = mixed(name)
    layer = SteerableConvTranspose2d(kind, kind, 5, stride=2, padding=2)
    nn.init.normal_(layer.bias)

    def reach(x):
        # The excess belongs to the axes of the first size; an element that swaps the axes swaps it.
        sizes = [2 * n - 1 + excess[(n == 7) if x.shape[2] != x.shape[3] else i] for i, n in enumerate(x.shape[2:])]
        return layer(x, output_size=tuple(sizes))

    layer.double()
    rho = grid_representation(kind)
    for size in [(6, 7)] if excess[0] != excess[1] else [(6, 7), (8, 8)]:
        x = signal(1, field_sum(kind).channels, *size)
        error = equivariance_error(reach, x, rho.group, input_representation=rho, output_representation=rho)
        assert error.max() < TOLERANCE["float64"]


@pytest.mark.parametrize("size", [(16, 16), (17, 16)])
def test_the_transposed_convolution_is_the_adjoint(size):
    a = mixed("C8")
    b = (regular_fields(named("C8"), 1), FieldType(irreps(named("C8"))[2], 3))
    direct = SteerableConv2d(a, b, 3, stride=2, padding=1, bias=False).double()
    adjoint = SteerableConvTranspose2d(b, a, 3, stride=2, padding=1, bias=False).double()
    adjoint.load_state_dict(direct.state_dict())
    x = signal(2, direct.in_type.channels, *size)
    y = direct(x)
    z = torch.randn_like(y)
    assert abs((y * z).sum() - (x * adjoint(z, output_size=size)).sum()) < 10 * TOLERANCE["float64"]


BOUNDS = {3: 0.04, 5: 0.08, 7: 0.12}


@pytest.mark.parametrize("name", [*GROUPS, "SO(2)"])
@pytest.mark.parametrize("size", [33, 65])
def test_the_error_under_45_degrees_is_what_the_docstring_says(name, size):
    torch.manual_seed(0)
    kind = mixed(name)
    for kernel, bound in BOUNDS.items():
        if size == 65 and kernel != 5:
            continue
        layer = SteerableConv2d(kind, kind, kernel, padding=kernel // 2)
        assert turned_error(layer, kind, kind, size) < (bound if name != "SO(2)" else 0.75 * bound)
        assert turned_error(layer, kind, kind, size, 90.0) < TOLERANCE["float64"]
        strided = SteerableConv2d(kind, kind, kernel, padding=kernel // 2, stride=2)
        assert turned_error(strided, kind, kind, size - 1) < bound


def test_the_circle_turns_by_any_angle():
    layer = SteerableConv2d(CIRCLE, CIRCLE, 5, padding=2)
    for degrees in (10.0, 30.0, 137.0):
        assert turned_error(layer, CIRCLE, CIRCLE, 33, degrees) < BOUNDS[5]


FULL_CIRCLE = (O2Fields(0, 4), O2Fields(0, 2, odd=True), O2Fields(1, 4), O2Fields(2, 4))


def full_network():
    torch.manual_seed(0)
    even = GatedNonlinearity((O2Fields(0, 2), O2Fields(1, 2), O2Fields(2, 2)))
    gate = GatedNonlinearity(FULL_CIRCLE)
    return nn.Sequential(
        SteerableConv2d(O2Fields(0, 2), even.in_type, 5, padding=2, stride=2),
        even,
        SteerableConv2d(even.out_type, gate.in_type, 5, padding=2),
        gate,
        SteerableBatchNorm(FULL_CIRCLE),
        NormNonlinearity(FULL_CIRCLE),
        SteerableConv2d(FULL_CIRCLE, FULL_CIRCLE, 3, groups=2),
    )


def full_error(net, group):
    """The largest error under a group of the grid, of a network from two scalars to every irrep."""
    parts = field_sum(FULL_CIRCLE).parts
    rho = direct_sum(*(restriction(p.representation, group) for p in parts for _ in range(p.fields)))
    errors = [
        equivariance_error(net.double(), signal(2, 2, *size), group, output_representation=rho).max() for size in SIZES
    ]
    return float(max(errors))


def test_the_full_circle_turns_and_reflects():
    """O(2) by frequency: exact for D4 on every size, bounded at any angle; the same layers of SO(2) do not reflect."""
    net = full_network()
    for training in (True, False):
        assert full_error(net.train(training), named("D4")) < TOLERANCE["float64"]
    layer = SteerableConv2d(FULL_CIRCLE, FULL_CIRCLE, 5, padding=2)
    for degrees in (30.0, 45.0):
        assert turned_error(layer, FULL_CIRCLE, FULL_CIRCLE, 33, degrees) < 0.75 * BOUNDS[5]
    turning = (SO2Fields(0, 6), SO2Fields(1, 4), SO2Fields(2, 4))
    only_turns = SteerableConv2d(SO2Fields(0, 2), turning, 5)
    assert full_error(only_turns, named("D4")) > BROKEN


def test_restriction_of_the_full_circle():
    restrict = Restrict(FULL_CIRCLE, "D8")
    deeper = SteerableConv2d(restrict.out_type, regular_fields(named("D8"), 2), 5, padding=2)
    assert grid_error(deeper, restrict.out_type, deeper.out_type, (17, 16)) < TOLERANCE["float64"]
    assert turned_error(deeper, restrict.out_type, deeper.out_type, 33) < BOUNDS[5]


def test_without_the_band_limit_or_without_steering_the_same_bound_fails():
    """Negative controls: harmonics that the pixels do not resolve, and an ordinary convolution."""
    unlimited = SteerableConv2d(CIRCLE, CIRCLE, 5, padding=2, rings=Rings(cutoff=12.0))
    assert turned_error(unlimited, CIRCLE, CIRCLE, 33) > 1.5 * BOUNDS[5]
    assert grid_error(unlimited, CIRCLE, CIRCLE, (16, 16)) < TOLERANCE["float64"]
    plain = nn.Conv2d(20, 20, 5, padding=2)
    assert turned_error(plain, CIRCLE, CIRCLE, 33) > 0.5
    assert grid_error(plain, CIRCLE, CIRCLE, (16, 16)) > BROKEN


def test_transposed_convolutions_need_the_blur():
    kind = regular_fields(named("C8"), 2)
    layer = SteerableConvTranspose2d(kind, kind, 5, stride=2, padding=2)
    assert turned_error(layer, kind, kind, 17) > 0.5
    assert turned_error(nn.Sequential(layer, BlurPool(1, width=1.0)), kind, kind, 17) < BOUNDS[5]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", ["C8", "D8", "SO(2)"])
def test_initialisation_keeps_the_variance(name, transposed):
    """Twice the variance comes out, on average over each part of the output."""
    torch.manual_seed(0)
    kinds = CIRCLE if name == "SO(2)" else (scalar_fields(named(name), 4), regular_fields(named(name), 4))
    kinds = tuple(type(k)(k.frequency if name == "SO(2)" else k.representation, 24) for k in kinds)
    layer = (
        SteerableConvTranspose2d(kinds, kinds, 4, stride=2, padding=1)
        if transposed
        else SteerableConv2d(kinds, kinds, 5)
    )
    y = layer(torch.randn(2, layer.in_type.channels, 16, 16))
    for part in y.split(layer.out_type.sizes, 1):
        assert abs(float(part.detach().square().mean()) / 2 - 1) < 0.15


def blocks_of(kind, groups, block):
    """The channels of one block: its share of the fields of every part."""
    kind, found, start = field_sum(kind), [], 0
    for n in kind.sizes:
        found += range(start + block * n // groups, start + (block + 1) * n // groups)
        start += n
    return found


@pytest.mark.parametrize("transposed", [False, True])
def test_groups_are_independent_layers_side_by_side(transposed):
    """Against one layer a block; without ``groups`` the blocks see each other."""
    kind = (scalar_fields(named("C8"), 2), FieldType(irreps(named("C8"))[2], 4), regular_fields(named("C8"), 2))
    make = SteerableConvTranspose2d if transposed else SteerableConv2d
    options = {"stride": 2, "padding": 1}
    layer = make(kind, kind, 3, groups=2, **options).double()
    nn.init.normal_(layer.bias)
    alone = make(*2 * [layer.bank.made], 3, **options).double()
    x = signal(2, layer.in_type.channels, 9, 10)
    y = layer(x)
    pieces = [piece.chunk(2) for piece in layer.weight.split([count for *_, count in layer.bank.blocks()])]
    biases = layer.bias.split([2, 2])
    for block in range(2):
        with torch.no_grad():
            alone.weight.copy_(torch.cat([piece[block] for piece in pieces]))
            alone.bias.copy_(torch.cat([part.chunk(2)[block] for part in biases]))
        channels = blocks_of(kind, 2, block)
        assert (alone(x[:, channels]) - y[:, channels]).abs().max() < TOLERANCE["float64"]
        others = x.clone()
        others[:, channels] = 0
        assert torch.equal(layer(x - others)[:, channels], y[:, channels])
        whole = make(kind, kind, 3, **options).double()
        assert (whole(x - others) - whole(x))[:, channels].abs().max() > BROKEN


@pytest.mark.parametrize("name", ["C8", "D8", "SO(2)"])
def test_depthwise_convolutions_are_exact_on_the_grid_and_bounded_under_45_degrees(name):
    kind = CIRCLE if name == "SO(2)" else (regular_fields(named(name), 2), FieldType(irreps(named(name))[-1], 2))
    groups = 4 if name == "SO(2)" else 2
    layer = SteerableConv2d(kind, kind, 5, padding=2, groups=groups)
    assert grid_error(layer, kind, kind, (16, 17)) < TOLERANCE["float64"]
    assert turned_error(layer, kind, kind, 33) < BOUNDS[5]
    assert layer.weight.numel() * groups == SteerableConv2d(kind, kind, 5).weight.numel()
    assert repr(layer).endswith(f"kernel 5x5, groups {groups})")


def network(name="C8"):
    torch.manual_seed(0)
    kind = mixed(name)
    gate = GatedNonlinearity(kind)
    scalars = type(kind[0])(kind[0].representation if name != "SO(2)" else 0, 2)
    return nn.Sequential(
        SteerableConv2d(scalars, gate.in_type, 5, padding=2, stride=2),
        gate,
        SteerableBatchNorm(kind),
        NormNonlinearity(kind),
        BlurPool(2),
        SteerableConvTranspose2d(kind, kind, 3, stride=2, padding=1),
        InvariantPool(kind),
    )


def test_the_state_dict_holds_weights_and_nothing_derived():
    kind = mixed("C8")
    assert list(SteerableConv2d(kind, kind, 3).state_dict()) == ["weight", "bias"]
    assert list(SteerableConv2d(kind, FieldType(vector(named("C8")), 2), 3).state_dict()) == ["weight"]
    assert not BlurPool(2).state_dict()
    assert not GatedNonlinearity(kind).state_dict()


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("name", ["C8", "SO(2)"])
def test_copies_give_the_same_output_and_leave_the_kept_filters_behind(clone, name):
    net = network(name).eval()
    x = torch.randn(2, 2, 17, 17)
    with torch.no_grad():
        wanted = net(x)
        again = clone(net)
        assert again[0].bank._kept is None
        assert torch.equal(again(x), wanted)
    assert len(pickle.dumps(net[0].bank.tables)) < 50_000


@pytest.mark.parametrize("write", ["load", "data", "replace"])
def test_kept_filters_follow_the_weight_however_it_is_written(write):
    kind = regular_fields(named("C8"), 2)
    old, new = (SteerableConv2d(kind, kind, 3).eval() for _ in range(2))
    x = torch.randn(1, 16, 7, 7)
    with torch.no_grad():
        old(x)
        kept = old.bank._kept
        old(x)
        assert old.bank._kept is kept
        if write == "load":
            old.load_state_dict(new.state_dict())
        elif write == "data":
            old.weight.data.copy_(new.weight.data)
        else:
            old.weight = nn.Parameter(new.weight.clone())
        assert torch.equal(old(x), new(x))


def test_changing_the_dtype_casts_the_basis_from_float64_again():
    layer = SteerableConv2d(*2 * [mixed("C8")], 5).double()
    exact = layer.bank.tables("basis_1_1").clone()
    assert torch.equal(layer.float().double().bank.tables("basis_1_1"), exact)
    assert grid_error(layer.float(), mixed("C8"), mixed("C8"), (16, 17)) < TOLERANCE["float64"]


def test_channels_last_gives_the_same_output_and_gradients():
    net = network().double()
    x = signal(3, 2, 17, 16)
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        clone = copy.deepcopy(net).to(memory_format=memory_format)
        y = clone(x.to(memory_format=memory_format))
        y.square().sum().backward()
        results.append([y, *(p.grad for p in clone.parameters())])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() < TOLERANCE["float64"] * max(1.0, float(a.detach().abs().max()))


def test_filters_kept_under_inference_mode_serve_a_gradient_of_the_input():
    net = network().eval().requires_grad_(False)
    x = torch.randn(1, 2, 9, 9)
    with torch.inference_mode():
        net(x)
    x.requires_grad_()
    net(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.0, 1.0, 300.0])
def test_lengths_of_half_precision_neither_overflow_nor_vanish(dtype, scale):
    """300 squared is infinite in float16, and the square root of its smallest number is not small."""
    x = (scale * signal(1, 12, 3, 3)).to(dtype)
    for layer in (NormNonlinearity(SO2Fields(1, 6)), InvariantPool(SO2Fields(1, 6))):
        y = layer(x)
        assert y.dtype == dtype
        wanted = layer.double()(x.double())
        assert (y - wanted).abs().max() <= TOLERANCE["bfloat16"] * max(1e-3, float(wanted.detach().abs().max()))


@pytest.mark.parametrize("name", ["C8", "SO(2)"])
def test_automatic_mixed_precision(name):
    net, x = network(name), torch.randn(4, 2, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
        y.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in net.parameters())
    assert (y.float() - net(x)).abs().max() < TOLERANCE["bfloat16"] * net(x).abs().max()


@pytest.mark.parametrize("training", [True, False])
def test_compiled_as_one_graph(training):
    net = network("SO(2)").train(training)
    compiled = torch.compile(copy.deepcopy(net), backend="aot_eager", fullgraph=True, dynamic=False)
    for size in (16, 17):
        x = torch.randn(2, 2, size, size)
        y, z = net(x), compiled(x)
        assert (y - z).abs().max() < TOLERANCE["float32"] * max(1.0, float(y.detach().abs().max()))
        z.sum().backward()


def test_exported_by_torch():
    net, x = network("SO(2)").eval(), torch.randn(2, 2, 17, 16)
    exported = torch.export.export(net, (x,)).module()
    with torch.no_grad():
        assert (net(x) - exported(x)).abs().max() < TOLERANCE["float32"] * net(x).abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["C8", "SO(2)"])
def test_compiled_by_inductor(name):
    """In training, so that the backward pass is compiled as well: there the pads of torch are refused."""
    torch.manual_seed(0)
    kind = regular_fields(named("C8"), 2) if name == "C8" else (SO2Fields(0, 2), SO2Fields(1, 2))
    start, last = trivial_fields(field_sum(kind), 2), trivial_fields(field_sum(kind), 3)
    net = nn.Sequential(
        SteerableConv2d(start, kind, 3, padding=1),
        SteerableBatchNorm(kind),
        BlurPool(2),
        SteerableConv2d(kind, last, 3),
    )
    compiled = torch.compile(copy.deepcopy(net), fullgraph=True)
    x = torch.randn(2, 2, 17, 16)
    y, z = net(x), compiled(x)
    assert (y - z).abs().max() < 10 * TOLERANCE["float32"] * max(1.0, float(y.detach().abs().max()))
    y.square().sum().backward()
    z.square().sum().backward()
    for a, b in zip(net.parameters(), compiled.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() < 1e-3 * max(1.0, float(a.grad.abs().max()))


def c8(fields=1):
    return regular_fields(named("C8"), fields)


BAD = {
    "two groups": (
        lambda: SteerableConv2d(c8(), regular_fields(named("C4"), 1), 3),
        "expected fields of one group, received C8 to C4: use Restrict first",
    ),
    "no kernel": (
        lambda: SteerableConv2d(SO2Fields(0, 1), SO2Fields(1, 2), 1),
        "expected a kernel that carries 1 frequency 0 .* to 2 frequency 1 .*received 1x1, which resolves none",
    ),
    "kernel": (lambda: SteerableConv2d(c8(), c8(), (3, 5)), r"same kernel_size on the axes that C8 swaps"),
    "groups": (
        lambda: SteerableConv2d(c8(4), c8(6), 3, groups=4),
        r"expected groups that divide the fields of every part of 6 regular fields of C8 .*, received 4",
    ),
    "no groups": (lambda: SteerableConvTranspose2d(c8(), c8(), 3, groups=0), "expected groups that divide"),
    "padding mode": (lambda: SteerableConv2d(c8(), c8(), 3, padding_mode="zero"), "did you mean 'zeros'"),
    "channels": (
        lambda: SteerableConv2d(c8(), c8(), 3)(torch.zeros(1, 9, 8, 8)),
        r"SteerableConv2d\(1 regular, C8, kernel 3x3\): expected \[batch, 8, y, x\].*received \[1, 9, 8, 8\]",
    ),
    "output size": (
        lambda: SteerableConvTranspose2d(c8(), c8(), 3, stride=2)(torch.zeros(1, 8, 4, 4), (12, 9)),
        r"expected output_size between \(9, 9\) and \(10, 10\), received \(12, 9\)",
    ),
}


@pytest.mark.parametrize(("make", "text"), BAD.values(), ids=BAD)
def test_bad_requests_are_refused(make, text):
    with pytest.raises(RequestError, match=text):
        make()
