"""How pure a signal is where it was searched for: in the best cluster, or above a threshold.

Class 1 is the signal, class 0 the background. S and B are counts of events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isotypic.errors import RequestError
from isotypic.metrics.clustering import ClusterTable


@dataclass(frozen=True)
class Purity:
    """The cluster in which the signal stands out most.

    Attributes:
        cluster: its number.
        signal: S, in it.
        background: B, in it.
        overall: S / B of the whole set.
        efficiency: share of all signal that is in it.
    """

    cluster: int
    signal: int
    background: int
    overall: float
    efficiency: float

    @property
    def signal_to_background(self) -> float:
        """S / B in the cluster; infinite without background."""
        return self.signal / self.background if self.background else float("inf")

    @property
    def fraction(self) -> float:
        """S / (S + B) in the cluster."""
        return self.signal / (self.signal + self.background)

    @property
    def enhancement(self) -> float:
        """S / B in the cluster over that of the whole set."""
        return self.signal_to_background / self.overall


def best_cluster(table: ClusterTable, least: float = 0.1) -> Purity:
    """Return the cluster with the largest S / B among those that hold enough of the signal.

    A cluster of a single event of signal would be as pure as can be: hence ``least``.

    Args:
        table: of two classes.
        least: share of the signal that a cluster must hold, 0 to 1.

    Raises:
        RequestError: there are not two classes, one of them is empty, or no cluster holds enough.
    """
    counts = table.counts
    if counts.shape[1] != 2 or not counts.sum(0).all():
        raise RequestError(
            f"expected background and signal, both present, received counts {counts.sum(0).tolist()} of the classes"
        )
    background, signal = counts[:, 0], counts[:, 1]
    enough = np.flatnonzero((signal > 0) & (signal >= least * signal.sum()))
    if not len(enough):
        raise RequestError(
            f"expected a cluster with {least:.0%} of the signal, the fullest holds {signal.max() / signal.sum():.0%}; "
            "lower `least`"
        )
    ratio = signal[enough] / np.maximum(background[enough], 0.5)
    best = int(enough[ratio.argmax()])
    overall = float(signal.sum() / background.sum())
    return Purity(best, int(signal[best]), int(background[best]), overall, float(signal[best] / signal.sum()))


def background_rejection(scores: NDArray[np.floating], labels: NDArray[np.integer], efficiency: float) -> float:
    """Return 1 / (share of background kept) at the highest threshold that keeps enough of the signal.

    Events with one score are kept or cut together.

    Args:
        scores: ``[n]``, higher for signal.
        labels: ``[n]``, 1 for signal.
        efficiency: the share of signal to keep, above 0 and up to 1.

    Returns:
        At least 1; infinite where no background is kept.

    Raises:
        RequestError: the efficiency is out of range, or a class is empty.
    """
    signal, background = np.sort(scores[labels == 1])[::-1], scores[labels != 1]
    if not 0 < efficiency <= 1 or not len(signal) or not len(background):
        raise RequestError(
            f"expected an efficiency in (0, 1], signal and background, received {efficiency}, {len(signal)} and "
            f"{len(background)} events"
        )
    threshold = signal[max(0, int(np.ceil(efficiency * len(signal) - 1e-9)) - 1)]
    kept = float((background >= threshold).mean())
    return 1 / kept if kept else float("inf")
