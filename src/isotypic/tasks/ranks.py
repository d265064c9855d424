"""The processes of one training, one a device, as ``torchrun`` starts them.

Every process trains on its share of each batch, and gradients are averaged (Lightning's DDP), so that a step is that of
one process on the whole batch, but for layers that look at a batch: batch norm sees a share. The first process alone
writes and tells.
"""

from __future__ import annotations

import os

from isotypic.data.loading import Share
from isotypic.errors import RequestError


def share() -> Share:
    """Return which share of each batch is this process's."""
    return Share(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def leads() -> bool:
    """Return whether this process is the one that writes and tells."""
    return share().rank == 0


def devices_here() -> int:
    """Return how many of the processes run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def images_each(batch_size: int) -> int:
    """Return how many images of a batch are a process's.

    Raises:
        RequestError: a batch cannot be shared equally.
    """
    processes = share().of
    if batch_size % processes:
        raise RequestError(
            f"expected training.batch_size as a multiple of the {processes} processes, received {batch_size}"
        )
    return batch_size // processes
