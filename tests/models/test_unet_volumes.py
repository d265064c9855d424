"""The U-Net of volumes commutes with its group on every size; with the trivial group it is the ordinary one."""

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.unet import UNet, UNetConfig

SIZES = [(8, 8, 8), (9, 9, 9), (7, 8, 10)]


def unet(group, upsampling="transposed", norm="batch", **changes):
    torch.manual_seed(0)
    widths = {"stages": [2, 3, 3], "head_width": 4, "match": "fields", "heads": "boundary", **changes}
    return UNet(UNetConfig(group=group, upsampling=upsampling, norm=norm, **widths), 1, dim=3).double()


def trained(net, steps=2):
    optimizer = torch.optim.Adam(net.train().parameters(), 1e-2)
    labels = (signal(2, 8, 8, 8, seed=5) > 0).long()
    for step in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(signal(2, 1, 8, 8, 8, seed=step))[:, :2], labels).backward()
        optimizer.step()
    return net


def worst(net, group, sizes=SIZES):
    return max(float(equivariance_error(net, signal(1, 1, *size, seed=9), named(group, 3)).max()) for size in sizes)


@pytest.mark.parametrize(
    ("group", "upsampling", "norm"),
    [("D4h", "transposed", "batch"), ("D4", "linear", "instance"), ("O", "linear", "none")],
)
def test_it_commutes_on_every_size_after_training(group, upsampling, norm):
    net = trained(unet(group, upsampling, norm))
    assert worst(net, group, SIZES[1:]) < TOLERANCE["float64"]
    assert worst(net.eval(), group, SIZES[::2]) < TOLERANCE["float64"]


@pytest.mark.parametrize("upsampling", ["transposed", "linear"])
def test_it_commutes_with_all_of_the_cube(upsampling):
    net = trained(unet("Oh", upsampling, stages=[1, 2], head_width=2)).eval()
    assert worst(net, "Oh", [(5, 5, 5), (4, 5, 6)]) < TOLERANCE["float64"]


def test_negative_controls():
    net = trained(unet("D4h")).eval()
    assert worst(net, "D4h", SIZES[:1]) < TOLERANCE["float64"]
    assert worst(net, "O", SIZES[:1]) > BROKEN, "a larger group"
    assert worst(trained(unet("trivial")).eval(), "D4h", SIZES[:1]) > BROKEN, "the plain network"
    net.pool = nn.MaxPool3d(2)
    assert worst(net, "D4h", SIZES[1:2]) > BROKEN, "a pool that drops one border"


def test_the_output_has_the_size_of_the_volume_and_the_heads_of_the_plane():
    net = unet("Z3", heads="embedding", embedding_dimension=3)
    assert [head.name for head in net.heads] == ["semantic", "embedding"]
    assert net(signal(1, 1, 7, 8, 9)).shape == (1, 5, 7, 8, 9)
    assert {m.in_type.group.dim for m in net.modules() if hasattr(m, "in_type")} == {3}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: unet("D4h", heads="offset"),
            "expected scalar heads for .*the vector head 'offset'",
        ),
        (lambda: unet("p4"), "unknown group of space 'p4'"),
        (lambda: unet("D4h")(signal(1, 1, 3, 8, 8)), r"a volume \[B, C, z, y, x\] of at least 4 voxels a side"),
        (lambda: unet("D4h")(signal(1, 1, 8, 8)), r"expected \[batch, 1, z, y, x\]"),
    ],
)
def test_errors_say_what_is_expected(call, text):
    with pytest.raises(RequestError, match=text):
        call()
