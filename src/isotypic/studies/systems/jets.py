"""Clusters of jets as a study sees them: the measure is clustering accuracy, to which every jet adds 1 or 0.

Clusters are matched with particles once, over the whole test set. The symmetry of the networks is that of a set: their
tests are the jets as they are, and with the particles of every jet in another order, which is to change nothing.
"""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isotypic import __version__
from isotypic.data.jet_sets import JetSets
from isotypic.data.jet_source import FEATURES, JetSource
from isotypic.data.jets import Jets
from isotypic.inference.run import RunDescription, save_run
from isotypic.metrics.classification import overfitting_ratio
from isotypic.metrics.clustering import ClusterTable, centroid_geometry
from isotypic.models.clouds import CloudNetwork
from isotypic.ops.device import torch_device
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import ROTATED, UPRIGHT, Cost, Curves, Measure, Outcome, Scores
from isotypic.studies.systems.jet_drawings import Spectra, curves_of, space_of
from isotypic.studies.systems.png import can_draw
from isotypic.studies.systems.system import Counted, Description, Drawing, Finished, Job, StudiedSystem, captions
from isotypic.tasks.clustering_session import TrainedClusters, jet_material, train_clusters, training_part
from isotypic.tasks.cost import parameter_count
from isotypic.tasks.embedding import Space, embed, on
from isotypic.tasks.recipe import JetRecipe

ACCURACY = Measure(
    name="clustering accuracy",
    better="clusters more accurately",
    prediction="cluster",
    unit="jet",
    sample="jet",
)
NMI, ARI, BARE, BY_MASS, PRETEXT = "NMI", "ARI", "k-means on the points", "k-means on the mass", "accuracy of classes"
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
        return jet_material(recipe, cache)

    def describe(self, recipe: JetRecipe, material: JetSets) -> Description:
        """Say what the jets are."""
        return Description(
            ACCURACY, _in_words(material), len(material.train), material.classes, further=(NMI, ARI, BARE, BY_MASS)
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
        tested = _tested(job, network)
        network.cpu()
        drawings = _drawings(job, trained, tested) if can_draw() else {}
        outcome = _outcome(job, trained, tested, captions(drawings, job.seed))
        right = np.stack([tested.matched(space) == space.label.numpy() for space in (tested.as_is, tested.permuted)])
        return Finished(outcome, Predictions(tested.as_is.label.numpy(), ELEMENTS, right.astype(np.uint8)), drawings)

    def save(self, folder: Path, job: JetJob, trained: TrainedClusters, finished: Finished | None = None) -> None:
        """Write the network with its centroids."""
        save_run(folder, trained.network, _run_description(job, trained, finished))


@dataclass(frozen=True, eq=False)
class _Tested:
    """The test jets in the space of a network.

    Attributes:
        as_is: the jets as they are.
        permuted: with their particles in another order.
        training: the jets that were trained on, as they are.
        centroids: ``[K, D]``.
        recipe: what the network was trained by.
        shape: clusters and classes.
    """

    as_is: Space
    permuted: Space
    training: Space
    centroids: Tensor
    recipe: JetRecipe
    shape: tuple[int, int]

    def clusters(self, space: Space) -> NDArray[np.int64]:
        """Return the cluster of every jet."""
        return space.predicted(self.centroids, self.recipe.training)

    def table(self, space: Space) -> ClusterTable:
        """Return how many jets of each class are in each cluster."""
        return space.table(self.clusters(space), self.shape)

    def matched(self, space: Space) -> NDArray[np.int64]:
        """Return the class that the cluster of every jet is matched with on the test jets as they are; -1 for none."""
        return self.table(self.as_is).matching[self.clusters(space)]


def _tested(job: JetJob, network: CloudNetwork) -> _Tested:
    training, classes = job.recipe.training, len(job.material.classes)
    part = training_part(job.material, job.subset, job.seed)
    return _Tested(
        embed(network, job.material.test, training),
        embed(network, job.material.test, training, permuted),
        embed(network, part, training),
        network.centroids.detach().cpu(),
        job.recipe,
        (classes if training.pretext == "label" else len(network.centroids), classes),
    )


def permuted(jets: Jets, seed: int = 0) -> Jets:
    """Return jets with the particles of each in another order, padding among them."""
    order = torch.rand(jets.mask.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    features = jets.features.gather(1, order[..., None].expand_as(jets.features))
    return Jets(features, jets.mask.gather(1, order), jets.label, jets.mass, jets.row)


def permutation_error(network: CloudNetwork, jets: Jets) -> float:
    """Return the largest change of point and logits under a permutation, over their standard deviation, in float64."""
    double = deepcopy(network).cpu().double().eval()
    with torch.inference_mode():
        found, moved = (double(one.features.double(), one.mask) for one in (jets, permuted(jets)))
    pairs = zip(found, moved, strict=True)
    return max(float((a - b).abs().max() / a.std().clamp(min=torch.finfo(a.dtype).tiny)) for a, b in pairs)


def scores_of(space: Space, table: ClusterTable) -> Scores:
    """Return the figures of some jets as they are recorded."""
    bare, by_mass = (control((len(table.counts), table.counts.shape[1])) for control in (space.bare, space.by_mass))
    figures = {
        ACCURACY.name: table.accuracy,
        NMI: table.nmi,
        ARI: table.ari,
        BARE: bare.accuracy,
        BY_MASS: by_mass.accuracy,
        PRETEXT: float(space.right.double().mean()),
    }
    return Scores(figures=dict(figures), confusion=table.confusion)


def _outcome(job: JetJob, trained: TrainedClusters, tested: _Tested, pictures: dict[str, str]) -> Outcome:
    as_is, moved = scores_of(tested.as_is, tested.table(tested.as_is)), tested.table(tested.permuted)
    matched = [tested.matched(space) for space in (tested.as_is, tested.permuted)]
    shares = [float((found == tested.as_is.label.numpy()).mean()) for found in matched]
    training = tested.table(tested.training)
    few = next(iter(job.material.test.batches(0, _FEW)))
    return Outcome(
        group="permutations",
        train=Scores(figures={ACCURACY.name: training.accuracy, NMI: training.nmi, ARI: training.ari}),
        tests={
            ROTATED: Scores(figures={ACCURACY.name: float(np.mean(shares)), NMI: moved.nmi, ARI: moved.ari}),
            UPRIGHT: as_is,
        },
        per_rotation=dict(zip(ELEMENTS, shares, strict=True)),
        changed_images=int((matched[0] != matched[1]).sum()),
        overfitting_ratio=overfitting_ratio(training.accuracy, shares[0]),
        curves=_curves(trained, job.recipe.training.beta),
        cost=Cost(
            parameters=parameter_count(trained.network),
            train_seconds=trained.effort.seconds,
            steps=trained.curves.step[-1] if trained.curves.step else 0,
            latency_ms=_latency_ms(trained.network, few),
        ),
        equivariance_error=permutation_error(trained.network, few),
        figures=_geometry(trained),
        pictures=pictures,
    )


def _curves(trained: TrainedClusters, beta: float) -> Curves:
    """Return the course of training: the whole loss, and the accuracy of clusters where there are any."""
    found = trained.curves

    def whole(classification: list[float], clustering: list[float]) -> list[float]:
        both = zip(classification, clustering, strict=True)
        return [one + (0.0 if np.isnan(other) else beta * other) for one, other in both]

    return Curves(
        score=ACCURACY.name,
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


def _drawings(job: JetJob, trained: TrainedClusters, tested: _Tested) -> dict[str, Drawing]:
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
            "training jets": len(job.subset),
            "parameters": parameter_count(trained.network),
            **trained.effort.figures,
            "seed": job.seed,
        },
    )


def _places(source: JetSource) -> int:
    return next(iter(source.batches(0, 1))).mask.shape[1]


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
