"""What a run comes to: the least and the mean speed-up, and how many cases are slower than plain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isotypic.bench.records import Result

SLOWER = 0.95
"""The speed-up under which a case counts as slower than the plain one."""


@dataclass(frozen=True)
class Summary:
    """The speed-ups of a run.

    Attributes:
        cases: how many there are.
        least: the least.
        mean: the geometric mean.
        slower: how many are under :data:`SLOWER`.
    """

    cases: int
    least: float
    mean: float
    slower: int

    def __str__(self) -> str:
        figures = f"least {self.least:.2f}, geometric mean {self.mean:.2f}"
        return f"speed-up over {self.cases} cases: {figures}, {self.slower} under {SLOWER}"


def summarise(results: Sequence[Result]) -> Summary:
    """Return the summary of at least one result."""
    ratios = [result.speed.speed_up for result in results]
    mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
    return Summary(len(ratios), min(ratios), mean, sum(ratio < SLOWER for ratio in ratios))
