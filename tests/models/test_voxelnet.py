"""The classifier of volumes: its printed sizes, and which group and head change nothing."""

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from pydantic import ValidationError
from torch import nn

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.voxelnet import VoxelNet, VoxelNetConfig
from isotypic.nn import GroupConv3d

NARROW = {"channels": [4, 4, 8, 8, 8, 8], "match": "parameters"}
CUBIC = {"pools": [(2, 2, 2)] * 3}


def network(group, size, **changes):
    """A network after a step of training, in float64."""
    torch.manual_seed(0)
    net = VoxelNet(VoxelNetConfig(group=group, size=size, **{**NARROW, **changes}), 1, 2).double()
    chosen = torch.optim.Adam(net.train().parameters(), 1e-2)
    nn.functional.cross_entropy(net(signal(4, 1, *size)), torch.tensor([0, 1, 0, 1])).backward()
    chosen.step()
    return net.eval()


def error(net, group, size):
    return float(equivariance_error(net, signal(2, 1, *size, seed=1), named(group, 3)).max())


@pytest.mark.parametrize("head", ["mean", "window"])
@pytest.mark.parametrize("size", [(12, 24, 24), (13, 21, 21)])
@pytest.mark.parametrize("group", ["D4", "D4h"])
def test_prisms_change_nothing_after_training(group, size, head):
    assert error(network(group, size, head=head), group, size) < TOLERANCE["float64"]


@pytest.mark.parametrize("size", [(16, 16, 16), (17, 17, 17)])
@pytest.mark.parametrize("group", ["O", "Oh"])
def test_cubes_change_nothing_with_cubic_pools(group, size):
    assert error(network(group, size, **CUBIC), group, size) < TOLERANCE["float64"]


def test_what_is_not_invariant():
    """The controls: a plain network, the paper's head, and cubes with pools that are none."""
    size = (12, 24, 24)
    assert error(network("trivial", size), "D4h", size) > BROKEN
    assert error(network("D4h", size, head="flatten"), "D4h", size) > BROKEN
    assert error(network("O", (16, 16, 16)), "O", (16, 16, 16)) > BROKEN


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


@pytest.mark.parametrize(("group", "fields"), [("trivial", 16), ("D4", 6), ("D4h", 4), ("O", 3), ("Oh", 2)])
def test_matched_by_weights(group, fields):
    """16 / sqrt|G|, rounded."""
    net = VoxelNet(VoxelNetConfig(group=group), 1, 2)
    assert net.features[0].out_type.fields == fields


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
