"""Which axes of the grid a group mixes, and the groups that keep unlike axes apart.

An element with matrix g takes axis j into axis i where ``g[i, j]`` is not zero. Windows, strides and spacings may
differ along two axes exactly where no element takes one into the other: D4h mixes y and x and leaves z to itself, O
mixes all three.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from isotypic.errors import RequestError
from isotypic.groups.catalogue import GRID_GROUPS, named, resolve
from isotypic.groups.finite import TOLERANCE, FiniteGroup

AXES = "zyx"
"""The axes of a volume in array order; an image has the last two."""

SAME_SPACING = 1e-3
"""Spacings whose ratio is nearer to one are the same: over 100 samples the grids drift by a tenth of one."""


class MixedAxesWarning(UserWarning):
    """A group mixes axes that are not alike: of different spacing, or with different windows along them."""


def unlike_axes(group: FiniteGroup, sizes: Sequence[float], within: float = 0.0) -> tuple[tuple[int, int], ...]:
    """Return the pairs of axes, in array order, that a group mixes although their sizes differ.

    Args:
        group: a group of the plane or of space.
        sizes: one number an axis: taps, steps, samples or spacings.
        within: how far two sizes that count as the same may be apart, relative to the larger.

    Raises:
        RequestError: another number of sizes than axes.

    >>> unlike_axes(named("O", 3), (1, 2, 2)), unlike_axes(named("D4h", 3), (1, 2, 2))
    (((0, 1), (0, 2)), ())
    """
    if len(sizes) != group.dim:
        raise RequestError(f"expected {group.dim} sizes, one an axis, for {group.name}, received {tuple(sizes)}")
    mixes = np.abs(group.matrices).max(axis=0) > TOLERANCE
    pairs = [(i, j) for i in range(group.dim) for j in range(i + 1, group.dim)]
    return tuple((i, j) for i, j in pairs if (mixes[i, j] or mixes[j, i]) and _differ(sizes[i], sizes[j], within))


def groups_for(sizes: Sequence[float], within: float = 0.0) -> tuple[str, ...]:
    """Return the named groups of the grid, the largest first, that mix no axes of different size.

    The arguments are those of :func:`unlike_axes`.

    >>> groups_for((3, 5)), groups_for((1, 2, 2))
    (('D2', 'C2', 'Cs'), ('D4h', 'D4', 'C4', 'Cs'))
    """
    known = GRID_GROUPS[len(sizes)]
    return tuple(name for name in known if not unlike_axes(named(name, len(sizes)), sizes, within))


def warn_of_mixed_axes(group: str | FiniteGroup, spacing: Sequence[float], unit: str = "mm") -> None:
    """Warn where a group mixes axes of different spacing: what it takes for a turn is none of the thing itself.

    The network stays exactly equivariant under the turns of the array. Those of the object, which is what the symmetry
    is wanted for, it does not know. Whoever knows both the group and the spacing calls this once.

    Args:
        group: the group or its name.
        spacing: distance of neighbouring samples along each axis, ``(z, y, x)`` or ``(y, x)``, in ``unit``.
        unit: what the spacing is counted in.

    Raises:
        RequestError: an unknown group, a spacing that is not positive.

    Warns:
        MixedAxesWarning: it does; the text names group, axes, spacings and the groups that do not.

    >>> warn_of_mixed_axes("D4h", (1.25, 0.5, 0.5))
    """
    if len(spacing) not in GRID_GROUPS or not all(0 < d < float("inf") for d in spacing):
        raise RequestError(f"expected 2 or 3 positive spacings, one an axis, received {tuple(spacing)}")
    resolved, names = resolve(group, len(spacing)), AXES[-len(spacing) :]
    found = unlike_axes(resolved, spacing, SAME_SPACING)
    if not found:
        return
    said = [f"{names[i]} with {names[j]} ({spacing[i]:g} and {spacing[j]:g} {unit})" for i, j in found]
    others = ", ".join(groups_for(spacing, SAME_SPACING))
    message = (
        f"{resolved.name} mixes axes of different spacing, {', '.join(said)}: its turns of the array are no turns of "
        f"what was scanned; resample to one spacing, or take a group that keeps these axes apart: {others}"
    )
    warnings.warn(message, MixedAxesWarning, stacklevel=2)


def _differ(a: float, b: float, within: float) -> bool:
    return abs(a - b) > within * max(a, b)
