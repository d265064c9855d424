"""Images of any size, each with a label image: what every data set for segmentation loads into.

A label image is an integer ``[y, x]`` of its image's size. It holds instances (0 background, 1 .. n the
objects, without gaps) or, where the set names classes, the class of every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isotypic.data.image_set import check_length, check_split, full_scale, refuse_leak
from isotypic.data.labelled.ragged import Ragged
from isotypic.errors import RequestError


@dataclass(frozen=True, eq=False)
class Origins:
    """Where the images of a set come from, one entry an image.

    Args:
        names: ``[N]`` str, what each image is called in records and errors.
        subjects: ``[N]`` str, the source that several images may share (crops of one photograph, sections of
            one patient) and that a split must not cut, or None where every image is its own.
        split: ``[N]`` str in ``train``, ``validation``, ``test``: the split the set came with, or None.
        kinds: ``[N]`` str, a kind of image that splits are balanced by and figures are reported by, or None.
    """

    names: np.ndarray
    subjects: np.ndarray | None = None
    split: np.ndarray | None = None
    kinds: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with their label images.

    Args:
        name: what the set is called in records and errors.
        images: ``[C, y, x]`` each, uint8 in 0..255 or float32 in 0..1 (a hot pixel may lie beyond); C is the
            same for all.
        labels: ``[y, x]`` each, int32, of its image's size.
        origins: where the images come from.
        classes: the names of the classes that the labels index, or None where labels are instances.
        pixel_size: (y, x) in micrometres, or None where it is not known.

    Raises:
        RequestError: the arrays disagree, the set is empty, or the set's own split cuts a subject.
    """

    name: str
    images: Ragged
    labels: Ragged
    origins: Origins
    classes: tuple[str, ...] | None = None
    pixel_size: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_arrays(self.name, self.images, self.labels)
        _check_sizes(self.name, self.images, self.labels, self.origins.names)
        for what in ("names", "subjects", "split", "kinds"):
            check_length(self.name, what, getattr(self.origins, what), len(self.images))
        if self.origins.split is not None:
            check_split(self.name, self.origins.split)
            if self.origins.subjects is not None:
                refuse_leak(self.name, self.origins.subjects, self.origins.split, "source")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """The number of channels of every image."""
        return int(self.images.shapes[0, 0])

    @property
    def sizes(self) -> np.ndarray:
        """The size (y, x) of every image, ``[N, 2]`` int64."""
        return self.images.shapes[:, 1:]

    @property
    def value_range(self) -> float:
        """The value of full white: 255 for uint8 images, 1.0 for float32."""
        return full_scale(self.images.values)


def refuse_small(labelled: LabelledImages, minimum: int) -> None:
    """Raise when a side of an image is shorter than ``minimum`` pixels, naming the image."""
    small = np.flatnonzero(labelled.sizes.min(axis=1) < minimum)
    if len(small):
        height, width = labelled.sizes[small[0]]
        raise RequestError(
            f"{labelled.name}: {labelled.origins.names[small[0]]} is {height}x{width} pixels ({len(small)} such), "
            f"expected at least {minimum} a side; leave it out, enlarge it, or set data.minimum_side"
        )


def _check_arrays(name: str, images: Ragged, labels: Ragged) -> None:
    if not len(images):
        raise RequestError(f"{name}: no images: expected at least one image with its labels")
    if images.shapes.shape[1] != 3 or images.dtype not in (np.uint8, np.float32):
        raise RequestError(
            f"{name}: expected images [C, y, x] of uint8 or float32, received {images.shapes.shape[1]} axes "
            f"of {images.dtype}"
        )
    if labels.shapes.shape[1] != 2 or labels.dtype != np.int32:
        raise RequestError(
            f"{name}: expected labels [y, x] of int32, received {labels.shapes.shape[1]} axes of {labels.dtype}"
        )
    channels = np.unique(images.shapes[:, 0])
    if len(channels) > 1:
        raise RequestError(f"{name}: expected images of the same channels, received {channels.tolist()}")


def _check_sizes(name: str, images: Ragged, labels: Ragged, names: np.ndarray) -> None:
    if len(images) != len(labels):
        raise RequestError(f"{name}: expected labels for {len(images)} images, received {len(labels)}")
    wrong = np.flatnonzero((images.shapes[:, 1:] != labels.shapes).any(axis=1))
    if len(wrong):
        first = wrong[0]
        sizes = [f"{height}x{width}" for height, width in (images.shapes[first, 1:], labels.shapes[first])]
        raise RequestError(
            f"{name}: {names[first]} is {sizes[0]} pixels and its labels are {sizes[1]}; give labels of the same size"
        )
