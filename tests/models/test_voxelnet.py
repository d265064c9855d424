"""The classifier of volumes: its printed sizes, and which group and head change nothing."""

import warnings

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from pydantic import ValidationError
from torch import nn

import isotypic
from isotypic.convert.prediction import Verdict
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.groups.axes import MixedAxesWarning
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.voxelnet import VoxelNet, VoxelNetConfig
from isotypic.nn import GroupConv3d
from isotypic.nn.matching import Match, MatchWarning, matched_fields

NARROW = {"channels": [8, 8, 8, 8, 16, 16], "match": "parameters"}
CUBIC = {"pools": [(2, 2, 2)] * 3}
PAPER, ODD = (12, 72, 72), (13, 41, 41)
WHOLE = {"channels": [16, 16, 32, 32, 64, 64]}


def network(group, size, steps=2, **changes):
    """A network after steps of training, in float64."""
    torch.manual_seed(0)
    net = VoxelNet(VoxelNetConfig(group=group, size=size, **{**NARROW, **changes}), 1, 2).double()
    chosen = torch.optim.Adam(net.train().parameters(), 1e-2)
    for step in range(steps):
        chosen.zero_grad()
        nn.functional.cross_entropy(net(signal(2, 1, *size, seed=step)), torch.tensor([0, 1])).backward()
        chosen.step()
    return net.eval()


def error(net, group, size):
    """The change of the logits, relative to how much they differ from volume to volume."""

    def answers(volumes):
        logits = net(volumes)
        return logits - logits.mean(0)

    return float(equivariance_error(answers, signal(2, 1, *size, seed=9), named(group, 3)).max())


def worst(net, group, size):
    """In training, where batches give their own statistics, and in evaluation."""
    return max(error(net.train(training), group, size) for training in (True, False))


@pytest.mark.parametrize("head", ["mean", "window"])
@pytest.mark.parametrize("size", [(12, 24, 24), (13, 17, 17)])
@pytest.mark.parametrize("group", ["D4", "D4h"])
def test_prisms_change_nothing_after_training(group, size, head):
    assert worst(network(group, size, head=head), group, size) < TOLERANCE["float64"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [PAPER, ODD])
@pytest.mark.parametrize("group", ["D4", "D4h"])
def test_prisms_change_nothing_at_full_width_and_size(group, size):
    assert worst(network(group, size, **WHOLE), group, size) < TOLERANCE["float64"]


@pytest.mark.parametrize("size", [(16, 16, 16), (17, 17, 17)])
@pytest.mark.parametrize("group", ["O", "Oh"])
def test_cubes_change_nothing_with_cubic_pools(group, size):
    assert worst(network(group, size, **CUBIC), group, size) < TOLERANCE["float64"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16, 16, 16), (17, 17, 17)])
@pytest.mark.parametrize("group", ["O", "Oh"])
def test_cubes_change_nothing_at_full_width(group, size):
    for head in ("mean", "window"):
        assert worst(network(group, size, head=head, **WHOLE, **CUBIC), group, size) < TOLERANCE["float64"]


def test_what_is_not_invariant():
    """The controls: a plain network, the paper's head, a larger group, and cubes with pools that are none."""
    size, cube = (12, 24, 24), (16, 16, 16)
    assert error(network("trivial", size), "D4h", size) > BROKEN
    assert error(network("D4h", size, head="flatten"), "D4h", size) > BROKEN
    assert error(network("D4h", cube, **CUBIC), "O", cube) > BROKEN
    with pytest.warns(MixedAxesWarning):
        assert error(network("O", cube), "O", cube) > BROKEN


def test_pools_that_the_group_does_not_keep_are_said():
    text = r"O mixes axes along which the pool 1x2x2 differs: .*cubes such as 2x2x2, .*: D4h, D4, C4, Cs$"
    with pytest.warns(MixedAxesWarning, match=text) as caught:
        VoxelNet(VoxelNetConfig(group="O", **NARROW), 1, 2)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", MixedAxesWarning)
        VoxelNet(VoxelNetConfig(group="D4h", **NARROW), 1, 2)
        VoxelNet(VoxelNetConfig(group="O", **NARROW, **CUBIC), 1, 2)
    rest = "same kernel_size on the axes that O swaps, received .3, 9, 9."
    with pytest.warns(MixedAxesWarning), pytest.raises(RequestError, match=rest):
        VoxelNet(VoxelNetConfig(group="O", head="window", **NARROW), 1, 2)


def test_the_check_names_the_pool_and_the_repair():
    with pytest.warns(MixedAxesWarning):
        net = VoxelNet(VoxelNetConfig(group="O", **NARROW), 1, 2)
    found = isotypic.check(net, (1, 16, 16, 16), "O")
    assert not found.exact
    assert found.first_break.place == "ParityMaxPool at features.3"
    assert found.first_break.prediction.verdict is Verdict.BROKEN
    said = "window 1x2x2 on axes that O swaps: behind it no network is exact under O; use window 2x2x2, or a group"
    assert f"{said} that keeps these axes apart: D4h, D4, C4, Cs" in str(found)
    repaired = VoxelNet(VoxelNetConfig(group="O", **NARROW, **CUBIC), 1, 2)
    assert isotypic.check(repaired, (1, 16, 16, 16), "O").exact


@pytest.mark.parametrize("group", ["trivial", "D4h"])
def test_printed_sizes(group):
    net = VoxelNet(VoxelNetConfig(group=group, **NARROW), 1, 2)
    sizes = []
    for module in net.modules():
        if isinstance(module, GroupConv3d):
            module.register_forward_hook(lambda m, i, y: sizes.append(tuple(y.shape[2:])))
    with torch.no_grad():
        net.eval()(torch.zeros(1, 1, 12, 72, 72))
    assert sizes == [(12, 72, 72)] + [(12, 36, 36)] * 2 + [(6, 18, 18)] * 2 + [(3, 9, 9)]
    assert net.left == (3, 9, 9)


FIELDS = {
    "parameters": {"Z3": 16, "trivial": 16, "D4": 6, "D4h": 4, "O": 3, "Oh": 2},
    "channels": {"z3": 16, "D4": 2, "D4h": 1, "O": 1, "Oh": 1},
}


@pytest.mark.filterwarnings("ignore::isotypic.groups.axes.MixedAxesWarning")
@pytest.mark.filterwarnings("ignore::isotypic.nn.matching.MatchWarning")
@pytest.mark.parametrize(("match", "group"), [(match, group) for match, found in FIELDS.items() for group in found])
def test_widths_follow_the_matching(match, group):
    """16 / sqrt|G| or 16 / |G|, rounded, at least one."""
    net = VoxelNet(VoxelNetConfig(group=group, match=match), 1, 2)
    assert net.features[0].out_type.fields == FIELDS[match][group]


@pytest.mark.filterwarnings("ignore::isotypic.groups.axes.MixedAxesWarning")
def test_matched_parameters_match():
    def count(group):
        return sum(p.numel() for p in VoxelNet(VoxelNetConfig(group=group), 1, 2).parameters())

    for group in ("D4", "D4h", "O", "Oh"):
        assert abs(count(group) / count("Z3") - 1) < 0.2, group


@pytest.mark.filterwarnings("ignore::isotypic.groups.axes.MixedAxesWarning")
def test_a_width_of_less_than_half_a_field_is_said():
    """16 channels are a third of a field of Oh: one is taken, and no network comes narrower than was asked, unsaid."""
    text = r"16 channels matched by channels are 0.33 fields of Oh, of 48 channels each: one field is taken, 3 times"
    with pytest.warns(MatchWarning, match=text):
        VoxelNet(VoxelNetConfig(group="Oh", match="channels"), 1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MatchWarning)
        VoxelNet(VoxelNetConfig(group="Oh", match="parameters"), 1, 2)
        assert matched_fields(16, named("O", 3), Match.CHANNELS) == 1


def test_the_trivial_group_is_the_plain_network():
    plain, torch_layer = (VoxelNet(VoxelNetConfig(group=name, **NARROW), 1, 2) for name in ("Z3", "trivial"))
    torch_layer.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 12, 24, 24)
    assert torch.equal(plain.eval()(x), torch_layer.eval()(x))
    first = plain.features[0]
    assert torch.equal(first(x), nn.functional.conv3d(x, first.weight, padding=1))
    assert plain.group.order == 1


def test_the_papers_head_has_a_weight_a_channel_and_place():
    net = VoxelNet(VoxelNetConfig(head="flatten"), 1, 2)
    assert net.head[1].in_features == 64 * 3 * 9 * 9


def test_a_volume_of_another_size_is_refused_by_a_head_of_one_size():
    net = VoxelNet(VoxelNetConfig(size=(12, 24, 24), head="window", **NARROW), 1, 2)
    with pytest.raises(RequestError, match=r"which \(3, 3, 3\) voxels are left.*set model.size, or model.head=mean"):
        net(torch.zeros(2, 1, 12, 40, 40))
    assert VoxelNet(VoxelNetConfig(**NARROW), 1, 2)(torch.zeros(2, 1, 12, 40, 40)).shape == (2, 2)


def test_what_leaves_nothing_is_refused():
    with pytest.raises(RequestError, match="the pools leave something"):
        VoxelNet(VoxelNetConfig(size=(2, 24, 24)), 1, 2)
    with pytest.raises(ValidationError, match="at most 1 pools for 2 convolutions, received 3"):
        VoxelNetConfig(channels=[4, 4])
    with pytest.raises(RequestError, match=r"unknown group of space 'z2'.*Known: .*Z3, trivial"):
        VoxelNet(VoxelNetConfig(group="z2"), 1, 2)
