"""A converted network against the plain one that it was made of: the cases, and what is measured of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from isotypic.bench.candidates import Candidate, network_candidate, ways
from isotypic.bench.layers import Asked, known_entries, positive
from isotypic.bench.networks import CLASSES, NETWORKS, Network
from isotypic.bench.setting import Mode, Setting, channels_last, choice, grid_group, signal
from isotypic.convert.equivariant import equivariant
from isotypic.errors import RequestError, unknown
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn.compute import Compute, dense
from isotypic.nn.convolution import DirectConvolution


@dataclass(frozen=True)
class NetworkCase:
    """One network, converted for one group.

    Attributes:
        network: its name.
        group: name of the group.
        size: samples along each axis of the input.
        batch: inputs at once.
        mode: ``"forward"``, in evaluation mode, or ``"step"``: a step of training.
    """

    network: str
    group: str
    size: int
    batch: int
    mode: str

    def __str__(self) -> str:
        unit = {2: "px", 3: "voxels"}[self.plain.dim]
        return f"{self.network} {self.group} {self.mode}, {self.size} {unit}, batch {self.batch}"

    @property
    def plain(self) -> Network:
        """The plain network."""
        return NETWORKS[self.network]

    @property
    def small(self) -> NetworkCase:
        """A case that needs the same code and little memory; batch norm needs two."""
        return replace(self, size=min(self.size, 16), batch=2)


def select(asked: Asked, dim: int | None, setting: Setting) -> tuple[list[NetworkCase], int]:
    """Return the cases; each network has its own groups, size and batch where nothing else is asked for.

    Args:
        asked: ``network``, ``group``, ``size``, ``batch`` and ``mode``; each may be missing.
        dim: only networks of so many axes of space; default all.
        setting: what the cases share.

    Raises:
        RequestError: an unknown network, mode or option, a number below 1, or a group that none of the networks takes.
    """
    known_entries(asked, ("network", "group", "size", "batch", "mode"), "networks")
    positive(asked)
    names = _names(asked.get("network", ()), dim)
    modes = [choice("mode", mode, Mode).value for mode in asked.get("mode", [mode.value for mode in Mode])]
    groups = _groups(asked.get("group", ()), {NETWORKS[name].dim for name in names})
    cases = [
        NetworkCase(name, group, size, batch, mode)
        for name in names
        for group in groups.get(NETWORKS[name].dim, _canonical(NETWORKS[name]))
        for mode in modes
        for size in asked.get("size", (NETWORKS[name].size,))
        for batch in asked.get("batch", (NETWORKS[name].batch,))
    ]
    if not cases:
        raise RequestError(f"expected a group of {', '.join(names)}, received {', '.join(asked['group'])}")
    return cases, 0


def _names(asked: tuple[Any, ...], dim: int | None) -> list[str]:
    for name in asked:
        if name not in NETWORKS:
            raise unknown("network", name, NETWORKS)
    names = [name for name in asked or NETWORKS if dim in (None, NETWORKS[name].dim)]
    if not names:
        raise RequestError(f"expected a network of {dim} axes of space, received {', '.join(asked) or 'none'}")
    return names


def _canonical(network: Network) -> list[str]:
    return [grid_group(name, network.dim).name for name in network.groups]


def _groups(asked: tuple[Any, ...], dims: set[int]) -> dict[int, list[str]]:
    """Return the asked groups by the axes that they act on; nothing where none was asked for."""
    if not asked:
        return {}
    found: dict[int, list[str]] = {dim: [] for dim in dims}
    for name in asked:
        fitting = [dim for dim in dims if _acts(name, dim)]
        for dim in fitting or [min(dims)]:
            found[dim].append(grid_group(name, dim).name)
    return found


def _acts(name: str, dim: int) -> bool:
    try:
        grid_group(name, dim)
    except RequestError:
        return False
    return True


def make(case: NetworkCase, setting: Setting, name: str) -> Candidate:
    """Return one candidate: ``"ours"``, the converted network, or ``"plain"``."""
    network = case.plain
    shape = (case.batch, network.channels, *[case.size] * network.dim)
    module = network.make()
    if name == "ours":
        module = equivariant(module, grid_group(case.group, network.dim), match=setting.match, input_shape=shape)
        _told(module, Compute(setting.compute))
    else:
        module = channels_last(module, network.dim)
    labels = torch.randint(CLASSES, (case.batch,), device=setting.device)
    return network_candidate(module.to(**setting.kind), signal(setting, *shape), labels, case.mode)


def _told(module: nn.Module, compute: Compute) -> None:
    """Tell the layers how to compute; a lifting layer has the dense way only."""
    if compute is Compute.DENSE:
        dense(module)
    if compute is Compute.ISOTYPIC:
        for layer in module.modules():
            if isinstance(layer, DirectConvolution) and layer.in_type.representation == layer.out_type.representation:
                layer.compute = compute


def facts(case: NetworkCase, setting: Setting, ours: Candidate, plain: Candidate) -> dict[str, Any]:
    """Return what is said of a case beside its speed: the errors of equivariance, parameters, the layers' ways."""
    taken = ways(ours)
    return {
        "error": _equivariance_error(case, ours),
        "plain_error": _equivariance_error(case, plain),
        "parameters": ours.parameters,
        "plain_parameters": plain.parameters,
        "isotypic_layers": taken["isotypic"],
        "dense_layers": taken["dense"],
    }


def _equivariance_error(case: NetworkCase, candidate: Candidate) -> float:
    """Return the largest ``max |f(g x) - f(x)| / std(f(x))`` in evaluation mode, in the dtype that is timed."""
    training = candidate.module.training
    group = grid_group(case.group, case.plain.dim)
    error = equivariance_error(candidate.module.eval(), candidate.x, group).max()
    candidate.module.train(training)
    return float(error)
