"""What all cases of a run share, and the machine that it runs on."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from isotypic.errors import RequestError, unknown
from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.compute import Compute
from isotypic.nn.matching import Match
from isotypic.ops.layout import CHANNELS_LAST
from isotypic.studies.environment import commit


class Mode(str, Enum):
    """What is timed."""

    FORWARD = "forward"
    """Inference: what is made of the weight is kept while the weight stands still."""

    STEP = "step"
    """Forward and backward with a new weight each time, as in training."""


class Dtype(str, Enum):
    """Of weights and signals."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"


class Device(str, Enum):
    """Where it runs; ``auto`` is cuda where there is one."""

    CPU = "cpu"
    CUDA = "cuda"
    AUTO = "auto"


Choice = TypeVar("Choice", bound=Enum)

MATCHES = (Match.CHANNELS, Match.PARAMETERS)


def choice(kind: str, word: str, words: type[Choice]) -> Choice:
    """Return the member of an enum that a word names.

    Raises:
        RequestError: there is none, with the nearest.
    """
    known = [member.value for member in words]
    if word not in known:
        raise unknown(kind, word, known)
    return words(word)


@dataclass(frozen=True)
class Setting:
    """What all cases of a run share.

    Attributes:
        dtype: of weights and signals.
        compute: how the group layers are told to compute.
        match: what the plain candidate has in common with ours: ``"channels"`` or ``"parameters"``.
        device: ``"cpu"`` or ``"cuda"``.
        seconds: time to spend on a case.
        memory: whether the peak memory of a layer's call is measured too; a network's always is.
    """

    dtype: str = Dtype.FLOAT32.value
    compute: str = Compute.AUTO.value
    match: str = Match.CHANNELS.value
    device: str = Device.CPU.value
    seconds: float = 1.0
    memory: bool = False

    def __post_init__(self) -> None:
        choice("dtype", self.dtype, Dtype)
        choice("compute", self.compute, Compute)
        choice("device", self.device, Device)
        if self.match not in [match.value for match in MATCHES]:
            raise unknown("match", self.match, [match.value for match in MATCHES])

    @property
    def kind(self) -> dict[str, Any]:
        """Device and dtype, as tensors and modules take them."""
        return {"device": self.device, "dtype": getattr(torch, self.dtype)}

    @property
    def wait(self) -> Callable[[], object]:
        """What waits until the device has done what it was given."""
        return torch.cuda.synchronize if self.device == "cuda" else lambda: None


def resolved_device(word: str) -> str:
    """Return ``"cpu"`` or ``"cuda"``.

    Raises:
        RequestError: another word, or cuda where there is none.
    """
    device = choice("device", word, Device)
    there = torch.cuda.is_available()
    if device is Device.CUDA and not there:
        raise RequestError("expected a machine with CUDA for --device cuda, found none; give --device cpu")
    return "cuda" if there and device is not Device.CPU else "cpu"


def signal(setting: Setting, *shape: int) -> Tensor:
    """Return noise ``[batch, channels, *space]`` with its channels last in memory."""
    layout = CHANNELS_LAST[len(shape)]
    return torch.randn(shape, **setting.kind).to(memory_format=layout)


def channels_last(module: nn.Module, dim: int) -> nn.Module:
    """Lay the weights of an ordinary module out with their channels last."""
    layout = CHANNELS_LAST[dim + 2]
    return module.to(memory_format=layout)  # type: ignore[call-overload]


def grid_group(name: str, dim: int) -> FiniteGroup:
    """Return a group of the grid of so many axes.

    Raises:
        RequestError: no such group, one that acts on another number of axes, or one that does not map the grid.
    """
    try:
        group = named(name, dim)
    except RequestError:
        if _is_group(name, 5 - dim):
            place = {2: "the plane", 3: "space"}
            wanted = f"expected a group of {place[dim]} (--dim {dim}), received {name}, a group of {place[5 - dim]}"
            raise RequestError(f"{wanted}: give --dim {5 - dim}") from None
        raise
    group.grid_matrices  # noqa: B018
    return group


def _is_group(name: str, dim: int) -> bool:
    try:
        named(name, dim)
    except RequestError:
        return False
    return True


DECISIVE = ("cpu", "accelerator", "threads", "torch")
"""What of a machine timings depend on."""


def machine(device: str) -> dict[str, Any]:
    """Return what timings depend on, and what was measured: processor, threads, versions, commit."""
    return {
        "cpu": f"{_processor()}, {os.cpu_count()} cores",
        "accelerator": torch.cuda.get_device_name() if device == "cuda" else "none",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "isotypic": version("isotypic"),
        "commit": commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named_so = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named_so, platform.processor() or platform.machine())


def differing(before: Mapping[str, Any], now: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Yield in words what two runs do not have in common."""
    for name in names:
        if before.get(name) != now.get(name):
            yield f"{name} {before.get(name)} there, {now.get(name)} here"
