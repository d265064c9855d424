"""Clusters of jets as a study sees them: trained, tested, drawn; :mod:`isotypic.studies.systems.jet_judges` decides.

The symmetry of the networks is that of a set: their
tests are the jets as they are, and with the particles of every jet in another order, which is to change nothing.
"""

from __future__ import annotations

import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isotypic import __version__
from isotypic.data.jets.batch import FEATURES, Jets
from isotypic.data.jets.sets import JetSets
from isotypic.data.jets.source import JetSource, permuted
from isotypic.inference.run import RunDescription, save_run
from isotypic.metrics.classification import overfitting_ratio
from isotypic.metrics.clustering import centroid_geometry
from isotypic.models.clouds import CloudNetwork
from isotypic.ops.device import torch_device
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import PERMUTATIONS, ROTATED, UPRIGHT, Cost, Curves, Outcome, Scores
from isotypic.studies.systems.jet_drawings import Spectra, curves_of, space_of
from isotypic.studies.systems.jet_judges import Tested, judge_of
from isotypic.studies.systems.jet_sources import load_jets
from isotypic.studies.systems.png import can_draw
from isotypic.studies.systems.system import Counted, Description, Drawing, Finished, Job, StudiedSystem, captions
from isotypic.tasks.clustering.embedding import Space, embed, on
from isotypic.tasks.clustering.schedule import ClusterTraining
from isotypic.tasks.clustering.session import TrainedClusters, train_clusters, training_part
from isotypic.tasks.cost import parameter_count
from isotypic.tasks.recipe import JetRecipe

ELEMENTS = ("as they are", "particles permuted")

_FEW = 64
_REPEATS = 20

JetJob = Job[JetRecipe, JetSets]


class JetSystem(StudiedSystem[JetRecipe, JetSets, TrainedClusters]):
    """Networks of jets whose points are clustered."""

    def group(self, recipe: JetRecipe) -> str:
        """Return the trivial group: what networks of jets commute with moves no plane."""
        return "trivial"

    def material(self, recipe: JetRecipe, cache: Path, counted: Counted | None = None) -> JetSets:
        """Load the jets."""
        return load_jets(recipe.data, cache)

    def describe(self, recipe: JetRecipe, material: JetSets) -> Description:
        """Say what the jets are."""
        judge = judge_of(material.classes)
        return Description(
            judge.measure, _in_words(material), len(material.train), material.classes, further=judge.further
        )

    def subset(self, material: JetSets, size: int, seed: int) -> np.ndarray:
        """Draw training jets; with the same seed the smaller set lies within the larger."""
        return np.sort(np.random.default_rng([seed, len(material.train)]).permutation(len(material.train))[:size])

    def train(self, job: JetJob) -> TrainedClusters:
        """Train the network, and find its clusters."""
        return train_clusters(job.recipe, job.material, job.subset, **job.training())

    def test(self, job: JetJob, trained: TrainedClusters) -> Finished:
        """Cluster the test jets, as they are and with their particles permuted."""
        network = trained.network.to(torch_device(job.device))
        config, judge = job.recipe.training, judge_of(job.material.classes)
        tested = tested_on(network, job.material.test, job.material, config)
        training = embed(network, training_part(job.material, job.subset, job.seed), config)
        network.cpu()
        drawings = _drawings(job, trained, tested) if can_draw() else {}
        outcome = _outcome(job, trained, (tested, training), captions(drawings, job.seed))
        shares = np.stack([judge.shares(tested, space) for space in (tested.as_is, tested.permuted)])
        return Finished(outcome, Predictions(judge.units(tested), ELEMENTS, shares), drawings)

    def save(self, folder: Path, job: JetJob, trained: TrainedClusters, finished: Finished | None = None) -> None:
        """Write the network with its centroids."""
        save_run(folder, trained.network, _run_description(job, trained, finished))


def tested_on(network: CloudNetwork, source: JetSource, sets: JetSets, config: ClusterTraining) -> Tested:
    """Return some jets in the space of a network.

    Args:
        network: in evaluation mode.
        source: the jets.
        sets: what they belong to; its validation jets are embedded as well.
        config: what the network was trained by.
    """
    return Tested(
        embed(network, source, config),
        embed(network, source, config, permuted),
        embed(network, sets.validation, config),
        network.centroids.detach().cpu(),
        config,
        len(sets.classes),
    )


def permutation_error(network: CloudNetwork, jets: Jets) -> float:
    """Return the largest change of the points, and the logits of jets, under a permutation of the particles.

    It is measured over their standard deviation, in float64.
    """
    double = deepcopy(network).cpu().double().eval()
    with torch.inference_mode():
        found, moved = (double(one.features.double(), one.mask) for one in (jets, permuted(jets)))
    pairs = [
        (a, b) for a, b in zip(found, moved, strict=True) if a.dim() == 2
    ]  # the logits of particles move with them
    return max(float((a - b).abs().max() / a.std().clamp(min=torch.finfo(a.dtype).tiny)) for a, b in pairs)


def _outcome(job: JetJob, trained: TrainedClusters, found: tuple[Tested, Space], pictures: dict[str, str]) -> Outcome:
    """Return what the test jets, and the training jets beside them, came to."""
    judge, tested = judge_of(job.material.classes), found[0]
    name = judge.measure.name
    upright, training = (judge.scores(tested, space) for space in (tested.as_is, found[1]))
    shares = [float(judge.shares(tested, space).mean()) for space in (tested.as_is, tested.permuted)]
    clusters = [tested.clusters(space) for space in (tested.as_is, tested.permuted)]
    few = next(iter(job.material.test.batches(0, _FEW)))
    return Outcome(
        group=PERMUTATIONS,
        train=training,
        tests={ROTATED: Scores(figures={name: float(np.mean(shares))}), UPRIGHT: upright},
        per_rotation=dict(zip(ELEMENTS, shares, strict=True)),
        changed_images=int((clusters[0] != clusters[1]).sum()),
        overfitting_ratio=overfitting_ratio(training.figures[name] or 0.0, shares[0]),
        curves=_curves(trained, job.recipe.training.beta),
        cost=Cost(
            parameters=parameter_count(trained.network),
            train_seconds=trained.effort.seconds,
            steps=trained.curves.step[-1] if trained.curves.step else 0,
            latency_ms=_latency_ms(trained.network, few),
        ),
        equivariance_error=permutation_error(trained.network, few),
        figures={**judge.figures(tested), **_geometry(trained)},
        pictures=pictures,
    )


def _curves(trained: TrainedClusters, beta: float) -> Curves:
    """Return the course of training: the whole loss, and the accuracy of clusters where there are any."""
    found = trained.curves

    def whole(classification: list[float], clustering: list[float]) -> list[float]:
        both = zip(classification, clustering, strict=True)
        return [one + (0.0 if np.isnan(other) else beta * other) for one, other in both]

    return Curves(
        score="clustering accuracy",
        step=found.step,
        train_loss=whole(found.train_classification, found.train_clustering),
        train_score=found.train_accuracy,
        validation_loss=whole(found.classification, found.clustering),
        validation_score=found.accuracy,
    )


def _geometry(trained: TrainedClusters) -> dict[str, float]:
    """Return where the centroids ended, and how the accuracy of k-means and of clusters went."""
    curves, alpha = trained.curves, trained.curves.alpha[-1] if trained.curves.alpha else 1.0
    geometry = centroid_geometry(trained.network.centroids.cpu(), alpha)
    began = [value for value in curves.accuracy if not np.isnan(value)]
    figures = {
        "log distance of the nearest centroids": min(geometry.log_distances),
        "alpha d^2 of the nearest centroids": min(geometry.sharpness),
    }
    if began:
        figures |= {
            "validation accuracy after the first epoch with clusters": began[0],
            "best validation accuracy": max(began),
        }
    return figures


def _latency_ms(network: CloudNetwork, jets: Jets) -> float:
    """Return the median milliseconds that one jet takes, at batch 1."""
    one = on(jets, network.centroids)
    seconds = []
    with torch.inference_mode():
        for _ in range(_REPEATS):
            start = time.perf_counter()
            network.eval()(one.features[:1], one.mask[:1]).latent.sum().item()
            seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))


def _drawings(job: JetJob, trained: TrainedClusters, tested: Tested) -> dict[str, Drawing]:
    classes = job.material.classes
    spectra = Spectra(
        tested.as_is.mass.numpy(),
        tested.as_is.label.numpy(),
        tested.clusters(tested.as_is),
        tested.matched(tested.as_is),
    )
    course = curves_of(trained.curves, job.recipe.training.pretraining)
    found = {
        "space": Drawing("Validation jets in the space of the network, by epoch", space_of(trained.snapshots, classes)),
        "spectra": Drawing("The jet mass in every cluster, by particle", lambda path: spectra.write(path, classes)),
        "course": Drawing("Clustering accuracy and loss by epoch", course),
    }
    return {name: drawing for name, drawing in found.items() if name != "space" or trained.snapshots}


def _run_description(job: JetJob, trained: TrainedClusters, finished: Finished | None) -> RunDescription:
    tested = {} if finished is None else finished.outcome.tests[UPRIGHT].figures
    return RunDescription(
        version=__version__,
        recipe=job.recipe.model_dump(mode="json"),
        classes=list(job.material.classes),
        image_shape=(_places(job.material.test), len(FEATURES)),
        normalisation={},
        figures={
            **{f"test {name}": value for name, value in tested.items()},
            **job.figures(trained.network, trained.effort, "jets"),
        },
    )


def _places(source: JetSource) -> int:
    return next(iter(source.batches(0, _FEW))).mask.shape[1]


def _in_words(material: JetSets) -> dict[str, Any]:
    return {
        "data set": material.name,
        "particles that jets come from": ", ".join(material.classes),
        "particles a jet, at most": _places(material.test),
        "features a particle": ", ".join(FEATURES),
        "training jets": len(material.train),
        "validation jets": len(material.validation),
        "test jets": len(material.test),
    }
