"""Maxout over the copies of a kernel: for which elements it is exact, alone and stacked, and what it keeps."""

import copy
import pickle

import numpy as np
import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn
from torch.nn import functional
from turning import turned_error

from isotypic.errors import RequestError
from isotypic.groups import named, scalar_fields
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn import GroupConv2d
from isotypic.nn.copies import Turns, ring_shift, rotated
from isotypic.nn.maxout import FlipMaxConv2d, RotateMaxConv2d

SIZES = [(16, 16), (17, 17), (16, 19), (21, 18)]
KERNEL = np.arange(1, 10).reshape(3, 3)


def rotate_max(angles, channels=3, **options):
    return RotateMaxConv2d(channels, channels, angles=angles, **{"padding": 1, **options})


def flip_max(flips, channels=3, **options):
    return FlipMaxConv2d(channels, channels, 3, flips=flips, **{"padding": 1, **options})


# The exactness table of the specification: a layer and the elements that it commutes with.
TABLE = {
    "2 angles": (lambda **options: rotate_max(2, **options), "C2"),
    "4 angles": (lambda **options: rotate_max(4, **options), "C4"),
    "8 angles": (lambda **options: rotate_max(8, **options), "C4"),
    "klein": (lambda **options: flip_max("klein", **options), "D2"),
    "dihedral": (lambda **options: flip_max("dihedral", **options), "D4"),
}


def errors(net, size, group="D4"):
    """The error of every element, scalar fields to scalar fields."""
    for layer in net.modules():
        if getattr(layer, "bias", None) is not None:
            nn.init.normal_(layer.bias)
    return equivariance_error(net.double(), signal(2, 3, *size), named(group))


def outside(group):
    """The elements of D4 that are not in a group."""
    inside = {matrix.tobytes() for matrix in named(group).matrices}
    return [g for g, matrix in enumerate(named("D4").matrices) if matrix.tobytes() not in inside]


def test_a_shift_of_the_ring_is_the_published_one():
    assert KERNEL.ravel()[ring_shift(1)].tolist() == [[4, 1, 2], [7, 5, 3], [8, 9, 6]]
    for steps in range(8):
        assert np.array_equal(KERNEL.ravel()[ring_shift(2 * steps)], np.rot90(KERNEL, -steps))
        assert np.array_equal(ring_shift(steps).ravel()[ring_shift(1)], ring_shift(steps + 1))
    assert not np.array_equal(ring_shift(1), ring_shift(-1))
    assert [np.rot90(KERNEL, i).tolist() for i in range(4)] == [
        KERNEL.ravel()[positions].tolist() for positions in rotated(Turns.QUARTERS).positions
    ]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(("make", "group"), TABLE.values(), ids=TABLE)
def test_exact_for_the_group_and_for_nothing_else(make, group, depth, stride):
    torch.manual_seed(0)
    net = nn.Sequential(*(make(stride=stride) for _ in range(depth)))
    for size in SIZES:
        assert errors(net, size, group).max() < TOLERANCE["float64"], size
    others = outside(group)
    assert not others or errors(net, (16, 16))[others].min() > BROKEN


def test_the_types_name_the_group():
    for make, group in TABLE.values():
        assert make().in_type == scalar_fields(named(group), 3) == make().out_type
    assert flip_max("paper").in_type.group == named("C1")


@pytest.mark.parametrize("depth", [1, 2])
def test_the_published_flips_are_equivariant_to_nothing(depth):
    torch.manual_seed(0)
    net = nn.Sequential(*(flip_max("paper") for _ in range(depth)))
    assert errors(net, (16, 16))[1:].min() > BROKEN


def test_the_published_pair_is_equivariant_to_nothing_and_two_groups_keep_what_both_have():
    torch.manual_seed(0)
    assert errors(nn.Sequential(flip_max("paper"), rotate_max(4)), (16, 16))[1:].min() > BROKEN
    both = nn.Sequential(flip_max("klein"), rotate_max(4))
    assert errors(both, (16, 19), "C2").max() < TOLERANCE["float64"]
    assert errors(both, (16, 16))[outside("C2")].min() > BROKEN


@pytest.mark.parametrize("name", TABLE)
def test_an_ordinary_layer_breaks_it_before_and_behind(name):
    torch.manual_seed(0)
    make, _ = TABLE[name]
    plain = nn.Conv2d(3, 3, 3, padding=1)
    for net in (nn.Sequential(make(), plain), nn.Sequential(plain, make())):
        assert errors(net, (16, 16))[1:].min() > BROKEN


def test_forty_five_degrees_are_approximate():
    """Relative 2-norms, means over weights: .10 behind one layer, .15 behind two; quarter-turns alone miss by more."""
    kind, found = scalar_fields(named("C8"), 3), {}
    for angles in (4, 8):
        for depth in (1, 2):
            each = []
            for seed in range(6):
                torch.manual_seed(seed)
                net = nn.Sequential(*(rotate_max(angles, bias=False) for _ in range(depth)))
                each.append(turned_error(net, kind, kind, 33))
            found[angles, depth] = np.mean(each)
    assert 0.06 < found[8, 1] < 0.12
    assert 0.10 < found[8, 2] < 0.18
    assert all(found[4, depth] > 1.2 * found[8, depth] for depth in (1, 2))
    assert turned_error(nn.Conv2d(3, 3, 3, padding=1), kind, kind, 33) > 2 * found[8, 1]


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"stride": 3, "padding": 0}, {"dilation": 2, "groups": 3}])
@pytest.mark.parametrize(
    ("make", "group"),
    [(lambda **o: rotate_max(2, **o), "C2"), (lambda **o: rotate_max(4, **o), "C4"),
     (lambda **o: flip_max("klein", **o), "D2"), (lambda **o: flip_max("dihedral", **o), "D4")],
    ids=["C2", "C4", "D2", "D4"],
)  # fmt: skip
def test_the_kept_responses_are_regular_fields(make, group, options):
    """``concat`` is the lifting group convolution, strides and parity rule included; ``max`` is its group pooling."""
    layer, pooled = (make(combine=way, **options).double() for way in ("concat", "max"))
    lifting = GroupConv2d(3, 3, 3, group, lift=True, **{"padding": 1, **options}).double()
    for other in (pooled, lifting):
        other.load_state_dict(layer.state_dict())
    for size in SIZES:
        x = signal(2, 3, *size)
        y = lifting(x)
        assert (layer(x) - y).abs().max() < TOLERANCE["float64"]
        assert (pooled(x) - y.unflatten(1, (3, -1)).amax(2)).abs().max() < TOLERANCE["float64"]


def test_eight_kept_responses_move_along_the_ring():
    layer = RotateMaxConv2d(3, 2, angles=8, padding=1, combine="concat").double()
    x, moves = signal(2, 3, 17, 16), layer.out_type.representation
    assert layer(x).shape == (2, 16, 17, 16)
    found = equivariance_error(layer, x, named("C4"), output_representation=moves)
    assert found.max() < TOLERANCE["float64"]
    assert equivariance_error(layer, x[..., :16, :], named("C4")).max() > BROKEN
    paper = FlipMaxConv2d(3, 2, 3, flips="paper", combine="concat", padding=1)
    assert paper(torch.zeros(1, 3, 8, 8)).shape == (1, 6, 8, 8)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_are_exact(mode):
    net = nn.Sequential(flip_max("dihedral", padding_mode=mode, stride=2), flip_max("dihedral", padding_mode=mode))
    for size in SIZES:
        assert errors(net, size).max() < TOLERANCE["float64"]


@pytest.mark.parametrize(
    ("kernel", "padding"), [((7, 1), (3, 0)), ((1, 7), "same"), ((3, 5), (2, 3)), ((2, 4), (0, 1))]
)
def test_rectangular_kernels_turn_with_their_copies(kernel, padding):
    options = {"padding": padding, "groups": 3}
    layer = FlipMaxConv2d(3, 6, kernel, flips="dihedral", **options)
    for size in SIZES:
        assert errors(layer, size).max() < TOLERANCE["float64"]
    klein = FlipMaxConv2d(3, 6, (7, 1), flips="klein", padding=(3, 0))
    assert errors(klein, (16, 16), "D2").max() < TOLERANCE["float64"]
    assert errors(klein, (16, 16))[outside("D2")].min() > BROKEN


def naive(layer, x):
    """The maximum as one would write it: all responses in memory, at a size that the stride fits."""
    w = layer.window
    kernels = layer.weight.flatten(2)[:, :, layer.moves].unflatten(3, w.kernel)
    made = [functional.conv2d(x, k, layer.bias, w.stride, w.padding, w.dilation, w.groups) for k in kernels.unbind(2)]
    return torch.stack(made).max(0).values


@pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True)])
def test_values_and_gradients_are_those_of_the_maximum_of_all_responses(needs):
    layer = RotateMaxConv2d(4, 6, angles=8, padding=1, stride=2, groups=2).double()
    x = signal(2, 4, 9, 11).requires_grad_(needs[0])
    layer.weight.requires_grad_(needs[1])
    wanted = [t for t in (x, layer.weight, layer.bias) if t.requires_grad]
    ours, theirs = layer(x), naive(layer, x)
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert (ours - theirs).abs().max() < TOLERANCE["table"]
    weights = signal(*ours.shape, seed=1)
    for a, b in zip(torch.autograd.grad((ours * weights).sum(), wanted),
                    torch.autograd.grad((theirs * weights).sum(), wanted), strict=True):  # fmt: skip
        assert (a - b).abs().max() < TOLERANCE["float64"]


GRADIENTS = {
    "stride that does not fit": (lambda: RotateMaxConv2d(2, 3, padding=1, stride=2), (6, 5)),
    "turned rectangle": (lambda: FlipMaxConv2d(2, 4, (5, 1), flips="dihedral", padding=(2, 0), groups=2), (5, 6)),
    "dilated, reflected": (
        lambda: FlipMaxConv2d(2, 2, 3, flips="paper", padding=2, dilation=2, padding_mode="reflect"),
        (5, 5),
    ),
}


@pytest.mark.parametrize(("make", "size"), GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_of_both_orders_are_finite_differences(make, size):
    torch.manual_seed(0)
    layer = make().double()
    names = [name for name, _ in layer.named_parameters()]

    def function(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    inputs = (signal(1, 2, *size).requires_grad_(), *(p.detach().requires_grad_() for p in layer.parameters()))
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def saved_bytes(function):
    """Return the bytes of the distinct memories that autograd holds for backward."""
    held = {}

    def pack(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = function()
    return sum(held.values()), output


@pytest.mark.parametrize("angles", [4, 8])
def test_backward_keeps_one_byte_an_output_and_no_response(angles):
    layer = RotateMaxConv2d(2, 32, angles=angles, padding=1, bias=False)
    x = torch.randn(2, 2, 24, 24, requires_grad=True)
    ours, y = saved_bytes(lambda: layer(x))
    assert ours == 4 * x.numel() + 4 * layer.weight.numel() + y.numel() + 8 * layer.moves.numel()
    indices, _ = saved_bytes(lambda: naive(layer, x))
    stacked, _ = saved_bytes(lambda: torch.stack([naive(layer, x) for _ in range(angles)]).amax(0))
    assert indices > 8 * y.numel()
    assert stacked > 4 * angles * y.numel()
    assert ours < indices / 4


def test_the_state_dict_holds_weights_alone_and_copies_work():
    layer = rotate_max(8)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert list(flip_max("klein", bias=False).state_dict()) == ["weight"]
    x = torch.randn(1, 3, 9, 9)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(again(x), layer(x))
    fresh = rotate_max(8)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), layer(x))


def network():
    torch.manual_seed(0)
    return nn.Sequential(rotate_max(4, stride=2, bias=False), nn.ReLU(inplace=True), flip_max("dihedral"))


def test_automatic_mixed_precision():
    net, x = network(), torch.randn(2, 3, 16, 16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
    y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert all(t.grad.dtype == torch.float32 for t in (x, *net.parameters()))
    assert (y.float() - net(x)).abs().max() < TOLERANCE["bfloat16"] * net(x).abs().max()


def test_compiled_as_one_graph():
    net = network()
    compiled = torch.compile(copy.deepcopy(net), backend="aot_eager", fullgraph=True, dynamic=False)
    for size in (8, 9):
        x = torch.randn(2, 3, size, size)
        y, z = net(x), compiled(x)
        assert (y - z).abs().max() < TOLERANCE["float32"]
        for model, output in ((net, y), (compiled, z)):
            model.zero_grad()
            output.square().sum().backward()
        for a, b in zip(net.parameters(), compiled.parameters(), strict=True):
            assert (a.grad - b.grad).abs().max() < TOLERANCE["float32"] * max(1.0, float(a.grad.abs().max()))


@pytest.mark.parametrize("size", [8, 9])
def test_exported_with_plain_operators(size):
    net, x = network().eval(), torch.randn(2, 3, size, size)
    program = torch.export.export(net, (x,))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.maximum.default" in targets
    assert all(target.startswith("aten.") for target in targets)
    assert (program.module()(x) - net(x)).abs().max() < TOLERANCE["float32"]


def test_channels_last_stays():
    layer, x = rotate_max(4), torch.randn(2, 3, 9, 9)
    for differentiated in (True, False):
        with torch.set_grad_enabled(differentiated):
            y = layer(x.to(memory_format=torch.channels_last))
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert (y - layer(x)).abs().max() < TOLERANCE["float32"]


def test_what_is_not_a_number_is_seen():
    layer, x = rotate_max(4), torch.zeros(1, 3, 8, 8)
    x[0, 0, 2, 3] = float("nan")
    with torch.no_grad():
        plain = layer(x).isnan()
    assert plain[0, :, 1:4, 2:5].all()
    assert plain.sum() == 3 * 9
    assert torch.equal(layer(x).isnan(), plain)


def test_initialisation_is_hes():
    torch.manual_seed(0)
    layer = RotateMaxConv2d(64, 64, groups=2)
    assert abs(float(layer.weight.detach().var()) * 32 * 9 / 2 - 1) < 0.05
    assert not layer.bias.any()


BAD_LAYERS = {
    "angles": (lambda: RotateMaxConv2d(1, 1, angles=3), "expected 2, 4 or 8 angles, received 3"),
    "kernel": (lambda: RotateMaxConv2d(1, 1, 5), "expected a kernel of 3 x 3, .* received 5: FlipMaxConv2d takes any"),
    "combine": (
        lambda: RotateMaxConv2d(1, 1, combine="maxx"),
        "unknown way to combine responses 'maxx': did you mean 'max'",
    ),
    "flips": (lambda: FlipMaxConv2d(1, 1, 3, flips="klien"), "unknown set of flips 'klien': did you mean 'klein'"),
    "stride": (lambda: RotateMaxConv2d(1, 1, stride=(1, 2)), "same stride on the axes that C4 swaps"),
    "padding": (lambda: RotateMaxConv2d(1, 1, padding=(1, 0)), "same padding on the axes that C4 swaps"),
    "mode": (lambda: FlipMaxConv2d(1, 1, 3, padding_mode="zero"), "unknown padding mode 'zero': did you mean 'zeros'"),
    "groups": (
        lambda: FlipMaxConv2d(4, 6, 3, groups=4),
        "expected out_channels to be a multiple of groups=4, received 6",
    ),
    "turned size": (
        lambda: FlipMaxConv2d(1, 1, (7, 1), flips="dihedral"),
        r"expected a square window for flips='dihedral', received kernel \(7, 1\).*such as \(3, 0\) for \(7, 1\)",
    ),
    "turned stride": (
        lambda: FlipMaxConv2d(1, 1, (7, 1), flips="dihedral", padding=(3, 0), stride=2),
        r"received kernel \(7, 1\), stride \(2, 2\)",
    ),
    "uneven dilation": (
        lambda: FlipMaxConv2d(1, 1, 3, flips="dihedral", padding=(1, 2), dilation=(1, 2)),
        r"dilation \(1, 2\): a rectangular kernel takes",
    ),
    "no channels": (lambda: RotateMaxConv2d(0, 1), "expected at least one field, received 0"),
}


@pytest.mark.parametrize(("make", "text"), BAD_LAYERS.values(), ids=BAD_LAYERS)
def test_bad_layers_are_refused(make, text):
    with pytest.raises(RequestError, match=text):
        make()


def test_bad_signals_are_refused_at_the_call():
    layer = RotateMaxConv2d(3, 16, angles=8, stride=2)
    text = (
        r"RotateMaxConv2d\(3 -> 16 fields, trivial, C4, max over 8, kernel 3, stride 2\): expected \[batch, 3, y, x\]"
    )
    with pytest.raises(RequestError, match=text):
        layer(torch.zeros(1, 4, 8, 8))
