"""How fast a training goes: images a second, and the share of its time in which it waits for data."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

from lightning.pytorch import Callback


@dataclass(frozen=True)
class Pace:
    """How fast a training goes, its evaluations and its first batch left out.

    Attributes:
        images_per_second: of training images, waiting included.
        waiting: share of the time, 0 to 1, in which the next batch is not there yet.
    """

    images_per_second: float
    waiting: float

    def __str__(self) -> str:
        return f"{self.images_per_second:,.3g} images/s, {self.waiting:.0%} waiting for data"


class Progress(Protocol):
    """What is told the fraction that is done, and how fast it goes where that is known."""

    def __call__(self, fraction: float, pace: Pace | None = None, /) -> object:
        """Take note."""


class Clock(Callback):
    """Measure the pace of a training. It comes behind all other callbacks: what these do is work, not waiting."""

    def __init__(self) -> None:
        self.images, self.worked, self.waited = 0, 0.0, 0.0
        self._free: float | None = None
        self._begun: float | None = None

    @property
    def pace(self) -> Pace | None:
        """The pace so far; None before the second batch."""
        seconds = self.worked + self.waited
        return Pace(self.images / seconds, self.waited / seconds) if self.images else None

    def on_train_batch_start(self, *_: Any) -> None:
        """Count the time since the last batch as waiting."""
        self._begun = time.perf_counter()
        if self._free is not None:
            self.waited += self._begun - self._free

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch, with those of other processes; the first is left out, for loaders and caches start in it."""
        now = time.perf_counter()
        if self._free is not None and self._begun is not None:
            self.images += len(batch[1]) * trainer.world_size
            self.worked += now - self._begun
        self._free = now

    def on_validation_end(self, *_: Any) -> None:
        """Leave the evaluation out."""
        if self._free is not None:
            self._free = time.perf_counter()
