"""What a training step will take of memory, found before the first one.

A step is made on a copy of the task with two images and with four, and the bytes of all living tensors are followed.
What forward and backward take grows in proportion to the images, ``least + each n``; what the optimiser takes does not.
Where a step of all images would take more than there is, the batch is computed in parts whose gradients are added up:
the same step, if no layer looks at the whole batch. Batch norm does; then the request is refused with what would fit.

Workspaces inside an operator are not followed, nor what mixed precision saves; a tenth of what is free is left for the
former.
"""

from __future__ import annotations

import weakref
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from isotypic.errors import RequestError
from isotypic.nn.norm import GroupBatchNorm
from isotypic.tasks.followed import FollowedTask
from isotypic.tasks.optimisation import TrainingConfig, optimiser

_FEW, _MORE = 2, 4
_SHARE = 0.9
_GIGABYTE = 1e9
_MOST_OF_A_VALUE = 1e6
"""Bytes that a step may keep for every value of its images, by far more than any network of ours."""
_OVER_THE_BATCH = (nn.modules.batchnorm._BatchNorm, GroupBatchNorm)
_MEMINFO, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class StepMemory:
    """What a training step takes of memory, in bytes.

    Attributes:
        least: of forward and backward, whatever the images.
        each: what an image adds to that.
        update: of the optimiser.
    """

    least: float
    each: float
    update: float

    def of(self, images: int) -> float:
        """Return the bytes that a step of some images takes."""
        return max(self.least + self.each * images, self.update)


def images_at_a_time(
    task: FollowedTask, batches: DataLoader[Any], images: int, config: TrainingConfig, device: torch.device
) -> int:
    """Return how many images of a step are to be computed at a time.

    Args:
        task: on the CPU; it is not changed.
        batches: whose sampler gives what its data set is indexed by.
        images: of a step, on this device.
        config: ``micro_batch`` decides where it is given.
        device: where training will go on.

    Raises:
        RequestError: a step does not fit into the memory.
    """
    wanted = config.micro_batch or images
    if images % wanted:
        raise RequestError(f"expected training.micro_batch to divide the {images} images of a step, received {wanted}")
    room = _room(config, device)
    if room is None or wanted <= _MORE or _is_small(batches, wanted, room):
        return wanted
    memory = step_memory(task, batches, config)
    if memory.of(wanted) <= room:
        return wanted
    fitting = [n for n in range(1, wanted) if images % n == 0 and memory.of(n) <= room]
    if fitting and not any(isinstance(module, _OVER_THE_BATCH) for module in task.model.modules()):
        return fitting[-1]
    raise RequestError(_too_large(wanted, memory.of(wanted), room, fitting))


def step_memory(task: FollowedTask, batches: DataLoader[Any], config: TrainingConfig) -> StepMemory:
    """Return what a step takes of memory, once the optimiser has its state."""
    (few, update), (more, _) = (_a_step(task, batches, config, count) for count in (_FEW, _MORE))
    each = max(0.0, (more - few) / (_MORE - _FEW))
    return StepMemory(few - _FEW * each, each, update)


class _Living(TorchDispatchMode):
    """Follow the storages of all tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.most = 0, 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._seen:
            return
        self._seen.add(storage)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._release, storage.nbytes())

    def _release(self, size: int) -> None:
        self.now -= size

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.see(leaf)
        return made


def _a_step(task: FollowedTask, batches: DataLoader[Any], config: TrainingConfig, count: int) -> tuple[int, int]:
    """Make a step of some images on a copy of a task, and leave no trace of it.

    Returns:
        The most bytes of forward and backward with the state of the optimiser, and of the optimiser.
    """
    with torch.random.fork_rng(devices=[]):
        copy = deepcopy(task).train().to(torch.float64 if config.precision == "64" else torch.float32)
        batch = batches.dataset[next(iter(deepcopy(batches.sampler)))[:count]]
        living, updating = _Living(), optimiser(copy.model.parameters(), config)
        for tensor in (*copy.parameters(), *copy.buffers()):
            living.see(tensor)
        with living:
            copy.training_step(copy.on_after_batch_transfer(batch, 0), 0).backward()
            through, before = living.most, living.now
            updating.step()
        return through + living.now - before, living.most


def _is_small(batches: DataLoader[Any], count: int, room: float) -> bool:
    """Return whether a step would fit into the memory whatever the network."""
    images, _ = batches.dataset[next(iter(deepcopy(batches.sampler)))[:1]]
    return count * images.numel() * _MOST_OF_A_VALUE <= room


def _room(config: TrainingConfig, device: torch.device) -> float | None:
    """Return the bytes that a step may take, or None where that is not known."""
    if config.memory_limit is not None:
        return config.memory_limit * _GIGABYTE
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()
    return None if free is None else _SHARE * free


def _free_memory() -> float | None:
    """Return the bytes that the system, and the control group of this process, would still give."""
    found = [read() for read in (_free_of_the_system, _free_of_the_group)]
    return min((free for free in found if free is not None), default=None)


def _free_of_the_system() -> float | None:
    if not _MEMINFO.exists():
        return None
    entries = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    return float(entries["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in entries else None


def _free_of_the_group() -> float | None:
    most, now = (_GROUP / name for name in ("memory.max", "memory.current"))
    if not most.exists() or not now.exists():
        return None
    limit = most.read_text(encoding="ascii").strip()
    if limit == "max":
        return None
    entries = dict(line.split() for line in (_GROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    return float(limit) - float(now.read_text(encoding="ascii")) + float(entries["inactive_file"])


def _too_large(wanted: int, needed: float, room: float, fitting: list[int]) -> str:
    means = f"training.micro_batch={fitting[-1]} (batch norm then sees as many images at a time), " if fitting else ""
    return (
        f"expected a step within {room / _GIGABYTE:.1f} GB, {wanted} images at a time would take about "
        f"{needed / _GIGABYTE:.1f} GB: set {means}a smaller training.batch_size, smaller images or a narrower model"
    )
