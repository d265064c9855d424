"""What a dense network is trained for: the loss of its heads and one figure to follow it by.

The heads decide: embeddings are pulled together and pushed apart by the discriminative loss, offsets trained by the
seed loss, boundary logits by cross-entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from isotypic.configuration import Config
from isotypic.models.heads import HeadChoice
from isotypic.tasks.segmentation.discriminative import DiscriminativeConfig, discriminative_loss
from isotypic.tasks.segmentation.instances import heads_for
from isotypic.tasks.segmentation.seed_loss import SeedLossConfig, seed_loss

Heads = Mapping[str, Tensor]


class LossConfig(Config):
    """The ``loss`` section of a recipe for segmentation; the section of the network's heads is used."""

    embedding: DiscriminativeConfig = Field(DiscriminativeConfig(), description="of embedding heads")
    offset: SeedLossConfig = Field(SeedLossConfig(), description="of offset heads")
    boundary_weight: float = Field(1.0, gt=0, description="of a boundary pixel against one inside, in boundary heads")


@dataclass(frozen=True)
class Objective:
    """The loss of some heads.

    Attributes:
        loss: from the heads and labels ``[B, y, x]`` to the loss ``"total"`` and its parts.
        foreground: from the heads to the pixels ``[B, y, x]`` that are called foreground, or boundary.
    """

    loss: Callable[[Heads, Tensor], dict[str, Tensor]]
    foreground: Callable[[Heads], Tensor]


def objective(heads: HeadChoice, config: LossConfig) -> Objective:
    """Return the objective of a choice of heads."""
    losses: dict[HeadChoice, Callable[[Heads, Tensor], dict[str, Tensor]]] = {
        HeadChoice.EMBEDDING: partial(discriminative_loss, config=config.embedding),
        HeadChoice.OFFSET: partial(seed_loss, config=config.offset),
        HeadChoice.BOUNDARY: partial(boundary_loss, weight=config.boundary_weight),
    }
    return Objective(losses[heads], _FOREGROUND[heads])


def boundary_loss(output: Heads, labels: Tensor, weight: float = 1.0) -> dict[str, Tensor]:
    """Return the cross-entropy of the two classes inside (0) and boundary (1).

    Args:
        output: the head ``boundary [B, 2, y, x]``, logits.
        labels: integers ``[B, y, x]``, 0 or 1.
        weight: of a boundary pixel against one inside.

    Raises:
        RequestError: the head is missing, or of another batch or size than the labels.
    """
    (logits,) = heads_for(labels, output, "boundary")
    return {"total": functional.cross_entropy(logits, labels, logits.new_tensor([1.0, weight]))}


def _larger(logits: Tensor) -> Tensor:
    return logits[:, 1] > logits[:, 0]


_FOREGROUND: dict[HeadChoice, Callable[[Heads], Tensor]] = {
    HeadChoice.EMBEDDING: lambda output: _larger(output["semantic"]),
    HeadChoice.OFFSET: lambda output: output["seed"][:, 0] > 0,
    HeadChoice.BOUNDARY: lambda output: _larger(output["boundary"]),
}
