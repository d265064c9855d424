"""The check knows what steerable layers say that their channels mean: no false alarm, and planted breaks are named."""

import pytest
import torch
from laws import TOLERANCE
from test_equivariant import trained
from test_fold import steerable
from torch import nn

import isotypic
from isotypic.convert.declared import declared
from isotypic.convert.tracing import trace
from isotypic.groups import FieldType, irreps, named, regular_fields, scalar_fields
from isotypic.nn import GroupBatchNorm, GroupConv2d, InvariantHead, InvariantPool, SteerableConv2d

SIZE = (1, 3, 33, 36)


CASES = [("C8", "p4"), ("C8", "C2"), ("D8", "p4m"), ("D8", "p4"), ("SO(2)", "p4"), ("O(2)", "p4m")]


@pytest.mark.parametrize(("name", "group"), CASES)
def test_every_layer_of_a_steerable_network_is_exact_under_the_symmetries_of_the_grid(name, group):
    subgroup = {"p4": "C4", "p4m": "D4"}.get(group, group)
    found = isotypic.check(trained(steerable(name, subgroup)), SIZE, group)
    assert found.exact
    assert found.first_break is None
    assert max(layer.error for layer in found.layers) < TOLERANCE["float64"], str(found)


BREAKERS = {
    "convolution": lambda channels: nn.Conv2d(channels, channels, 3, padding=1),
    "relu of vectors": lambda channels: nn.ReLU(),
    "shuffle": lambda channels: nn.ChannelShuffle(2),
}


@pytest.mark.parametrize("breaker", BREAKERS)
def test_a_planted_break_is_named(breaker):
    group = named("C8")
    kind = (regular_fields(group, 2), FieldType(irreps(group)[3], 4))
    layers = [SteerableConv2d(scalar_fields(group, 3), kind, 5), SteerableConv2d(kind, kind, 5), InvariantPool(kind)]
    assert isotypic.check(nn.Sequential(*layers), SIZE, "p4").first_break is None
    planted = nn.Sequential(layers[0], BREAKERS[breaker](24), *layers[1:])
    found = isotypic.check(planted, SIZE, "p4")
    assert not found.exact
    assert found.first_break.place.endswith("at 1")


def test_a_network_checked_under_a_subgroup_of_its_group():
    """Eight channels of D4 are not two regular fields of C4 one behind the other."""
    net = nn.Sequential(
        GroupConv2d(3, 2, 3, "p4m", lift=True, padding=1),
        GroupBatchNorm(2, "p4m"),
        nn.ReLU(),
        InvariantHead(2, 5, "p4m"),
    )
    for group in ("p4m", "p4", "D2", "Cs"):
        found = isotypic.check(trained(net), SIZE, group)
        assert found.exact
        assert found.first_break is None


def test_a_network_that_is_not_made_for_a_group_is_broken_under_it():
    found = isotypic.check(trained(steerable("C8")), SIZE, "p4m")
    assert not found.exact
    assert found.first_break.place.endswith("at 0")


class _Joined(nn.Module):
    def __init__(self, kinds):
        super().__init__()
        self.branches = nn.ModuleList(SteerableConv2d(scalar_fields(named("C8"), 3), kind, 5) for kind in kinds)
        self.last = SteerableConv2d(tuple(kinds), scalar_fields(named("C8"), 2), 3)

    def forward(self, x):
        return self.last(torch.relu(torch.cat([branch(x) for branch in self.branches], 1)))


def test_types_pass_through_concatenation_and_what_keeps_the_channels():
    kinds = [regular_fields(named("C8"), 1), scalar_fields(named("C8"), 2)]
    net = _Joined(kinds).double()
    traced = trace(net, torch.zeros(2, 3, 9, 9, dtype=torch.float64))
    known = {node.name: parts for node, parts in declared(traced).items()}
    assert known["cat"] == known["relu"] == tuple(kinds)
    assert "input_1" not in known
    assert isotypic.check(net, SIZE, "p4").first_break is None
