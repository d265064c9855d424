"""Stochastic depth: whole samples of a branch dropped in training, known by what it computes and not by its name.

The branch f of ``x + f(x)`` becomes ``m_b f(x)`` with m_b = 0 with probability p and 1 / (1 - p) otherwise: one
number a sample b, or one a batch. Such a factor commutes with every group.

Source: G. Huang et al., "Deep Networks with Stochastic Depth", 2016, https://arxiv.org/abs/1603.09382.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from isotypic.convert.tracing import Traced, shape
from isotypic.errors import RequestError


class StochasticDepth(nn.Module):
    """Multiply every sample by 0 with probability p and by ``1 / (1 - p)`` otherwise, in training.

    Args:
        p: probability to drop a sample, 0 <= p < 1.
        whole_batch: one draw for all samples of a batch.

    Raises:
        RequestError: p is no such probability.
    """

    def __init__(self, p: float, whole_batch: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise RequestError(f"expected a probability to drop a sample, from 0 up to but not 1, received {p}")
        self.p, self.whole_batch = p, whole_batch

    def forward(self, x: Tensor) -> Tensor:
        """Drop samples in training; the identity in evaluation."""
        if not self.training or self.p == 0:
            return x
        draws = 1 if self.whole_batch else len(x)
        return x * functional.dropout(x.new_ones(draws, *(1,) * (x.dim() - 1)), self.p, training=True)

    def extra_repr(self) -> str:
        """Say the probability."""
        return f"p={self.p}, whole_batch={self.whole_batch}"


class EverySampleDroppedError(Exception):
    """Nothing of a branch is left in a run, so that the probability does not show."""


def recognised(training: Traced, source: fx.Node, region: list[fx.Node], seed: int) -> StochasticDepth | None:
    """Return the drop of whole samples that some recorded steps compute, or None where they compute something else.

    The steps run again on noise x. They are a drop of samples if every sample comes out as a multiple of itself, by 0
    or by one number above 1, which gives p, and if a tensor that they use has one number a sample or a batch.

    Args:
        training: the recording.
        source: what the steps start from.
        region: the steps, in order.
        seed: of the noise and of what the steps draw.

    Raises:
        EverySampleDroppedError: no sample has stayed, so that p does not show.
    """
    x = torch.randn(shape(source), generator=torch.Generator().manual_seed(seed))
    values: dict[fx.Node, Any] = {source: x}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for node in region:
            values[node] = _value(training, node, values)
    masks = [t for n, t in values.items() if n is not source and isinstance(t, Tensor) and t.numel() <= len(x)]
    y = values[region[-1]]
    if not masks or not isinstance(y, Tensor) or y.shape != x.shape:
        return None
    factors = (x * y).flatten(1).sum(1) / x.square().flatten(1).sum(1)
    if not torch.allclose(y, factors.view(-1, *(1,) * (x.dim() - 1)) * x, atol=1e-4):
        return None
    left = factors[factors.abs() > 1e-6]
    if not len(left):
        raise EverySampleDroppedError
    scale = float(left.max())
    if scale - float(left.min()) > 1e-4 or scale <= 1 + 1e-6:
        return None
    return StochasticDepth(round(1 - 1 / scale, 6), whole_batch=all(mask.numel() == 1 for mask in masks))


def _value(training: Traced, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    """Run one recorded call again; constants it takes are noted among the values."""

    def known(argument: fx.Node) -> Any:
        if argument not in values:
            tensor = training.tensor(argument)
            values[argument] = tensor.clone() if tensor.is_floating_point() else tensor
        return values[argument]

    args: Any = fx.node.map_arg(node.args, known)
    kwargs: Any = fx.node.map_arg(node.kwargs, known)
    if isinstance(node.target, str):
        return getattr(args[0], node.target)(*args[1:], **kwargs)
    call: Any = node.target
    return call(*args, **kwargs)
