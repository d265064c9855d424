"""Group convolutions by kernels that the group does not map to themselves."""

import copy

import pytest
import torch
from laws import BROKEN, PLANE_GROUPS, TOLERANCE, signal
from torch import nn

from isotypic.errors import RequestError
from isotypic.groups import named, regular
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn import GroupConv2d
from isotypic.nn.rectangle import GroupRectangleConv2d

SIZES = [(16, 16), (17, 17), (16, 19), (21, 18)]


def worst(layer, group):
    rho, fields = regular(group), 3
    both = {"input_representation": rho, "output_representation": rho}
    found = [equivariance_error(layer, signal(2, fields * group.order, *size), group, **both) for size in SIZES]
    return float(torch.stack(found).max())


def layer_of(group, kernel):
    layer = GroupRectangleConv2d(3, 4, kernel, group).double()
    nn.init.normal_(layer.column.bias)
    return layer


@pytest.mark.parametrize("name", PLANE_GROUPS)
@pytest.mark.parametrize("kernel", [(7, 1), (1, 7), (3, 5), (3, 3)])
def test_rectangles_commute_with_every_group(name, kernel):
    assert worst(layer_of(named(name), kernel), named(name)) < TOLERANCE["float64"]


def test_a_column_for_every_channel_does_not():
    group = named("p4m")
    column = nn.Conv2d(24, 32, (7, 1), padding=(3, 0)).double()
    assert worst(column, group) > BROKEN
    wrong = layer_of(group, (7, 1))
    wrong.before = wrong.before.roll(1, 1)
    assert worst(wrong, group) > BROKEN


@pytest.mark.parametrize("name", PLANE_GROUPS)
def test_it_is_the_square_group_convolution_with_zeros_beside_the_column(name):
    group = named(name)
    layer, square = layer_of(group, (3, 1)), GroupConv2d(3, 4, 3, group, padding=1).double()
    channels = 3 * group.order
    impulses = torch.zeros(channels, channels, 9, 9, dtype=torch.float64)
    impulses[range(channels), range(channels), 4, 4] = 1
    with torch.no_grad():
        square.bias.copy_(layer.column.bias)
        response = layer(impulses) - layer(0 * impulses)
        square.weight.copy_(response[:, :: group.order, 3:6, 3:6].transpose(0, 1).flip(2, 3))
    outside = square.weight.clone()
    outside[..., 1] = 0
    assert not outside.any()
    x = signal(2, channels, 12, 13)
    assert (layer(x) - square(x)).abs().max() < TOLERANCE["float64"]
    assert sum(p.numel() for p in layer.parameters()) == square.weight.numel() // 3 + 4


def test_an_ordinary_module():
    layer = GroupRectangleConv2d(2, 2, (3, 1), "p4")
    assert list(layer.state_dict()) == ["column.weight", "column.bias"]
    assert repr(layer) == "GroupRectangleConv2d(2 -> 2 fields, regular, C4, kernel 3x1)"
    compiled = torch.compile(copy.deepcopy(layer), backend="aot_eager", fullgraph=True)
    x = torch.randn(1, 8, 9, 8)
    assert (compiled(x) - layer(x)).abs().max() < TOLERANCE["float32"]


def test_bad_requests_are_refused():
    with pytest.raises(RequestError, match=r"expected a kernel of odd sides, received \(4, 1\)"):
        GroupRectangleConv2d(1, 1, (4, 1), "p4m")
    with pytest.raises(RequestError, match="maps the pixel grid to itself, received C8"):
        GroupRectangleConv2d(1, 1, (3, 1), "C8")
    with pytest.raises(RequestError, match=r"expected \[batch, 8, y, x\], 1 regular fields of D4"):
        GroupRectangleConv2d(1, 1, (3, 1), "p4m")(torch.zeros(1, 7, 8, 8))
