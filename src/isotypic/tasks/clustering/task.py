"""Clustering of jets: classification alone, k-means once, and then both together.

Every process trains on its share of a batch. A loss is summed over the share and divided by the jets of the whole
batch, times the processes, since these average their gradients: the step is that of one process however uneven the
shares are. What looks at a batch, the batch norms, looks at a share.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from isotypic.data.jets.batch import Jets
from isotypic.data.jets.source import JetSource
from isotypic.metrics.clustering import ClusterTable, centroid_geometry
from isotypic.models.clouds import CloudNetwork
from isotypic.tasks.clustering.embedding import Space, classified, embed, on
from isotypic.tasks.clustering.kmeans import kmeans
from isotypic.tasks.clustering.loss import deep_kmeans_loss, squared_distances
from isotypic.tasks.clustering.schedule import ClusterTraining, Schedule
from isotypic.tasks.ranks import leads, of_the_first, share, summed

_LEAST = 1e-12
"""Squared distance; so near are centroids that are one."""

SHOWN = 1500
"""Jets of the validation whose points are kept for the report."""


@dataclass
class ClusterCurves:
    """The course of a training; every list has one entry an epoch, behind it.

    Attributes:
        step: optimiser steps made.
        rate, alpha: learning rate and inverse temperature of the epoch.
        train_classification, train_clustering: the mean losses of the training jets, in training mode.
        train_accuracy: clustering accuracy of these; NaN before there are clusters.
        classification, clustering: the mean losses of the validation jets.
        pretext: the share of validation jets of which the class is known.
        accuracy, nmi, ari: of the clusters of the validation jets; NaN before there are any.
        bare: clustering accuracy of k-means, the best of three starts, on the points of the validation jets.
        nearest: natural logarithm of the smallest distance of two centroids.
    """

    step: list[int] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    alpha: list[float] = field(default_factory=list)
    train_classification: list[float] = field(default_factory=list)
    train_clustering: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    classification: list[float] = field(default_factory=list)
    clustering: list[float] = field(default_factory=list)
    pretext: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    nmi: list[float] = field(default_factory=list)
    ari: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    nearest: list[float] = field(default_factory=list)

    def record(self, **entries: float) -> None:
        """Add an epoch."""
        for name, values in vars(self).items():
            values.append(entries[name])


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The space behind an epoch: points ``[n, D]``, labels and clusters ``[n]`` of some validation jets, centroids."""

    epoch: int
    latent: Tensor
    label: Tensor
    cluster: Tensor
    centroids: Tensor


class Clustering(LightningModule):
    """A network of jets under training.

    Args:
        network: with its centroids.
        config: the budget.
        train: the training jets.
        validation: what the curves are of.
        classes: how many particles the jets come from; this is measured by and not learned from.
        seed: of k-means.

    Attributes:
        seen: training jets seen so far, of all processes.
        steps: optimiser steps made.
        clustered: whether k-means has found the centroids.
        unit: the smallest squared distance of two centroids as it found them.
        curves: the course of the training.
        snapshots: the space behind some epochs, on the first process.
        losses: of the last step, the classification and the clustering loss of the whole batch.
    """

    def __init__(
        self,
        network: CloudNetwork,
        config: ClusterTraining,
        train: JetSource,
        validation: JetSource,
        *,
        classes: int,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network, self.config, self.seed = network, config, seed
        self.source, self.validation_source = train, validation
        self.schedule = Schedule(config, len(train), share().of)
        self.shape = (len(network.centroids), classes)
        self.seen = self.steps = 0
        self.clustered, self.unit = False, 1.0
        self.curves, self.snapshots = ClusterCurves(), list[Snapshot]()
        self.losses: tuple[float, float] = (float("nan"), float("nan"))
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._table = torch.zeros(self.shape, dtype=torch.int64)
        self._batch = 0

    def transfer_batch_to_device(self, batch: Jets, device: torch.device, dataloader_idx: int) -> Jets:
        """Return the batch where the network is."""
        return on(batch, self.network.centroids)

    def on_train_epoch_start(self) -> None:
        """Find the centroids where the joint training begins, or as often as is asked for."""
        if self.schedule.finds(self.seen, self.clustered):
            self.find_clusters()

    def find_clusters(self) -> None:
        """Set the centroids to those of k-means on the points of all training jets, the same in every process."""
        points = embed(self.network, self.source, self.config).points
        found = torch.zeros_like(self.network.centroids)
        if leads():
            found = torch.from_numpy(kmeans(points, self.shape[0], self.seed)).to(found)
        with torch.no_grad():
            self.network.centroids.copy_(of_the_first(found))
        self.unit = max(float(torch.pdist(self.network.centroids.detach().double()).amin()) ** 2, _LEAST)
        self.clustered = True

    def on_train_batch_start(self, batch: Jets, batch_idx: int) -> None:
        """Set the learning rate."""
        for group in self.optimizers().param_groups:
            group["lr"] = self.schedule.rate(self.seen)

    def training_step(self, batch: Jets, index: int) -> Tensor:
        """Return the loss of this process's share of a batch."""
        found = self.network(batch.features, batch.mask)
        classification, _ = classified(found, batch, self.config, self.network.config.output)
        clustering = self._clustering(found.latent)
        mine = torch.stack([classification.detach().sum(), clustering.detach().sum()]).double()
        total = summed(torch.cat([mine.cpu(), torch.tensor([float(len(batch.row))]).double()]))
        self._batch = int(total[2])
        self.losses = (float(total[0] / total[2]), float(total[1] / total[2]))
        self._sums += total
        self._count(found.latent, batch.label)
        loss = classification.sum() + self.config.beta * clustering.sum()
        return loss * (share().of / total[2].item())

    def alpha(self, seen: int) -> float:
        """Return the inverse temperature."""
        return self.schedule.alpha(seen, self.unit)

    def _clustering(self, latent: Tensor) -> Tensor:
        """Return the clustering loss of every jet; before there are clusters zero, which reaches every parameter."""
        if not self.clustered:
            return latent.sum(1) * 0 + self.network.centroids.sum() * 0
        return deep_kmeans_loss(latent, self.network.centroids, self.alpha(self.seen))

    def _count(self, latent: Tensor, label: Tensor) -> None:
        if self.clustered:
            nearest = squared_distances(latent.detach(), self.network.centroids.detach()).argmin(1)
            table = ClusterTable.of(nearest.cpu().numpy(), label.cpu().numpy(), self.shape)
            self._table += torch.from_numpy(table.counts)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make the step of a batch, and count its jets: who looks behind a step finds it counted."""
        super().optimizer_step(*args, **kwargs)
        self.seen += self._batch
        self.steps += 1

    def on_train_epoch_end(self) -> None:
        """Measure the validation jets."""
        epoch = self.schedule.epoch(self.seen - 1)
        space = embed(self.network, self.validation_source, self.config)
        self.curves.record(**self._trained(), **self._validated(space))
        if leads() and epoch in self.schedule.shown():
            self.snapshots.append(self._snapshot(epoch, space))

    def _trained(self) -> dict[str, float]:
        """Return what the training jets of the epoch came to, and begin anew."""
        losses, table = self._sums / self._sums[2], ClusterTable(summed(self._table).numpy())
        self._sums, self._table = torch.zeros_like(self._sums), torch.zeros_like(self._table)
        last = self.seen - 1
        return {
            "step": self.steps,
            "rate": self.schedule.rate(last),
            "alpha": self.alpha(last),
            "train_classification": float(losses[0]),
            "train_clustering": float(losses[1]) if self.clustered else float("nan"),
            "train_accuracy": table.accuracy,
        }

    def _validated(self, space: Space) -> dict[str, float]:
        figures = dict.fromkeys(("clustering", "accuracy", "nmi", "ari", "nearest"), float("nan"))
        figures |= {
            "classification": float(space.classification.double().mean()),
            "pretext": float(space.right.double().mean()),
            "bare": space.bare(self.shape, self.seed, restarts=3).accuracy,
        }
        if not self.clustered:
            return figures
        centroids, alpha = self.network.centroids.detach().cpu(), self.alpha(self.seen - 1)
        table = space.table(space.clusters(centroids), self.shape)
        return figures | {
            "clustering": float(deep_kmeans_loss(space.latent.to(centroids), centroids, alpha).mean()),
            "accuracy": table.accuracy,
            "nmi": table.nmi,
            "ari": table.ari,
            "nearest": min(centroid_geometry(centroids, alpha).log_distances),
        }

    def _snapshot(self, epoch: int, space: Space) -> Snapshot:
        centroids = self.network.centroids.detach().cpu().float().clone()
        if not self.clustered:
            centroids = torch.from_numpy(kmeans(space.points, self.shape[0], self.seed)).float()
        kept = np.linspace(0, len(space.row) - 1, min(SHOWN, len(space.row))).astype(np.int64)
        clusters = torch.from_numpy(space.clusters(centroids))[kept]
        return Snapshot(epoch, space.latent[kept].float(), space.label[kept], clusters, centroids)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam; the schedule sets its rate before every step."""
        return torch.optim.Adam(self.network.parameters(), self.schedule.rate(self.seen))

    def progress(self) -> dict[str, Any]:
        """Return what goes on after a stop besides weights and optimiser; all processes call it."""
        table = summed(self._table)
        self._table = table if leads() else torch.zeros_like(table)  # another number of processes may go on
        return {
            "seen": self.seen,
            "steps": self.steps,
            "clustered": self.clustered,
            "unit": self.unit,
            "curves": asdict(self.curves),
            "snapshots": [vars(snapshot) for snapshot in self.snapshots],
            "sums": self._sums,
            "table": table,
        }

    def go_on(self, kept: dict[str, Any]) -> None:
        """Take back what :meth:`progress` returned."""
        self.seen, self.steps = kept["seen"], kept["steps"]
        self.clustered, self.unit = kept["clustered"], kept["unit"]
        self.curves = ClusterCurves(**kept["curves"])
        self._sums = kept["sums"].clone()
        if leads():
            self.snapshots = [Snapshot(**snapshot) for snapshot in kept["snapshots"]]
            self._table = kept["table"].clone()
