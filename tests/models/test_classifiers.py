"""The classifiers of pathology: their printed sizes, their weights, and that a group does not change their logits."""

from itertools import pairwise

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.allconv import AllConvConfig
from isotypic.models.catalogue import build
from isotypic.models.convnet import ConvNetConfig
from isotypic.models.densenet import DenseNetConfig
from isotypic.models.vgg import VggConfig
from isotypic.nn import GroupConv2d, ParityAvgPool, ParityMaxPool
from isotypic.tasks.recipe import read_recipe, recipe_of

NARROW_VGG = {"stages": [[4, 4], [4, 4], [8, 8, 8], [8, 8, 8], [8, 8, 8]], "hidden": [16, 16], "match": "fields"}
NARROW = {
    "vgg16": lambda group: VggConfig(group=group, **NARROW_VGG),
    "allconv": lambda group: AllConvConfig(group=group, width=0.01, match="fields"),
    "gconv-net": lambda group: ConvNetConfig(
        group=group, stages=[[4, 4], [4, 4], [8, 8]], hidden=[16], match="fields", dropout=0.2, hidden_dropout=0.4
    ),
    "densenet": lambda group: DenseNetConfig(group=group, first=3, growth=3, match="fields"),
}
GROUPS = {"vgg16": ["p4", "p4m"], "allconv": ["p4"], "gconv-net": ["p4", "p4m"], "densenet": ["p4", "p4m"]}
CASES = [(family, group) for family, groups in GROUPS.items() for group in groups]
SIZES = {
    "vgg16": [(80, 80), (95, 95), (97, 97), (81, 110)],
    "allconv": [(96, 96), (95, 95), (97, 97), (94, 101)],
    "gconv-net": [(96, 96), (95, 95), (97, 97), (33, 48)],
    "densenet": [(96, 96), (95, 95), (97, 97), (33, 48)],
}


def network(family, group, channels=1):
    torch.manual_seed(0)
    return build(NARROW[family](group), channels, 2).double()


def trained(net, size, steps=3):
    optimizer = torch.optim.Adam(net.train().parameters(), 1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(net(signal(4, 1, *size, seed=step)), torch.tensor([0, 1, 0, 1])).backward()
        optimizer.step()
    return net.eval()


def worst(net, group, sizes):
    return max(float(equivariance_error(net, signal(3, 1, *size, seed=9), named(group)).max()) for size in sizes)


@pytest.mark.parametrize(("family", "group"), CASES)
def test_the_logits_do_not_change_on_any_size_before_and_after_training(family, group):
    net = network(family, group)
    assert worst(net.eval(), group, SIZES[family][:1]) < TOLERANCE["float64"]
    trained(net, SIZES[family][0])
    assert worst(net, group, SIZES[family]) < TOLERANCE["float64"]
    single = equivariance_error(net.float(), signal(3, 1, *SIZES[family][0], seed=9).float(), named(group))
    assert float(single.max()) < TOLERANCE["float32"]


@pytest.mark.parametrize("family", list(NARROW))
def test_a_plain_network_of_the_same_code_does_change(family):
    net = trained(network(family, "trivial"), SIZES[family][0])
    assert worst(net, "p4", SIZES[family][:1]) > BROKEN


def sides(net, image, kinds):
    """Return the side of every output of some kinds of layers."""
    found, hooks = [], []
    for module in net.modules():
        if isinstance(module, kinds):
            hooks.append(module.register_forward_hook(lambda m, i, y: found.append(y.shape[-1])))
    with torch.no_grad():
        net.eval()(image)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("group", ["trivial", "p4"])
class TestPrintedSizes:
    def test_vgg16(self, group):
        net = network("vgg16", group)
        found = sides(net, signal(1, 1, 80, 80), (GroupConv2d, ParityMaxPool))
        assert found == [80] * 2 + [40] * 3 + [20] * 4 + [10] * 4 + [5] * 3 + [4] + [1]
        assert sum(isinstance(module, GroupConv2d) for module in net.modules()) == 13
        assert [tuple(p.shape) for p in net.head.linear.parameters() if p.dim() == 2] == [(16, 8), (16, 16), (2, 16)]

    def test_allconv(self, group):
        net = network("allconv", group)
        found = sides(net, signal(1, 1, 96, 96), GroupConv2d)
        assert found == [95, 94, 47, 46, 45, 22, 21, 20, 10, 9, 8, 4, 3, 2, 1]

    def test_gconv_net(self, group):
        found = sides(network("gconv-net", group), signal(1, 1, 96, 96), (GroupConv2d, ParityMaxPool))
        assert found == [96, 96, 48, 48, 48, 24, 24, 24]

    def test_densenet(self, group):
        found = sides(network("densenet", group), signal(1, 1, 96, 96), ParityAvgPool)
        assert found == [48, 24, 12, 6, 3]


def convolved(before, after, taps, order=1, lift=False):
    """Return the weights of a convolution from and to so many fields."""
    return before * after * taps**2 * (1 if lift else order)


def weights(config, channels):
    return sum(p.numel() for p in build(config, channels, 2).parameters())


@pytest.mark.parametrize(
    ("group", "order", "match", "divisor"),
    [("trivial", 1, "channels", 1), ("C4", 4, "channels", 4), ("C4", 4, "fields", 1)],
)
def test_the_weights_of_vgg16(group, order, match, divisor):
    widths = [16, 16, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 128]
    fields = [width // divisor for width in widths]
    wanted = convolved(1, fields[0], 3, lift=True)
    wanted += sum(convolved(a, b, 3, order) for a, b in pairwise(fields[:12]))
    wanted += convolved(fields[11], fields[12], 4, order) + 2 * sum(fields)
    wanted += (fields[12] + 1) * 4096 + 4097 * 4096 + 4097 * 2
    assert weights(VggConfig(group=group, match=match), 1) == wanted


@pytest.mark.parametrize(("group", "order", "fields"), [("trivial", 1, 23), ("p4", 4, 12), ("p4m", 8, 8)])
def test_the_weights_of_densenet(group, order, fields):
    """About 119 thousand in the paper; a layer of block i sees i fields' worth, its transition one more."""
    blocks = range(1, 6)
    wanted = convolved(3, fields, 3, lift=True)
    wanted += sum(convolved(i * fields, fields, 3, order) + 2 * i * fields for i in blocks)
    wanted += sum(convolved((i + 1) * fields, (i + 1) * fields, 1, order) + 2 * (i + 1) * fields for i in blocks)
    wanted += 2 * 6 * fields + 6 * fields * 2 + 2
    assert weights(DenseNetConfig(group=group), 3) == wanted
    assert wanted == pytest.approx(119_000, rel=0.11)


def of_recipe(name):
    """The weights of the network of a recipe, which takes no memory."""
    with torch.device("meta"):
        return weights(recipe_of(read_recipe(name)).model, 3)


@pytest.mark.parametrize(("name", "order"), [("allconv", 1), ("all-gconv", 4)])
def test_the_weights_of_the_large_allconv(name, order):
    fields = [width // order for width in (320, 640, 960, 1280, 1600) for _ in range(3)]
    wanted = convolved(3, fields[0], 2, lift=True) + sum(convolved(a, b, 2, order) for a, b in pairwise(fields))
    wanted += sum(fields) + (fields[-1] + 1) * 1920 + 1921 * 2
    assert of_recipe(name) == wanted


def test_the_weights_of_the_pairs_of_group_convolutions():
    fields = [48, 48, 96, 96, 192, 192]
    wanted = convolved(3, 48, 3, lift=True) + sum(convolved(a, b, 3, 4) for a, b in pairwise(fields))
    wanted += 2 * sum(fields) + 193 * 1024 + 1025 * 2
    assert of_recipe("gconv-net") == wanted


def test_the_group_network_of_allconv_has_a_quarter_of_the_weights_at_the_same_channels():
    plain, group = (build(AllConvConfig(group=g, width=0.1), 3, 2) for g in ("trivial", "p4"))
    channels = [[m.weight.shape[0] for m in net.modules() if isinstance(m, GroupConv2d)] for net in (plain, group)]
    assert channels[0] == [4 * fields for fields in channels[1]]
    counts = [sum(p.numel() for m in net.modules() if isinstance(m, GroupConv2d) for p in m.parameters())
              for net in (plain, group)]  # fmt: skip
    assert counts[1] == pytest.approx(counts[0] / 4, rel=0.01)


@pytest.mark.parametrize(("family", "least"), [("vgg16", 80), ("allconv", 94)])
def test_an_image_that_is_too_small_is_refused_with_its_size(family, least):
    net = network(family, "p4")
    assert net.least == least
    assert net.eval()(signal(2, 1, least, least + 3)).shape == (2, 2)
    with pytest.raises(RequestError, match=f"at least {least} pixels a side for {family}, received 120 x {least - 1}"):
        net(signal(1, 1, 120, least - 1))


def test_allconv_wants_one_dropout_a_stage():
    with pytest.raises(RequestError, match="one probability a stage \\(5\\) or none, received 2"):
        build(AllConvConfig(dropout=[0.1, 0.2]), 3, 2)
    without = build(AllConvConfig(dropout=[], width=0.01), 3, 2)
    assert not any("Dropout" in type(module).__name__ and module.p for module in without.modules())


def test_hidden_layers_keep_the_variance():
    torch.manual_seed(0)
    head = build(ConvNetConfig(hidden=[256], stages=[[64]]), 1, 2).head
    (first,) = [m for m in head.linear if isinstance(m, nn.Linear) and m.out_features == 256]
    assert abs(float(first(torch.randn(100, 64)).detach().var()) / 2 - 1) < 0.15
