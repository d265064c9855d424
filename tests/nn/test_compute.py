"""Which way a layer is computed: told, chosen, refused, and the same network either way."""

from copy import deepcopy

import pytest
import torch
from laws import TOLERANCE, signal
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from isotypic import check, equivariant, fold
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.nn import GroupConv2d, GroupConv3d
from isotypic.nn.compute import multiplications
from isotypic.ops import native
from isotypic.ops.isotypic import compiled, stock

needs_compiler = pytest.mark.skipif(native._compiler() is None, reason="no C++ compiler on this machine")


@pytest.fixture
def calls(monkeypatch):
    """The signals for which the isotypic way was taken."""
    taken = []
    for engine in (compiled, stock):
        inner = engine.convolve
        monkeypatch.setattr(engine, "convolve", lambda x, *rest, inner=inner: taken.append(x.shape) or inner(x, *rest))
    return taken


def wide(**options):
    return GroupConv2d(16, 16, 3, "p4m", padding=1, **options)


@needs_compiler
def test_auto_takes_the_isotypic_way_where_it_takes_less(calls):
    layer = wide()
    layer(signal(2, 128, 14, 14, dtype=torch.float32))
    assert len(calls) == 1
    GroupConv2d(1, 1, 1, "p4m")(signal(16, 8, 56, 56, dtype=torch.float32))
    assert len(calls) == 1
    with torch.autocast("cpu", torch.bfloat16):
        layer(signal(2, 128, 14, 14, dtype=torch.float32))
    wide(compute="dense")(signal(2, 128, 14, 14, dtype=torch.float32))
    GroupConv2d(128, 16, 3, "p4m", lift=True)(signal(2, 128, 14, 14, dtype=torch.float32))
    GroupConv2d(16, 16, 3, "p4m", groups=2)(signal(2, 128, 14, 14, dtype=torch.float32))
    GroupConv2d(128, 128, 3, "C1")(signal(2, 128, 14, 14, dtype=torch.float32))
    assert len(calls) == 1


def test_told_is_done(calls):
    layer = GroupConv2d(1, 1, 3, "p4", compute="isotypic")
    layer(signal(1, 4, 3, 3, dtype=torch.float32))
    assert len(calls) == 1
    with pytest.raises(RequestError, match=r"expected a signal of the weight's dtype torch.float32, received"):
        layer(signal(1, 4, 3, 3))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"compute": "fast"}, "compute"),
        ({"compute": "isotypic", "lift": True}, "expected compute='auto' or 'dense' for a lifting layer"),
        ({"compute": "isotypic", "groups": 2}, "expected compute='auto' or 'dense' for groups=2"),
    ],
)
def test_what_has_no_isotypic_way_is_refused(options, text):
    with pytest.raises(RequestError, match=text):
        GroupConv2d(2, 2, 3, "p4", **options)


@pytest.mark.parametrize("size", [(14, 14), (15, 15), (14, 15), (9, 22)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_both_ways_agree_on_every_size_with_strides_and_padding_modes(size, stride, mode):
    """Also where the parity rule widens the kernel, along one axis or both."""
    options = {"stride": stride, "padding": 1, "padding_mode": mode}
    dense = GroupConv2d(3, 2, 3, "p4m", compute="dense", **options).double()
    isotypic = GroupConv2d(3, 2, 3, "p4m", compute="isotypic", **options).double()
    isotypic.load_state_dict(dense.state_dict())
    x = signal(2, 24, *size)
    assert (dense(x) - isotypic(x)).abs().max() < TOLERANCE["float64"]


GROUPS = [("C2", 2), ("p4", 2), ("Cs", 2), ("D2", 2), ("p4m", 2), ("D4h", 3), ("O", 3)]


@pytest.mark.parametrize(("name", "dim"), GROUPS)
def test_the_isotypic_way_commutes_with_the_group(name, dim):
    kind = GroupConv2d if dim == 2 else GroupConv3d
    group = named(name, dim)
    lift, conv = kind(1, 2, 3, group, lift=True), kind(2, 2, 3, group, stride=2, padding=1, compute="isotypic")
    size = (1, 1, *(13,) * dim)
    assert check(torch.nn.Sequential(lift, conv), size, group).error < TOLERANCE["float64"]
    plain = (torch.nn.Conv2d if dim == 2 else torch.nn.Conv3d)(2 * group.order, 2, 3)
    assert not check(torch.nn.Sequential(lift, plain), size, group).exact


def test_kept_blocks_follow_the_weight():
    layer, x = wide(compute="isotypic").eval(), signal(1, 128, 6, 6, dtype=torch.float32)
    with torch.no_grad():
        before = layer(x)
        layer.weight.data.mul_(2)
        layer.bias.data.zero_()
        after = layer(x)
    assert torch.allclose(after, 2 * before, atol=1e-5)
    copy = deepcopy(layer)
    with torch.no_grad():
        assert torch.equal(copy(x), after)
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_checkpoints_keep_the_input_alone_and_give_the_same_gradients():
    net = torch.nn.Sequential(wide(), torch.nn.ReLU(), wide(), torch.nn.ReLU(), wide())
    x = signal(2, 128, 14, 14, dtype=torch.float32).requires_grad_()
    gradients, kept = [], []
    for run in (net, lambda x: checkpoint(net, x, use_reentrant=False)):
        sizes = []
        with saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            made = run(x)
        gradients.append(torch.autograd.grad(made.square().sum(), [x, *net.parameters()]))
        kept.append(sum(sizes))
    for plain, again in zip(*gradients, strict=True):
        assert torch.equal(plain, again)
    assert kept[1] <= x.numel() < 3 * x.numel() <= kept[0]


def test_a_converted_network_folds_to_the_same_without_our_operators():
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, padding=1),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 4),
    )  # fmt: skip
    network = equivariant(plain, "p4m").double().eval()
    x = signal(2, 3, 24, 24)
    folded = fold(network, (1, 3, 24, 24))
    assert (folded(x) - network(x)).abs().max() < TOLERANCE["float64"]
    assert "isotypic" not in folded.code


@pytest.mark.parametrize(
    ("name", "dim", "count"), [("C4", 2, 6), ("D4", 2, 12), ("D4h", 3, 24), ("O", 3, 64), ("Oh", 3, 128)]
)
def test_the_rule_counts_what_the_blocks_have(name, dim, count):
    assert multiplications(named(name, dim)) == count
