"""What decides about clusters of jets: whether they are the particles, or whether they find a signal.

Of several particles every jet adds 1 where its cluster is matched with its particle: the mean is clustering accuracy.
Where the classes are background and signal, every event of the signal adds the share of the background that looks less
like signal than itself: the mean is the area under the ROC curve. An event looks like signal as it is near the centroid
of the cluster in which the signal stands out most *in the validation events*; a supervised network says it itself. That
choice of a cluster is the only use of labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from isotypic.metrics.anomaly import background_rejection, best_cluster
from isotypic.metrics.clustering import ClusterTable
from isotypic.studies.records import Measure, Scores
from isotypic.tasks.clustering.embedding import Space
from isotypic.tasks.clustering.loss import squared_distances
from isotypic.tasks.clustering.schedule import ClusterTraining

SEARCH = ("background", "signal")
"""The classes of a search for a signal."""

NMI, ARI, BARE, BY_MASS, PRETEXT = "NMI", "ARI", "k-means on the points", "k-means on the mass", "accuracy of classes"
FRACTION, EFFICIENCY = "signal fraction of the best cluster", "signal efficiency of the best cluster"
RATIO, ENHANCEMENT = "signal to background in the best cluster", "over signal to background of all"
EFFICIENCIES = (0.3, 0.5)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tested:
    """The jets of a test in the space of a network.

    Attributes:
        as_is: the test jets as they are.
        permuted: with their particles in another order.
        validation: the validation jets.
        centroids: ``[K, D]``.
        config: what the network was trained by.
        classes: how many particles there are.
    """

    as_is: Space
    permuted: Space
    validation: Space
    centroids: Tensor
    config: ClusterTraining
    classes: int

    @property
    def shape(self) -> tuple[int, int]:
        """How many clusters and classes there are; the clusters of a supervised network are its classes."""
        return (self.classes if self.config.pretext == "label" else len(self.centroids), self.classes)

    def clusters(self, space: Space) -> NDArray[np.int64]:
        """Return the cluster of every jet."""
        return space.predicted(self.centroids, self.config)

    def table(self, space: Space) -> ClusterTable:
        """Return how many jets of each class are in each cluster."""
        return space.table(self.clusters(space), self.shape)

    @cached_property
    def matching(self) -> NDArray[np.int64]:
        """The class of every cluster in the best matching over the test jets as they are; -1 for none."""
        return self.table(self.as_is).matching

    def matched(self, space: Space) -> NDArray[np.int64]:
        """Return the class that the cluster of every jet is matched with; -1 for none."""
        return self.matching[self.clusters(space)]


class Judge(ABC):
    """What decides.

    Attributes:
        measure: the figure.
        further: what is shown beside it.
    """

    measure: Measure
    further: tuple[str, ...]

    @abstractmethod
    def units(self, tested: Tested) -> NDArray[Any]:
        """Return what tells apart that of which each adds to the measure, ``[n]``."""

    @abstractmethod
    def shares(self, tested: Tested, space: Space) -> Floats:
        """Return what each adds, ``[n]`` from 0 to 1, as a space has it."""

    @abstractmethod
    def scores(self, tested: Tested, space: Space) -> Scores:
        """Return the figures of a space."""

    def figures(self, tested: Tested) -> dict[str, float]:
        """Return figures of the test jets of any scale."""
        return {}


class ByParticle(Judge):
    """Whether clusters are the particles that jets come from."""

    measure = Measure(
        name="clustering accuracy",
        better="clusters more accurately",
        prediction="cluster",
        unit="jet",
        sample="jet",
    )
    further = (NMI, ARI, BARE, BY_MASS)

    def units(self, tested: Tested) -> NDArray[Any]:
        """Return the particle of every jet."""
        return tested.as_is.label.numpy()

    def shares(self, tested: Tested, space: Space) -> Floats:
        """Return 1 where the cluster is matched with the particle."""
        return (tested.matched(space) == space.label.numpy()).astype(np.float64)

    def scores(self, tested: Tested, space: Space) -> Scores:
        """Return accuracy, NMI and ARI, the same accuracy of both controls, and the confusion."""
        table = tested.table(space)
        figures: dict[str, float | None] = {
            self.measure.name: table.accuracy,
            NMI: table.nmi,
            ARI: table.ari,
            BARE: space.bare(tested.shape).accuracy,
            BY_MASS: space.by_mass(tested.shape).accuracy,
            PRETEXT: float(space.right.double().mean()),
        }
        return Scores(figures=figures, confusion=table.confusion)


class BySignal(Judge):
    """Whether clusters find a signal."""

    measure = Measure(
        name="AUC of the signal",
        better="finds more of the signal",
        prediction="cluster",
        unit="signal event",
        sample="event",
    )
    further = (FRACTION, EFFICIENCY)

    def units(self, tested: Tested) -> NDArray[Any]:
        """Return the rows of the signal."""
        return tested.as_is.row[tested.as_is.label == 1].numpy()

    def shares(self, tested: Tested, space: Space) -> Floats:
        """Return the share of the background that looks less like signal; what looks the same counts half."""
        return outranked(self._looks(tested, space), space.label.numpy())

    def scores(self, tested: Tested, space: Space) -> Scores:
        """Return the area under the ROC curve, and what is in the best cluster."""
        counts = tested.table(space).counts[self._best(tested)]
        figures: dict[str, float | None] = {
            self.measure.name: float(self.shares(tested, space).mean()),
            FRACTION: float(counts[1] / max(1, counts.sum())),
            EFFICIENCY: float(counts[1] / max(1, int((space.label == 1).sum()))),
        }
        return Scores(figures=figures)

    def figures(self, tested: Tested) -> dict[str, float]:
        """Return signal to background in the best cluster, and the rejection of background."""
        counts, space = tested.table(tested.as_is).counts, tested.as_is
        background, signal = counts[self._best(tested)]
        ratio, overall = signal / max(0.5, background), counts[:, 1].sum() / max(0.5, counts[:, 0].sum())
        looks, labels = self._looks(tested, space), space.label.numpy()
        rejection = {
            f"1 / background at {e:.0%} of the signal": background_rejection(looks, labels, e) for e in EFFICIENCIES
        }
        return {RATIO: float(ratio), ENHANCEMENT: float(ratio / overall), **rejection}

    def _best(self, tested: Tested) -> int:
        return best_cluster(tested.table(tested.validation), least=0.5 / tested.shape[0]).cluster

    def _looks(self, tested: Tested, space: Space) -> Floats:
        """Return how much events look like signal."""
        if tested.config.pretext == "label":
            return space.last.double().numpy()
        return -squared_distances(space.latent.double(), tested.centroids.double())[:, self._best(tested)].numpy()


def judge_of(classes: Sequence[str]) -> Judge:
    """Return what decides about jets of some classes."""
    return BySignal() if tuple(classes) == SEARCH else ByParticle()


def outranked(scores: Floats, labels: NDArray[np.integer]) -> Floats:
    """Return the share of the background (0) with a lower score of every signal (1), ties counting half.

    >>> outranked(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 0, 1, 1]))
    array([0.75, 1.  ])
    """
    signal = scores[labels == 1]
    among_all, among_own = rankdata(scores)[labels == 1], rankdata(signal)
    return (among_all - among_own) / max(1, int((labels != 1).sum()))
