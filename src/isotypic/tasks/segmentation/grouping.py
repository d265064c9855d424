"""How the output of a dense network becomes instances: what a recipe may say; :mod:`isotypic.inference` does it."""

from __future__ import annotations

from enum import Enum

from pydantic import Field, model_validator

from isotypic.configuration import Config


class ClusterMethod(str, Enum):
    """How clusters of embeddings are found."""

    K_MEANS = "k-means"
    """A known number of them, as in the paper."""

    MEAN_SHIFT = "mean-shift"
    """Peaks of density, one within each bandwidth."""

    HDBSCAN = "hdbscan"
    """Peaks of density of any width; time grows about with the square of the pixels (20 k pixels: 4.5 s)."""


class ClusteringConfig(Config):
    """How embeddings become instances; lengths are in the units of the embeddings, defaults suit d_v .5 and d_d 1.5."""

    method: ClusterMethod = Field(ClusterMethod.HDBSCAN, description="k-means, mean-shift or hdbscan")
    clusters: int | None = Field(None, ge=1, description="how many instances an image has; for k-means alone")
    bandwidth: float = Field(1.5, gt=0, description="mean-shift: radius within which embeddings are averaged")
    gap: float = Field(0.5, ge=0, description="hdbscan: clusters nearer to each other than this are one")
    minimum_size: int = Field(20, ge=2, description="hdbscan: pixels of the smallest cluster")

    @model_validator(mode="after")
    def _number_of_clusters(self) -> ClusteringConfig:
        if (self.clusters is None) == (self.method is ClusterMethod.K_MEANS):
            raise ValueError("clusters must be given with method k-means, and with no other")
        return self


class SeedConfig(Config):
    """How offsets, bandwidths and seeds become instances."""

    foreground: float = Field(
        0.5, gt=0, lt=1, description="probability of the seed map above which a pixel has an object"
    )
    seed: float = Field(0.9, gt=0, lt=1, description="probability above which a pixel may start an object")
    minimum_size: int = Field(16, ge=1, description="pixels of the smallest object")
    fresh: float = Field(0.5, ge=0, lt=1, description="fraction of its members that no earlier object may have")
    settling: int = Field(10, ge=0, description="steps in which a proposal may settle; 0 is the published rule")


class GroupingConfig(Config):
    """The ``grouping`` section of a recipe for segmentation; the section of the network's heads is used."""

    embedding: ClusteringConfig = Field(ClusteringConfig(), description="of embedding heads")
    offset: SeedConfig = Field(SeedConfig(), description="of offset heads")
