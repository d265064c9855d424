"""How a network of jets is trained: the budget in epochs, and the schedules, which follow the number of jets seen.

Jets are counted over all processes, so a schedule is the same however many train together, and goes on where it was.
With N jets an epoch, n seen, e = floor(n / N) and P epochs of classification alone:

=====================  =====================================================================================
learning rate          ``max(learning_rate / 2^floor(e / halve_every), lowest_rate)``, times the processes if
                       scaling is linear; with ``restart`` e counts from the beginning of the joint training
inverse temperature    ``alpha + alpha_step max(0, e - P)``; relative, over the smallest squared distance of two
                       centroids as k-means finds them
loss                   focal loss; from epoch P on plus ``beta`` times deep k-means
=====================  =====================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from isotypic.configuration import Config


class ClusterTraining(Config):
    """The ``training`` section of a recipe for jets; the defaults are those of the paper (Table 2)."""

    pretraining: int = Field(20, ge=0, description="epochs of classification alone; then k-means finds the centroids")
    joint: int = Field(100, ge=0, description="epochs of classification and clustering that follow")
    batch_size: int = Field(1024, ge=1, description="jets a step")
    scaling: Literal["fixed", "linear"] = Field(
        "fixed",
        description="of several processes: fixed shares the batch among them; linear gives a batch to each, with the "
        "learning rate times their number",
    )
    learning_rate: float = Field(1e-3, gt=0, description="of Adam, at the start")
    halve_every: int = Field(3, ge=1, description="epochs after which the learning rate is halved")
    lowest_rate: float = Field(1e-5, gt=0, description="it is never lower")
    restart: bool = Field(False, description="the learning rate begins anew with the joint training")
    pretext: Literal["mass", "label"] = Field(
        "mass", description="what is classified: the jet mass in 20 classes, or the particle, as a supervised baseline"
    )
    gamma: float = Field(2.0, ge=0, description="of the focal loss; 0 is cross-entropy")
    beta: float = Field(10.0, ge=0, description="weight of the clustering loss")
    alpha: float = Field(1.0, ge=0, description="inverse temperature of the clustering loss at the start")
    alpha_step: float = Field(2.0, ge=0, description="what it grows by every epoch")
    alpha_unit: Literal["absolute", "relative"] = Field(
        "absolute",
        description="relative: alpha is measured by the centroids that k-means finds, so that the two nearest are "
        "alpha apart at the start, however small the space that was learned",
    )
    refind: int | None = Field(
        None,
        ge=1,
        description="k-means finds the centroids anew after so many epochs of the joint training, and again: one that "
        "no jet is near learns nothing by itself. None: once, as the paper does",
    )
    snapshots: int = Field(6, ge=0, description="epochs of which the report shows the space that is clustered")
    precision: Annotated[Literal["32", "64"], BeforeValidator(str)] = Field("32", description="bits of a number")


@dataclass(frozen=True)
class Schedule:
    """The schedules of a training.

    Attributes:
        config: the recipe's.
        rows: jets an epoch.
        processes: that train together.
    """

    config: ClusterTraining
    rows: int
    processes: int = 1

    @property
    def epochs(self) -> int:
        """All epochs."""
        return self.config.pretraining + self.config.joint

    @property
    def batch(self) -> int:
        """Jets a step, all processes together."""
        return self.config.batch_size * self._scale

    def epoch(self, seen: int) -> int:
        """Return the number of the epoch that the next jet is of."""
        return seen // self.rows

    def joint(self, seen: int) -> bool:
        """Return whether clusters are trained."""
        return self.epoch(seen) >= self.config.pretraining

    def finds(self, seen: int, clustered: bool) -> bool:
        """Return whether k-means is to find the centroids before the next jet.

        Args:
            seen: jets.
            clustered: whether it has found them before.
        """
        epoch, rest = divmod(seen, self.rows)
        joint = epoch - self.config.pretraining
        if joint < 0 or rest:
            return False
        again = self.config.refind is not None and joint % self.config.refind == 0
        return again or not clustered

    def rate(self, seen: int) -> float:
        """Return the learning rate."""
        config, epoch = self.config, self.epoch(seen)
        if config.restart and self.joint(seen):
            epoch -= config.pretraining
        return self._scale * max(config.learning_rate * 0.5 ** (epoch // config.halve_every), config.lowest_rate)

    def alpha(self, seen: int, unit: float = 1.0) -> float:
        """Return the inverse temperature.

        Args:
            seen: jets.
            unit: the smallest squared distance of two centroids as k-means found them; for a relative one.
        """
        epochs = max(0, self.epoch(seen) - self.config.pretraining)
        alpha = self.config.alpha + self.config.alpha_step * epochs
        return alpha / unit if self.config.alpha_unit == "relative" else alpha

    def shown(self) -> set[int]:
        """Return the epochs after which the space is kept for the report: from the last one without clusters on."""
        count, first = self.config.snapshots, max(0, self.config.pretraining - 1)
        last = self.epochs - 1
        return {round(first + (last - first) * i / max(1, count - 1)) for i in range(count)}

    @property
    def _scale(self) -> int:
        return self.processes if self.config.scaling == "linear" else 1
