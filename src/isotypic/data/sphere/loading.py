"""Batches of spherical images with the classes of their points, and the normalisation of a set of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from isotypic.data.image_set import full_scale
from isotypic.data.loading import WHOLE, Batch, BatchSampler, Share, Shared, batch_loader
from isotypic.data.normalisation import Normalisation
from isotypic.data.sphere.points import areas
from isotypic.data.sphere.samples import BLOCK, Sampled, Samples
from isotypic.errors import RequestError

Rows = np.ndarray | Sampled
"""An array, or one whose rows are read when they are asked for."""


class PointDataset(Dataset[Batch]):
    """Images ``[N, C, 2 b, 2 b]`` with the classes of their points ``[N, 2 b, 2 b]``; an item is a whole batch.

    Args:
        images: as they are stored.
        classes: the same number of them.
    """

    def __init__(self, images: Rows, classes: Rows) -> None:
        self.images, self.classes = images, classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: Sequence[int]) -> Batch:
        """Return images ``[B, C, 2 b, 2 b]`` as they are stored, and classes ``[B, 2 b, 2 b]`` int64."""
        rows = np.asarray(places)
        images, classes = np.asarray(self.images[rows]), np.asarray(self.classes[rows])
        return torch.from_numpy(images), torch.from_numpy(classes.astype(np.int64))


def point_loader(
    dataset: PointDataset, batch_size: int, *, seed: int, steps: int, workers: int = 0, share: Share = WHOLE
) -> DataLoader[Batch]:
    """Return a loader of shuffled batches, so many an epoch.

    Args:
        dataset: the images.
        batch_size: images a batch.
        seed: of the order.
        steps: batches an epoch, each full, going on where the last epoch ended.
        workers: processes that fetch.
        share: which part of each batch is given.
    """
    whole = BatchSampler(len(dataset), batch_size, True, seed, steps)
    return batch_loader(dataset, Shared(whole, share), seed=seed, workers=workers)


def points_in_order(dataset: PointDataset, batch_size: int) -> DataLoader[Batch]:
    """Return a loader of all images once, in their order."""
    return batch_loader(dataset, BatchSampler(len(dataset), batch_size, False, 0), seed=0, workers=0)


def normalisation_of(samples: Samples) -> Normalisation:
    """Return the normalisation whose mean and deviation are those over the areas of the sphere.

    They are the same, but for what the grid does not resolve, however the images are turned.

    Raises:
        RequestError: a value is not finite.
    """
    weight = areas(samples.bandwidth) / (4 * np.pi)
    first = second = np.zeros(samples.fields.channels)
    for start in range(0, len(samples), BLOCK):
        images = samples.images(np.arange(start, min(start + BLOCK, len(samples)))).astype(np.float64)
        first = first + np.einsum("ncij,ij->c", images, weight) / len(samples)
        second = second + np.einsum("ncij,ij->c", images**2, weight) / len(samples)
    if not np.isfinite(second).all():
        raise RequestError(f"expected spherical images with finite values, received a mean of {first}")
    deviation = np.sqrt(np.maximum(second - first**2, 0))
    scale = full_scale(Sampled(samples))
    deviation = np.where(deviation > 1e-9 * np.abs(first), deviation, scale)
    return Normalisation(tuple((first / scale).tolist()), tuple((deviation / scale).tolist()), scale)
