import re

import numpy as np
import pytest
import torch

from isotypic.data import normalisation
from isotypic.data.normalisation import Normalisation
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
    with pytest.raises(RequestError, match=re.escape("expected images [..., 3, H, W] to normalise")):
        Normalisation.of(IMAGES).apply(torch.zeros(2, 1, 4, 4))
    with pytest.raises(RequestError, match="expected images with finite values"):
        Normalisation.of(np.full((1, 1, 2, 2), np.nan, dtype=np.float32))
    with pytest.raises(RequestError, match="received 0 images"):
        Normalisation.of(IMAGES, np.array([], dtype=int))
