"""The check names the layer that breaks the symmetry, and is silent where none does."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laws import TOLERANCE
from networks import OWN, ResNetLike
from torch import nn

import isotypic
from isotypic.convert.prediction import Verdict
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.nn import GroupBatchNorm, GroupConv2d, InvariantHead, ParityMaxPool

BREAKERS = {
    "convolution": lambda channels: nn.Conv2d(channels, channels, 3, padding=1),
    "batch norm": lambda channels: _uneven(nn.BatchNorm2d(channels)),
    "max pool": lambda channels: nn.MaxPool2d(3, 2, 1),
    "average pool": lambda channels: nn.AvgPool2d(4, 3, 0),
    "crop": lambda channels: _Crop(),
}


class _Crop(nn.Module):
    def forward(self, x):
        return x[..., 1:, 1:]


def _uneven(norm):
    nn.init.normal_(norm.weight)
    return norm


def _body(draw_widths, group):
    layers, before = [], 1
    for i, width in enumerate(draw_widths):
        layers += [
            GroupConv2d(before, width, 3, group, lift=i == 0, padding=1),
            GroupBatchNorm(width, group),
            nn.ReLU(),
        ]
        layers += [ParityMaxPool(2)] if i == 1 else []
        before = width
    return layers, before


@pytest.mark.parametrize("cases", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_planted_breaks(cases):
    settings(max_examples=cases, suppress_health_check=list(HealthCheck))(_planted)()


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.sampled_from(["p4", "D2"]), st.data())
def _planted(widths, group, data):
    """A planted break is named, and exact networks are left in peace."""
    torch.manual_seed(0)
    size = data.draw(st.tuples(st.integers(16, 22), st.integers(16, 22)))
    layers, fields = _body(widths, group)
    head = InvariantHead(fields, 2, group)
    assert isotypic.check(nn.Sequential(*layers, head), (1, *size), group).exact
    kind = data.draw(st.sampled_from(sorted(BREAKERS)))
    after = data.draw(st.integers(1, len(widths)))
    place = (
        next(i for i, layer in enumerate(layers) if isinstance(layer, GroupConv2d) and after == _count(layers, i)) + 3
    )
    channels = layers[place - 3].out_type.channels
    planted = [*layers[:place], BREAKERS[kind](channels), *layers[place:], head]
    found = isotypic.check(nn.Sequential(*planted), (1, *size), group)
    breaker = found.first_break
    if kind in ("max pool", "average pool") and breaker is None:
        assert found.exact
        return
    wanted = f"at {place}" if kind != "crop" else "getitem"
    assert wanted in breaker.place, (kind, place, str(found))


def _count(layers, index):
    return sum(isinstance(layer, GroupConv2d) for layer in layers[: index + 1])


def symmetric_resnet():
    """A ResNet of torch's own layers whose kernels are symmetric, so that only sizes can break it."""
    torch.manual_seed(0)
    net = ResNetLike()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            w = module.weight.data
            w = w + w.flip(-1)
            w = w + w.flip(-2)
            module.weight.data = (w + w.transpose(-1, -2)) / 8
    return net


@pytest.mark.parametrize(("size", "layer"), [(224, "stem.0"), (96, "stem.0"), (225, None)])
def test_a_resnet_of_torchs_own_layers(size, layer):
    found = isotypic.check(symmetric_resnet(), (1, 3, size, size), "p4m")
    assert found.exact == (layer is None)
    if layer:
        assert found.first_break.place == f"Conv2d at {layer}"
        assert f"stride 2 with kernel 7 and padding 3 on {size}" in str(found)
        assert f"or {size - 1} or {size + 1}" in str(found)
        assert found.first_break.prediction.verdict is Verdict.BROKEN
    else:
        assert found.error < TOLERANCE["float64"]


@pytest.mark.parametrize("name", OWN)
def test_ordinary_networks_are_broken_and_converted_ones_exact(name):
    plain = OWN[name]()
    assert isotypic.check(plain, (1, 3, 33, 36), "p4").first_break is not None
    converted = isotypic.equivariant(plain, "p4", match="channels")
    assert isotypic.check(converted, (1, 3, 33, 36), "p4").first_break is None


def test_prediction_and_measurement_are_compared():
    """A pool that shapes say is broken, on an image that does not show it."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(3, 2, 1))
    nn.init.zeros_(net[0].weight)
    found = isotypic.check(net, (1, 1, 16, 16), "p4")
    assert found.layers[-1].surprises
    assert "predicted broken" in str(found)
    assert not isotypic.check(net, (1, 1, 17, 17), "p4").layers[-1].surprises


@pytest.mark.parametrize(("make", "group"), [("p4", "p4m"), ("D2", "p4"), ("trivial", "Cs")])
def test_a_layer_made_for_another_group_is_named(make, group):
    net = nn.Sequential(GroupConv2d(1, 2, 3, make, lift=True), InvariantHead(2, 2, make))
    found = isotypic.check(net, (1, 9, 9), group)
    assert found.first_break.place == "GroupConv2d at 0"
    names = named(make).name, named(group).name
    assert f"made for {names[0]}, which does not hold {names[1]}; build the network with {names[1]}" in str(found)
    assert isotypic.check(net, (1, 9, 9), make).exact


def test_windows_on_axes_that_the_group_swaps_are_named_and_repaired():
    for pool in (nn.MaxPool2d((1, 2)), ParityMaxPool((1, 2))):
        found = isotypic.check(nn.Sequential(nn.Conv2d(1, 1, 1), pool), (1, 8, 8), "p4")
        said = "window 1x2 on axes that C4 swaps: behind it no network is exact under C4; use window 2x2, or a group"
        assert f"{said} that keeps these axes apart: D2, C2, Cs" in str(found)
        assert found.layers[1].breaks
        assert isotypic.check(nn.Sequential(nn.Conv2d(1, 1, 1), pool), (1, 8, 8), "D2").exact


def test_what_a_layer_does_in_place_is_one_step():
    net = nn.Sequential(GroupConv2d(1, 2, 3, "p4", lift=True), nn.ReLU(inplace=True), InvariantHead(2, 2, "p4"))
    steps = [layer.place for layer in isotypic.check(net, (1, 9, 9), "p4").layers]
    assert steps == ["GroupConv2d at 0", "ReLU at 1", "InvariantHead at 2"]


def test_wrong_requests():
    with pytest.raises(RequestError, match="does not take an input of shape"):
        isotypic.check(ResNetLike(), (1, 4, 32, 32), "p4")
    with pytest.raises(RequestError, match="maps the pixel grid to itself, received C8"):
        isotypic.check(ResNetLike(), (1, 3, 32, 32), "C8")
    with pytest.raises(RequestError, match="expected an input"):
        isotypic.check(ResNetLike(), (32, 32), "p4")
