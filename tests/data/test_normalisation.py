import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from isotypic.data import normalisation
from isotypic.data.normalisation import Normalisation, Percentiles, normaliser_from
from isotypic.errors import RequestError

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 3, 7, 5), dtype=np.uint8)


@pytest.mark.parametrize("block", [1, 300, 1 << 22])
def test_blocks_agree_with_the_closed_form(monkeypatch, block):
    monkeypatch.setattr(normalisation, "_BLOCK_VALUES", block)
    fitted = Normalisation.of(IMAGES)
    np.testing.assert_allclose(fitted.mean, IMAGES.mean(axis=(0, 2, 3)) / 255, rtol=1e-13)
    np.testing.assert_allclose(fitted.std, IMAGES.std(axis=(0, 2, 3)) / 255, rtol=1e-13)
    assert fitted.scale == 255.0


def test_large_offsets_do_not_cancel(monkeypatch):
    monkeypatch.setattr(normalisation, "_BLOCK_VALUES", 300)
    images = IMAGES.astype(np.float32) + np.float32(1e5)
    np.testing.assert_allclose(Normalisation.of(images).std, IMAGES.std(axis=(0, 2, 3)), rtol=1e-9)


def test_only_the_given_images_count():
    rows = np.array([40, 3, 7])
    assert Normalisation.of(IMAGES, rows) == Normalisation.of(IMAGES[[3, 7, 40]])
    assert Normalisation.of(IMAGES, rows) != Normalisation.of(IMAGES)


def test_normalised_images_have_zero_mean_and_unit_deviation():
    images = Normalisation.of(IMAGES).apply(torch.from_numpy(IMAGES))
    assert images.dtype == torch.float32
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_undone_it_gives_back_what_it_was_given(dtype):
    images = torch.randint(0, 256, (4, 2, 5, 6)).to(dtype)
    fitted = Normalisation((0.7, 0.5), (0.2, 0.25), 255.0)
    normalised = fitted.apply(images)
    torch.testing.assert_close(fitted.undo(normalised), images.to(normalised.dtype))
    assert not torch.allclose(replace(fitted, scale=1.0).undo(normalised), images.to(normalised.dtype))
    message = re.escape("or one image [2, y, x] to normalise, received [3, 5, 6]")
    with pytest.raises(RequestError, match=message):
        fitted.undo(torch.zeros(3, 5, 6))


@pytest.mark.parametrize("value", [0, 3, 255])
def test_a_constant_channel_has_deviation_one(value):
    images = IMAGES.copy()
    images[:, 1] = value
    fitted = Normalisation.of(images)
    assert fitted.std[1] == 1.0
    assert fitted.apply(torch.from_numpy(images))[:, 1].abs().max() < 1e-6


def test_records_round_trip():
    fitted = Normalisation.of(IMAGES)
    assert Normalisation.from_dict(fitted.to_dict()) == fitted


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"mean": [0.0], "std": [1.0]}, "expected a normalisation with mean, std and scale"),
        ({"mean": [0.0], "std": 1.0, "scale": 1.0}, "expected numbers in a normalisation"),
        ({"mean": [0.0], "std": [0.0], "scale": 1.0}, "expected a mean and a positive std"),
        ({"mean": [0.0], "std": [1.0, 1.0], "scale": 1.0}, "expected a mean and a positive std"),
    ],
)
def test_wrong_records_are_refused(record, message):
    with pytest.raises(RequestError, match=message):
        Normalisation.from_dict(record)


def test_wrong_images_are_refused():
    with pytest.raises(RequestError, match=re.escape("or one image [3, y, x] to normalise")):
        Normalisation.of(IMAGES).apply(torch.zeros(2, 1, 4, 4))
    with pytest.raises(RequestError, match="expected images with finite values"):
        Normalisation.of(np.full((1, 1, 2, 2), np.nan, dtype=np.float32))
    with pytest.raises(RequestError, match="received 0 images"):
        Normalisation.of(IMAGES, np.array([], dtype=int))


def test_images_of_many_sizes_are_one_heap_of_pixels():
    sizes = [(3, 4, 5), (3, 9, 2), (3, 1, 30)]
    images = [np.random.default_rng(size[1]).integers(0, 256, size, dtype=np.uint8) for size in sizes]
    fitted = Normalisation.of_each(images, 255.0)
    heap = np.concatenate([image.reshape(3, -1) for image in images], axis=1)
    np.testing.assert_allclose(fitted.mean, heap.mean(axis=1) / 255, rtol=1e-13)
    np.testing.assert_allclose(fitted.std, heap.std(axis=1) / 255, rtol=1e-13)
    unweighted = np.mean([image.mean(axis=(1, 2)) for image in images], axis=0) / 255
    assert np.abs(np.array(fitted.mean) - unweighted).max() > 1e-3
    assert fitted.for_image(images[0]) == fitted
    with pytest.raises(RequestError, match="received 0 images"):
        Normalisation.of_each([], 255.0)


class TestPercentiles:
    IMAGE = (np.random.default_rng(0).random((2, 31, 40)) ** 3 * 90).astype(np.uint8)

    def test_the_percentiles_become_the_ends_of_the_range(self):
        own = Percentiles(10, 90).for_image(self.IMAGE)
        low, high = np.percentile(self.IMAGE, [10, 90], method="inverted_cdf")
        levels = torch.tensor([low, (low + high) / 2, high]).expand(2, 1, 3)
        torch.testing.assert_close(own.apply(levels)[0, 0], torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64))

    def test_whole_numbers_and_floats_agree(self):
        floats = (self.IMAGE / np.float32(255)).astype(np.float32)
        one, other = (Percentiles().for_image(image) for image in (self.IMAGE, floats))
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-6)
        np.testing.assert_allclose(one.std, other.std, rtol=1e-6)

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
    def test_symmetries_change_nothing_to_the_bit(self, kind):
        image = (self.IMAGE / (255 if np.dtype(kind).kind == "f" else 1)).astype(kind)
        percentiles = Percentiles(10, 60)
        own = percentiles.for_image(image)
        for turns in range(4):
            turned = np.rot90(image, turns, (1, 2))
            assert percentiles.for_image(turned) == percentiles.for_image(turned[..., ::-1]) == own
        assert percentiles.for_image(image[:, :8]) != own

    def test_wide_integers_are_measured_by_the_bits_that_are_used(self):
        dim = self.IMAGE.astype(np.uint16) * 40
        assert Percentiles().for_image(dim).scale == 4095
        assert Percentiles().for_image(dim.astype(np.int32)) == Percentiles().for_image(dim)
        assert Percentiles().for_image(self.IMAGE.astype(np.uint16)) == Percentiles().for_image(self.IMAGE)
        stretched = Percentiles().for_image(dim // 8).apply(torch.from_numpy(dim // 8))
        assert stretched.max() >= 1
        by_all_bits = Normalisation((0.0,), (Percentiles().least / 2,), 65535.0)
        assert by_all_bits.apply(torch.from_numpy(dim[:1] // 8)).max() < 1
        below = Percentiles().for_image(-dim.astype(np.int32) - 5000)
        assert below.scale == 16383

    @pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
    def test_one_hot_pixel_changes_nothing(self, kind):
        image = np.random.default_rng(0).integers(100, 501, (1, 60, 60)).astype(kind)
        hot = image.copy()
        hot[0, 3, 4] = 40_000
        assert Percentiles().for_image(hot) == Percentiles().for_image(image)
        hot[0, :10] = 40_000  # a sixth of the image is no hot pixel
        assert Percentiles().for_image(hot) != Percentiles().for_image(image)

    @pytest.mark.parametrize("factor", [1e-30, 1e-3, 2.0**-9, 1.5, 255.0, 65535.0, 1e30])
    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_floats_of_any_unit_are_stretched_to_the_same(self, kind, factor):
        image = (0.2 + np.random.default_rng(0).random((1, 40, 40)) ** 3).astype(kind) / 2
        other = image * kind(factor)
        one, two = (Percentiles().for_image(each).apply(torch.from_numpy(each)) for each in (image, other))
        assert one.max() >= 1
        torch.testing.assert_close(two, one, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("unit", [1.0, 1e-4, 1e4])
    def test_a_dark_field_and_a_flat_one_stay_so_in_every_unit(self, unit):
        noise = np.random.default_rng(0).random((1, 40, 40))
        dark, flat = 0.005 + 0.001 * noise, unit * (1 + 0.001 * noise)
        for image in (dark, flat):
            assert np.ptp(Percentiles().for_image(image).apply(torch.from_numpy(image)).numpy()) < 0.11

    def test_floats_of_every_8_bit_image_are_that_image(self):
        for top in (*range(6), 40, 254, 255):
            image = np.random.default_rng(top).integers(0, top + 1, (1, 9, 9), dtype=np.uint8)
            own = Percentiles().for_image(image).apply(torch.from_numpy(image))
            floats = (image / 255).astype(np.float32)
            torch.testing.assert_close(Percentiles().for_image(floats).apply(torch.from_numpy(floats)), own)

    def test_brightness_and_contrast_of_an_image_do_not_matter(self):
        brighter = self.IMAGE * 2 + 7
        one, other = (Percentiles().for_image(image).apply(torch.from_numpy(image)) for image in (self.IMAGE, brighter))
        torch.testing.assert_close(one, other)
        fitted = Normalisation.of(self.IMAGE[None])
        assert (fitted.apply(torch.from_numpy(brighter)) - fitted.apply(torch.from_numpy(self.IMAGE))).abs().max() > 1

    def test_an_empty_image_stays_flat(self):
        flat = np.full((1, 20, 20), 40, np.uint8)
        flat[0, 0, 0] = 41
        assert Percentiles().for_image(flat).apply(torch.from_numpy(flat)).abs().max() < 0.5

    def test_wrong_percentiles_are_refused(self):
        with pytest.raises(RequestError, match="expected percentiles 0 <= low < high <= 100"):
            Percentiles(50, 50)

    def test_records(self):
        for normaliser in (Percentiles(2, 98, 0.1), Normalisation((0.5,), (0.25,), 255.0)):
            assert normaliser_from(normaliser.to_dict()) == normaliser
        with pytest.raises(RequestError, match="expected numbers in percentiles"):
            normaliser_from({"low": [1], "high": 99, "least": 0.1})
        with pytest.raises(RequestError, match="expected a normalisation with mean, std and scale"):
            normaliser_from({"low": 1})


class TestTypes:
    """The normalisation of a set serves images of other types, in their units."""

    FITTED = Normalisation((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 255.0)

    def test_the_same_image_of_every_type_becomes_the_same(self):
        image = IMAGES[0]
        wanted = self.FITTED.apply(torch.from_numpy(image.astype(np.float64)))
        for same in (image, image.astype(np.uint16) * 257, image / 255, (image / 255).astype(np.float32)):
            found = self.FITTED.for_image(same).apply(torch.from_numpy(same).double())
            torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
        mask = image > 99
        found = self.FITTED.for_image(mask).apply(torch.from_numpy(mask))
        torch.testing.assert_close(found, self.FITTED.apply(torch.from_numpy(mask * np.uint8(255))), atol=1e-6, rtol=0)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (IMAGES[0] / 100, "expected floats in 0..1 to normalise as in training, received 0..2.48; rescale them"),
            (np.full((3, 4, 4), np.nan), "expected finite values, received NaN or infinity in the rows from 0"),
            (np.zeros((3, 4, 4), np.int32), "expected values of 8 or 16 bits without sign or floats, received int32"),
        ],
    )
    def test_images_that_say_nothing_of_their_range(self, image, message):
        for fitted in (self.FITTED, replace(self.FITTED, scale=1.0)):
            with pytest.raises(RequestError, match=re.escape(message)):
                fitted.for_image(image)
