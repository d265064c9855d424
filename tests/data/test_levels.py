"""Levels of images that are read strip by strip are those of the whole, exactly, for every type."""

import re
import tracemalloc

import numpy as np
import pytest

from isotypic.data import levels as module
from isotypic.data.levels import levels, white
from isotypic.errors import RequestError

TYPES = [f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)] + ["float16", "float32", "float64"]
PERCENTAGES = (0, 0.1, 1, 50, 99.8, 100)


def image(name, shape=(2, 31, 17)):
    random, dtype = np.random.default_rng(0), np.dtype(name)
    if dtype.kind == "f":
        return (random.normal(size=shape) * 10.0 ** random.integers(-3, 3, shape)).astype(dtype)
    return random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype=dtype)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("values", [1, 100, 1 << 22])
def test_numpy_agrees(name, values, monkeypatch):
    monkeypatch.setattr(module, "STRIP_VALUES", values)
    wanted = np.percentile(image(name), PERCENTAGES, method="inverted_cdf").astype(float).tolist()
    assert levels(image(name), PERCENTAGES) == wanted
    assert len(set(wanted)) >= len(PERCENTAGES) - 1


def test_booleans_and_constants():
    assert levels(np.array([[[True, False, False]]]), (0, 66, 67, 100)) == [0, 0, 1, 1]
    assert levels(np.full((1, 3, 3), -2.5), PERCENTAGES) == [-2.5] * 6
    assert levels(np.array([[[0.0, -0.0]]]), (0, 100)) == [0, 0]


def test_memory_is_that_of_a_strip(monkeypatch):
    monkeypatch.setattr(module, "STRIP_VALUES", 1 << 14)
    large = image("float32", (1, 1000, 1000))
    tracemalloc.start()
    levels(large, (1, 99))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < large.nbytes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((1, 0, 5)), "expected an image of real numbers, received [1, 0, 5] of float64"),
        (np.zeros((1, 2, 5), complex), "received [1, 2, 5] of complex128"),
        (np.array([[[0.0, np.inf]]]), "expected finite values, received NaN or infinity in the rows from 0"),
    ],
)
def test_what_has_no_levels(wrong, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        levels(wrong, (50,))


def test_white():
    assert [white(np.dtype(name)) for name in ("bool", "uint8", "uint16", "float32")] == [1, 255, 65535, 1]
    with pytest.raises(RequestError, match="expected values of 8 or 16 bits without sign or floats, received int16"):
        white(np.dtype(np.int16))
