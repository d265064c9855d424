"""A group convolution against the plain one with the same total channels: forward and training step.

Both layers are channels_last, of the same dtype, and run in turns in one process. ``forward`` is inference (the
expanded filters are kept while the weight stands still); ``step`` is forward and backward with a new weight each
time, as in training. The error is that of the layer against itself in float64, relative to the output's variation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product

import torch
from torch import Tensor, nn

from isotypic.bench.timing import interleave, ratio
from isotypic.groups.catalogue import named
from isotypic.nn.plane import GroupConv2d


@dataclass(frozen=True)
class LayerCase:
    """One cell of the table.

    Attributes:
        group: name of the plane group.
        channels: total channels in and out.
        size: image height and width in pixels.
        batch: images at once.
        kernel: taps along each axis.
        mode: ``"forward"`` or ``"step"``.
    """

    group: str
    channels: int
    size: int
    batch: int
    kernel: int
    mode: str


@dataclass(frozen=True)
class LayerResult:
    """What was measured for one case.

    Attributes:
        case: the case.
        ratio: median over rounds of group time / plain time; below 1 is faster than the plain layer.
        group_ms: median milliseconds of the group layer.
        plain_ms: median milliseconds of the plain layer.
        spread: half the interquartile range of the group layer's time over its median.
        error: largest difference from the float64 layer over the output's standard deviation.
    """

    case: LayerCase
    ratio: float
    group_ms: float
    plain_ms: float
    spread: float
    error: float

    def row(self) -> dict[str, object]:
        """Return case and figures as one flat row."""
        return {**asdict(self.case), **{k: v for k, v in asdict(self).items() if k != "case"}}


GRID = {
    "group": ("C4", "D4"),
    "kernel": (3,),
    "mode": ("forward", "step"),
    "batch": (1, 16),
    "channels": (8, 32, 64, 128, 256, 512),
    "size": (7, 14, 28, 56, 128),
}
"""The fixed grid of plane layers."""

LARGEST_MACS = 1.5e10
"""Cases with more multiplications a forward pass are left out: they say what the smaller ones say, for minutes."""


def cases(grid: dict[str, tuple] = GRID) -> Iterator[LayerCase]:
    """Yield the cases of a grid that are not too large to time."""
    for values in product(*grid.values()):
        case = LayerCase(**dict(zip(grid.keys(), values, strict=True)))
        macs = case.batch * case.size**2 * case.channels**2 * case.kernel**2
        if macs <= LARGEST_MACS:
            yield case


def measure(case: LayerCase, budget: float = 1.0) -> LayerResult:
    """Time one case, and its error against float64.

    Args:
        case: what to time.
        budget: seconds to spend.
    """
    group, plain = _layers(case)
    image = torch.randn(case.batch, case.channels, case.size, case.size).to(memory_format=torch.channels_last)
    call = _forward if case.mode == "forward" else _step
    times = interleave({"group": call(group, image), "plain": call(plain, image)}, budget)
    return LayerResult(
        case,
        ratio(times["group"], times["plain"]),
        1e3 * times["group"].median,
        1e3 * times["plain"].median,
        times["group"].spread,
        _error(group, image[:1]),
    )


def _layers(case: LayerCase) -> tuple[nn.Module, nn.Module]:
    order = named(case.group).order
    fields, padding = case.channels // order, case.kernel // 2
    group = GroupConv2d(fields, fields, case.kernel, case.group, padding=padding)
    plain = nn.Conv2d(case.channels, case.channels, case.kernel, padding=padding)
    return group, plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _forward(layer: nn.Module, image: Tensor) -> Callable[[], Tensor]:
    layer.eval()

    def call() -> Tensor:
        with torch.inference_mode():
            return layer(image)

    return call


def _step(layer: nn.Module, image: Tensor) -> Callable[[], None]:
    layer.train()
    signal = image.clone(memory_format=torch.preserve_format).requires_grad_()
    gradient = torch.randn_like(layer(signal))

    def call() -> None:
        layer.zero_grad(set_to_none=True)
        signal.grad = None
        layer(signal).backward(gradient)

    return call


def _error(layer: nn.Module, image: Tensor) -> float:
    with torch.no_grad():
        single = layer(image).double()
        double = layer.double()(image.double())
    layer.float()
    return float((single - double).abs().max() / double.std())
