"""Scattered sticks: outlined rectangles of one size that lie across each other on white, made from a seed.

On a 256×256 image a stick is ``width`` = 15 wide and ``length`` = 90 long, its centre a uniformly random pixel of
[30, 225)² and its angle a uniformly random whole number of degrees; its outer 2 pixels are black. Later sticks
cover earlier ones. A stick holds the pixels ``p`` with ``-length/2 <= u < length/2`` and ``-width/2 <= v < width/2``,
where ``(u, v)`` is ``p - centre`` in the stick's frame; what leaves the image is cut off. An image with less than
400 visible pixels of any stick, outline included, is drawn again. With ``size`` all lengths scale by
``size / 256`` and areas by its square; the outline is at least one pixel wide.

The paper leaves the colour open. Since it says that a stick cannot be told from its pixels alone, all have the same
grey (128) here; a colour of its own for each is the option ``fill: random``.

Source: K. Bengtsson Bernander, J. Lindblad, R. Strand, I. Nyström, "Rotation-Equivariant Semantic Instance
Segmentation", manuscript, 2021; the task is that of B. De Brabandere, D. Neven, L. Van Gool, "Semantic instance
segmentation with a discriminative loss function", 2017, https://arxiv.org/abs/1708.02551.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from isotypic.data.config import SegmentationDataConfig, SticksConfig
from isotypic.data.image_set import PARTS
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.labelled.ragged import Ragged
from isotypic.errors import RequestError

_SIDE = 256
_CENTRES = (30, 225)
_OUTLINE = 2
_VISIBLE = 400
_DRAWS = 1000
_WHITE, _BLACK = 255, 0


def load(config: SegmentationDataConfig, cache: Path) -> LabelledImages:
    """Return the training, validation and test images of a request; every image has its own draws.

    Args:
        config: gives ``sticks``.
        cache: not needed here.

    Raises:
        RequestError: a path is given, which would be ignored, colours are asked of grey sticks or the other way
            round, or the sticks cannot all be seen.
    """
    if config.path is not None:
        raise RequestError(
            f"the data set 'sticks' is made from a seed and reads no path, received {config.path}; "
            "leave data.path out or name another set with --set data.dataset=..."
        )
    if config.colour != "keep":
        raise RequestError(
            f"the data set 'sticks' has the colours of data.sticks.fill, received data.colour={config.colour}; "
            "leave it out, and set data.sticks.fill=random for RGB images"
        )
    sticks, images, labels, split = config.sticks, [], [], []
    for number, part in enumerate(PARTS):
        for index in range(int(getattr(sticks, f"{part}_images"))):
            image, label = draw(sticks, np.random.default_rng([sticks.seed, number, index]))
            images.append(image)
            labels.append(label)
            split.append(part)
    names = np.array([f"{part}-{index:04}" for index, part in enumerate(split)])
    return LabelledImages("sticks", Ragged.of(images), Ragged.of(labels), Origins(names, split=np.array(split)))


def draw(config: SticksConfig, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an image ``[C, size, size]`` uint8 and its sticks ``[size, size]`` int32, numbered from below.

    Args:
        config: how many sticks, their size and colour.
        generator: draws centres, angles, lengths and colours.

    Raises:
        RequestError: no drawing of many shows enough of every stick.
    """
    visible = _VISIBLE * (config.size / _SIDE) ** 2
    for _ in range(_DRAWS):
        image, labels = _scattered(config, generator)
        if np.bincount(labels.reshape(-1), minlength=config.count + 1)[1:].min() >= visible:
            return image, labels
    raise RequestError(
        f"no drawing of {_DRAWS} shows {visible:.0f} pixels of each of {config.count} sticks; "
        "ask for fewer with data.sticks.count, or longer ones"
    )


def _scattered(config: SticksConfig, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw sticks onto a canvas with a border as wide as a stick is long, and cut the border off."""
    scale, size = config.size / _SIDE, config.size
    radius = _radius(config)
    channels = 3 if config.fill == "random" else 1
    image = np.full((channels, size + 2 * radius, size + 2 * radius), _WHITE, dtype=np.uint8)
    labels = np.zeros(image.shape[1:], dtype=np.int32)
    for number in range(1, config.count + 1):
        row, column = (int(value) for value in generator.integers(*_range(scale), 2))
        degrees = int(generator.integers(0, 180))
        length = scale * float(generator.uniform(*config.length))
        fill = generator.integers(0, 256, 3) if config.fill == "random" else np.array([config.fill])
        stick, inside = _stick(degrees, length, config.width * scale, max(round(_OUTLINE * scale), 1), radius)
        rows, columns = slice(row, row + 2 * radius + 1), slice(column, column + 2 * radius + 1)
        labels[rows, columns][stick] = number
        image[:, rows, columns][:, stick] = _BLACK
        image[:, rows, columns][:, inside] = fill[:, None]
    inner = slice(radius, radius + size)
    return image[:, inner, inner].copy(), labels[inner, inner].copy()


def _range(scale: float) -> tuple[int, int]:
    return round(_CENTRES[0] * scale), round(_CENTRES[1] * scale)


def _radius(config: SticksConfig) -> int:
    """Return how far from its centre a stick may reach, in whole pixels."""
    return int(np.ceil(np.hypot(config.length[1], config.width) / 2 * config.size / _SIDE)) + 1


@lru_cache(maxsize=1024)
def _stick(degrees: int, length: float, width: float, outline: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels around its centre a stick covers, and which of them lie inside its outline."""
    angle = np.deg2rad(degrees)
    cosine, sine = (float(value) for value in np.round([np.cos(angle), np.sin(angle)], 15))
    y, x = np.meshgrid(*2 * [np.arange(-radius, radius + 1)], indexing="ij")
    along, across = cosine * x - sine * y, sine * x + cosine * y
    stick = _within(along, length) & _within(across, width)
    return stick, _within(along, length - 2 * outline) & _within(across, width - 2 * outline)


def _within(places: np.ndarray, extent: float) -> np.ndarray:
    return (places >= -extent / 2) & (places < extent / 2)
