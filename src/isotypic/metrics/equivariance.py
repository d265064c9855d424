"""How far a function is from commuting with a group, relative to its own variation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from isotypic.groups.finite import FiniteGroup
from isotypic.groups.representations import Representation
from isotypic.ops.action import act, move_channels


def equivariance_error(
    function: Callable[[Tensor], Tensor],
    signal: Tensor,
    group: FiniteGroup,
    *,
    input_representation: Representation | None = None,
    output_representation: Representation | None = None,
) -> Tensor:
    """Return the error of every group element, ``max |f(g x) - g f(x)| / std(f(x))``, ``[|G|]``.

    The scale is the standard deviation of the output over all its entries, so that a constant output does not pass
    for an equivariant one: it gives NaN.

    Args:
        function: maps ``[B, channels, *space]`` to a signal with the same number of axes of space, or to
            ``[B, features]`` without any.
        signal: the input.
        group: a group of the grid.
        input_representation: how the input's channels change; default: not at all.
        output_representation: how the output's channels change; default: not at all.
    """
    with torch.no_grad():
        output = function(signal)
        moved = [function(act(signal, g, group, input_representation)) for g in range(group.order)]
        wanted = [_move_output(output, g, group, output_representation) for g in range(group.order)]
    return torch.stack([(a - b).abs().max() for a, b in zip(moved, wanted, strict=True)]) / output.std()


def _move_output(output: Tensor, element: int, group: FiniteGroup, representation: Representation | None) -> Tensor:
    if output.dim() >= group.dim + 2:
        return act(output, element, group, representation)
    return output if representation is None else move_channels(output, element, representation, output.dim() - 1)
