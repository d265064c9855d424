"""The filters that a report shows are those of the layer: column g is the first one moved by g, to the bit."""

import numpy as np
import pytest
import torch
from laws import PLANE_GROUPS
from PIL import Image
from torch import nn

from isotypic.groups import named
from isotypic.models.catalogue import build
from isotypic.models.convnet import ConvNetConfig
from isotypic.models.densenet import DenseNetConfig
from isotypic.nn import GroupConv2d
from isotypic.ops.action import act
from isotypic.studies.systems.learned_filters import MOST, LearnedFilters, first_layer, oriented_filters

IMAGES = {channels: torch.randn(2, channels, 12, 12) for channels in (1, 2, 3)}


def network(group, channels=1, width=8):
    return build(ConvNetConfig(group=group, stages=[[width], [4]], match="fields"), channels, 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("group", PLANE_GROUPS)
def test_column_g_is_the_first_moved_by_g(group, kernel, channels):
    layer = GroupConv2d(channels, 5, kernel, group, lift=True)
    moves = layer.in_type.group
    filters = oriented_filters(layer)
    assert filters.shape == (5, moves.order, channels, kernel, kernel)
    assert torch.equal(filters[:, 0], layer.weight)
    for g in range(moves.order):
        moved = act(filters[:, 0], g, moves)
        assert torch.equal(filters[:, g], moved)
        assert not any(torch.equal(filters[:, h], moved) for h in range(moves.order) if h != g)


def test_they_are_the_filters_that_the_layer_convolves_with():
    layer = GroupConv2d(3, 4, 3, "p4m", lift=True, bias=False)
    ordinary = nn.functional.conv2d(IMAGES[3], oriented_filters(layer).flatten(0, 1))
    assert torch.allclose(layer(IMAGES[3]), ordinary, atol=1e-6)
    assert not torch.allclose(layer(IMAGES[3]), ordinary.flip(1), atol=1e-2)


def test_an_ordinary_convolution_has_one_filter_a_channel():
    layer = nn.Conv2d(3, 6, 5)
    found = LearnedFilters.of(nn.Sequential(nn.Identity(), layer, nn.Conv2d(6, 2, 1)), IMAGES[3])
    assert found.group.order == 1
    assert np.array_equal(found.filters[:, 0], layer.weight.detach().double().numpy())
    plain = network("trivial")
    assert LearnedFilters.of(plain, IMAGES[1]).filters.shape == (8, 1, 1, 3, 3)


class Backwards(nn.Module):
    """Its last layer is made first."""

    def __init__(self):
        super().__init__()
        self.last, self.first = nn.Linear(4, 2), nn.Conv2d(1, 4, 3)

    def forward(self, x):
        return self.last(self.first(x).mean((2, 3)))


def test_the_first_layer_is_the_one_that_meets_the_images():
    model = Backwards().train()
    assert first_layer(model, IMAGES[1]) is model.first
    assert not any(module._forward_pre_hooks for module in model.modules())
    dense = build(DenseNetConfig(group="p4", blocks=[1], growth=4), 3, 2)
    assert first_layer(dense, IMAGES[3]) is dense.lift


@pytest.mark.parametrize(
    ("model", "channels"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(144, 2)), 1),
        (nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3)), 1),
        (nn.Conv2d(2, 4, 3), 2),
        (nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Softmax(1)), 1),
        (nn.Sequential(nn.Upsample(12), GroupConv2d(1, 2, 3, "C2")), 2),
    ],
    ids=["linear", "norm", "two channels", "no weights", "no lifting"],
)
def test_other_networks_have_no_such_picture(model, channels):
    assert LearnedFilters.of(model, IMAGES[channels]) is None


def test_the_largest_are_shown_and_said():
    found = LearnedFilters.of(network("p4", width=20), IMAGES[1])
    norms = np.linalg.norm(found.filters[:, 0].reshape(20, -1), axis=1)
    assert len(found.shown) == MOST
    assert (np.diff(norms[found.shown]) <= 0).all()
    assert norms[found.shown].min() >= np.delete(norms, found.shown).max()
    assert "12 of 20 fields, of largest norm" in found.caption
    few = LearnedFilters.of(network("p4m"), IMAGES[1])
    assert "all 8 fields" in few.caption
    assert "mirror" in few.caption
    assert "mirror" not in found.caption
    assert LearnedFilters.of(network("trivial"), IMAGES[1]).caption.count("filters") == 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("group", ["trivial", "p4m"])
def test_the_picture_has_the_colours_of_the_weights(group, channels, tmp_path):
    filters = np.zeros((2, named(group).order, channels, 3, 3))
    filters[0, :, :, 1, 1], filters[1, :, :, 1, 1] = -0.5, 0.25
    path = LearnedFilters(filters, named(group)).write(tmp_path / "cell" / "filters.png")
    picture = Image.open(path)
    assert picture.format == "PNG"
    pixels = picture.convert("RGB")
    count = {colour: number for number, colour in pixels.getcolors(1 << 16)}
    square, times = 22 * 22, named(group).order
    low, half = ((11, 83, 148), (217, 146, 142)) if channels == 1 else ((0, 0, 0), (191, 191, 191))
    assert square * times <= count[low] < square * (times + 1)
    assert square * times <= count[half] < square * (times + 1)


def test_weights_of_zero_and_of_a_run_that_diverged_are_drawn(tmp_path):
    for value in (0.0, np.nan):
        with np.errstate(invalid="ignore"):
            filters = LearnedFilters(np.full((2, 4, 1, 3, 3), value), named("p4"))
            assert filters.write(tmp_path / "a.png").is_file()
