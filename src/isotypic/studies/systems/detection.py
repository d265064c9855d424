"""Detection as a study sees it: the measure is the CPM of LUNA16, to which every nodule adds its share.

A nodule's share is the mean over the seven rates of whether it is found there
(:meth:`isotypic.metrics.froc.Judged.detected`), so the mean over the nodules is the CPM, and what a study resamples and
pairs is nodules. The thresholds of the rates are those of all test scans, in every resample; the interval of a single
run beside it is that of the bootstrap by scans, which LUNA16 has.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from isotypic import __version__
from isotypic.data.splits import nested_subsets, with_repeats
from isotypic.groups.axes import warn_of_mixed_axes
from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup
from isotypic.inference.detection_evaluation import DetectionEvaluation, evaluate_detection
from isotypic.inference.run import RunDescription, save_run
from isotypic.metrics.classification import overfitting_ratio
from isotypic.metrics.froc import RATES, Between, Judged, bootstrap
from isotypic.ops.device import torch_device
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import EXAMPLES, ROTATED, UPRIGHT, Cost, Curves, Froc, Measure, Outcome, Scores
from isotypic.studies.systems.classification_examples import Examples
from isotypic.studies.systems.png import can_draw
from isotypic.studies.systems.system import Counted, Description, Drawing, Finished, Job, StudiedSystem, captions
from isotypic.tasks.classification import invariance_error
from isotypic.tasks.cost import latency_ms, parameter_count
from isotypic.tasks.detection import DetectionMaterial, detection_material
from isotypic.tasks.recipe import DetectionRecipe
from isotypic.tasks.session import Trained, evaluation_batches, train

_AUC = "AUC of candidates"
CPM = Measure(
    name="CPM",
    better="has a higher CPM",
    prediction="class",
    unit="nodule",
    sample="candidate",
    overfitting=_AUC,
)
_ERROR_PATCHES = 16
_POINTS = 97

DetectionJob = Job[DetectionRecipe, DetectionMaterial]


class DetectionSystem(StudiedSystem[DetectionRecipe, DetectionMaterial, Trained]):
    """Detectors of nodules among candidates."""

    def group(self, recipe: DetectionRecipe) -> str:
        """Return the group of the network."""
        return recipe.model.group

    def material(self, recipe: DetectionRecipe, cache: Path, counted: Counted | None = None) -> DetectionMaterial:
        """Load the candidates and split them by scan."""
        return detection_material(recipe, cache, counted)

    def describe(self, recipe: DetectionRecipe, material: DetectionMaterial) -> Description:
        """Say what the scans are."""
        further = (*map(at_rate, RATES), _AUC)
        return Description(CPM, _in_words(material), len(material.splits.train), further=further)

    def subset(self, material: DetectionMaterial, size: int, seed: int) -> np.ndarray:
        """Draw candidates balanced over the classes."""
        return nested_subsets(material.candidates.patches.labels, material.splits.train, [size], seed)[size]

    def train(self, job: DetectionJob) -> Trained:
        """Train a classifier of candidates that sees either class as often.

        A group that mixes axes of different spacing is warned of.
        """
        warn_of_mixed_axes(named(job.recipe.model.group, job.recipe.axes), job.recipe.data.spacing)
        rows = with_repeats(job.material.candidates.patches.labels, job.subset)
        return train(job.recipe, job.material.classified, rows, **job.training())

    def test(self, job: DetectionJob, trained: Trained) -> Finished:
        """Judge all candidates of the test scans."""
        on_test = _evaluated(job, trained, job.material.splits.test, job.group)
        on_train = _evaluated(job, trained, job.subset, named("trivial", job.recipe.axes))
        trained.model.cpu()
        drawings = _drawings(job.material, on_test) if can_draw() else {}
        outcome = _outcome(job, trained, on_test, on_train, captions(drawings, job.seed))
        return Finished(outcome, Predictions(np.array(on_test.nodules), on_test.elements, on_test.detected), drawings)

    def save(self, folder: Path, job: DetectionJob, trained: Trained, finished: Finished | None = None) -> None:
        """Write the detector."""
        save_run(folder, trained.model, _run_description(job, trained, finished))


def at_rate(rate: float) -> str:
    """Return what the sensitivity at a rate of false positives a scan is called.

    >>> at_rate(0.125), at_rate(2.0)
    ('sensitivity at 1/8', 'sensitivity at 2')
    """
    return f"sensitivity at {f'1/{1 / rate:g}' if rate < 1 else f'{rate:g}'}"


def scores_of(judged: Judged, detected: np.ndarray, candidates: float | None = None) -> Scores:
    """Return the scores of judged candidates as they are recorded.

    Args:
        judged: candidates against the truth.
        detected: what nodules add to the CPM; its mean is the CPM.
        candidates: the area under the ROC curve of the candidates, where it is defined.
    """
    found = dict(zip(map(at_rate, RATES), judged.curve().at(RATES).tolist(), strict=True))
    return Scores(figures={CPM.name: float(detected.mean()), **found, _AUC: candidates})


def froc_of(judged: Judged, seed: int = 0) -> Froc:
    """Return a FROC curve as it is recorded, with the intervals of the bootstrap by scans."""
    curve, intervals = judged.curve(), bootstrap(judged, seed=seed)
    rates = np.geomspace(RATES[0], RATES[-1], _POINTS)
    return Froc(
        false_positives=rates.tolist(),
        sensitivity=curve.at(rates.tolist()).tolist(),
        cpm=curve.cpm(),
        cpm_nearest=curve.cpm(Between.NEAREST),
        cpm_interval=intervals.cpm,
        intervals=intervals.sensitivity.T.tolist(),
    )


def _evaluated(job: DetectionJob, trained: Trained, rows: np.ndarray, group: FiniteGroup) -> DetectionEvaluation:
    device = torch_device(job.device)
    return evaluate_detection(trained.model, job.material, rows, trained.normalisation, group, device=device)


def _outcome(
    job: DetectionJob,
    trained: Trained,
    on_test: DetectionEvaluation,
    on_train: DetectionEvaluation,
    pictures: dict[str, str],
) -> Outcome:
    few = _few_patches(job.material, trained)
    auc = on_test.classified.auc
    upright = scores_of(on_test.upright, on_test.detected[0], auc)
    training = on_train.classified
    return Outcome(
        group=on_test.group.name,
        train=Scores(figures={"accuracy of candidates": training.accuracy, _AUC: training.auc}),
        tests={ROTATED: _moved(on_test), UPRIGHT: upright},
        per_rotation=dict(zip(on_test.elements, on_test.detected.mean(1).tolist(), strict=True)),
        changed_images=on_test.disagreeing,
        overfitting_ratio=overfitting_ratio(training.auc or 0.0, auc or 0.0),
        curves=Curves(score="accuracy of candidates", **asdict(trained.curves)),
        cost=Cost(
            parameters=parameter_count(trained.model),
            train_seconds=trained.effort.seconds,
            steps=trained.curves.step[-1],
            latency_ms=latency_ms(trained.model, few[0]),
        ),
        equivariance_error=invariance_error(trained.model, few, on_test.group),
        pictures=pictures,
        froc=froc_of(on_test.upright),
    )


def _moved(on_test: DetectionEvaluation) -> Scores:
    """Return the means over the elements."""
    each = [scores_of(judged, row).figures for judged, row in zip(on_test.judged, on_test.detected, strict=True)]
    named_figures = [name for name in each[0] if name != _AUC]
    return Scores(figures={name: float(np.mean([figures[name] for figures in each])) for name in named_figures})


def _drawings(material: DetectionMaterial, on_test: DetectionEvaluation) -> dict[str, Drawing]:
    positive = on_test.probabilities[0].double().numpy()
    rows = np.sort(material.splits.test)
    examples = Examples(material.candidates.patches, rows, np.stack([1 - positive, positive], 1))
    return {EXAMPLES: Drawing(examples.caption, examples.write)}


def _few_patches(material: DetectionMaterial, trained: Trained) -> Tensor:
    rows = material.splits.test[:_ERROR_PATCHES]
    patches, _ = next(iter(evaluation_batches(material.candidates.patches, rows, trained.normalisation)))
    return patches


def _run_description(job: DetectionJob, trained: Trained, finished: Finished | None) -> RunDescription:
    patches = job.material.candidates.patches
    return RunDescription(
        version=__version__,
        recipe=job.recipe.model_dump(mode="json"),
        classes=list(patches.classes),
        image_shape=patches.shape,
        normalisation=trained.normalisation.to_dict(),
        figures={
            **({} if finished is None else _tested(finished.outcome)),
            **job.figures(trained.model, trained.effort, "candidates"),
        },
    )


def _tested(outcome: Outcome) -> dict[str, Any]:
    return {f"test {name}": value for name, value in outcome.tests[UPRIGHT].figures.items()}


def _in_words(material: DetectionMaterial) -> dict[str, Any]:
    candidates, splits = material.candidates, material.splits
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    labels = candidates.patches.labels
    return {
        "data set": candidates.patches.name,
        "scans": len(candidates.scans),
        "nodules": len(candidates.nodules.scan),
        "candidates": len(labels),
        "patch": " x ".join(map(str, candidates.patches.shape[1:])),
        "patches that reach beyond their scan": candidates.outside,
        **{
            f"{name} candidates": f"{len(rows)}, {int(labels[rows].sum())} in nodules, "
            f"{len(material.scans_of(rows))} scans"
            for name, rows in parts.items()
        },
    }
