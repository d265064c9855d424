"""Test-time averaging of a classifier: the mean of its probabilities over the views of an image under a group.

``logit_c(x) = log( 1/|G| sum_g p_c(g x) )``, p the softmax of the network's logits. It is invariant under the group,
whatever the network, up to the rounding of a sum, at |G| times the cost. In training the network is on its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from isotypic.groups.finite import FiniteGroup
from isotypic.ops.action import move_space
from isotypic.ops.layout import channels_last


class Averaging(nn.Module):
    """A classifier ``[B, C, *space] -> [B, classes]`` that decides by the mean of its views, in evaluation mode.

    Args:
        model: the network.
        group: a group of the grid; where an element maps a box to another shape the network must take that too.
    """

    def __init__(self, model: nn.Module, group: FiniteGroup) -> None:
        super().__init__()
        self.model, self.group = model, group

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits: of the network in training, of the mean probabilities in evaluation."""
        if self.training:
            return self.model(image)
        views = (self.model(channels_last(move_space(image, g, self.group))) for g in range(self.group.order))
        logs = torch.stack([logits.log_softmax(1) for logits in views])
        return logs.logsumexp(0) - math.log(len(logs))
