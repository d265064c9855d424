"""Tiles keep the symmetry of the network, for scalars and vectors, on every size; one-sided tiles do not."""

import re
import resource
import tracemalloc

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import BROKEN, TOLERANCE, signal
from torch import nn

from isotypic.data.readers import tiff
from isotypic.data.readers.micrograph import open_micrograph
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.inference.tiling import AxisTiles, TileRule, Tiling, tiled
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.heads import output_representation
from isotypic.models.unet import UNet, UNetConfig

GROUP = named("p4m")
RULE = TileRule(side=40, stride=4, margin=6, blend=5)
SIZES = [(37, 24), (40, 41), (64, 64), (75, 75), (82, 53)]


def unet(upsampling="transposed"):
    torch.manual_seed(0)
    config = UNetConfig(group="p4m", stages=[8, 16, 16], heads="offset", head_width=8, upsampling=upsampling)
    return UNet(config, 1).double().eval()


def run(network, image, tiling_of):
    """Tiled, as a function of ``[1, C, y, x]``."""
    shape = tuple(image.shape[2:])
    return torch.from_numpy(tiled(network, image[0].numpy(), tiling_of(shape)))[None]


def error(network, size, tiling_of, dtype=torch.float64):
    heads = output_representation(network.heads, GROUP)
    return equivariance_error(
        lambda image: run(network, image, tiling_of),
        signal(1, 1, *size, dtype=dtype),
        GROUP,
        output_representation=heads,
    )


@pytest.mark.parametrize("upsampling", ["transposed", "linear"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_tiled_network_commutes_with_every_element(size, upsampling):
    assert error(unet(upsampling), size, RULE.over).max() < TOLERANCE["float64"]


def test_in_single_precision_to_its_rounding():
    assert error(unet().float(), (82, 53), RULE.over, torch.float32).max() < TOLERANCE["float32"]


def one_sided(size):
    """The usual tiles: equal steps from 0, the last one moved inwards."""
    length, step = RULE.side, RULE.side - RULE.overlap
    origins = [*range(0, size - length, step), size - length]
    return AxisTiles(size, length, tuple(origins), RULE.margin, RULE.blend)


def test_one_sided_tiles_break_it():
    errors = error(unet(), (82, 75), lambda shape: Tiling(*map(one_sided, shape)))
    kept = errors < TOLERANCE["float64"]
    assert kept.sum() == 2, "the identity and the exchange of the axes"
    assert errors[~kept].min() > BROKEN


def test_with_a_margin_of_its_reach_the_network_says_what_it_says_of_the_whole():
    """And only then: symmetric tiles off the stride or of another remainder say other things."""
    network, image = unet("linear"), signal(1, 1, 134, 134)
    whole = network(image).detach()
    tilings = {
        "right": TileRule(side=100, stride=4, margin=32, blend=2).along(134),
        "off the stride": AxisTiles(134, 98, (0, 18, 36), 32, 2),
        "other remainder": AxisTiles(134, 97, (0, 20, 37), 32, 2),
        "small margin": AxisTiles(134, 98, (0, 16, 20, 36), 6, 2),
    }
    errors = {
        name: (run(network, image, lambda _, a=axis: Tiling(a, a)) - whole).abs().max() / whole.std()
        for name, axis in tilings.items()
    }
    assert errors.pop("right") < TOLERANCE["float64"]
    assert min(errors.values()) > 10 * TOLERANCE["float64"], errors


@given(
    st.integers(16, 3000),
    st.sampled_from([1, 2, 4, 16]),
    st.integers(0, 40),
    st.integers(1, 30),
    st.integers(0, 300),
)
def test_the_axis_law(size, stride, margin, blend, extra):
    rule = TileRule(2 * margin + blend + 2 * stride - 1 + extra, stride, margin, blend)
    axis = rule.along(size)
    weights = axis.weights()
    total, used = np.zeros(size), np.zeros(size, bool)
    for tile in range(len(axis.origins)):
        total[axis.window(tile)] += weights[tile]
        used[axis.window(tile)] |= weights[tile] > 0
    assert all(origin % stride == 0 for origin in axis.origins)
    assert {size - axis.length - origin for origin in axis.origins} == set(axis.origins)
    assert (axis.length - size) % stride == 0
    assert axis.length <= rule.side
    assert used.all()
    np.testing.assert_allclose(total, 1, rtol=1e-12)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], rtol=1e-12)
    inner = weights[1:, :margin], weights[:-1, axis.length - margin :]
    assert not any(part.any() for part in inner)
    fewest = -(-(size - axis.length) // stride) // max((axis.length - rule.overlap) // stride, 1)
    assert len(axis.origins) <= fewest + 3


def test_a_small_image_is_one_tile_and_exactly_the_networks_output():
    network, image = unet(), signal(1, 1, 37, 24)
    assert RULE.over((37, 24)).count == 1
    with torch.inference_mode():
        assert torch.equal(run(network, image, RULE.over), network(image))


def test_a_file_holds_the_same_as_memory_and_leaves_nothing(tmp_path):
    network, image = unet(), signal(1, 82, 53).numpy()
    seen = []
    kept = tiled(network, image, RULE.over((82, 53)))
    filed = tiled(
        network,
        image,
        RULE.over((82, 53)),
        scratch=tmp_path,
        in_memory=0,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert isinstance(filed, np.memmap)
    assert not isinstance(kept, np.memmap)
    np.testing.assert_array_equal(filed, kept)
    assert list(tmp_path.iterdir()) == []
    assert seen == [(i + 1, RULE.over((82, 53)).count) for i in range(RULE.over((82, 53)).count)]


def test_a_file_is_read_by_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "KEPT_BYTES", 5000)
    image = np.random.default_rng(0).integers(0, 255, (82, 53), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, compression="zlib", tile=(16, 32))
    pixels = open_micrograph(tmp_path / "a.tif").pixels
    found = tiled(lambda tile: tile.double() + 1, pixels, RULE.over((82, 53)))
    np.testing.assert_allclose(found[0], image + 1.0, rtol=1e-12)


def test_integers_reach_the_network_as_they_are_and_half_precision_becomes_single():
    image = np.arange(60 * 50, dtype=np.uint16).reshape(1, 60, 50)
    output = tiled(lambda tile: tile.float().half(), image, TileRule(40, 1, 4, 4).over((60, 50)))
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, image, rtol=1e-3)


def test_the_stated_memory_is_what_is_held():
    image = np.zeros((1, 1500, 1500), np.float32)
    tiling = TileRule(128, 1, 8, 8).over((1500, 1500))
    tracemalloc.start()
    tiled(lambda tile: tile.expand(-1, 4, -1, -1), image, tiling, in_memory=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stated = tiling.working_bytes(4, in_memory=0)
    assert peak < stated < 2 * peak
    assert stated < 0.2 * 4 * image.nbytes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TileRule(stride=0), "expected stride >= 1, margin >= 0 and blend >= 1, received TileRule("),
        (
            lambda: TileRule(side=64, stride=16, margin=16, blend=8),
            "expected tiles of at least 71 pixels a side for stride 16, margin 16 and blend 8, received 64",
        ),
        (lambda: AxisTiles(10, 4, (0, 4, 6)), "at most 3 apart for a margin of 0 and a blend of 1, received"),
        (lambda: AxisTiles(10, 4, (0, 3, 5)), "expected tiles of 4 from 0 to 10"),
        (
            lambda: tiled(nn.Identity(), np.zeros((1, 9, 9)), RULE.over((9, 8))),
            "expected an image [C, 9, 8], received [1, 9, 9]",
        ),
        (
            lambda: tiled(nn.MaxPool2d(2), np.zeros((1, 9, 8)), RULE.over((9, 8))),
            "expected a dense network, [1, K, 9, 8] for a tile [1, 1, 9, 8], received [1, 1, 4, 4]",
        ),
        (
            lambda: tiled(nn.Identity(), np.zeros((1, 9, 8)), RULE.over((9, 8)), scratch="/none", in_memory=0),
            "/none: expected room for 5.76e-07 GB of the network's output, received 'No such file or directory'",
        ),
    ],
)
def test_errors_say_what_was_expected(make, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        make()


def test_a_full_disk_is_one_clear_line(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(RequestError, match="make room or give another scratch folder"):
            tiled(nn.Identity(), np.zeros((1, 90, 80)), RULE.over((90, 80)), scratch=tmp_path, in_memory=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [513, 520, 640, 1040, 1388])
def test_an_image_little_larger_than_tiles_costs_little_more(size):
    axis = TileRule(side=512, stride=16).along(size)
    largest = 512 - (512 - size) % 16
    assert len(axis.origins) * axis.length < 1.4 * size
    assert axis.length < largest
