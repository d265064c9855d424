"""The U-Net commutes with its group on every size, trained or not; with the trivial group it is the ordinary one."""

import copy

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.heads import (
    Head,
    HeadChoice,
    HeadKind,
    boundary_heads,
    embedding_heads,
    head_layers,
    offset_heads,
    output_representation,
    split_heads,
)
from isotypic.models.unet import UNet, UNetConfig
from isotypic.nn import GroupConv2d
from isotypic.nn.matching import matched_fields
from isotypic.tasks.segmentation.discriminative import discriminative_loss
from isotypic.tasks.segmentation.seed_loss import seed_loss

SIZES = [(16, 16), (17, 17), (18, 18), (31, 31), (21, 32), (16, 33), (40, 19)]
LOSSES = {"embedding": discriminative_loss, "offset": seed_loss}
VARIANTS = [
    ("p4", "embedding", "transposed", "none"),
    ("p4m", "offset", "transposed", "batch"),
    ("p4", "offset", "linear", "instance"),
    ("p4m", "embedding", "linear", "batch"),
]


def unet(group, heads="embedding", upsampling="transposed", norm="none", stages=(3, 4, 4, 4, 4)):
    torch.manual_seed(0)
    config = UNetConfig(
        group=group, heads=heads, upsampling=upsampling, norm=norm, stages=list(stages), head_width=4,
        embedding_dimension=3, match="fields",
    )  # fmt: skip
    return UNet(config, 1).double()


def trained(net, heads, steps=3):
    labels = torch.zeros(2, 18, 18, dtype=torch.long)
    labels[0, 2:9, 3:8], labels[0, 10:15, 9:17], labels[1, 4:14, 6:11] = 1, 2, 1
    optimizer = torch.optim.Adam(net.train().parameters(), 1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        LOSSES[heads](split_heads(net(signal(2, 1, 18, 18, seed=step)), net.heads), labels)["total"].backward()
        optimizer.step()
    return net


def worst(net, group, sizes, vectors=True):
    group = named(group)
    rho = output_representation(net.heads, group) if vectors else None
    return max(
        float(equivariance_error(net, signal(1, 1, *size, seed=9), group, output_representation=rho).max())
        for size in sizes
    )


@pytest.mark.parametrize(("group", "heads", "upsampling", "norm"), VARIANTS)
def test_it_commutes_on_every_size_before_and_after_training(group, heads, upsampling, norm):
    net = unet(group, heads, upsampling, norm)
    for training in (True, False):
        assert worst(net.train(training), group, SIZES[:4]) < TOLERANCE["float64"]
    trained(net, heads)
    for training in (True, False):
        # Without a norm training and evaluation are the same.
        sizes = SIZES if norm != "none" or training else SIZES[:1]
        assert worst(net.train(training), group, sizes) < TOLERANCE["float64"]


@pytest.mark.parametrize("upsampling", ["transposed", "linear"])
def test_it_commutes_on_all_sizes_of_a_row(upsampling):
    net = unet("p4", "offset", upsampling).eval()
    assert worst(net, "p4", [(n, m) for n in range(16, 34) for m in (n, 23)]) < TOLERANCE["float64"]


def test_negative_controls():
    net = trained(unet("p4", "offset"), "offset")
    assert worst(net, "p4", SIZES[:1]) < TOLERANCE["float64"]
    assert worst(net, "p4", SIZES[:1], vectors=False) > BROKEN, "offsets moved as scalars"
    assert worst(net, "p4m", SIZES[:1]) > BROKEN, "a larger group"
    assert worst(trained(unet("trivial", "offset"), "offset"), "p4", SIZES[:1]) > BROKEN, "the plain network"
    net.pool = nn.MaxPool2d(2)
    assert worst(net, "p4", SIZES[:1]) < TOLERANCE["float64"]
    assert worst(net, "p4", SIZES[1:2]) > BROKEN, "a pool that drops one border"


class ByHand(nn.Module):
    """Three stages of the ordinary U-Net."""

    def __init__(self, linear):
        super().__init__()

        def double(a, b):
            return nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU()
            )  # fmt: skip

        def head(channels):
            return nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, channels, 1))

        self.down = nn.ModuleList([double(1, 4), double(4, 6), double(6, 8)])
        self.up = nn.ModuleList()
        for coarse, fine, width in ((8, 6, 4), (4, 4, 4)):
            enlarge = (
                nn.Upsample(scale_factor=2, mode="bilinear") if linear else nn.ConvTranspose2d(coarse, coarse, 2, 2)
            )
            self.up.append(nn.ModuleList([enlarge, double(coarse + fine, width)]))
        self.semantic, self.embedding = head(2), head(3)

    def forward(self, x):
        fine = self.down[0](x)
        middle = self.down[1](functional.max_pool2d(fine, 2))
        x = self.down[2](functional.max_pool2d(middle, 2))
        for (enlarge, convolve), skip in zip(self.up, (middle, fine), strict=True):
            x = convolve(torch.cat([skip, enlarge(x)], 1))
        return torch.cat([self.semantic(x), self.embedding(x)], 1)


@pytest.mark.parametrize("upsampling", ["transposed", "linear"])
def test_the_trivial_group_is_the_ordinary_network(upsampling):
    ours, plain = unet("trivial", upsampling=upsampling, stages=(4, 6, 8)), ByHand(upsampling == "linear").double()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        b.data.copy_(a.data.reshape(b.shape))
    x = signal(2, 1, 16, 24)
    assert torch.allclose(ours(x), plain(x), atol=TOLERANCE["float64"])


def test_the_default_is_the_papers_baseline():
    net = UNet(UNetConfig(), 1)
    widths = [m.out_type.fields for m in net.modules() if isinstance(m, GroupConv2d)]
    down = [64, 64, 128, 128, 256, 256, 512, 512, 512, 512]
    up = [256, 256, 128, 128, 64, 64, 64, 64]
    assert widths == [*down, *up, 32, 32]
    assert [(h.name, h.channels) for h in net.heads] == [("semantic", 2), ("embedding", 16)]
    assert net.stride == 16
    assert not any("Norm" in type(m).__name__ for m in net.modules())


@pytest.mark.parametrize("group", ["trivial", "p4", "p4m"])
def test_layers_without_relu_behind_keep_the_variance(group):
    """He's factor of 2 there would quadruple the variance of the answers by two steps up."""
    torch.manual_seed(0)
    net = UNet(UNetConfig(group=group, stages=[4, 64], match="fields"), 1)
    enlarge = net.decoder[0].enlarge
    x = signal(1, enlarge.in_type.channels, 16, 16, dtype=torch.float32)
    assert 0.85 < enlarge(x).detach().var() < 1.15


def test_bandwidths_start_at_sixteen_pixels():
    net = UNet(UNetConfig(heads="offset", stages=[16, 16, 32], norm="batch"), 1)
    assert net.branches[1][-1].bias.exp().item() == pytest.approx(16)


@pytest.mark.parametrize(("upsampling", "sizes"), [("transposed", [21, 10, 5]), ("linear", [21, 11, 6])])
def test_stages_have_the_sizes_that_the_way_back_starts_from(upsampling, sizes):
    """Interpolation keeps the border samples in place, so it wants (n + 1) / 2 of an odd n."""
    net, seen = unet("p4", upsampling=upsampling, stages=(2, 2, 2)), []
    for block in net.encoder:
        block.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[-1]))
    net(signal(1, 1, 21, 21))
    assert seen == sizes


def test_matched_parameters_match():
    def count(group):
        net = UNet(UNetConfig(group=group, heads="offset", stages=[32, 64, 64]), 1)
        return sum(p.numel() for p in net.parameters())

    for group in ("p4", "p4m", "D2"):
        assert abs(count(group) / count("trivial") - 1) < 0.05


def test_a_copy_and_its_weights_give_the_same():
    net = trained(unet("p4", "offset", norm="batch"), "offset").eval()
    other = unet("p4", "offset", norm="batch").eval()
    other.load_state_dict(net.state_dict())
    x = signal(1, 1, 17, 20)
    assert torch.equal(net(x), other(x))
    assert torch.equal(net(x), copy.deepcopy(net)(x))


def test_heads_are_told_apart_by_name():
    output = signal(2, 4, 5, 7)
    parts = split_heads(output, offset_heads())
    assert list(parts) == ["offset", "bandwidth", "seed"]
    assert torch.equal(torch.cat(list(parts.values()), 1), output)
    assert [h.kind for h in offset_heads()] == [HeadKind.VECTOR, HeadKind.SCALAR, HeadKind.SCALAR]
    with pytest.raises(RequestError, match=r"expected \[B, 4, y, x\] \(2 offset \+ 1 bandwidth \+ 1 seed\), received"):
        split_heads(output[:, :3], offset_heads())


def test_the_output_representation_turns_vectors_alone():
    group = named("p4")
    matrices = torch.as_tensor(output_representation((Head("a", 1), Head("v", 4, HeadKind.VECTOR)), group).matrices)
    assert torch.equal(matrices[:, 0, 0], torch.ones(4, dtype=torch.float64))
    for start in (1, 3):
        assert torch.equal(matrices[:, start : start + 2, start : start + 2], torch.as_tensor(group.matrices))
    assert torch.allclose(matrices.abs().sum((1, 2)), torch.tensor(5.0, dtype=torch.float64))


@pytest.mark.parametrize(
    ("choice", "heads"),
    [("embedding", embedding_heads(16)), ("offset", offset_heads()), ("boundary", boundary_heads())],
)
def test_every_choice_of_heads(choice, heads):
    config = UNetConfig(heads=choice, stages=[2, 2], head_width=2)
    assert config.heads is HeadChoice(choice)
    assert UNet(config, 3)(torch.zeros(1, 3, 6, 5)).shape == (1, sum(h.channels for h in heads), 6, 5)


def rank(embedding):
    """Dimensions that the embeddings of an image's pixels span about their mean."""
    points = embedding.detach().flatten(2).squeeze(0)
    return int(torch.linalg.matrix_rank(points - points.mean(1, keepdim=True), rtol=1e-9))


@pytest.mark.parametrize("group", ["trivial", "p4", "p4m"])
def test_a_group_takes_nothing_from_what_an_embedding_can_say(group):
    torch.manual_seed(0)
    config = UNetConfig(group=group, stages=[16, 16], head_width=8, embedding_dimension=8)
    net = UNet(config, 1).double()
    # Biases keep every unit alive somewhere in the image.
    for branch in net.branches:
        torch.nn.init.normal_(branch[0].bias)
    image = signal(1, 1, 24, 24)
    assert rank(split_heads(net(image), net.heads)["embedding"]) == 8
    matched = matched_fields(8, net.group, config.match)
    head = head_layers(Head("embedding", 8), net.branches[0][0].in_type.fields, matched, net.group).double()
    fields = torch.randn(1, net.branches[0][0].in_type.channels, 24, 24, dtype=torch.float64)
    assert rank(head(fields)) == min(8, matched)


def test_a_head_of_several_vectors():
    group = named("p4m")
    head = Head("flow", 4, HeadKind.VECTOR)
    net = nn.Sequential(GroupConv2d(1, 3, 3, group, lift=True), head_layers(head, 3, 5, group)).double()
    error = equivariance_error(
        net, signal(1, 1, 9, 12), group, output_representation=output_representation([head], group)
    )
    assert error.max() < TOLERANCE["float64"]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: Head("offset", 3, HeadKind.VECTOR),
            "an even number of channels for the vector head 'offset', received 3",
        ),
        (lambda: Head("seed", 0), "at least one channel for the scalar head 'seed', received 0"),
        (
            lambda: unet("p4")(signal(1, 1, 16, 15)),
            r"at least 16 pixels a side for this network, received \[1, 1, 16, 15\]",
        ),
        (lambda: unet("p4")(signal(1, 2, 16, 16)), r"expected \[batch, 1, y, x\]"),
        (lambda: unet("p4")(signal(16)), r"at least 16 pixels a side"),
        (lambda: unet("C8"), "C8"),
    ],
)
def test_errors_say_what_is_expected(call, text):
    with pytest.raises(RequestError, match=text):
        call()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"kernel_size": 2}, "odd number of taps"),
        ({"stages": [16]}, "at least 2 items"),
        ({"stages": [16, 0]}, "greater than or equal to 1"),
        ({"upsampling": "cubic"}, "'transposed' or 'linear'"),
        ({"heads": "flow"}, "'embedding', 'offset' or 'boundary'"),
    ],
)
def test_a_configuration_is_refused(wrong, text):
    with pytest.raises(ValidationError, match=text):
        UNetConfig(**wrong)
