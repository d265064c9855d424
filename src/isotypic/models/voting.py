"""Test-time augmentation: the class of a pixel is what the views of an image under a group say together.

The image is moved by every element of a group, and each of the |G| outputs is moved back. They vote for a class at
every pixel, k of them for class 1, or their probabilities ``p_g`` of class 1 are averaged:

``majority: logit = log((k + 1/2) / (|G| - k + 1/2))``    ``mean: logit = log(mean p_g / (1 - mean p_g))``

A majority says no more than |G| + 1 levels of a probability: its ROC curve has as many corners, and less area below
it than that of the mean.
"""

from __future__ import annotations

import math
from enum import Enum

import torch
from torch import Tensor
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup
from isotypic.models.heads import DenseNetwork
from isotypic.ops.action import move_space
from isotypic.ops.layout import channels_last


class Ballot(str, Enum):
    """How views become one prediction."""

    MAJORITY = "majority"
    MEAN = "mean"


class Voting(DenseNetwork):
    """A network of two classes ``[B, C, y, x] -> [B, 2, y, x]`` whose prediction is that of |G| views.

    It commutes with the group, whatever the network, at |G| times the cost: exactly by majority, up to the rounding of
    a sum by mean.

    Args:
        model: the network, with heads of two channels in all; it is trained by itself, see :func:`unvoted`.
        group: a group of the pixel grid.
        ballot: by majority or by mean.

    Raises:
        RequestError: the heads have other channels.
    """

    def __init__(self, model: DenseNetwork, group: FiniteGroup, ballot: Ballot = Ballot.MAJORITY) -> None:
        super().__init__()
        self.model, self.group, self.ballot = model, group, ballot
        self.heads, self.stride = model.heads, model.stride
        if sum(head.channels for head in self.heads) != 2:
            raise RequestError(f"expected a network of two classes to vote, received heads {self.heads}")

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of the views together, that of class 0 being zero."""
        odds = torch.stack([self._log_odds(image, g) for g in range(self.group.order)])
        logit = _by_majority(odds) if self.ballot is Ballot.MAJORITY else _by_mean(odds)
        return torch.cat([torch.zeros_like(logit), logit], 1)

    def _log_odds(self, image: Tensor, element: int) -> Tensor:
        """Return how much larger one view's logit of class 1 is, ``[B, 1, y, x]``."""
        logits = self.model(channels_last(move_space(image, element, self.group)))
        return move_space(logits[:, 1:] - logits[:, :1], int(self.group.inverse[element]), self.group)


def unvoted(model: DenseNetwork) -> DenseNetwork:
    """Return the network that is trained: a voting network's own."""
    return model.model if isinstance(model, Voting) else model


def _by_majority(odds: Tensor) -> Tensor:
    votes = (odds > 0).to(odds.dtype).sum(0)
    return ((votes + 0.5) / (len(odds) - votes + 0.5)).log()


def _by_mean(odds: Tensor) -> Tensor:
    return _log_mean(functional.logsigmoid(odds)) - _log_mean(functional.logsigmoid(-odds))


def _log_mean(logs: Tensor) -> Tensor:
    return logs.logsumexp(0) - math.log(len(logs))
