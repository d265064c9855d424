"""Batches of images for training and evaluation, the same for any number of workers.

Images come as they are stored, so that what processes hand over and what goes to a device is small, and are normalised
where they are used (:class:`Normalised`).

Order: the stream of images is one permutation after another, each drawn from (seed, number of the pass). Images that
lie on disk are permuted in blocks of neighbours, a few of which are mixed at a time, so that they are read as blocks.
Without ``steps`` an epoch is one pass. With ``steps`` an epoch is the next ``steps * batch_size`` images of
the stream: every image comes once before any comes again, and training sets of different sizes get the same
budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from isotypic.data.image_set import ImageSet
from isotypic.data.lazy import BLOCK, MIXED, Blocks
from isotypic.data.normalisation import Normalisation
from isotypic.errors import RequestError

Batch = tuple[torch.Tensor, torch.Tensor]

_EVALUATED, _VALUES = 256, 2**22
"""Images, and numbers, of an evaluation batch, at most."""


class Share(NamedTuple):
    """One of several processes; its part of a batch of n images is that from ``rank n / of`` to ``(rank+1) n / of``."""

    rank: int
    of: int


WHOLE = Share(0, 1)
"""The only process."""


class Mixing(NamedTuple):
    """Shuffle blocks of so many neighbours, and the images within so many blocks at a time."""

    size: int
    blocks: int


class ArrayDataset(Dataset[Batch]):
    """Some images of a set; one array access a batch.

    ``dataset[i]`` is one image ``[C, *space]``, as it is stored, with its label; ``dataset[[i, j, ...]]`` and
    ``__getitems__`` give a whole batch ``[B, C, *space]`` with its labels ``[B]`` int64.

    Args:
        image_set: where the images are; may be a memory map, which workers share, or a lazy array.
        indices: the images of this part; those of a lazy array are put in ascending order.

    Raises:
        RequestError: there are no indices, or one is out of range.
    """

    def __init__(self, image_set: ImageSet, indices: np.ndarray) -> None:
        self.indices = np.asarray(indices, dtype=np.int64)
        self._blocks = None
        if not isinstance(image_set.images, np.ndarray):
            self.indices = np.sort(self.indices)
            self._blocks = Blocks(image_set.images, self.indices)
        if not len(self.indices) or self.indices.min() < 0 or self.indices.max() >= len(image_set):
            raise RequestError(
                f"{image_set.name}: expected at least one index in 0..{len(image_set) - 1}, "
                f"received {len(self.indices)} indices"
            )
        self.image_set = image_set

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def mixed(self) -> Mixing | None:
        """How images are to be shuffled: None for at random, each on its own."""
        return None if self._blocks is None else Mixing(BLOCK, MIXED)

    @property
    def labels(self) -> np.ndarray:
        """The labels ``[len(self)]`` of these images."""
        return self.image_set.labels[self.indices]

    def __getitem__(self, position: int | Sequence[int]) -> Batch:
        if isinstance(position, Sequence):
            return self.__getitems__(position)
        images, labels = self.__getitems__([position])
        return images[0], labels[0]

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the images ``[B, C, *space]`` and the labels ``[B]`` at some positions."""
        places = np.asarray(positions)
        rows = self.indices[places]
        images = np.asarray(self.image_set.images[rows]) if self._blocks is None else self._blocks[places]
        return torch.from_numpy(images), torch.from_numpy(self.image_set.labels[rows])


class Normalised:
    """Batches of images as they are stored, each normalised where it is used.

    Args:
        batches: images ``[B, C, *space]`` with their labels.
        normalisation: fitted to the training part.
        device: where the images go, before they are normalised.
    """

    def __init__(
        self, batches: Iterable[Batch], normalisation: Normalisation, device: torch.device | str = "cpu"
    ) -> None:
        self.batches, self.normalisation, self.device = batches, normalisation, device

    def __iter__(self) -> Iterator[Batch]:
        for images, labels in self.batches:
            yield self.normalisation.apply(images.to(self.device, non_blocking=True)), labels


class BatchSampler(Sampler[list[int]]):
    """Positions of each batch; one stream for all epochs, so an epoch can be resumed by its number.

    Args:
        count: how many images there are.
        batch_size: images a batch; with ``steps`` it may exceed ``count``.
        shuffle: draw a new order in every pass; otherwise every pass is in order.
        seed: of the order.
        steps: batches an epoch, each full; None makes an epoch one pass, its last batch maybe shorter.
        mixed: what is shuffled; None for all images at random.

    Raises:
        RequestError: a number is not positive, or the seed is negative.
    """

    def __init__(  # noqa: PLR0917
        self,
        count: int,
        batch_size: int,
        shuffle: bool,
        seed: int,
        steps: int | None = None,
        mixed: Mixing | None = None,
    ) -> None:
        for what, value in (("images", count), ("batch size", batch_size), ("steps", steps)):
            if value is not None and value < 1:
                raise RequestError(f"expected {what} of at least 1, received {value}")
        if seed < 0:
            raise RequestError(f"expected a seed of at least 0, received {seed}")
        self.count, self.batch_size, self.steps = count, batch_size, steps
        self.shuffle, self.seed, self.mixed = shuffle, seed, mixed
        self.epoch, self.first = 0, 0

    def __len__(self) -> int:
        return -(-self.count // self.batch_size) if self.steps is None else self.steps

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; otherwise each iteration goes on to the next one."""
        self.epoch = epoch

    def start_at(self, batch: int) -> None:
        """Say which batch of all epochs comes next."""
        self.epoch, self.first = divmod(batch, len(self))

    def __iter__(self) -> Iterator[list[int]]:
        # a generator: DataLoader makes iterators that it never draws from, and those must not count as epochs
        epoch, self.epoch = self.epoch, self.epoch + 1
        first, self.first = self.first, 0
        length = self.count if self.steps is None else self.steps * self.batch_size
        yield from self._batches(epoch * length + first * self.batch_size, (epoch + 1) * length)

    def _batches(self, start: int, stop: int) -> Iterator[list[int]]:
        """Yield the positions ``start..stop`` of the stream in batches."""
        batch: list[int] = []
        for number in range(start // self.count, -(-stop // self.count)):
            first = number * self.count
            for position in self._order(number)[max(start - first, 0) : stop - first]:
                batch.append(position)
                if len(batch) == self.batch_size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _order(self, number: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.count))
        generator = np.random.default_rng([self.seed, number])
        if self.mixed is None:
            return generator.permutation(self.count).tolist()
        blocks = np.split(np.arange(self.count), range(self.mixed.size, self.count, self.mixed.size))
        order = generator.permutation(len(blocks))
        windows = np.split(order, range(self.mixed.blocks, len(order), self.mixed.blocks))
        return [i for window in windows for i in generator.permutation(np.concatenate([blocks[b] for b in window]))]


class Shared(Sampler[list[Any]]):
    """The part of each batch that is a process's.

    Args:
        batches: the whole batches; a sampler with ``start_at``.
        share: which part.
    """

    def __init__(self, batches: Any, share: Share) -> None:
        self.batches, self.share = batches, share

    def __len__(self) -> int:
        return len(self.batches)

    def start_at(self, batch: int) -> None:
        """Say which batch of all epochs comes next."""
        self.batches.start_at(batch)

    def __iter__(self) -> Iterator[list[Any]]:
        rank, of = self.share
        for batch in self.batches:
            yield batch[rank * len(batch) // of : (rank + 1) * len(batch) // of]


def images_at_once(shape: Sequence[int]) -> int:
    """Return how many images of a shape are evaluated at a time: 256, fewer of large images and of volumes.

    >>> images_at_once((3, 96, 96)), images_at_once((1, 12, 72, 72))
    (151, 67)
    """
    return max(1, min(_EVALUATED, _VALUES // prod(shape)))


def loader(
    dataset: ArrayDataset,
    batch_size: int,
    *,
    shuffle: bool,
    seed: int,
    workers: int = 0,
    steps: int | None = None,
    share: Share = WHOLE,
) -> DataLoader[Batch]:
    """Return a loader of batches (images ``[B, C, *space]`` as they are stored, labels ``[B]`` int64).

    The batches depend on the arguments and the epoch alone, not on the workers or torch's global generator.

    Args:
        dataset: the images.
        batch_size: images a batch.
        shuffle: a new order in every pass.
        seed: of the order.
        workers: processes that fetch; 0 fetches in this one.
        steps: batches an epoch, each full, going on where the last epoch ended; None makes an epoch one pass.
        share: which part of each batch is given.

    Raises:
        RequestError: a number is not positive.
    """
    whole = BatchSampler(len(dataset), batch_size, shuffle, seed, steps, dataset.mixed)
    return batch_loader(dataset, Shared(whole, share), seed=seed, workers=workers)


def batch_loader(
    dataset: Dataset[Batch], sampler: Sampler[Any] | None, *, seed: int, workers: int
) -> DataLoader[Batch]:
    """Return a loader of a data set of which an item is a whole batch.

    Args:
        dataset: gives batches.
        sampler: of what it is indexed by; None for its numbers in order.
        seed: of the loader's own generator, so that it does not draw from torch's global one.
        workers: processes that fetch; 0 fetches in this one.

    Raises:
        RequestError: the number of workers is negative.
    """
    if workers < 0:
        raise RequestError(f"expected workers of at least 0, received {workers}")
    return DataLoader(
        dataset,
        sampler=sampler,
        batch_size=None,  # the sampler gives whole batches
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),
    )
