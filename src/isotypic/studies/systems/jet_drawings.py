"""Pictures of clusters of jets: the space of a network by epoch, mass spectra, and the course of the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from isotypic.files import write_atomically
from isotypic.studies.systems.png import COLOURS, DOTS_AN_INCH, GREYS, INK, LARGEST, MUTED, few_colours
from isotypic.tasks.clustering.task import ClusterCurves, Snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Write = Callable[[Path], object]

_WIDTH, _PANEL = 9.0, 3.0
"""Inches."""
_ACROSS = 3
_BINS = np.linspace(0, 250, 51).tolist()


@dataclass(frozen=True, eq=False)
class Spectra:
    """The masses of jets by cluster.

    Attributes:
        mass: ``[n]``, GeV.
        label: ``[n]``, which particle.
        cluster: ``[n]``.
        matched: ``[n]``, the class that the cluster is matched with; -1 for none.
    """

    mass: NDArray[np.floating]
    label: NDArray[np.int64]
    cluster: NDArray[np.int64]
    matched: NDArray[np.int64]

    def write(self, path: Path, classes: Sequence[str]) -> Path:
        """Draw a panel a cluster, the particles on top of each other."""
        clusters = np.unique(self.cluster)
        figure, panels = _panels(len(clusters))
        for cluster, axes in zip(clusters, panels, strict=True):
            inside = self.cluster == cluster
            matched = int(self.matched[inside][0])
            name = classes[matched] if matched >= 0 else "none"
            parts = [self.mass[inside & (self.label == i)] for i in range(len(classes))]
            colours = [COLOURS[i % len(COLOURS)] for i in range(len(classes))]
            axes.hist(parts, _BINS, stacked=True, color=colours, label=list(classes))
            axes.set_title(f"cluster {cluster}, matched with {name}: {inside.sum():,} jets", fontsize=9, color=INK)
            axes.set_xlabel("jet mass (GeV)", color=MUTED)
        panels[0].set_ylabel("jets", color=MUTED)
        panels[0].legend(frameon=False, fontsize=8)
        return _write(figure, path)


def space_of(snapshots: Sequence[Snapshot], classes: Sequence[str]) -> Write:
    """Return what draws the space by epoch, along the two directions in which the last points differ most."""

    def write(path: Path) -> Path:
        figure, panels = _panels(len(snapshots))
        last = snapshots[-1].latent.double()
        directions = torch.linalg.svd(last - last.mean(0), full_matrices=False)[2][:2].T
        for snapshot, axes in zip(snapshots, panels, strict=True):
            _scatter(axes, snapshot, directions, classes)
        panels[0].legend(frameon=False, fontsize=8, markerscale=3)
        return _write(figure, path)

    return write


def curves_of(curves: ClusterCurves, pretraining: int) -> Write:
    """Return what draws accuracy, clustering loss, and distance of the centroids by epoch."""

    def write(path: Path) -> Path:
        figure, (left, middle, right) = _panels(3)
        epochs = np.arange(1, len(curves.step) + 1)
        for name, label, colour in (("accuracy", "clusters", COLOURS[4]), ("bare", "k-means on the points", GREYS[0])):
            left.plot(epochs, 100 * np.array(getattr(curves, name)), label=label, color=colour)
        left.set_ylabel("clustering accuracy, validation (%)", color=MUTED)
        middle.plot(epochs, curves.train_clustering, label="training", color=GREYS[0])
        middle.plot(epochs, curves.clustering, label="validation", color=COLOURS[4])
        middle.set_ylabel("clustering loss", color=MUTED)
        right.plot(epochs, curves.nearest, label="distance of the nearest centroids", color=COLOURS[2])
        right.plot(epochs, np.log(curves.alpha), label="alpha", color=COLOURS[0])
        right.set_ylabel("natural logarithm", color=MUTED)
        for axes in (left, middle, right):
            axes.axvline(pretraining + 0.5, color=GREYS[1], linewidth=0.8)
            axes.set_xlim(0.5, len(epochs) + 0.5)
            axes.set_xlabel("epoch", color=MUTED)
            axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
        return _write(figure, path)

    return write


def _scatter(axes: Axes, snapshot: Snapshot, directions: torch.Tensor, classes: Sequence[str]) -> None:
    points = (snapshot.latent.double() @ directions).numpy()
    centroids = (snapshot.centroids.double() @ directions).numpy()
    across = points.shape[1] > 1
    for i, name in enumerate(classes):
        mine = points[snapshot.label.numpy() == i]
        y = mine[:, 1] if across else np.zeros(len(mine))
        axes.scatter(mine[:, 0], y, s=2, color=COLOURS[i % len(COLOURS)], label=name, linewidths=0)
    axes.scatter(centroids[:, 0], centroids[:, 1] if across else 0 * centroids[:, 0], s=60, marker="x", color=INK)
    axes.set_title(f"epoch {snapshot.epoch + 1}", fontsize=9, color=INK)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure  # noqa: PLC0415

    across = min(count, _ACROSS)
    down = -(-count // across)
    figure = Figure(figsize=(_WIDTH, _PANEL * down), dpi=DOTS_AN_INCH, facecolor="white", layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.flat[count:]:
        axes.set_visible(False)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=MUTED)
    return figure, list(panels.flat[:count])


def _write(figure: Figure, path: Path) -> Path:
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS_AN_INCH)
    small = drawn.getvalue() if len(drawn.getvalue()) <= LARGEST else few_colours(drawn)
    return write_atomically(path, lambda beside: beside.write_bytes(small))
