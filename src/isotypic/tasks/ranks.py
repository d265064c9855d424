"""The processes of one training, one a device, as ``torchrun`` starts them.

Every process trains on its share of each batch, and gradients are averaged (Lightning's DDP), so that a step is that of
one process on the whole batch, but for layers that look at a batch: batch norm sees a share. The first process alone
writes and tells.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, distributed

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


def summed(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; they all call it."""
    if not _together():
        return x
    total = x.to(_meeting_place(x), copy=True)
    distributed.all_reduce(total)
    return total.to(x.device)


def gathered(x: Tensor) -> Tensor:
    """Return the rows of all processes one below the other, on the CPU; they all call it."""
    mine = x.cpu()
    if not _together():
        return mine
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, mine)
    return torch.cat(parts)


def of_the_first(x: Tensor) -> Tensor:
    """Return what the first process has, a tensor of one shape in all; they all call it."""
    if not _together():
        return x
    shared = x.to(_meeting_place(x), copy=True)
    distributed.broadcast(shared, src=0)
    return shared.to(x.device)


def _meeting_place(x: Tensor) -> torch.device:
    """Return where processes exchange a tensor: NCCL does on GPUs alone."""
    return torch.device("cuda") if distributed.get_backend() == "nccl" else x.device


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
