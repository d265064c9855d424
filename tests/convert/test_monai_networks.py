"""Networks that users have: MONAI's, converted, trained three steps, exact on even and odd sizes."""

import pytest
import torch
from laws import BROKEN, TOLERANCE
from test_equivariant import trained, worst

import isotypic
from isotypic.errors import RequestError
from isotypic.groups import named

nets = pytest.importorskip("monai.networks.nets", reason="MONAI is not installed")

PLANE = {
    "UNet": (lambda: nets.UNet(2, 1, 3, (8, 16, 32), (2, 2), num_res_units=2), [(32, 32), (36, 44)]),
    "BasicUNet": (lambda: nets.BasicUNet(2, 1, 2, features=(8, 8, 16, 16, 16, 8)), [(32, 32), (33, 33), (35, 48)]),
    "DenseNet121": (lambda: nets.DenseNet121(2, 1, 3, init_features=8, growth_rate=4), [(64, 64), (65, 65), (66, 49)]),
    "SegResNet": (lambda: nets.SegResNet(2, init_filters=8, in_channels=1, out_channels=2), [(32, 32), (40, 48)]),
    "ResNet": (
        lambda: nets.ResNet("basic", [2, 2, 2, 2], [8, 16, 16, 32], spatial_dims=2, n_input_channels=1, num_classes=3),
        [(32, 32), (33, 33), (35, 48)],
    ),
    "EfficientNet": (
        lambda: nets.EfficientNetBN("efficientnet-b0", False, spatial_dims=2, in_channels=1, num_classes=3),
        [(64, 64), (65, 65)],
    ),
}
SPACE = {
    "UNet": (lambda: nets.UNet(3, 1, 2, (8, 16), (2,), num_res_units=1), [(8, 8, 8), (10, 12, 8)]),
    "DenseNet": (
        lambda: nets.DenseNet(3, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2)),
        [(16, 16, 16), (17, 15, 18)],
    ),
    "ResNet": (
        lambda: nets.ResNet("basic", [1, 1, 1, 1], [8, 8, 16, 16], spatial_dims=3, n_input_channels=1, num_classes=2),
        [(16, 16, 16), (17, 15, 18)],
    ),
}
SLOW = {"EfficientNet", "DenseNet121"}


def _cases(table):
    return [pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, case in table.items()]


@pytest.mark.parametrize(("make", "sizes"), _cases(PLANE))
def test_in_the_plane(make, sizes):
    torch.manual_seed(0)
    net = trained(isotypic.equivariant(make(), "p4m", match="channels"), channels=1, size=sizes[0])
    for size in sizes:
        assert worst(net, named("p4m"), size, channels=1) < TOLERANCE["float64"], size


@pytest.mark.parametrize(("make", "sizes"), _cases(SPACE))
def test_in_space(make, sizes):
    torch.manual_seed(0)
    net = trained(isotypic.equivariant(make(), "D4", match="channels"), channels=1, size=sizes[0])
    for size in sizes:
        assert worst(net, named("D4", 3), size, channels=1) < TOLERANCE["float64"], size


def unet_of_volumes(strides=(2, 2)):
    torch.manual_seed(0)
    return nets.UNet(3, 1, 2, (4, 8, 8), strides, num_res_units=1)


@pytest.mark.parametrize("group", ["D4h", "O"])
def test_a_unet_of_volumes_takes_even_and_odd_sizes(group):
    """The network itself takes no odd size: what comes up is larger than what it is put beside."""
    made = isotypic.equivariant(unet_of_volumes(), group, match="parameters", input_shape=(1, 8, 8, 8))
    net = trained(made, channels=1, size=(8, 8, 8))
    for size in ((8, 8, 8), (9, 8, 7)):
        assert worst(net, named(group, 3), size, channels=1) < TOLERANCE["float64"], size
    plain = trained(unet_of_volumes(), channels=1, size=(8, 8, 8))
    assert worst(plain, named(group, 3), (8, 8, 8), channels=1) > BROKEN
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        plain(torch.zeros(1, 1, 9, 9, 9, dtype=torch.float64))


def test_flat_strides_are_of_prisms():
    flat = unet_of_volumes(((1, 2, 2), 2))
    prism = isotypic.equivariant(flat, "D4h", match="parameters", input_shape=(1, 6, 8, 8)).double()
    assert worst(prism.eval(), named("D4h", 3), (5, 9, 8), channels=1) < TOLERANCE["float64"]
    text = r"cannot convert Conv3d at model.0.*same stride on the axes that O swaps, received \(1, 2, 2\)"
    with pytest.raises(RequestError, match=text):
        isotypic.equivariant(flat, "O", match="parameters", input_shape=(1, 6, 8, 8))
