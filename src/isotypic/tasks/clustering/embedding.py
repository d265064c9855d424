"""What a network makes of all jets of a source, each process its share, in the order of their rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isotypic.data.jets.batch import Jets
from isotypic.data.jets.events import Events
from isotypic.data.jets.source import J, JetSource
from isotypic.metrics.clustering import ClusterTable
from isotypic.models.clouds import CloudNetwork, Embedded, Output
from isotypic.tasks.clustering.kmeans import assigned, kmeans
from isotypic.tasks.clustering.loss import focal_loss, mass_class
from isotypic.tasks.clustering.schedule import ClusterTraining
from isotypic.tasks.ranks import gathered, share

_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Space:
    """The points of n jets, and how well their classes are known; of every jet in the order of the rows.

    Attributes:
        row: ``[n]``, of the jet.
        latent: ``[n, D]``, the point.
        label: ``[n]``, which particle.
        mass: ``[n]``, GeV.
        classification: ``[n]``, the focal loss.
        called: ``[n]``, the likeliest class of the pretext.
        right: ``[n]`` bool, whether it is the true one.
        last: ``[n]``, the logarithm of the probability of the last class.
    """

    row: Tensor
    latent: Tensor
    label: Tensor
    mass: Tensor
    classification: Tensor
    called: Tensor
    right: Tensor
    last: Tensor

    @property
    def points(self) -> NDArray[np.float64]:
        """The points as NumPy has them."""
        return self.latent.double().numpy()

    def predicted(self, centroids: Tensor, config: ClusterTraining) -> NDArray[np.int64]:
        """Return what says which particle a jet comes from: its cluster, or the class of a supervised network."""
        return self.called.numpy() if config.pretext == "label" else self.clusters(centroids)

    def clusters(self, centroids: Tensor) -> NDArray[np.int64]:
        """Return the nearest centroid of every jet."""
        return assigned(self.points, centroids.detach().cpu().double().numpy())

    def table(self, clusters: NDArray[np.int64], shape: tuple[int, int]) -> ClusterTable:
        """Return how many jets of each class are in each of some clusters."""
        return ClusterTable.of(clusters, self.label.numpy(), shape)

    def bare(self, shape: tuple[int, int], seed: int = 0, restarts: int = 10) -> ClusterTable:
        """Return the table of k-means on the points: what clusters are without being trained."""
        return self.table(assigned(self.points, kmeans(self.points, shape[0], seed, restarts)), shape)

    def by_mass(self, shape: tuple[int, int], seed: int = 0) -> ClusterTable:
        """Return the table of k-means on the jet mass alone: the control that every claim must beat."""
        mass = self.mass.double().numpy()[:, None]
        return self.table(assigned(mass, kmeans(mass, shape[0], seed)), shape)


def pretext_classes(jets: Jets, config: ClusterTraining) -> Tensor:
    """Return what jets are classified by, ``[B]``: the class of their mass, or their particle."""
    return jets.label if config.pretext == "label" else mass_class(jets.mass)


def of_particles(jets: Jets, config: ClusterTraining) -> Tensor:
    """Return what particles are classified by, ``[B, P]``: what the jet is that they are in."""
    if isinstance(jets, Events) and config.pretext == "mass":
        return mass_class(jets.mass_of_each)
    return pretext_classes(jets, config)[:, None].expand(jets.mask.shape)


def classified(found: Embedded, jets: Jets, config: ClusterTraining, output: Output) -> tuple[Tensor, Tensor]:
    """Return the focal loss ``[B]`` of every jet and the logarithms of its classes' probabilities ``[B, classes]``.

    Of particles the loss is the mean over those of the jet, and its classes are as likely as its particles say
    together.
    """
    if output is Output.JET:
        return focal_loss(found.logits, pretext_classes(jets, config), config.gamma), found.logits.log_softmax(1)
    mask = jets.mask.to(found.logits.dtype)
    of_each = focal_loss(found.logits.flatten(0, 1), of_particles(jets, config).flatten(), config.gamma)
    loss = (of_each.view_as(mask) * mask).sum(1) / mask.sum(1).clamp(min=1)
    votes = (found.logits.log_softmax(2) * mask[..., None]).sum(1)
    return loss, votes.log_softmax(1)


def on(jets: J, like: Tensor) -> J:
    """Return jets on the device of a tensor, their features of its dtype."""
    there = {field.name: getattr(jets, field.name).to(like.device) for field in fields(jets)}
    return type(jets)(**{**there, "features": there["features"].to(like.dtype)})


def embed(
    network: CloudNetwork,
    source: JetSource,
    config: ClusterTraining,
    change: Callable[[Jets], Jets] | None = None,
) -> Space:
    """Return what a network, in evaluation mode, makes of all jets of a source; all processes get the whole.

    Args:
        network: it stays in the mode that it is in.
        source: the jets.
        config: says what is classified.
        change: of every batch before it is embedded.
    """
    training, like = network.training, network.centroids
    network.eval()
    parts: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for batch in source.batches(0, _AT_ONCE, *share()):
            jets = on(change(batch) if change else batch, like)
            found = network(jets.features, jets.mask)
            loss, classes = classified(found, jets, config, network.config.output)
            called = classes.argmax(1)
            right = called == pretext_classes(jets, config)
            parts.append((jets.row, found.latent, jets.label, jets.mass, loss, called, right, classes[:, -1]))
    network.train(training)
    columns = [gathered(torch.cat(column)) for column in zip(*parts, strict=True)]
    order = columns[0].argsort()
    return Space(*(column[order] for column in columns))
