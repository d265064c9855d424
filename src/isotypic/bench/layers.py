"""A group convolution against the plain one: the grid, and what is measured of a case.

The plain layer is ``torch.nn.Conv2d`` or ``Conv3d``, channels_last and of the same dtype, with the same total channels;
or, where parameters are matched, the group layer has ``channels / sqrt|G|`` fields against so many plain channels.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from torch import nn

from isotypic.bench.candidates import Candidate, layer_candidate, rounding_error, ways
from isotypic.bench.setting import Mode, Setting, channels_last, choice, grid_group, signal
from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.by_axes import DIRECT
from isotypic.nn.compute import Compute
from isotypic.nn.matching import Match, matched_fields

PLAIN = {2: nn.Conv2d, 3: nn.Conv3d}

Asked = Mapping[str, tuple[Any, ...]]

GRIDS: dict[int, dict[str, tuple[Any, ...]]] = {
    2: {
        "group": ("C4", "D4"),
        "mode": ("forward", "step"),
        "kernel": (1, 3, 5),
        "batch": (1, 16),
        "channels": (8, 32, 64, 128, 256, 512),
        "size": (7, 14, 28, 56, 128),
    },
    3: {
        "group": ("O", "D4h", "Oh"),
        "mode": ("forward", "step"),
        "kernel": (1, 3),
        "batch": (1, 2),
        "channels": (48, 96, 192, 240),
        "size": (6, 12, 24),
    },
}
"""The fixed grids of plane and volume layers."""

LARGEST_MACS = 1.5e10
"""Cases with more multiplications a forward pass are left out: they say what the smaller ones say, for minutes."""


@dataclass(frozen=True)
class LayerCase:
    """One cell of the grid.

    Attributes:
        dim: axes of space, 2 or 3.
        group: name of the group.
        kernel: taps along each axis.
        channels: total channels in and out of the plain layer.
        size: samples along each axis.
        batch: images or volumes at once.
        mode: ``"forward"`` or ``"step"``.
    """

    dim: int
    group: str
    kernel: int
    channels: int
    size: int
    batch: int
    mode: str

    def __str__(self) -> str:
        unit = {2: "px", 3: "voxels"}[self.dim]
        place = f"kernel {self.kernel}, {self.channels} channels, {self.size} {unit}, batch {self.batch}"
        return f"{self.group} {self.mode}, {place}"

    @property
    def finite_group(self) -> FiniteGroup:
        """The group."""
        return grid_group(self.group, self.dim)

    @property
    def small(self) -> LayerCase:
        """A case that needs the same code and next to no memory."""
        return replace(self, channels=self.finite_group.order, size=min(self.size, 7), batch=1)

    def fields(self, match: str) -> int:
        """Return how many regular fields stand for the plain channels.

        Raises:
            RequestError: the same channels are asked for, and are no multiple of the group's order.
        """
        group = self.finite_group
        if match == Match.CHANNELS and self.channels % group.order:
            raise RequestError(
                f"expected channels in multiples of {group.order}, the order of {group.name}, received {self.channels}"
            )
        return matched_fields(self.channels, group, Match(match))


def select(asked: Asked, dim: int | None, setting: Setting) -> tuple[list[LayerCase], int]:
    """Return the cases of a grid that are not too large, and how many were left out.

    Args:
        asked: what replaces entries of the grid, by the name of the entry.
        dim: axes of space; default 2.
        setting: what the cases share.

    Raises:
        RequestError: an entry that the grid has not, a number below 1, an unknown mode, a group that is none of so many
            axes or not of the grid, channels that are no multiple of its order, no case that is small enough.
    """
    dim = dim or 2
    if dim not in GRIDS:
        raise RequestError(f"expected --dim 2 or 3, received {dim}")
    known_entries(asked, tuple(GRIDS[dim]), "layers")
    positive(asked)
    grid = {**GRIDS[dim], **asked}
    grid["group"] = tuple(dict.fromkeys(grid_group(name, dim).name for name in grid["group"]))
    grid["mode"] = tuple(choice("mode", mode, Mode).value for mode in grid["mode"])
    cases = [LayerCase(dim=dim, **case) for case in _combinations(grid)]
    chosen = [case for case in cases if _is_whole(case, setting, "channels" in asked) and _is_small(case, setting)]
    if not chosen:
        raise RequestError(f"expected a case of at most {LARGEST_MACS:.1e} multiplications that fits the memory")
    return chosen, len(cases) - len(chosen)


def known_entries(asked: Asked, names: tuple[str, ...], subject: str) -> None:
    """Refuse what a subject has no choice of."""
    for name in asked:
        if name not in names:
            raise RequestError(f"expected for {subject} only --{', --'.join(names)}; received --{name}")


def positive(asked: Asked) -> None:
    """Refuse numbers below 1."""
    for name, values in asked.items():
        for value in values:
            if isinstance(value, int) and value < 1:
                raise RequestError(f"expected --{name} of at least 1, received {value}")


def _combinations(grid: Asked) -> Iterator[dict[str, Any]]:
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _is_whole(case: LayerCase, setting: Setting, strict: bool) -> bool:
    """Whether the channels are whole fields; where they were asked for, an error if not."""
    if strict or setting.match != Match.CHANNELS:
        case.fields(setting.match)
        return True
    return case.channels % case.finite_group.order == 0


def _is_small(case: LayerCase, setting: Setting) -> bool:
    channels = max(case.channels, case.fields(setting.match) * case.finite_group.order)
    samples = case.batch * case.size**case.dim
    filters = channels**2 * case.kernel**case.dim
    # Input, output and both gradients of two layers, and as much again for what is made on the way; filters likewise.
    held = (16 * samples * channels + 8 * filters) * {"float64": 8}.get(setting.dtype, 4)
    return samples * filters <= LARGEST_MACS and held <= _memory() / 2


def _memory() -> float:
    """Return the machine's memory in bytes; infinity where it does not say."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    if not hasattr(os, "sysconf") or not set(names) <= set(os.sysconf_names):
        return math.inf
    return math.prod(os.sysconf(name) for name in names)


def make(case: LayerCase, setting: Setting, name: str) -> Candidate:
    """Return one candidate: ``"ours"`` or ``"plain"``."""
    module, channels = (_ours if name == "ours" else _plain)(case, setting)
    x = signal(setting, case.batch, channels, *[case.size] * case.dim)
    return layer_candidate(module.to(**setting.kind), x, case.mode)


def _ours(case: LayerCase, setting: Setting) -> tuple[nn.Module, int]:
    group, fields = case.finite_group, case.fields(setting.match)
    padding = case.kernel // 2
    layer = DIRECT[case.dim](fields, fields, case.kernel, group, padding=padding, compute=setting.compute)
    return layer, layer.in_type.channels


def _plain(case: LayerCase, setting: Setting) -> tuple[nn.Module, int]:
    layer = PLAIN[case.dim](case.channels, case.channels, case.kernel, padding=case.kernel // 2)
    return channels_last(layer, case.dim), case.channels


def facts(case: LayerCase, setting: Setting, ours: Candidate, plain: Candidate) -> dict[str, Any]:
    """Return what is said of a case beside its speed: the way, the errors against float64, channels, parameters."""
    way = "isotypic" if ways(ours)["isotypic"] else "dense"
    # One image is enough for the error, but may be computed another way than many: the way that is timed is kept.
    layer = deepcopy(ours.module)
    layer.compute = Compute(way)  # type: ignore[assignment]
    return {
        "way": way,
        "error": rounding_error(layer, ours.x[:1], case.mode),
        "plain_error": rounding_error(plain.module, plain.x[:1], case.mode),
        "ours_channels": ours.x.shape[1],
        "plain_channels": plain.x.shape[1],
        "parameters": ours.parameters,
        "plain_parameters": plain.parameters,
    }
