"""Test-time augmentation by vote: the class of a pixel is what most views of the image say.

In training the network is the wrapped one. In evaluation the image is moved by every element of a group, and each of
the |G| outputs, moved back, votes for a class at every pixel. With k votes for class 1 its logit over class 0 is
``log((k + 1/2) / (|G| - k + 1/2))``: monotone in the share of votes, and finite.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup
from isotypic.models.heads import DenseNetwork
from isotypic.ops.action import move_space


class Voting(DenseNetwork):
    """A network of two classes ``[B, C, y, x] -> [B, 2, y, x]`` whose prediction is a majority of |G| views.

    Its prediction commutes with the group, whatever the network, at |G| times the cost.

    Args:
        model: the network, with heads of two channels in all.
        group: a group of the pixel grid.

    Raises:
        RequestError: the heads have other channels.
    """

    def __init__(self, model: DenseNetwork, group: FiniteGroup) -> None:
        super().__init__()
        self.model, self.group = model, group
        self.heads, self.stride = model.heads, model.stride
        if sum(head.channels for head in self.heads) != 2:
            raise RequestError(f"expected a network of two classes to vote, received heads {self.heads}")

    def forward(self, image: Tensor) -> Tensor:
        """Return logits: the network's own in training, those of the votes in evaluation."""
        if self.training:
            return self.model(image)
        votes = torch.stack([self._vote(image, g) for g in range(self.group.order)]).sum(0)
        odds = (votes + 0.5) / (self.group.order - votes + 0.5)
        return torch.cat([torch.zeros_like(odds), odds.log()], 1)

    def _vote(self, image: Tensor, element: int) -> Tensor:
        """Return where one view says class 1, ``[B, 1, y, x]``."""
        logits = self.model(move_space(image, element, self.group))
        vote = (logits[:, 1:] > logits[:, :1]).to(image.dtype)
        return move_space(vote, int(self.group.inverse[element]), self.group)
