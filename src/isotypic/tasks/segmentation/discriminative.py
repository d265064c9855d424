"""The discriminative loss: the embeddings of one instance near their mean, the means of two instances far apart.

For the C instances of an image, with ``N_c`` pixels of embeddings ``x_i`` and mean ``mu_c``, ``[a]+ = max(0, a)``:

* variance ``1/C sum_c 1/N_c sum_i [|mu_c - x_i| - d_v]+^2``;
* distance ``1/(C (C - 1)) sum_{a != b} [2 d_d - |mu_a - mu_b|]+^2``, 0 for fewer than two instances;
* regularisation ``1/C sum_c |mu_c|``.

Each is the mean over the images of a batch, 0 for an image without instances. The gradient of a norm at zero is zero.

Source:
    B. De Brabandere, D. Neven, L. Van Gool, Semantic Instance Segmentation with a Discriminative Loss Function,
    arXiv 1708.02551.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from isotypic.configuration import Config
from isotypic.tasks.segmentation.instances import Instances, heads_for, instances_of


class Norm(str, Enum):
    """How the length of a difference of embeddings is measured."""

    L1 = "l1"
    L2 = "l2"

    @property
    def order(self) -> int:
        """The exponent p."""
        return 1 if self is Norm.L1 else 2


class DiscriminativeConfig(Config):
    """Margins and weights of the discriminative loss."""

    variance_margin: float = Field(0.5, ge=0, description="d_v: how far an embedding may lie from its mean for free")
    distance_margin: float = Field(1.5, ge=0, description="d_d: half of how far two means must lie apart")
    norm: Norm = Field(Norm.L2, description="of differences of embeddings")
    variance_weight: float = Field(1.0, ge=0, description="alpha")
    distance_weight: float = Field(1.0, ge=0, description="beta")
    regularisation_weight: float = Field(0.001, ge=0, description="gamma")
    semantic_weight: float = Field(1.0, ge=0, description="of the cross-entropy of background and foreground")


def discriminative_loss(
    output: Mapping[str, Tensor],
    labels: Tensor,
    config: DiscriminativeConfig = DiscriminativeConfig(),  # noqa: B008 - frozen
) -> dict[str, Tensor]:
    """Return the loss of a batch, ``"total"``, and its parts before weighting.

    Any number of instances an image, none and one among them. It depends neither on how the instances are numbered nor
    on where the pixels are.

    Args:
        output: the heads ``semantic [B, 2, y, x]``, logits, and ``embedding [B, D, y, x]``.
        labels: integers ``[B, y, x]``, 0 for background.
        config: margins and weights.

    Returns:
        Scalars ``total``, ``variance``, ``distance``, ``regularisation``, ``semantic``.

    Raises:
        RequestError: a missing head, or one of another size than the labels.
    """
    semantic, embedding = heads_for(labels, output, "semantic", "embedding")
    instances = instances_of(labels)
    points = instances.pixels(embedding)
    means = instances.means(points)
    parts = {
        "variance": _variance(points, means, instances, config),
        "distance": _distance(means, instances, config),
        "regularisation": instances.mean_of_images(_length(means, config.norm)),
        "semantic": functional.cross_entropy(semantic, (labels > 0).long()),
    }
    weights = (config.variance_weight, config.distance_weight, config.regularisation_weight, config.semantic_weight)
    total = sum(weight * part for weight, part in zip(weights, parts.values(), strict=True))
    return {"total": torch.as_tensor(total), **parts}


def _variance(points: Tensor, means: Tensor, instances: Instances, config: DiscriminativeConfig) -> Tensor:
    apart = _length(points - means.index_select(0, instances.member), config.norm)
    return instances.mean_of_images(instances.means((apart - config.variance_margin).relu().square()))


def _distance(means: Tensor, instances: Instances, config: DiscriminativeConfig) -> Tensor:
    counts = instances.per_image
    behind = torch.arange(len(means), device=means.device) - (counts.cumsum(0) - counts)[instances.image]
    most = int(counts.max())
    table = means.new_zeros(len(counts), most, means.shape[1]).index_put((instances.image, behind), means)
    # Not by matrix products, which would lose the small distances.
    apart = torch.cdist(table, table, config.norm.order, compute_mode="donot_use_mm_for_euclid_dist")
    there = torch.arange(most, device=means.device) < counts[:, None]
    pairs = there[:, :, None] & there[:, None, :] & ~torch.eye(most, dtype=torch.bool, device=means.device)
    overlap = (2 * config.distance_margin - apart).relu().square() * pairs
    return (overlap.sum((1, 2)) / (counts * (counts - 1)).clamp(min=1)).mean()


def _length(rows: Tensor, norm: Norm) -> Tensor:
    """Return the norm of every row; its gradient at zero is zero."""
    return torch.linalg.vector_norm(rows, norm.order, 1)
