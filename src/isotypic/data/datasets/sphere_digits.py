"""Images of one of the ordinary data sets, projected to the sphere: digits by default, MNIST and its kin from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isotypic.data.config import DataConfig, SphereDataConfig
from isotypic.data.datasets import digits, mnist
from isotypic.data.image_set import PARTS
from isotypic.data.sphere.digits import Layout, ProjectedDigits
from isotypic.data.sphere.sphere_set import SphereSet
from isotypic.data.splits import split

SIDE = 28
"""Of an image in pixels, where none is said."""

_SOURCES = {"digits": digits.load, "mnist": mnist.load}


def load(config: SphereDataConfig, cache: Path) -> SphereSet:
    """Return the projected images, split by their source images.

    Args:
        config: names the source and says how it is projected.
        cache: not needed here.

    Raises:
        RequestError: what the source refuses, or images that have no room on the canvas.
    """
    source = _SOURCES[config.dataset](
        DataConfig(dataset=config.dataset, path=config.path, resize=config.resize or SIDE, colour="grey"), cache
    )
    splits = split(source, config)
    parts = np.empty(len(source), dtype=np.int64)
    for number, part in enumerate(PARTS):
        parts[getattr(splits, part)] = number
    pixels = np.asarray(source.images[:])[:, 0]
    cells = {1: 1, 4: 2}[config.digits]
    layout = Layout(config.digits, config.canvas or cells * pixels.shape[-1], config.threshold, config.canvas_seed)
    fields = ProjectedDigits(pixels, source.labels, layout, parts)
    return SphereSet(source.name, fields, source.labels, source.classes, splits)
