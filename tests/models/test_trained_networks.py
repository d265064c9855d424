"""The first promise: a *trained* network commutes with every element, on every size, in training and evaluation."""

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn
from torch.nn import functional

from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models import ConvNet, ConvNetConfig, Match, matched_fields
from isotypic.nn import GroupBatchNorm, GroupConv2d, InvariantHead, ParityMaxPool

SQUARES = [(n, n) for n in range(16, 42)]
RECTANGLES = [(16, 17), (21, 32), (40, 33), (19, 41)]


class Strided(nn.Module):
    """Learned strides beside pools, which :class:`ConvNet` does not have."""

    def __init__(self, group):
        super().__init__()
        self.body = nn.Sequential(
            GroupConv2d(1, 4, 3, group, lift=True, stride=2, padding=1),
            GroupBatchNorm(4, group),
            nn.ReLU(),
            GroupConv2d(4, 6, 2, group, stride=2),
            nn.ReLU(),
            ParityMaxPool(3, 2, 1),
            GroupConv2d(6, 6, 3, group, padding=1),
        )
        self.head = InvariantHead(6, 4, group, "mean")

    def forward(self, x):
        return self.head(self.body(x))


def trained(net, steps=5):
    torch.manual_seed(1)
    net = net.double().train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in range(steps):
        images, labels = signal(8, 1, 18, 18, seed=step), torch.arange(8) % 4
        loss = functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def worst(net, group, sizes, training):
    net.train(training)
    return max(float(equivariance_error(net, signal(2, 1, *size, seed=9), named(group)).max()) for size in sizes)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("group", ["p4", "p4m"])
def test_trained_networks_are_invariant_on_every_size(group, training):
    torch.manual_seed(0)
    for net in (ConvNet(ConvNetConfig(group=group, stages=[[8], [16, 16]]), 1, 4), Strided(group)):
        assert worst(trained(net), group, SQUARES + RECTANGLES, training) < TOLERANCE["float64"]


@pytest.mark.parametrize(
    "broken",
    [
        lambda: ConvNet(ConvNetConfig(group="trivial", stages=[[8], [16]]), 1, 4),
        lambda: _between(nn.BatchNorm2d(16)),
        lambda: nn.Sequential(
            GroupConv2d(1, 4, 3, "p4", lift=True), nn.Conv2d(16, 16, 3, 2, 1), InvariantHead(4, 4, "p4")
        ),
        lambda: nn.Sequential(GroupConv2d(1, 4, 3, "p4", lift=True), nn.MaxPool2d(3, 2, 1), InvariantHead(4, 4, "p4")),
    ],
    ids=["plain CNN", "unshared batch norm", "plain strided convolution", "k3 s2 without the parity rule"],
)
def test_negative_controls_are_not(broken):
    torch.manual_seed(0)
    assert worst(trained(broken(), steps=20), "p4", SQUARES[:6], training=False) > BROKEN


def _between(layer):
    """An ordinary layer between two equivariant ones."""
    return nn.Sequential(GroupConv2d(1, 4, 3, "p4", lift=True), layer, InvariantHead(4, 4, "p4"))


def test_the_trivial_group_is_the_ordinary_network():
    net = ConvNet(ConvNetConfig(stages=[[8], [16]]), 3, 4)
    by_hand = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    for ours, plain in zip(net.parameters(), by_hand.parameters(), strict=True):
        plain.data.copy_(ours.data.reshape(plain.shape))
    x = torch.randn(2, 3, 16, 16)
    assert torch.allclose(net(x), by_hand(x), atol=1e-6)


def test_matched_parameters_match():
    plain = ConvNet(ConvNetConfig(stages=[[32], [64, 64]]), 1, 10)
    count = sum(p.numel() for p in plain.parameters())
    for group in ("p4", "p4m", "D2"):
        net = ConvNet(ConvNetConfig(group=group, stages=[[32], [64, 64]]), 1, 10)
        assert abs(sum(p.numel() for p in net.parameters()) / count - 1) < 0.05


@pytest.mark.parametrize(("match", "fields"), [("fields", 48), ("channels", 6), ("parameters", 17), ("compute", 6)])
def test_widths_of_every_matching(match, fields):
    assert matched_fields(48, named("p4m"), Match(match)) == fields


def test_at_least_one_field():
    assert matched_fields(2, named("p4m"), Match.CHANNELS) == 1
