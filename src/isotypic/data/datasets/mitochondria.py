"""Mitochondria: patches of a stack of sections around points of two classes, in a mitochondrion or away from any.

A real task in volumes of unequal voxels. The means of the patches say nothing, for every block of the plane has as many
of either class at every level.

1. ``shrink`` x ``shrink`` pixels of a section are averaged to a voxel; it lies in a mitochondrion if half of them do:
   if the mask is brighter there than half of its largest value (edges may be soft).
2. The plane is cut into ``blocks`` x ``blocks`` blocks through all sections. A patch lies in one block as a whole, so
   that centres in two blocks are a patch apart at least; blocks are the subjects, and no voxel is in two parts of a
   split.
3. Points of a class are drawn at random, ``apart`` from each other: such in mitochondria, of one connected
   mitochondrion ``most`` in a block, and such that are ``away`` from all mitochondria. Distances count a section as
   ``thickness`` voxel sides.
4. The patches of a block are put in order of their mean grey level and cut into ``levels`` equally large groups; of
   each group as many are taken of the one class as of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, label

from isotypic.data.config import DataConfig, MitochondriaConfig
from isotypic.data.datasets import stack
from isotypic.data.image_set import ImageSet
from isotypic.data.matching import of_equal_values
from isotypic.data.preparation import coloured, prepare
from isotypic.data.readers import image
from isotypic.data.readers.tree import open_tree
from isotypic.errors import RequestError

CLASSES = ("other", "mitochondrion")


class Patch(NamedTuple):
    """One patch: its block, its first voxel (z, y, x) and its class."""

    block: str
    corner: tuple[int, int, int]
    label: int


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Return the patches ``[N, 1, z, y, x]`` uint8 with their blocks as subjects.

    Args:
        config: ``path`` is the folder or the zip archive; also ``mitochondria``.
        cache: not needed here.

    Raises:
        RequestError: no path, no such layout, a section without its mask, a file that cannot be read, sections of
            different sizes; a block or the stack is smaller than a
            patch, or no block has patches of both classes at equal levels.
    """
    wanted = config.mitochondria
    if config.path is None:
        raise RequestError("the data set 'mitochondria' needs a path to its folder or zip archive: give --data PATH")
    volume, inside = _volumes(config.path, wanted)
    found = list(patches(volume, inside, wanted))
    if not found:
        raise RequestError(
            f"{config.path}: no block has patches of both classes at equal levels; ask for fewer with "
            "data.mitochondria.blocks, or for smaller ones with data.mitochondria.size"
        )
    images = np.stack([cut(volume, patch, wanted.size) for patch in found])[:, None]
    return ImageSet(
        name=config.path.stem,
        images=prepare(images, config),
        labels=np.array([patch.label for patch in found], dtype=np.int64),
        classes=CLASSES,
        subjects=np.array([patch.block for patch in found]),
    )


def patches(volume: np.ndarray, inside: np.ndarray, config: MitochondriaConfig) -> Iterator[Patch]:
    """Yield the patches of a volume, as many of either class in every block.

    Args:
        volume: ``[z, y, x]`` grey levels.
        inside: ``[z, y, x]`` whether a voxel lies in a mitochondrion.
        config: sizes and distances.

    Raises:
        RequestError: a block, or the volume in z, is smaller than a patch.
    """
    numbered, _ = label(inside, np.ones((3, 3, 3)))
    scale = np.array([config.thickness, 1.0, 1.0])
    far = distance_transform_edt(~inside, scale) >= config.away if inside.any() else ~inside
    for number, (block, low, high) in enumerate(_blocks(volume.shape, config)):
        generator = np.random.default_rng([config.seed, number])
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        mine, others = (
            low + points(where[window], scale, config.apart, most, generator)
            for where, most in ((numbered, config.most), (far.astype(np.int32), None))
        )
        labels = np.repeat([1, 0], [len(mine), len(others)])
        corners = np.concatenate([mine, others]) - np.array(config.size) // 2
        every = [
            Patch(block, (z, y, x), kind) for (z, y, x), kind in zip(corners.tolist(), labels.tolist(), strict=True)
        ]
        means = np.array([cut(volume, patch, config.size).mean() for patch in every])
        yield from (every[i] for i in of_equal_values(labels, means, config.levels, generator))


def points(
    objects: np.ndarray, scale: np.ndarray, apart: float, most: int | None, generator: np.random.Generator
) -> np.ndarray:
    """Return voxels of objects that are apart from each other, in random order.

    Args:
        objects: ``[z, y, x]``, numbered 1 .. n.
        scale: ``[3]`` the sides of a voxel.
        apart: the least distance between two.
        most: how many of one object, at most; None for all that have room.
        generator: draws.

    Returns:
        ``[n, 3]`` indices (z, y, x).

    >>> line = np.ones((1, 1, 5), int)
    >>> found = points(line, np.ones(3), 2.0, None, np.random.default_rng(0))[:, 2]
    >>> len(found) in (2, 3), bool((np.diff(np.sort(found)) >= 2).all())
    (True, True)
    """
    reach = np.ceil(apart / scale).astype(int)
    offsets = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    outside = sum((offset * side) ** 2 for offset, side in zip(offsets, scale, strict=True)) >= apart**2
    free = np.pad(objects > 0, [(r, r) for r in reach])
    left = np.full(int(objects.max(initial=0)) + 1, objects.size if most is None else most)
    taken: list[tuple[int, ...]] = []
    for place in map(tuple, generator.permutation(np.argwhere(objects)).tolist()):
        around = tuple(slice(first, first + 2 * r + 1) for first, r in zip(place, reach, strict=True))
        if left[objects[place]] and free[around][tuple(reach)]:
            taken.append(place)
            left[objects[place]] -= 1
            free[around] &= outside
    return np.array(taken, dtype=np.int64).reshape(-1, 3)


def cut(volume: np.ndarray, patch: Patch, size: tuple[int, int, int]) -> np.ndarray:
    """Return the voxels ``size`` of a patch."""
    return volume[tuple(slice(first, first + side) for first, side in zip(patch.corner, size, strict=True))]


def _volumes(path: Path, wanted: MitochondriaConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the grey levels ``[z, y, x]`` uint8 and what lies in mitochondria, in voxels.

    Raises:
        RequestError: as of the data set stack, or sections and masks of different sizes.
    """
    tree = open_tree(path)
    pixels = stack.reading(tree)
    grey: list[np.ndarray] = []
    inside: list[np.ndarray] = []
    for section in stack.sections(tree, wanted.images, wanted.labels):
        raw = image.to_uint8(tree.where(section.image), pixels(section.image, section.page))
        mask = pixels(section.mask, section.page)[0]
        grey.append(np.rint(_shrunk(coloured(raw[None], "grey")[0, 0], wanted.shrink)).astype(np.uint8))
        inside.append(_shrunk(mask > mask.max() / 2, wanted.shrink) >= 0.5)
    sizes = {voxels.shape for voxels in (*grey, *inside)}
    if len(sizes) > 1:
        raise RequestError(f"{path}: sections or masks of different sizes: {' and '.join(map(str, sorted(sizes)))}")
    return np.stack(grey), np.stack(inside)


def _shrunk(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Return the means of squares of pixels; what is left over at the far border is cut off.

    >>> _shrunk(np.array([[1, 3, 9], [1, 3, 9]]), 2)
    array([[2.]])
    """
    height, width = (side // factor for side in pixels.shape)
    whole = pixels[: height * factor, : width * factor]
    return whole.reshape(height, factor, width, factor).mean(axis=(1, 3))


def _blocks(shape: tuple[int, ...], config: MitochondriaConfig) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield every block's name, the first centre (z, y, x) that a patch in it may have, and one past the last."""
    size, block = np.array(config.size), np.array([shape[0], shape[1] // config.blocks, shape[2] // config.blocks])
    if (block < size).any():
        raise RequestError(
            f"expected blocks no smaller than a patch of {list(config.size)} voxels (z, y, x), received "
            f"{block.tolist()}; ask for fewer with data.mitochondria.blocks, or set data.mitochondria.size"
        )
    for row in range(config.blocks):
        for column in range(config.blocks):
            first = np.array([0, row, column]) * block + size // 2
            yield f"block {row}-{column}", first, first + block - size + 1
