"""Crops of exactly four whole nuclei, padded to one size: the nuclei of Paper III.

The paper crops "to ensure they contained the predetermined number of cells" and pads with the mean intensity of
the original image to 256×256 pixels; which crop it takes is not said. Ours:

1. photographs are split first, so that none is in two parts, nor two pieces of a larger one;
2. from a nucleus drawn at random a box grows: it takes in the nearest nucleus outside it, then every nucleus that
   it now cuts, until it holds four and cuts none; a box that reaches more than four or outgrows the padded size
   is dropped;
3. the box is widened on all sides by up to ``margin`` pixels, as far as no other nucleus is met;
4. the crop is put in the middle of the padded image and its nuclei are numbered 1 .. 4 in reading order;
5. photographs take turns, so that each gives its first crop before any gives its second; no crop comes twice.

Source: K. Bengtsson Bernander, J. Lindblad, R. Strand, I. Nyström, "Rotation-Equivariant Semantic Instance
Segmentation", manuscript, 2021 (Paper III of the first author's thesis).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from scipy.ndimage import find_objects

from isotypic.data.config import FourNucleiConfig, SegmentationDataConfig
from isotypic.data.image_set import PARTS
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.labelled.ragged import Ragged
from isotypic.data.splits import split_labelled
from isotypic.errors import RequestError

Box = tuple[int, int, int, int]


def four_nuclei(
    labelled: LabelledImages, fractions: SegmentationDataConfig, config: FourNucleiConfig
) -> LabelledImages:
    """Return crops of whole photographs, with their own split.

    Args:
        labelled: the photographs with numbered nuclei.
        fractions: shares of the photographs that are held out.
        config: how many crops, of how many nuclei, and of which size.

    Raises:
        RequestError: the photographs of a part give fewer crops than are asked for.
    """
    splits, taken, parts = split_labelled(labelled, fractions), [], []
    for part in PARTS:
        wanted = int(getattr(config, f"{part}_images"))
        crops = list(islice(_in_turns(labelled, getattr(splits, part), config), wanted))
        if len(crops) < wanted:
            raise RequestError(
                f"{labelled.name}: the {part} photographs give {len(crops)} crops of {config.nuclei} nuclei, "
                f"expected {wanted}; ask for fewer with data.four_nuclei.{part}_images"
            )
        taken += crops
        parts += [part] * wanted
    return _set_of(labelled, taken, parts, config)


def boxes(labels: np.ndarray, config: FourNucleiConfig, generator: np.random.Generator) -> Iterator[Box]:
    """Yield the crops of one label image in random order, each (top, bottom, left, right), none twice.

    Args:
        labels: ``[y, x]``, nuclei numbered 1 .. n.
        config: how many nuclei, the largest size and the margin.
        generator: draws the order of the first nuclei.
    """
    around = np.array([(y.start, y.stop, x.start, x.stop) for y, x in find_objects(labels)]).reshape(-1, 4)
    seen = set()
    for first in generator.permutation(len(around)):
        box = _grown(labels, around, int(first), config)
        if box is not None and box not in seen:
            seen.add(box)
            yield _widened(labels, box, config)


def _in_turns(labelled: LabelledImages, rows: np.ndarray, config: FourNucleiConfig) -> Iterator[tuple[int, Box]]:
    order = np.random.default_rng([config.seed, 0]).permutation(rows).tolist()
    waiting = [
        (row, boxes(labelled.labels[row], config, np.random.default_rng([config.seed, 1, row]))) for row in order
    ]
    while waiting:
        left = []
        for row, crops in waiting:
            box = next(crops, None)
            if box is not None:
                left.append((row, crops))
                yield row, box
        waiting = left


def _grown(labels: np.ndarray, around: np.ndarray, first: int, config: FourNucleiConfig) -> Box | None:
    """Return the box that grows from a nucleus to hold the wanted number, or None where it cannot."""
    middles = (around[:, 0::2] + around[:, 1::2]) / 2
    nearest = np.argsort(((middles - middles[first]) ** 2).sum(axis=1), kind="stable")
    box, inside = _joined(around[[first]]), np.array([first])
    while True:
        met = _nuclei_in(labels, box)
        if len(met) > config.nuclei or max(box[1] - box[0], box[3] - box[2]) > config.size:
            return None
        if len(met) == len(inside):
            if len(met) == config.nuclei:
                return box
            outside = nearest[~np.isin(nearest, met)]
            if not len(outside):
                return None
            met = np.append(met, outside[0])
        inside, box = met, _joined(around[met])


def _joined(around: np.ndarray) -> Box:
    top, left = around[:, [0, 2]].min(axis=0).tolist()
    bottom, right = around[:, [1, 3]].max(axis=0).tolist()
    return top, bottom, left, right


def _nuclei_in(labels: np.ndarray, box: Box) -> np.ndarray:
    """Return the nuclei with a pixel in a box, counted from 0."""
    values = np.unique(labels[box[0] : box[1], box[2] : box[3]])
    return values[values > 0] - 1


def _widened(labels: np.ndarray, box: Box, config: FourNucleiConfig) -> Box:
    top, bottom, left, right = box
    height, width = labels.shape
    for margin in range(config.margin, 0, -1):
        wide = (max(top - margin, 0), min(bottom + margin, height), max(left - margin, 0), min(right + margin, width))
        fits = max(wide[1] - wide[0], wide[3] - wide[2]) <= config.size
        if fits and len(_nuclei_in(labels, wide)) == config.nuclei:
            return wide
    return box


def _set_of(
    labelled: LabelledImages, taken: list[tuple[int, Box]], parts: list[str], config: FourNucleiConfig
) -> LabelledImages:
    rows = np.array([row for row, _ in taken])
    pairs = [_padded(labelled.images[row], labelled.labels[row], box, config.size) for row, box in taken]
    names = [f"{labelled.origins.names[row]}-{box[0]}-{box[2]}" for row, box in taken]
    kinds = labelled.origins.kinds
    origins = Origins(
        names=np.array(names),
        subjects=(labelled.origins.names if labelled.origins.subjects is None else labelled.origins.subjects)[rows],
        split=np.array(parts),
        kinds=None if kinds is None else kinds[rows],
    )
    return LabelledImages(
        name=f"{labelled.name}, {config.nuclei} nuclei",
        images=Ragged.of([image for image, _ in pairs]),
        labels=Ragged.of([labels for _, labels in pairs]),
        origins=origins,
        pixel_size=labelled.pixel_size,
    )


def _padded(image: np.ndarray, labels: np.ndarray, box: Box, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a crop in the middle of a square of the image's mean, with its nuclei numbered anew."""
    rows, columns = slice(*box[:2]), slice(*box[2:])
    mean = np.rint(image.mean(axis=(1, 2), keepdims=True)).astype(image.dtype)
    square = np.broadcast_to(mean, (len(image), size, size)).copy()
    numbers = np.zeros((size, size), dtype=np.int32)
    top, left = (size - (box[1] - box[0])) // 2, (size - (box[3] - box[2])) // 2
    there = slice(top, top + box[1] - box[0]), slice(left, left + box[3] - box[2])
    square[(slice(None), *there)] = image[:, rows, columns]
    numbers[there] = _in_reading_order(labels[rows, columns])
    return square, numbers


def _in_reading_order(labels: np.ndarray) -> np.ndarray:
    values, first, places = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.zeros(len(values), dtype=np.int32)
    nuclei = np.flatnonzero(values > 0)
    rank[nuclei[np.argsort(first[nuclei])]] = np.arange(1, len(nuclei) + 1)
    return rank[places.reshape(labels.shape)]
