"""A labelled set of images in memory or on disk: what every data set loads into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from isotypic.data.mapped import packed, unpacked
from isotypic.errors import RequestError

PARTS = ("train", "validation", "test")


class ImageArray(Protocol):
    """Images ``[N, C, H, W]``: a NumPy array, or one that reads its rows when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of an array."""

    @property
    def ndim(self) -> int:
        """As of an array."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels and, where known, the patients and the split they came with.

    Args:
        name: what the set is called in records and errors.
        images: ``[N, C, H, W]``, uint8 in 0..255 or float32; may be a ``np.memmap``, or lazy.
        labels: ``[N]`` int64, an index into ``classes``.
        classes: the names of the classes.
        subjects: ``[N]`` str, the patient (or group) of each image, or None.
        split: ``[N]`` str in ``train``, ``validation``, ``test``: the split the set came with, or None.
        names: ``[N]`` str, the file of each image, or None where it has none of its own.

    Raises:
        RequestError: the arrays disagree, the set is empty or of one class, a label is out of range, or the
            set's own split has a patient on both sides.
    """

    name: str
    images: ImageArray
    labels: np.ndarray
    classes: tuple[str, ...]
    subjects: np.ndarray | None = None
    split: np.ndarray | None = None
    names: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_images(self.name, self.images)
        for what in ("labels", "subjects", "split", "names"):
            check_length(self.name, what, getattr(self, what), len(self.images))
        check_labels(self.name, self.labels, self.classes)
        if self.split is not None:
            check_split(self.name, self.split)
            if self.subjects is not None:
                refuse_leak(self.name, self.subjects, self.split)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle a memory map as its file's name, so that worker processes share it instead of copying it."""
        return {**self.__dict__, "images": packed(self.images)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, images=unpacked(state["images"]))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, (C, H, W), or of one volume, (C, z, y, x)."""
        return tuple(self.images.shape[1:])

    @property
    def value_range(self) -> float:
        """The value of full white: 255 for uint8 images, 1.0 for float32."""
        return full_scale(self.images)


def full_scale(images: ImageArray) -> float:
    """Return the value of full white in an array of images: 255 for uint8, 1.0 for floats."""
    return 255.0 if images.dtype == np.uint8 else 1.0


def _check_images(name: str, images: ImageArray) -> None:
    if images.ndim not in (4, 5) or images.dtype not in (np.uint8, np.float32):
        raise RequestError(
            f"{name}: expected images [N, C, H, W] of uint8 or float32, received {list(images.shape)} of {images.dtype}"
        )
    if len(images) == 0:
        raise RequestError(f"{name}: no images: expected at least one of each of two classes")


def check_length(name: str, what: str, values: np.ndarray | None, count: int) -> None:
    """Raise unless a column is absent or has one value an image."""
    if values is not None and values.shape != (count,):
        raise RequestError(f"{name}: expected {what} [{count}], one per image, received {list(values.shape)}")


def check_labels(name: str, labels: np.ndarray, classes: tuple[str, ...]) -> None:
    """Raise unless labels are int64, within the classes, and of at least two of them."""
    if labels.dtype != np.int64:
        raise RequestError(f"{name}: expected labels of int64, received {labels.dtype}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise RequestError(
            f"{name}: labels out of range: expected 0..{len(classes) - 1} for {len(classes)} classes, "
            f"received {low}..{high}"
        )
    if low == high:
        raise RequestError(
            f"{name}: one class only: all {len(labels)} images are {classes[low]!r}; "
            "give images of at least two classes"
        )


def check_split(name: str, split: np.ndarray) -> None:
    """Raise unless every part of a split has a known name."""
    strange = sorted(set(np.unique(split).tolist()) - set(PARTS))
    if strange:
        raise RequestError(f"{name}: expected split names {', '.join(PARTS)}, received {strange[0]!r}")


def refuse_leak(name: str, subjects: np.ndarray, split: np.ndarray, kind: str = "patient") -> None:
    """Raise when a patient (or a source of another kind) lies in two parts of a split, naming it and the parts."""
    pairs = np.unique(np.stack([subjects.astype(str), split.astype(str)]), axis=1)
    patients, parts = np.unique(pairs[0], return_counts=True)
    if (parts > 1).any():
        patient = str(patients[parts > 1][0])
        both = " and ".join(pairs[1][pairs[0] == patient])
        raise RequestError(
            f"{name}: the split leaks: {kind} {patient!r} is in {both} ({int((parts > 1).sum())} such); "
            f"keep each {kind} on one side, or leave the split out and have one made"
        )
