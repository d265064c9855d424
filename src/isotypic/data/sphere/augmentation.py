"""Augmentation on the sphere: training images that are turned at random, so many copies of each, or anew every time.

==============  ====================================================================================
none            every image as it is
``k rotations`` k copies of every image, each under a rotation of its own that stays the same
rotations       every image under another rotation whenever it is seen
==============  ====================================================================================

Images are turned before they are sampled, so a turned image is as sharp as one that is not. Rotations are drawn from
the Haar measure.
"""

from __future__ import annotations

import math
import re

from isotypic.data.sphere.fields import SphereFields
from isotypic.data.sphere.samples import Samples, Turns
from isotypic.errors import RequestError
from isotypic.groups.finite import Indices

_COPIES = re.compile(r"(?:(?P<copies>[1-9]\d{0,4}) )?rotations?")


def copies_of(augmentation: str) -> int | None:
    """Return how many turned copies of an image an augmentation makes: 0 for the image itself, None for no end of them.

    >>> copies_of("none"), copies_of("4 rotations"), copies_of("rotations")
    (0, 4, None)

    Raises:
        RequestError: there is no such augmentation.
    """
    found = _COPIES.fullmatch(augmentation)
    if augmentation == "none":
        return 0
    if found is None:
        raise RequestError(
            f"expected an augmentation of spherical images, none, rotations or a number of them such as '4 rotations', "
            f"received {augmentation!r}"
        )
    return None if found["copies"] is None else int(found["copies"])


def augmented(
    fields: SphereFields, rows: Indices, bandwidth: int, augmentation: str, *, seen: int, seed: int
) -> Samples:
    """Return the samples that are trained on.

    Args:
        fields: all functions.
        rows: those of the training set.
        bandwidth: of the grid.
        augmentation: its name.
        seen: how many samples training will see; no rotation comes twice where there is no end of them.
        seed: of the rotations, which are others than those of tests.
    """
    copies = copies_of(augmentation)
    if copies is None:
        copies = math.ceil(seen / len(rows))
    return Samples(fields, rows, bandwidth, Turns((1, seed), copies) if copies else None)
