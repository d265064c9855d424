"""Scoring a detector: its candidates' probabilities under every element of a group, judged by the rules of LUNA16."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isotypic.data.normalisation import Normalisation
from isotypic.groups.finite import FiniteGroup
from isotypic.inference.findings import findings
from isotypic.metrics.classification import ClassificationScores, classification_scores, disagreements
from isotypic.metrics.froc import Judged, Marks, judge
from isotypic.tasks.classification import probabilities
from isotypic.tasks.detection import DetectionMaterial
from isotypic.tasks.session import evaluation_batches

_CALLED = 0.5


@dataclass(frozen=True, eq=False)
class DetectionEvaluation:
    """What a detector did with the candidates of some scans.

    Attributes:
        group: the elements that moved the patches.
        labels: ``[n]``, 1 for candidates that lie in a nodule.
        probabilities: of a nodule, ``[|G|, n]``; row 0 is upright.
        judged: the candidates against the truth, for every element.
    """

    group: FiniteGroup
    labels: Tensor
    probabilities: Tensor
    judged: tuple[Judged, ...]

    @property
    def upright(self) -> Judged:
        """The patches as they are."""
        return self.judged[0]

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements in words."""
        return tuple(self.group.describe(g) for g in range(self.group.order))

    @cached_property
    def detected(self) -> NDArray[np.float64]:
        """How much every nodule adds to the CPM under every element, ``[|G|, nodules]``: its mean is the CPM."""
        return np.stack([judged.detected() for judged in self.judged])

    @property
    def nodules(self) -> list[str]:
        """A name for every nodule: its scan, and its number there."""
        places, found = self.upright.nodule_scan, self.upright.scans
        numbers = [int((places[:i] == place).sum()) for i, place in enumerate(places)]
        return [f"{found[place]} {number}" for place, number in zip(places, numbers, strict=True)]

    @property
    def classified(self) -> ClassificationScores:
        """Scores of the upright candidates as a classification, nodules being the positive class."""
        positive = self.probabilities[0]
        return classification_scores(torch.stack([1 - positive, positive], 1), self.labels)

    @property
    def disagreeing(self) -> int:
        """How many nodules are called one, at a probability of one half, under some elements and not under others."""
        called = np.stack([judged.nodule_probability >= _CALLED for judged in self.judged])
        return disagreements(torch.from_numpy(called))


def evaluate_detection(
    model: nn.Module,
    material: DetectionMaterial,
    rows: NDArray[np.int64],
    normalisation: Normalisation,
    group: FiniteGroup,
    *,
    device: torch.device | str = "cpu",
) -> DetectionEvaluation:
    """Run a detector on candidates, their patches moved by every element of a group, and judge what it says.

    Args:
        model: maps patches to logits of the two classes.
        material: the candidates and the truth.
        rows: which candidates; their scans are those that are judged.
        normalisation: what patches go through first.
        group: a group of the voxel grid.
        device: where the network runs.
    """
    candidates = material.candidates
    batches = evaluation_batches(candidates.patches, rows, normalisation, device)
    found, labels = probabilities(model.to(device), batches, group)
    scans = material.scans_of(rows)
    nodules, excluded = (findings(points, scans) for points in (candidates.nodules, candidates.excluded))
    where = _places(candidates.patches.subjects, rows), candidates.position[rows]
    judged = (judge(Marks(*where, each.double().numpy()), nodules, excluded, scans=scans) for each in found[..., 1])
    return DetectionEvaluation(group, labels, found[..., 1], tuple(judged))


def _places(subjects: NDArray[np.str_] | None, rows: NDArray[np.int64]) -> NDArray[np.str_]:
    return np.full(len(rows), "") if subjects is None else subjects[rows]
