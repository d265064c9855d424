"""Batch norm of signals on the sphere and on SO(3), whose statistics no rotation changes.

A grid holds more samples near its poles than elsewhere, so the plain mean of its samples changes when a signal turns.
The mean and the variance over the sphere, or over SO(3), do not; quadrature gives both exactly for signals of degrees
below the bandwidth, whose squares the grid still integrates.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from isotypic.errors import RequestError
from isotypic.groups.finite import Floats
from isotypic.groups.so3.grids import soft
from isotypic.nn.fieldwise import ExactTables


class SphericalBatchNorm(nn.Module):
    """Batch norm ``(x - mean) / sqrt(var + eps) * weight + bias``, with the mean and the variance of the Haar measure.

    Args:
        channels: of the signal ``[B, channels, 2 b, 2 b]``, on SO(3) with an axis gamma behind them.
        bandwidth: b.
        eps: added to the variance.
        momentum: weight of the newest batch in the running statistics, which hold the variance as it is, not divided by
            ``n - 1``: integrals count no samples.
        affine: whether to learn weight and bias, one of each a channel.

    Raises:
        RequestError: no channels, a bandwidth below 1; at the call, another shape.

    Source:
        S. Ioffe, C. Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167.

    >>> SphericalBatchNorm(3, 4)(torch.ones(2, 3, 8, 8)).abs().max().item()
    0.0
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, channels: int, bandwidth: int, *, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
    ) -> None:
        super().__init__()
        if channels < 1:
            raise RequestError(f"SphericalBatchNorm: expected at least one channel, received {channels}")
        self.channels, self.bandwidth, self.eps, self.momentum = channels, bandwidth, eps, momentum
        self.tables = ExactTables(partial(beta_weights, bandwidth))
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a signal, in its own precision."""
        self._check(x)
        along = (1, -1, *(1,) * (x.dim() - 2))
        mean = self._integral(x) if self.training else self.running_mean
        centred = x - mean.to(x.dtype).view(along)
        variance = self._integral(centred.square()) if self.training else self.running_var
        if self.training:
            self._follow(mean.detach(), variance.detach())
        scale = (variance + self.eps).rsqrt()
        scaled = centred * (scale if self.weight is None else scale * self.weight).to(x.dtype).view(along)
        return scaled if self.bias is None else scaled + self.bias.to(x.dtype).view(along)

    def _integral(self, x: Tensor) -> Tensor:
        """Return the mean over batch and space, ``[channels]``."""
        weights = self.tables("weights")
        return x.to(weights.dtype).mean(dim=(0, *range(3, x.dim()))) @ weights

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)

    def _check(self, x: Tensor) -> None:
        side = 2 * self.bandwidth
        if x.dim() not in (4, 5) or tuple(x.shape[1:4]) != (self.channels, side, side):
            raise RequestError(
                f"SphericalBatchNorm: expected [batch, {self.channels}, {side}, {side}], or with an axis gamma behind "
                f"them, for bandwidth {self.bandwidth}, received {list(x.shape)}"
            )

    def extra_repr(self) -> str:
        """Say channels and bandwidth in one line."""
        return f"{self.channels}, bandwidth {self.bandwidth}, eps={self.eps:g}, momentum={self.momentum:g}"


def beta_weights(bandwidth: int) -> dict[str, Floats]:
    """Return the weights of the mean along beta, of sum one; a table of its own by :class:`ExactTables`."""
    return {"weights": soft(bandwidth).weights}
