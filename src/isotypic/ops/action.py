"""How a group element moves a sampled signal.

The left action on a field f with representation rho is ``(g f)(p) = rho(g) f(g^-1 p)``: pixels move by the
element's matrix about the centre of the grid, channels by the representation. For a group of the grid the pixels
are only permuted, so the action is exact, and ``act(act(f, h), g) = act(f, g h)`` to the bit. An element that swaps
axes maps an n x m image to an m x n one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from isotypic.errors import RequestError
from isotypic.groups.catalogue import resolve
from isotypic.groups.finite import FiniteGroup
from isotypic.groups.representations import Representation


def act(
    signal: Tensor,
    element: int,
    group: FiniteGroup | str,
    representation: Representation | None = None,
) -> Tensor:
    """Move a signal by one element of a group of the pixel or voxel grid.

    Args:
        signal: ``[..., channels, *space]`` with ``group.dim`` axes of space; channels field-major.
        element: index of the element, ``0 .. |G|-1``.
        group: a group of the grid, or its name in the plane.
        representation: how the channels of one field change; default: not at all (scalar fields).

    Returns:
        The moved signal; its space is that of the input with axes swapped as the element swaps them.

    Raises:
        RequestError: the group does not map the grid to itself, the element is out of range, or the channels are
            not a whole number of fields.

    >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> torch.equal(act(image, 1, "C4"), torch.rot90(image, 1, (-2, -1)))
    True
    """
    group = resolve(group, 2) if isinstance(group, str) else group
    if not 0 <= element < group.order:
        raise RequestError(f"expected an element of {group.name}, 0 to {group.order - 1}, received {element}")
    moved = move_space(signal, element, group)
    return (
        moved if representation is None else move_channels(moved, element, representation, signal.dim() - group.dim - 1)
    )


def move_space(signal: Tensor, element: int, group: FiniteGroup) -> Tensor:
    """Move the last ``group.dim`` axes alone: ``f(p) -> f(g^-1 p)``."""
    if signal.dim() < group.dim:
        raise RequestError(f"expected at least {group.dim} axes for {group.name}, received {tuple(signal.shape)}")
    first = signal.dim() - group.dim
    backward = group.grid_matrices[group.inverse[element]]
    # Axis i of the source runs along axis target[i] of the result, backwards where the sign is negative.
    target = abs(backward).argmax(axis=1)
    flipped = [first + i for i in range(group.dim) if backward[i, target[i]] < 0]
    moved = signal.flip(flipped) if flipped else signal
    order = list(range(first)) + [first + int(i) for i in target.argsort()]
    return moved.permute(order)


def move_channels(signal: Tensor, element: int, representation: Representation, axis: int) -> Tensor:
    """Apply ``rho(g)`` to every field along the channel axis."""
    size = representation.dimension
    if signal.shape[axis] % size:
        raise RequestError(
            f"expected channels in fields of {size} ({representation.name} of {representation.group.name}), "
            f"received {signal.shape[axis]}"
        )
    fields = signal.unflatten(axis, (-1, size))
    if representation.is_permutation:
        source = torch.as_tensor(representation.gather[element], device=signal.device)
        return fields.index_select(axis + 1, source).flatten(axis, axis + 1)
    matrix = torch.as_tensor(representation.matrices[element], device=signal.device, dtype=signal.dtype)
    return torch.tensordot(fields, matrix, dims=([axis + 1], [1])).movedim(-1, axis + 1).flatten(axis, axis + 1)


def swaps_axes(group: FiniteGroup, element: int, sizes: Sequence[int]) -> bool:
    """Whether an element maps a grid of these sizes to a grid of other sizes.

    >>> from isotypic.groups import named
    >>> swaps_axes(named("C4"), 1, (16, 20)), swaps_axes(named("C4"), 2, (16, 20))
    (True, False)
    """
    target = abs(group.grid_matrices[element]).argmax(axis=1)
    return any(sizes[int(t)] != size for t, size in zip(target, sizes, strict=True))
