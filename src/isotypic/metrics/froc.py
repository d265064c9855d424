"""Free-response ROC by the rules of LUNA16: sensitivity against false positives a scan.

A *mark* is a point in a scan with a probability; a *finding* is a nodule with a centre and a diameter. Of every scan at
most so many marks count, the most probable ones. Then

* a mark hits a finding if it lies less than half of its diameter from its centre; a diameter below zero stands for one
  that nobody measured, and 10 mm are taken;
* a finding that is hit has the highest probability of the marks that hit it, and its further hits cost nothing;
* a mark that hits no nodule but an excluded finding (too small, not a nodule, not agreed upon) is dropped;
* any other mark is a false positive;
* a nodule that nobody hits is missed, and stays in the denominator; so do scans without marks, or without nodules.

With threshold t the sensitivity is the share of nodules with a probability of at least t, and the rate the number of
false positives with at least t over the number of scans. The *CPM* is the mean of the sensitivities at 1/8, 1/4, 1/2,
1, 2, 4 and 8 false positives a scan. Between two points of the curve either the one with the nearest rate counts
(``nearest``), or a straight line (``linear``); where several have one rate, the highest sensitivity. Behind the last
point the sensitivity stays what it is there.

The interval is that of the bootstrap by scans: as many are drawn with replacement, 1,000 times, and a curve's figures
lie between their 2.5th and 97.5th percentile. Draws without a nodule are left out.

Source:
    A. A. A. Setio et al., Validation, comparison, and combination of algorithms for automatic detection of pulmonary
    nodules in computed tomography images: the LUNA16 challenge, Medical Image Analysis 42 (2017), arXiv 1612.08012.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from isotypic.errors import RequestError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives a scan at which the CPM takes the sensitivity."""

MOST_MARKS = 100
UNMEASURED = 10.0
"""Millimetres that stand for a diameter below zero."""

RESAMPLES = 1000
MISSED = -np.inf
"""The probability of a nodule that nobody hits."""


class Between(str, Enum):
    """What the sensitivity is between two points of a curve."""

    NEAREST = "nearest"
    LINEAR = "linear"


@dataclass(frozen=True, eq=False)
class Marks:
    """Points that were found.

    Attributes:
        scan: ``[n]`` str, which scan each lies in.
        position: ``[n, 3]``, in millimetres.
        probability: ``[n]``.

    Raises:
        RequestError: the lengths differ, or a number is not finite.
    """

    scan: NDArray[np.str_]
    position: Floats
    probability: Floats

    def __post_init__(self) -> None:
        _check("marks", self.scan, self.position, self.probability)


@dataclass(frozen=True, eq=False)
class Findings:
    """Nodules, or what is excluded.

    Attributes:
        scan: ``[n]`` str, which scan each lies in.
        position: ``[n, 3]``, in millimetres.
        diameter: ``[n]``, in millimetres; below zero where nobody measured it.

    Raises:
        RequestError: the lengths differ, or a number is not finite.
    """

    scan: NDArray[np.str_]
    position: Floats
    diameter: Floats

    def __post_init__(self) -> None:
        _check("findings", self.scan, self.position, self.diameter)

    @classmethod
    def none(cls) -> Findings:
        """Return no findings."""
        return cls(np.array([], str), np.zeros((0, 3)), np.zeros(0))

    @property
    def radius(self) -> Floats:
        """Half of the diameter."""
        return np.where(self.diameter < 0, UNMEASURED, self.diameter) / 2


@dataclass(frozen=True, eq=False)
class Judged:
    """Marks that were compared with the truth; those of disjoint scans may be added.

    Attributes:
        scans: names of all scans.
        nodule_scan: ``[n]``, the place in ``scans`` of every nodule.
        nodule_probability: ``[n]``, the highest that hits it, or :data:`MISSED`.
        false_scan: ``[m]``, the place of every false positive.
        false_probability: ``[m]``.
    """

    scans: tuple[str, ...]
    nodule_scan: Indices
    nodule_probability: Floats
    false_scan: Indices
    false_probability: Floats

    def __add__(self, other: Judged) -> Judged:
        twice = set(self.scans) & set(other.scans)
        if twice:
            raise RequestError(f"expected other scans to add, received {min(twice)!r} twice")
        return Judged(
            self.scans + other.scans,
            np.concatenate([self.nodule_scan, other.nodule_scan + len(self.scans)]),
            np.concatenate([self.nodule_probability, other.nodule_probability]),
            np.concatenate([self.false_scan, other.false_scan + len(self.scans)]),
            np.concatenate([self.false_probability, other.false_probability]),
        )

    @property
    def found(self) -> int:
        """How many nodules are hit by some mark."""
        return int((self.nodule_probability > MISSED).sum())

    def detected(self, rates: Sequence[float] = RATES) -> Floats:
        """Return how much every nodule adds to the mean sensitivity at some rates, ``[nodules]`` in 0..1.

        At a rate between two points of the curve, a share ``lambda`` of the way from one to the next, a nodule counts
        ``(1 - lambda) [found at the one] + lambda [found at the next]``: so the mean over the nodules is that of
        ``curve().at(rates, Between.LINEAR)``, with the rates of :data:`RATES` the CPM.
        """
        curve = self.curve().ends()
        wanted = np.asarray(rates, dtype=np.float64)
        before = np.searchsorted(curve.rate, wanted, side="right") - 1
        after = np.minimum(before + 1, len(curve.rate) - 1)
        gap = curve.rate[after] - curve.rate[before]
        share = np.divide(wanted - curve.rate[before], gap, out=np.zeros_like(wanted), where=gap > 0)
        found = [self.nodule_probability[:, None] >= curve.threshold[point] for point in (before, after)]
        return ((1 - share) * found[0] + share * found[1]).mean(1)

    def curve(self, weights: ArrayLike | None = None) -> Curve:
        """Return the FROC curve, from no mark at all to all of them.

        Args:
            weights: ``[scans]``, how often every scan counts; None for once.
        """
        often = np.ones(len(self.scans)) if weights is None else np.asarray(weights, dtype=np.float64)
        nodules, false = often[self.nodule_scan], often[self.false_scan]
        with np.errstate(invalid="ignore", divide="ignore"):
            sensitivity = self._above(self._nodule_step, nodules) / nodules.sum()
            rate = self._above(self._false_step, false) / often.sum()
        return Curve(np.concatenate([[np.inf], self._thresholds]), rate, sensitivity)

    @cached_property
    def _thresholds(self) -> Floats:
        """All probabilities, falling."""
        every = np.concatenate([self.nodule_probability[self.nodule_probability > MISSED], self.false_probability])
        return np.unique(every)[::-1]

    @cached_property
    def _nodule_step(self) -> Indices:
        return np.searchsorted(-self._thresholds, -self.nodule_probability)

    @cached_property
    def _false_step(self) -> Indices:
        return np.searchsorted(-self._thresholds, -self.false_probability)

    def _above(self, step: Indices, weights: Floats) -> Floats:
        """Return the sum of the weights at and above every threshold; missed nodules lie behind the last one."""
        counted = np.bincount(step, weights, len(self._thresholds) + 1)[: len(self._thresholds)]
        return np.concatenate([[0.0], counted.cumsum()])


@dataclass(frozen=True, eq=False)
class Curve:
    """A FROC curve.

    Attributes:
        threshold: ``[k]``, falling from infinity.
        rate: ``[k]``, false positives a scan with at least that probability, rising from 0.
        sensitivity: ``[k]``, rising from 0; NaN where there are no nodules.
    """

    threshold: Floats
    rate: Floats
    sensitivity: Floats

    def ends(self) -> Curve:
        """Return the curve with one point a rate, the last, which has the highest sensitivity."""
        last = np.append(np.diff(self.rate) > 0, True)
        return Curve(self.threshold[last], self.rate[last], self.sensitivity[last])

    def at(self, rates: Sequence[float] = RATES, between: Between = Between.LINEAR) -> Floats:
        """Return the sensitivity at some rates of false positives a scan."""
        ends = self.ends()
        rate, sensitivity = ends.rate, ends.sensitivity
        wanted = np.asarray(rates, dtype=np.float64)
        if between is Between.LINEAR:
            return np.interp(wanted, rate, sensitivity)
        nearest = np.abs(rate - wanted[:, None])
        return sensitivity[len(rate) - 1 - nearest[:, ::-1].argmin(1)]

    def cpm(self, between: Between = Between.LINEAR) -> float:
        """Return the mean of the sensitivities at :data:`RATES`."""
        return float(self.at(RATES, between).mean())


@dataclass(frozen=True, eq=False)
class Intervals:
    """Percentiles of the bootstrap by scans.

    Attributes:
        cpm: (2.5th, 97.5th) percentile.
        sensitivity: ``[2, rates]``, the same of the sensitivity at every rate.
        used: draws that have a nodule.
    """

    cpm: tuple[float, float]
    sensitivity: Floats
    used: int


def judge(
    marks: Marks,
    nodules: Findings,
    excluded: Findings | None = None,
    *,
    scans: Sequence[str] | None = None,
    most: int = MOST_MARKS,
) -> Judged:
    """Compare marks with the truth.

    Args:
        marks: what was found.
        nodules: what there is to find.
        excluded: findings that neither count nor cost; None for none.
        scans: names of all scans that were looked at; findings in others are left out. None: those that are named.
        most: marks a scan.

    Raises:
        RequestError: a mark lies in another scan, a scan is named twice, there is none, or ``most`` is not positive.
    """
    excluded = Findings.none() if excluded is None else excluded
    names = _names(marks, nodules, excluded) if scans is None else tuple(scans)
    _check_scans(names, marks, most)
    rows = zip(*(_by_scan(part.scan, names) for part in (marks, nodules, excluded)), strict=True)
    judged = [_judge_scan(marks, nodules, excluded, some, most) for some in rows]
    return Judged(
        names,
        _places([hits for hits, _ in judged]),
        np.concatenate([hits for hits, _ in judged]),
        _places([false for _, false in judged]),
        np.concatenate([false for _, false in judged]),
    )


def bootstrap(judged: Judged, *, seed: int, between: Between = Between.LINEAR, resamples: int = RESAMPLES) -> Intervals:
    """Return how far the figures of a curve vary with the scans.

    Args:
        judged: marks that were compared with the truth.
        seed: of the draws.
        between: what the sensitivity is between two points.
        resamples: how often scans are drawn.

    Raises:
        RequestError: no scan has a nodule.
    """
    if not len(judged.nodule_scan):
        raise RequestError("expected a nodule in some scan for an interval, received none")
    curves = (judged.curve(weights) for weights in _draws(len(judged.scans), seed, resamples))
    found = np.array([curve.at(RATES, between) for curve in curves])
    found = found[np.isfinite(found).all(1)]
    low, high = np.percentile(found.mean(1), (2.5, 97.5))
    return Intervals((float(low), float(high)), np.percentile(found, (2.5, 97.5), axis=0), len(found))


def _draws(count: int, seed: int, resamples: int) -> Iterator[NDArray[np.intp]]:
    """Yield how often every one of so many is drawn."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(0, count, count), minlength=count)


def _by_scan(scan: NDArray[np.str_], names: Sequence[str]) -> list[Indices]:
    """Return the rows that are of every scan, in their order."""
    owner = pd.Index(list(names), dtype=object).get_indexer(pd.Index(scan.tolist(), dtype=object))
    order = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[order], np.arange(len(names) + 1))
    return [order[start:end] for start, end in pairwise(ends.tolist())]


def _judge_scan(
    marks: Marks, nodules: Findings, excluded: Findings, rows: Sequence[Indices], most: int
) -> tuple[Floats, Floats]:
    """Return the probabilities of the nodules of a scan, and of its false positives, by the rows that are of it."""
    mine, *theirs = rows
    mine = mine[np.argsort(-marks.probability[mine], kind="stable")[:most]]
    probability, position = marks.probability[mine], marks.position[mine]
    hits, dropped = (_hits(position, *pair) for pair in zip((nodules, excluded), theirs, strict=True))
    best = np.where(hits, probability[:, None], MISSED).max(0, initial=MISSED)
    return best, probability[~hits.any(1) & ~dropped.any(1)]


def _hits(position: Floats, findings: Findings, there: Indices) -> NDArray[np.bool_]:
    """Return which marks hit which findings of a scan, ``[marks, findings]``."""
    return cdist(position, findings.position[there]) < findings.radius[there]


def _places(parts: list[Floats]) -> Indices:
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _names(*parts: Marks | Findings) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part.scan.tolist()))


def _check(what: str, scan: NDArray[np.str_], position: Floats, value: Floats) -> None:
    if position.shape != (len(scan), 3) or value.shape != (len(scan),):
        raise RequestError(
            f"expected {what} with a position [n, 3] and a number [n] each, received {len(scan)} scans, positions "
            f"{list(position.shape)} and numbers {list(value.shape)}"
        )
    if not (np.isfinite(position).all() and np.isfinite(value).all()):
        raise RequestError(f"expected {what} with finite numbers, received NaN or infinity")


def _check_scans(names: tuple[str, ...], marks: Marks, most: int) -> None:
    if not names or len(set(names)) < len(names):
        raise RequestError(f"expected the names of different scans, received {len(names)}, {len(set(names))} different")
    strange = set(marks.scan.tolist()) - set(names)
    if strange:
        raise RequestError(f"expected marks in the {len(names)} scans, received {min(strange)!r} ({len(strange)} such)")
    if most < 1:
        raise RequestError(f"expected at least one mark a scan, received {most}")
