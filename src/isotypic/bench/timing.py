"""Interleaved timing: the candidates take turns in one process, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Timing:
    """Seconds a call, one entry a round.

    Attributes:
        seconds: ``[rounds]``.
    """

    seconds: NDArray[np.float64]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return float(np.median(self.seconds))


@dataclass(frozen=True)
class SpeedUp:
    """How much faster than the plain candidate.

    Attributes:
        speed_up: median over the rounds of plain time / our time; 1 or more is as fast or faster.
        spread: half the distance between the quartiles of that ratio, relative to its median.
        ours_ms: our median time in milliseconds.
        plain_ms: the plain candidate's.
    """

    speed_up: float
    spread: float
    ours_ms: float
    plain_ms: float


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    budget: float,
    *,
    wait: Callable[[], object] = lambda: None,
    least: int = 7,
) -> dict[str, Timing]:
    """Time candidates in turns until a budget is spent.

    Args:
        candidates: what to call, by name; each is called twice first, untimed.
        budget: seconds to spend on all of them together.
        wait: waits until the device has done what it was given; called before the clock is read.
        least: rounds to make even when the budget is too small.

    Returns:
        The timing of each candidate; round i of one was measured beside round i of the others.
    """
    for call in candidates.values():
        call()
        call()
    wait()
    rounds: dict[str, list[float]] = {name: [] for name in candidates}
    start = time.perf_counter()
    while len(next(iter(rounds.values()))) < least or time.perf_counter() - start < budget:
        for name, call in candidates.items():
            before = time.perf_counter()
            call()
            wait()
            rounds[name].append(time.perf_counter() - before)
    return {name: Timing(np.array(seconds)) for name, seconds in rounds.items()}


def speed_up(ours: Timing, plain: Timing) -> SpeedUp:
    """Return how much faster ours is, from the ratios of neighbouring calls.

    >>> speed_up(Timing(np.array([1.0, 2.0, 1.0])), Timing(np.array([2.0, 4.0, 2.0]))).speed_up
    2.0
    """
    low, middle, high = np.quantile(plain.seconds / ours.seconds, (0.25, 0.5, 0.75))
    return SpeedUp(float(middle), float((high - low) / 2 / middle), 1e3 * ours.median, 1e3 * plain.median)
