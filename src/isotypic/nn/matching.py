"""How wide a group network is when it stands in for a plain one of so many channels."""

from __future__ import annotations

import warnings
from enum import Enum

from isotypic.groups.finite import FiniteGroup


class MatchWarning(UserWarning):
    """A width that no number of fields matches."""


class Match(str, Enum):
    """What a group network has in common with the plain network that it is compared with.

    A convolution from N to M regular fields has ``N M |G| k^2`` weights and, on the dense path, ``N M |G|^2 k^2``
    multiplications a pixel; a plain one with C channels ``C^2 k^2`` of both.
    """

    FIELDS = "fields"
    """As many fields as the plain network has channels."""

    CHANNELS = "channels"
    """The same total channels: fields = channels / |G|."""

    PARAMETERS = "parameters"
    """The same weights a layer: fields = channels / sqrt|G|."""

    COMPUTE = "compute"
    """The same multiplications on the path that runs: on the dense path fields = channels / |G|."""


def matched_fields(channels: int, group: FiniteGroup, match: Match) -> int:
    """Return how many regular fields stand for so many channels, rounded to the nearest, at least one.

    Fewer channels than half a field round to none, and a layer of no fields cannot be built: one is taken, wider than
    was asked for, and said.

    Warns:
        MatchWarning: it is.

    >>> from isotypic.groups import named
    >>> [matched_fields(32, named("p4"), m) for m in Match]
    [32, 8, 16, 8]
    """
    divisor = {
        Match.FIELDS: 1.0,
        Match.CHANNELS: float(group.order),
        Match.PARAMETERS: group.order**0.5,
        Match.COMPUTE: float(group.order),
    }[match]
    fields = channels / divisor
    if round(fields) < 1:
        message = (
            f"{channels} channels matched by {match.value} are {fields:.2f} fields of {group.name}, of {group.order} "
            f"channels each: one field is taken, {1 / fields:.3g} times what was asked for"
        )
        warnings.warn(message, MatchWarning, stacklevel=2)
    return max(1, round(fields))
