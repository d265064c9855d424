"""One call from an image to labels: the same for a turned image, for every type of values, in tiles or whole."""

import re

import numpy as np
import pytest
import tifffile
import torch
from laws import TOLERANCE
from PIL import Image
from segmenters import recipe, scene, segmenter
from torch import nn

from isotypic.data.normalisation import Normalisation, Percentiles
from isotypic.data.readers.micrograph import Micrograph, PixelSize, open_micrograph
from isotypic.data.readers.resampling import Resampled
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.inference.grouping.pixels import group_pixels
from isotypic.inference.intake import as_micrograph, with_channels
from isotypic.inference.rescaling import labels_at, rescaled_size
from isotypic.inference.segmenter import Execution, Segmenter
from isotypic.metrics.partition import differing_pixels, differing_when_moved
from isotypic.models.catalogue import build_dense
from isotypic.models.heads import HeadChoice
from isotypic.ops.layout import channels_last
from isotypic.tasks.segmentation.grouping import GroupingConfig

P4M = named("p4m")
HEADS = ("offset", "embedding", "boundary")
SIZES = [(48, 48), (59, 59), (66, 53)]
TILES = {"execution": {"tile": 40, "margin": 8}}


class Lopsided(nn.Module):
    """A network behind a filter that looks to one side."""

    def __init__(self, model):
        super().__init__()
        self.model, self.heads, self.stride = model, model.heads, model.stride

    def forward(self, image):
        return self.model(0.8 * image + 0.2 * image.roll(1, -1))


def lopsided(heads, **changes):
    found = segmenter(heads, **changes)
    found.model = Lopsided(found.model)
    return found


@pytest.mark.parametrize("tiles", [{}, TILES], ids=["whole", "tiled"])
@pytest.mark.parametrize("heads", HEADS)
def test_no_pixel_differs_under_any_element(heads, tiles):
    network, broken = segmenter(heads, **tiles), lopsided(heads, **tiles)
    for size in SIZES:
        image = scene(*size)
        labels = network.labels(image)
        assert network.rule.over(size).count > 1 if tiles else network.rule.over(size).count == 1
        assert labels.dtype == np.int32
        assert labels.max() == 1 if heads == "boundary" else labels.max() > 1
        assert 0.05 < (labels > 0).mean() < 0.4
        assert differing_when_moved(network.labels, image, P4M).tolist() == [0] * 8
        assert differing_when_moved(broken.labels, image, P4M).sum() > 0


def test_a_plain_network_differs():
    plain = segmenter("offset", "trivial")
    assert plain.labels(scene(75, 75)).max() > 1
    differing = differing_when_moved(plain.labels, scene(75, 75), P4M)
    assert differing[0] == 0
    assert differing[1:].min() > 10


def test_in_single_precision_few_pixels_differ():
    network = segmenter(execution={"precision": "float32"})
    assert network.outputs(scene(75, 75)).dtype == np.float32
    assert differing_when_moved(network.labels, scene(75, 75), P4M).max() < 0.01 * 75**2


def test_tiles_with_a_margin_of_the_reach_say_what_the_whole_says():
    image = scene(134, 96)
    whole = segmenter().outputs(image)
    kept, cut = (segmenter(execution={"tile": 80, "margin": margin}).outputs(image) for margin in (24, 0))
    assert abs(kept - whole).max() < TOLERANCE["float64"]
    assert abs(cut - whole).max() > 1e3 * TOLERANCE["float64"]


def test_seeds_are_probabilities_before_tiles_are_blended():
    image, network = scene(75, 75), segmenter("offset")
    normalised = network.normaliser.for_image(image).apply(torch.from_numpy(image).double())
    with torch.inference_mode():
        raw = network.model(channels_last(normalised[None]))[0].numpy()
    output = network.outputs(image)
    np.testing.assert_array_equal(output[:3], raw[:3])
    np.testing.assert_allclose(output[3], 1 / (1 + np.exp(-raw[3])), atol=2e-5)
    for precision in ("float32", "float64"):
        sure = segmenter("offset", execution={"precision": precision, "tile": 40, "margin": 2})
        sure.model.branches[2][-1].bias.data.fill_(1e4)
        assert sure.outputs(image)[3].max() <= 1
        assert sure.outputs(image)[3].min() > 0.999


@pytest.mark.parametrize("heads", HEADS)
def test_outputs_on_disk_are_grouped_alike(heads, tmp_path):
    output = segmenter(heads).outputs(scene(75, 75))
    stored = np.memmap(tmp_path / "output", output.dtype, "w+", shape=output.shape)
    stored[:] = output
    stored.flags.writeable = False
    model, config = recipe(heads).model, recipe(heads).grouping
    found, wanted = (group_pixels(each, model.heads, config) for each in (stored, output))
    np.testing.assert_array_equal(found, wanted)


def test_equal_logits_are_background_in_every_direction():
    tie = np.zeros((2, 300, 20))
    tie[1] += np.random.default_rng(0).normal(size=(300, 20)) * 1e-15
    assert not group_pixels(tie, HeadChoice.BOUNDARY, GroupingConfig()).any()
    tie[1, 280] = 1
    assert group_pixels(tie, HeadChoice.BOUNDARY, GroupingConfig()).sum() == 20


class TestValues:
    """Eight bits, sixteen and floats of the same image are the same to the network."""

    @pytest.mark.parametrize("normaliser", [Percentiles(), Normalisation((0.8,), (0.3,), 255.0)])
    def test_of_every_type(self, normaliser):
        network, image = segmenter(), scene(64, 64)
        network.normaliser = normaliser
        wanted = network.outputs(image)
        for same in (image.astype(np.uint16) * 257, image / 255):
            assert abs(network.outputs(same) - wanted).max() < TOLERANCE["float64"]
        assert abs(network.outputs((image / 255).astype(np.float32)) - wanted).max() < TOLERANCE["float32"] * 10
        mask = image > 100
        np.testing.assert_array_equal(network.outputs(mask), network.outputs(mask * np.uint8(255)))

    def test_sixteen_bits_are_not_cut_to_eight(self):
        network, image = segmenter(), scene(75, 75)
        dim = image.astype(np.uint16) * 3 + 100
        assert network.labels(image).max() > 1
        assert differing_pixels(network.labels(dim), network.labels(image)) == 0
        assert differing_pixels(network.labels((dim // 257).astype(np.uint8)), network.labels(image)) > 100

    def test_floats_beyond_the_range_of_training(self):
        network, image = segmenter(), scene(64, 64) * 16.0
        assert network.labels(image).max() > 1
        network.normaliser = Normalisation((0.8,), (0.3,), 255.0)
        with pytest.raises(RequestError, match=r"array: expected floats in 0..1 to normalise as in training, received"):
            network(image)
        with pytest.raises(RequestError, match="expected finite values, received NaN or infinity in the rows from 0"):
            segmenter()(np.where(image > 4000, np.nan, image))


class TestChannels:
    COLOURS = np.random.default_rng(0).integers(0, 256, (3, 40, 30), dtype=np.uint8)

    def test_axes_of_arrays(self):
        for array, axes, names in (
            (self.COLOURS[0], "YX", ("grey",)),
            (self.COLOURS, "SYX", ("red", "green", "blue")),
            (self.COLOURS[:2], "CYX", ("channel_1", "channel_2")),
            (np.moveaxis(self.COLOURS, 0, -1), "YXS", ("red", "green", "blue")),
        ):
            found = as_micrograph(array)
            assert (found.axes, found.channels) == (axes, names)
            np.testing.assert_array_equal(found.pixels[:, 0:40, 0:30], self.COLOURS[: len(names)])

    def test_alpha_is_dropped(self):
        alpha = np.concatenate([np.moveaxis(self.COLOURS, 0, -1), np.zeros((40, 30, 1), np.uint8)], -1)
        assert as_micrograph(alpha).pixels.shape == (3, 40, 30)
        assert as_micrograph(alpha[..., 2:]).pixels.shape == (1, 40, 30)

    @pytest.mark.parametrize("shape", [(5, 40, 30), (3, 40, 4), (7,), (1, 1, 9, 9)], ids=str)
    def test_ambiguous_axes(self, shape):
        with pytest.raises(RequestError, match=re.escape(f"received {list(shape)}; give one channel, or a Micrograph")):
            as_micrograph(np.zeros(shape))

    def test_colours_become_grey_as_in_training_and_are_not_rounded_where_they_are_floats(self):
        micrograph = as_micrograph(self.COLOURS)
        grey = with_channels(micrograph, 1)
        wanted = np.einsum("c,cyx->yx", [0.2989, 0.587, 0.114], self.COLOURS)
        np.testing.assert_array_equal(grey[:, 5:9, 2:30][0], np.rint(wanted)[5:9, 2:30])
        assert grey.dtype == np.uint8
        floats = with_channels(as_micrograph(self.COLOURS / 255), 1)
        np.testing.assert_allclose(floats[:, 0:40, 0:30][0], wanted / 255, rtol=1e-12)

    def test_grey_becomes_colours(self):
        found = with_channels(as_micrograph(self.COLOURS[0]), 3)
        np.testing.assert_array_equal(found[:, 0:40, 3:9], np.repeat(self.COLOURS[:1, :, 3:9], 3, 0))

    def test_one_channel_of_several(self):
        stack = Micrograph("a.tif", np.concatenate([self.COLOURS, self.COLOURS[:1]]), "CYX", None, tuple("abcd"))
        for channel in (1, "1", "b"):
            np.testing.assert_array_equal(with_channels(stack, 1, channel)[:, 0:40, 0:30], self.COLOURS[1:2])
        for channel, message in (
            (None, "a.tif: expected 1 channel as in training, received 4 (a, b, c, d); choose one by --channel"),
            (4, "a.tif: expected a channel from 0 to 3, received 4"),
            ("e", "unknown channel of a.tif 'e': "),
        ):
            with pytest.raises(RequestError, match=re.escape(message)):
                with_channels(stack, 1, channel)
        with pytest.raises(
            RequestError, match=re.escape("expected 5 channels as in training, received 4 (a, b, c, d)")
        ):
            with_channels(stack, 5)

    def test_three_channels_that_are_no_colours_are_not_mixed(self):
        stack = Micrograph("a.tif", self.COLOURS, "CYX", None, tuple("abc"))
        with pytest.raises(RequestError, match="choose one by --channel"):
            with_channels(stack, 1)

    def test_the_segmenter_takes_them(self):
        image = scene(64, 64)
        wanted = segmenter().labels(image)
        noise = np.random.default_rng(0).integers(0, 99, image.shape, dtype=np.uint8)
        found = segmenter()(np.concatenate([noise, image]), channel=1)
        np.testing.assert_array_equal(found.image, wanted)
        np.testing.assert_array_equal(segmenter()(np.repeat(image, 3, 0)).image, wanted)
        coloured = Segmenter(build_dense(recipe().model, 3), recipe(), Percentiles(), channels=3)
        assert coloured(image[0]).image.shape == (64, 64)


class TestFiles:
    def test_a_path_a_micrograph_and_an_array_are_one_image(self, tmp_path):
        image, network = scene(75, 75), segmenter()
        path = tmp_path / "plate.tif"
        tifffile.imwrite(path, image[0], compression="zlib", tile=(16, 32), ome=False)
        wanted = network(image[0])
        assert wanted.count > 1
        for found in (network(path), network(str(path)), network(open_micrograph(path))):
            np.testing.assert_array_equal(found.image, wanted.image)
            assert found.source == "plate.tif"
        assert network(path, pixel_size=PixelSize(0.5)).pixel_size == PixelSize(0.5)
        assert list(wanted.regions().columns[-1:]) == ["mean_grey"]

    def test_nothing_found(self):
        labels = segmenter()(np.full((40, 50), 255, np.uint8))
        assert (labels.count, len(labels.regions()), labels.image.shape) == (0, 0, (40, 50))

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
    def test_of_other_modes(self, tmp_path, mode):
        image = scene(64, 64)[0]
        made = (
            Image.fromarray(image.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(image).convert(mode)
        )
        made.save(tmp_path / "a.png")
        np.testing.assert_array_equal(segmenter()(tmp_path / "a.png").image, segmenter().labels(image[None]))

    @pytest.mark.parametrize(
        ("made", "words"),
        [
            (lambda grey: grey.astype(np.uint16) * 16, {}),
            (lambda grey: grey.astype(np.uint32) * 70_000, {}),
            (lambda grey: grey.astype(np.uint64) * 70_000, {}),
            (lambda grey: grey.astype(np.int16) * 100 - 3000, {}),
            (lambda grey: grey.astype(np.float32) * 40 - 1000, {}),
            (lambda grey: 255 - grey, {"photometric": "miniswhite"}),
            (lambda grey: np.repeat(grey[..., None], 3, 2).astype(np.uint16) * 257, {"photometric": "rgb"}),
            (lambda grey: np.repeat(grey[..., None], 3, 2) / np.float32(255), {"photometric": "rgb"}),
            (
                lambda grey: np.stack([grey, grey, grey, 0 * grey], 2).astype(np.uint16) * 257,
                {"photometric": "rgb", "extrasamples": ["unassalpha"]},
            ),
        ],
        ids=[
            "12 bits",
            "32 bits",
            "64 bits",
            "signed",
            "any floats",
            "white is 0",
            "RGB 16 bits",
            "RGB floats",
            "RGBA 16 bits",
        ],
    )
    def test_of_other_depths(self, tmp_path, made, words):
        image = scene(64, 64)
        tifffile.imwrite(tmp_path / "a.tif", made(image[0]), **words)
        found = segmenter()(tmp_path / "a.tif").image
        assert found.max() > 1
        assert differing_pixels(found, segmenter().labels(image)) == 0
        tifffile.imwrite(tmp_path / "a.tif", made(255 - image[0]), **words)
        assert differing_pixels(segmenter()(tmp_path / "a.tif").image, segmenter().labels(image)) > 100


class TestPixelSize:
    TRAINED = 0.5

    def network(self, **changes):
        return segmenter(pixel_size=self.TRAINED, **changes)

    def test_a_magnified_image_has_the_same_regions_at_its_own_size(self):
        image, network = scene(64, 48), segmenter("boundary", pixel_size=self.TRAINED)
        large = np.kron(image, np.ones((1, 3, 3), np.uint8))
        wanted = network(image, pixel_size=PixelSize(500, "nm"))
        found = network(large, pixel_size=PixelSize(self.TRAINED / 3))
        assert found.image.shape == (192, 144)
        assert wanted.image.mean() > 0.05
        assert differing_pixels(found.image, np.kron(wanted.image, np.ones((3, 3), np.int32))) < 0.02 * found.image.size
        alone = network(large, pixel_size=PixelSize(self.TRAINED / 3), rescale=False)
        assert differing_pixels(alone.image, found.image) > 0.02 * found.image.size

    @pytest.mark.parametrize(("magnified", "size"), [(1, 1.0), (2, 0.27), (3, 0.16)])
    def test_every_symmetry_is_kept(self, magnified, size):
        image, network = np.kron(scene(48, 59), np.ones((1, magnified, magnified), np.uint8)), self.network()

        def labels(pixels):
            return network(pixels, pixel_size=PixelSize(size)).image

        assert labels(image).max() > 1
        assert differing_when_moved(labels, image, P4M).tolist() == [0] * 8

    def test_even_sizes_would_break_it(self, monkeypatch):
        image, network = scene(64, 64), self.network()
        monkeypatch.setattr("isotypic.inference.segmenter.rescaled_size", lambda size, f: tuple(2 * n for n in size))
        differing = differing_when_moved(lambda x: network(x, pixel_size=PixelSize(1.0)).image, image, P4M)
        assert differing.max() > 10

    def test_where_a_size_is_unknown_or_nearly_the_same_nothing_is_resampled(self):
        image = scene(64, 64)
        wanted = segmenter().labels(image)
        np.testing.assert_array_equal(self.network()(image).image, wanted)
        np.testing.assert_array_equal(self.network()(image, pixel_size=PixelSize(0.52)).image, wanted)
        np.testing.assert_array_equal(segmenter()(image, pixel_size=PixelSize(5.0)).image, wanted)

    def test_a_scale_is_what_the_sizes_would_say_and_comes_first(self):
        image, network = np.kron(scene(48, 59), np.ones((1, 2, 2), np.uint8)), self.network()
        wanted = network(image, pixel_size=PixelSize(self.TRAINED / 2)).image
        assert wanted.max() > 1
        for words in ({}, {"rescale": False}, {"pixel_size": PixelSize(3.0)}):
            np.testing.assert_array_equal(network(image, scale=0.5, **words).image, wanted)
        np.testing.assert_array_equal(segmenter()(image, scale=0.5).image, wanted)
        alone = segmenter().labels(image)
        np.testing.assert_array_equal(network(image, scale=1, pixel_size=PixelSize(3.0)).image, alone)
        assert differing_pixels(alone, wanted) > 100

    @pytest.mark.parametrize(("magnified", "scale"), [(1, 1.2), (2, 0.6)])
    def test_every_symmetry_is_kept_at_any_scale(self, magnified, scale):
        image = np.kron(scene(48, 59), np.ones((1, magnified, magnified), np.uint8))

        def differing(network):
            return differing_when_moved(lambda pixels: network(pixels, scale=scale).image, image, P4M)

        assert segmenter()(image, scale=scale).count > 1
        assert differing(segmenter()).tolist() == [0] * 8
        assert differing(lopsided("offset")).max() > 0

    @pytest.mark.parametrize("scale", [0.06, 17, -1.0, float("nan")])
    def test_scales_beyond_reason(self, scale):
        with pytest.raises(RequestError, match=re.escape(f"expected a scale from 0.0625 to 16, received {scale:g}")):
            segmenter()(scene(64, 64), scale=scale)

    def test_windows_are_those_of_the_whole_and_torch_agrees(self):
        image = np.random.default_rng(0).normal(size=(2, 60, 45))
        for factor in (0.3, 0.77, 1.9):
            size = rescaled_size(image.shape[1:], factor)
            pixels = Resampled(image, size)
            whole = pixels[:, 0 : size[0], 0 : size[1]]
            wanted = nn.functional.interpolate(
                torch.from_numpy(image)[None], size, mode="bilinear", antialias=True, align_corners=False
            )
            np.testing.assert_allclose(whole, wanted[0], rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(pixels[1:2, 5:11, 3:9], whole[1:2, 5:11, 3:9], rtol=1e-13)

    def test_sizes_are_odd_and_no_label_is_between(self):
        for size in range(1, 60):
            for factor in np.linspace(0.07, 6, 50):
                (new, _), labels = rescaled_size((size, 1), factor), None
                assert new % 2 == 1
                assert abs(new - size * factor) <= 1
                labels = labels_at(np.arange(1, new + 1, dtype=np.int32)[:, None], (size, 1))[:, 0]
                backwards = labels_at(np.arange(new, 0, -1, dtype=np.int32)[:, None], (size, 1))[:, 0]
                assert (np.diff(labels) >= 0).all()
                np.testing.assert_array_equal(labels[::-1], backwards)

    def test_labels_have_no_gaps(self):
        labels = np.array([[1, 5, 0], [5, 2, 7], [3, 3, 3]], np.int32)
        assert labels_at(labels, (2, 2)).tolist() == [[1, 0], [2, 2]]

    def test_sizes_too_far_apart(self):
        message = "array: expected pixels within a factor of 16 of the training images' 0.5 µm, received 10 mm; give"
        with pytest.raises(RequestError, match=re.escape(message)):
            self.network()(scene(64, 64), pixel_size=PixelSize(10.0, "mm"))
        assert PixelSize(2.0, "mm").micrometres == 2000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: segmenter()(np.zeros((1, 9), np.uint8)),
            "array: expected an image of at least 2 pixels a side for this network, received 1 x 9: enlarge it, or pad",
        ),
        (
            lambda: segmenter(pixel_size=9.0)(np.zeros((9, 9), np.uint8), pixel_size=PixelSize(0.6)),
            "array: expected an image of at least 2 pixels a side for this network, received 1 x 1",
        ),
        (lambda: segmenter()(np.zeros((0, 9), np.uint8)), "expected an image of real numbers, received [1, 0, 9]"),
        (lambda: segmenter()(np.zeros((9, 9), complex)), "expected an image of real numbers, received [1, 9, 9] of c"),
        (lambda: segmenter().outputs(np.zeros((9, 9))), "expected an image [C, y, x], received [9, 9]"),
        (
            lambda: segmenter(execution={"device": "gpu"}),
            "unknown device 'gpu': did you mean 'cpu'? Known: cpu, cuda, auto",
        ),
        (lambda: Execution(precision="16"), "unknown precision '16': Known: float32, float64"),
        (lambda: segmenter(execution={"tile": 5, "margin": 4}), "expected tiles of at least 12 pixels a side"),
        (lambda: segmenter()("nowhere.png"), "nowhere.png: no such image file"),
    ],
)
def test_errors_say_what_was_expected(make, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        make()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu():
    with pytest.raises(RequestError, match="expected a CUDA device, found none"):
        segmenter(execution={"device": "cuda"})
    assert segmenter(execution={"device": "auto"}).device.type == "cpu"


def test_the_margin_goes_with_the_tile():
    assert (Execution(tile=512).rule(16).margin, Execution(tile=128).rule(16).margin) == (64, 16)
    assert segmenter().rule.stride == 2
