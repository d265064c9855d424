"""Batches of labelled images: random windows of one size for training, whole images for evaluation.

A window is a place in an image as two numbers in [0, 1): 0 is the first position at which the window fits, 1 would
be the one behind the last. The places of a batch are drawn from (seed, epoch, number of the batch), so the stream
of windows is the same for any number of workers, and an epoch can be resumed by its number.

An image smaller than the window is continued by mirror images of itself (the border pixels are repeated), in
equal parts on both sides. Its labels are mirrored with it, so that what is seen is also what is labelled; a mirrored
object that does not touch its original is an object of its own and gets a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from skimage.measure import label as pieces
from torch.utils.data import DataLoader, Dataset, Sampler

from isotypic.data.config import SegmentationDataConfig
from isotypic.data.labelled.images import LabelledImages
from isotypic.data.loading import WHOLE, Batch, BatchSampler, Share, Shared, batch_loader
from isotypic.data.normalisation import Normalisation, Normaliser, Percentiles
from isotypic.errors import RequestError


class Window(NamedTuple):
    """A place in an image of a part: the image's position in the part, and the place down and across in [0, 1)."""

    position: int
    down: float
    across: float


class _Part:
    """Some images of a set with the normalisation of each.

    Args:
        labelled: where the images are; may be mapped, which workers share.
        indices: the images of this part.
        normaliser: gives each whole image its normalisation.

    Raises:
        RequestError: there are no indices, or one is out of range.
    """

    def __init__(self, labelled: LabelledImages, indices: np.ndarray, normaliser: Normaliser) -> None:
        self.indices = np.asarray(indices, dtype=np.int64)
        if not len(self.indices) or self.indices.min() < 0 or self.indices.max() >= len(labelled):
            raise RequestError(
                f"{labelled.name}: expected at least one index in 0..{len(labelled) - 1}, "
                f"received {len(self.indices)} indices"
            )
        self.labelled = labelled
        self.normalisations = [normaliser.for_image(labelled.images[index]) for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def tensors(self, position: int, image: np.ndarray, labels: np.ndarray) -> Batch:
        """Return a part of the image at a position as a normalised tensor, with its labels as int64."""
        normalised = self.normalisations[position].apply(torch.from_numpy(np.array(image)))
        return normalised, torch.from_numpy(labels.astype(np.int64))


class WindowDataset(Dataset[Batch]):
    """Windows of one size from some images of a set.

    ``dataset[[window, ...]]`` is a batch: images ``[B, C, y, x]`` float32, labels ``[B, y, x]`` int64.

    Args:
        labelled: the images.
        indices: the images of this part.
        normaliser: gives each whole image its normalisation.
        size: (height, width) of the windows; None takes whole images, which must be of one size.

    Raises:
        RequestError: there are no indices, one is out of range, or whole images are of different sizes.
    """

    def __init__(
        self,
        labelled: LabelledImages,
        indices: np.ndarray,
        normaliser: Normaliser,
        size: tuple[int, int] | None,
    ) -> None:
        self.part = _Part(labelled, indices, normaliser)
        self.size = size if size is not None else _only_size(labelled, self.part.indices)

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, windows: list[Window]) -> Batch:
        pairs = [self.part.tensors(window.position, *self._cut(window)) for window in windows]
        return torch.stack([image for image, _ in pairs]), torch.stack([labels for _, labels in pairs])

    def _cut(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        labelled, index = self.part.labelled, self.part.indices[window.position]
        image, labels = labelled.images[index], labelled.labels[index]
        (top, height), (left, width) = (
            (int(place * (max(side - wanted, 0) + 1)), wanted)
            for place, side, wanted in zip((window.down, window.across), labels.shape, self.size, strict=True)
        )
        there = np.s_[..., top : top + height, left : left + width]
        return _mirrored(image[there], labels[there], self.size, renumber=labelled.classes is None)


class WindowSampler(Sampler[list[Window]]):
    """The windows of each batch: images in the order of :class:`BatchSampler`, each at a place of its own.

    Args:
        batches: the images of each batch.
        seed: of the places.
    """

    def __init__(self, batches: BatchSampler, seed: int) -> None:
        self.batches, self.seed = batches, seed

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; otherwise each iteration goes on to the next one."""
        self.batches.set_epoch(epoch)

    def start_at(self, batch: int) -> None:
        """Say which batch of all epochs comes next."""
        self.batches.start_at(batch)

    def __iter__(self) -> Iterator[list[Window]]:
        epoch, first = self.batches.epoch, self.batches.first
        for number, batch in enumerate(self.batches, first):
            places = np.random.default_rng([self.seed, epoch, number]).random((len(batch), 2)).tolist()
            yield [Window(position, *place) for position, place in zip(batch, places, strict=True)]


class WholeDataset(Dataset[Batch]):
    """Whole images of a set, one by one: image ``[1, C, y, x]`` float32, labels ``[1, y, x]`` int64.

    Args:
        labelled: the images.
        indices: the images of this part.
        normaliser: gives each image its normalisation.

    Raises:
        RequestError: there are no indices, or one is out of range.
    """

    def __init__(self, labelled: LabelledImages, indices: np.ndarray, normaliser: Normaliser) -> None:
        self.part = _Part(labelled, indices, normaliser)

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, position: int) -> Batch:
        index = self.part.indices[position]  # IndexError ends an iteration
        image, labels = self.part.tensors(position, self.part.labelled.images[index], self.part.labelled.labels[index])
        return image[None], labels[None]


def window_loader(
    dataset: WindowDataset,
    batch_size: int,
    *,
    seed: int,
    workers: int = 0,
    steps: int | None = None,
    share: Share = WHOLE,
) -> DataLoader[Batch]:
    """Return a loader of random windows (images ``[B, C, y, x]`` float32, labels ``[B, y, x]`` int64).

    The batches depend on the arguments and the epoch alone, not on the workers or torch's global generator.

    Args:
        dataset: the windows.
        batch_size: windows a batch.
        seed: of the order and of the places.
        workers: processes that fetch; 0 fetches in this one.
        steps: batches an epoch, each full, going on where the last epoch ended; None makes an epoch one window of
            every image.
        share: which part of each batch is given.

    Raises:
        RequestError: a number is not positive.
    """
    sampler = WindowSampler(BatchSampler(len(dataset), batch_size, True, seed, steps), seed)
    return batch_loader(dataset, Shared(sampler, share), seed=seed, workers=workers)


def whole_loader(dataset: WholeDataset, *, workers: int = 0) -> DataLoader[Batch]:
    """Return a loader of whole images in their order, one a batch.

    Raises:
        RequestError: the number of workers is negative.
    """
    return batch_loader(dataset, None, seed=0, workers=workers)


def balanced(labelled: LabelledImages, indices: np.ndarray) -> np.ndarray:
    """Return some images of a set with those of rare kinds repeated, so that the kinds are about equally many.

    Every image of a kind with n images comes ``round(largest / n)`` times, where the most frequent kind has
    ``largest``. A set without kinds stays as it is.
    """
    kinds = labelled.origins.kinds
    if kinds is None:
        return np.asarray(indices)
    _, kind, counts = np.unique(kinds[indices], return_inverse=True, return_counts=True)
    return np.repeat(indices, np.rint(counts.max() / counts).astype(int)[kind])


def normaliser_of(labelled: LabelledImages, indices: np.ndarray, config: SegmentationDataConfig) -> Normaliser:
    """Return the normaliser that ``config.normalise`` names; that of the set is fitted to the images at ``indices``.

    Raises:
        RequestError: there are no indices, or a value is not finite.
    """
    if config.normalise == "image":
        return Percentiles()
    return Normalisation.of_each((labelled.images[index] for index in indices), labelled.value_range)


def _only_size(labelled: LabelledImages, indices: np.ndarray) -> tuple[int, int]:
    sizes = np.unique(labelled.sizes[indices], axis=0)
    if len(sizes) > 1:
        raise RequestError(
            f"{labelled.name}: images of {len(sizes)} different sizes, from {sizes[0][0]}x{sizes[0][1]} to "
            f"{sizes[-1][0]}x{sizes[-1][1]}, cannot make a batch; give the side of a window with --set data.crop=..."
        )
    height, width = sizes[0].tolist()
    return height, width


def _mirrored(
    image: np.ndarray, labels: np.ndarray, size: tuple[int, int], *, renumber: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Continue an image and its labels by mirror images to a size; larger sides stay."""
    missing = [max(wanted - side, 0) for wanted, side in zip(size, labels.shape, strict=True)]
    if not any(missing):
        return image, labels
    border = [(more // 2, more - more // 2) for more in missing]
    wide = np.pad(labels, border, mode="symmetric")
    if renumber:
        inner = tuple(slice(before, before + side) for (before, _), side in zip(border, labels.shape, strict=True))
        wide = _separated(wide, inner)
    return np.pad(image, [(0, 0), *border], mode="symmetric"), wide


def _separated(labels: np.ndarray, inner: tuple[slice, ...]) -> np.ndarray:
    """Give every piece of an object that lies outside ``inner`` altogether a number of its own."""
    parts = pieces(labels, background=0, connectivity=2)
    copies = np.setdiff1d(parts, np.append(parts[inner], 0))
    place = np.searchsorted(copies, parts)
    copied = np.isin(parts, copies)
    return np.where(copied, labels.max() + 1 + place, labels).astype(labels.dtype)
