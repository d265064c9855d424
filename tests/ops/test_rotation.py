"""Rotation by interpolation is as exact as it says."""

import pytest
import torch
from laws import signal
from turning import smooth

from isotypic.errors import RequestError
from isotypic.groups import (
    named,
    regular_fields,
)
from isotypic.groups.circle import SO2Fields
from isotypic.ops.rotation import rotate


@pytest.mark.parametrize(("interpolation", "bound"), [("bilinear", 0.06), ("bicubic", 0.03), ("fourier", 0.004)])
def test_rotation_errors_are_what_the_docstring_says(interpolation, bound):
    kind = (SO2Fields(0, 3), SO2Fields(1, 3))
    for size in (32, 33, 65):
        image = smooth(size, kind)
        for degrees in (45.0, 20.0):
            gap = rotate(image, degrees, kind, interpolation) - smooth(size, kind, degrees)
            assert gap.norm() / image.norm() < bound
    random = signal(1, 2, 9, 9)
    assert (rotate(random, 90, None, interpolation) - torch.rot90(random, 1, (2, 3))).abs().max() < 1e-10


def c8(fields=1):
    return regular_fields(named("C8"), fields)


BAD = {
    "rotated axes": (lambda: rotate(torch.zeros(8, 8), 45), r"expected a signal \[batch, channels, y, x\]"),
    "rotated channels": (
        lambda: rotate(torch.zeros(1, 9, 8, 8), 45, c8()),
        "expected 8 channels, 1 regular fields of C8",
    ),
    "rotated element": (lambda: rotate(torch.zeros(1, 8, 8, 8), 30, c8()), "rotation of C8, received 30 degrees"),
    "interpolation": (lambda: rotate(torch.zeros(1, 1, 8, 8), 45, None, "cubic"), "did you mean 'bicubic'"),
}


@pytest.mark.parametrize(("make", "text"), BAD.values(), ids=BAD)
def test_bad_requests_are_refused(make, text):
    with pytest.raises(RequestError, match=text):
        make()
