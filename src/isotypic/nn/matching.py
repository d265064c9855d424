"""How wide a group network is when it stands in for a plain one of so many channels."""

from __future__ import annotations

from enum import Enum

from isotypic.groups.finite import FiniteGroup


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
    return max(1, round(channels / divisor))
