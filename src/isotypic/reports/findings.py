"""The figures of a study, computed once from its records: means, paired comparisons, label worth.

Cells that failed or are missing leave gaps, never zeros: a comparison uses the seeds that both arms finished, and
says how many.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from isotypic.errors import RequestError
from isotypic.reports.notation import count
from isotypic.studies.folder import StudyRecords
from isotypic.studies.records import NO_AUGMENTATION, PERMUTATIONS, ROTATED, UPRIGHT, ArmRef, Measure, Outcome
from isotypic.studies.statistics import (
    Interval,
    LabelWorth,
    label_worth_interval,
    mean_interval,
    overall_difference,
    paired_bootstrap,
)

TESTS = (ROTATED, UPRIGHT)
PERMUTED = "permuted"


@dataclass(frozen=True)
class ArmMean:
    """An arm's mean measure at one size with its interval, and the number of seeds behind it."""

    interval: Interval
    seeds: int


@dataclass(frozen=True)
class Comparison:
    """The paired difference a - b by size and overall, with the sizes and seeds that the overall figure uses."""

    a: ArmRef
    b: ArmRef
    test: str
    by_size: dict[int, Interval]
    overall: Interval | None
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Pace:
    """How a run came to the best validation loss of the augmented arm.

    Args:
        epochs: until its validation loss was that, or None where it never was.
        seconds: of an epoch.
    """

    epochs: float | None
    seconds: float


@dataclass(frozen=True)
class Findings:
    """All that the page says in numbers.

    Args:
        study: the records.
        arms: the arms with a finished cell, in the order of the study.
        means: the measure by test set, arm and size; gaps are absent.
        primary: the comparison declared in advance, built-in minus augmented.
        comparisons: every pair of arms on every test set, the later arm minus the earlier.
        worths: label worth by size on the declared test; empty when there are fewer than two sizes.
        worth_by_arm: the same of every arm but the augmented one, against that.
    """

    study: StudyRecords
    arms: tuple[ArmRef, ...]
    means: dict[tuple[str, ArmRef, int], ArmMean]
    primary: Comparison
    comparisons: tuple[Comparison, ...]
    worths: tuple[LabelWorth, ...]
    worth_by_arm: dict[ArmRef, tuple[LabelWorth, ...]]

    @property
    def measure(self) -> Measure:
        """The figure of merit that decides."""
        return self.study.info.measure

    @property
    def declared(self) -> tuple[ArmRef, ArmRef]:
        """The two arms of the question."""
        return self.primary.a, self.primary.b

    @property
    def weighs_augmentation(self) -> bool:
        """Whether the question sets an augmentation against a symmetry; others set one network against another."""
        return self.primary.b.augmentation != NO_AUGMENTATION

    @property
    def contender(self) -> str:
        """What the question asks the worth of, behind "the": the symmetry, or the network that is named first."""
        return "symmetry" if self.weighs_augmentation else self.primary.a.label

    @property
    def moved(self) -> str:
        """What is done to the test images besides taking them as they are: "rotated", or "permuted" to jets."""
        return PERMUTED if any(r.outcome and r.outcome.group == PERMUTATIONS for r in self.study.records) else ROTATED

    @property
    def drawn(self) -> bool:
        """Whether test images were turned by elements drawn at random, not by every element of a group."""
        return any(predictions.drawn for predictions in self.study.predictions.values())

    @property
    def counts_changes(self) -> bool:
        """Whether it is known of how many images the prediction changes."""
        return any(record.outcome and record.outcome.changed_images is not None for record in self.study.records)

    @property
    def tests(self) -> list[str]:
        """The test sets with a figure, the declared one first."""
        return sorted({test for test, _, _ in self.means}, key=lambda test: test != self.primary.test)

    @property
    def largest(self) -> int:
        """The largest training-set size."""
        return self.study.info.sizes[-1]

    @property
    def finished(self) -> int:
        """The largest training-set size with a finished run."""
        return max(record.cell.size for record in self.study.records if record.outcome)

    def worth(self) -> LabelWorth | None:
        """Return the label worth at the middle size, which is fixed before the results are seen."""
        sizes = self.study.info.sizes
        middle = sizes[(len(sizes) - 1) // 2]
        return next((worth for worth in self.worths if worth.at_size == middle), None)

    def tested(self) -> str:
        """Return what is tested, in the plural: "test images"."""
        return f"test {self.measure.unit}s"

    def trained(self, size: int) -> str:
        """Return a training-set size in words: "100 training images"."""
        return f"{count(size)} training {self.measure.sample}s"

    def images(self) -> int:
        """Return the number of test images, or of what else is tested."""
        return len(next(iter(self.study.predictions.values())).images)

    def paces(self, arm: ArmRef, size: int) -> list[Pace]:
        """Return how an arm's finished runs at a size came to the best validation loss of the augmented arm."""
        reference = [min(outcome.curves.validation_loss) for outcome in self.outcomes(self.primary.b, size)]
        batch = self.study.info.batch_of(arm.model)
        if not reference or batch is None:
            return []
        target = float(np.mean(reference))
        return [_pace(outcome, target, batch / size) for outcome in self.outcomes(arm, size)]

    def outcomes(self, arm: ArmRef, size: int | None = None) -> list[Outcome]:
        """Return what an arm's finished runs measured, at one size or at all."""
        return [record.outcome for record in self.study.done(arm, size) if record.outcome]


def find(study: StudyRecords) -> Findings:
    """Compute the findings of a study.

    Raises:
        RequestError: no cell has finished with predictions.
    """
    if not study.predictions:
        raise RequestError(f"the study {study.info.name!r} has no finished cell yet: there is nothing to report")
    arms = tuple(arm for arm in study.info.arms if study.done(arm))
    question = study.info.question
    return Findings(
        study=study,
        arms=arms,
        means=_means(study, arms),
        primary=compare(study, question.built_in, question.augmented, question.test),
        comparisons=tuple(compare(study, b, a, test) for test in TESTS for a, b in combinations(arms, 2)),
        worths=_worths(study, question.built_in),
        worth_by_arm={arm: worths for arm in arms if arm != question.augmented and (worths := _worths(study, arm))},
    )


def _pace(outcome: Outcome, target: float, epochs: float) -> Pace:
    """Return a run's pace.

    Args:
        outcome: of the run.
        target: the loss to come to.
        epochs: that a step is.
    """
    curves, cost = outcome.curves, outcome.cost
    reached = (step for step, loss in zip(curves.step, curves.validation_loss, strict=True) if loss <= target)
    step = next(reached, None)
    return Pace(None if step is None else step * epochs, cost.train_seconds / (cost.steps * epochs))


def compare(study: StudyRecords, a: ArmRef, b: ArmRef, test: str) -> Comparison:
    """Return the paired difference of two arms on a test set."""
    by_size = {}
    for size in study.info.sizes:
        seeds = _shared_seeds(study, (a, b), size)
        if seeds:
            pair = (_matrix(study, arm, size, test, seeds) for arm in (a, b))
            by_size[size] = paired_bootstrap(*pair)
    sizes, common = _common_ground(study, (a, b))
    overall = None
    if sizes:
        overall = overall_difference(*([_matrix(study, x, n, test, common) for n in sizes] for x in (a, b)))
    return Comparison(a, b, test, by_size, overall, sizes, common)


def _means(study: StudyRecords, arms: Iterable[ArmRef]) -> dict[tuple[str, ArmRef, int], ArmMean]:
    found = {}
    for arm in arms:
        for size in study.info.sizes:
            seeds = _shared_seeds(study, (arm,), size)
            for test in TESTS if seeds else ():
                interval = mean_interval(_matrix(study, arm, size, test, seeds))
                found[test, arm, size] = ArmMean(interval, len(seeds))
    return found


def _worths(study: StudyRecords, arm: ArmRef) -> tuple[LabelWorth, ...]:
    """Return by size what an arm's measure is worth in labels to the augmented arm."""
    question = study.info.question
    sizes, seeds = _common_ground(study, (arm, question.augmented))
    if len(sizes) < 2:
        return ()
    augmented = [_matrix(study, question.augmented, size, question.test, seeds) for size in sizes]
    return tuple(
        label_worth_interval(sizes, augmented, _matrix(study, arm, size, question.test, seeds), size) for size in sizes
    )


def _shared_seeds(study: StudyRecords, arms: Iterable[ArmRef], size: int) -> tuple[int, ...]:
    finished = [set(study.scores(arm, size, UPRIGHT)) for arm in arms]
    return tuple(sorted(set.intersection(*finished)))


def _common_ground(study: StudyRecords, arms: tuple[ArmRef, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return sizes and the seeds finished at all of them; the size with the fewest seeds goes first."""
    seeds = {size: set(_shared_seeds(study, arms, size)) for size in study.info.sizes}
    while seeds and not set.intersection(*seeds.values()):
        del seeds[min(seeds, key=lambda size: len(seeds[size]))]
    common = set.intersection(*seeds.values()) if seeds else set()
    return tuple(seeds), tuple(sorted(common))


def _matrix(study: StudyRecords, arm: ArmRef, size: int, test: str, seeds: tuple[int, ...]) -> NDArray[np.float64]:
    scores = study.scores(arm, size, test)
    return np.stack([scores[seed] for seed in seeds])
