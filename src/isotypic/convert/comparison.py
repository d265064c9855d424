"""What a network makes of one image and of the same image moved by every element of a group."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup
from isotypic.ops.action import act


@dataclass(frozen=True)
class Comparison:
    """``f(g x)`` beside ``g f(x)`` for every element g; one entry an element in each list, the identity first.

    Attributes:
        elements: the elements in words.
        moved: ``g x``, ``[channels, *space]``.
        found: ``f(g x)``, ``[channels, *space]`` or ``[classes]``.
        wanted: ``g f(x)``, of the same shapes as ``found``.
        scale: the standard deviation of ``f(x)``, or 1 for a constant.
    """

    elements: tuple[str, ...]
    moved: tuple[Tensor, ...]
    found: tuple[Tensor, ...]
    wanted: tuple[Tensor, ...]
    scale: float

    @property
    def differences(self) -> tuple[Tensor, ...]:
        """``|f(g x) - g f(x)| / scale``: ``[classes]``, or ``[*space]`` with the largest over the channels."""
        pairs = zip(self.found, self.wanted, strict=True)
        both = [(a - b).abs() / self.scale for a, b in pairs]
        return tuple(d.amax(0) if d.dim() > 1 else d for d in both)

    @property
    def is_dense(self) -> bool:
        """Whether the network answers with an image, not with scores."""
        return self.found[0].dim() > 1


def compare(model: nn.Module, image: Tensor, group: FiniteGroup) -> Comparison:
    """Run a network, in float64 and evaluation mode, on an image under every element of a group.

    Args:
        model: a network with one image in; of several outputs the first counts. It stays as it is.
        image: ``[channels, *space]``.
        group: a group of the grid.

    Raises:
        RequestError: the network does not take the image, or answers neither with an image nor with scores, or with
            an image whose size does not follow the input's.
    """
    network, x = deepcopy(model).cpu().double().eval(), image.double()[None]
    moved = [act(x, g, group) for g in range(group.order)]
    found = [_answer(network, y, group) for y in moved]
    wanted = [act(found[0], g, group) if found[0].dim() > 2 else found[0] for g in range(group.order)]
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape:
            raise RequestError(f"expected an output {list(b.shape)} for a moved image, received {list(a.shape)}")
    words = tuple(group.describe(g) for g in range(group.order))
    first = [tuple(t[0] for t in tensors) for tensors in (moved, found, wanted)]
    spread = float(found[0].std()) if found[0].numel() > 1 else 0.0
    return Comparison(words, first[0], first[1], first[2], spread or 1.0)


def _answer(model: nn.Module, x: Tensor, group: FiniteGroup) -> Tensor:
    """Return the first output of a network."""
    try:
        with torch.no_grad():
            output: Any = model(x)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"the network does not take an image of shape {list(x.shape[1:])}: {reason}") from error
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.dim() not in (2, group.dim + 2):
        what = f"shape {list(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise RequestError(f"expected an output [batch, classes] or [batch, channels, *space], received {what}")
    return output
