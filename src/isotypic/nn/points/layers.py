"""What networks on points are made of besides attention: linear layers of rows, with norm and nonlinearity."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from isotypic.nn.points.norm import RowNorm


class RowLayer(nn.Module):
    """Linear, batch norm, ReLU ``[M, in_channels] -> [M, channels]`` on every row.

    Args:
        in_channels: one number, or those of several parts that are put side by side.
        channels: of the output.
        norm: the batch norm, over the rows.
    """

    def __init__(self, in_channels: int | Sequence[int], channels: int, *, norm: bool = True) -> None:
        super().__init__()
        self.parts = (in_channels,) if isinstance(in_channels, int) else tuple(in_channels)
        self.linear = nn.Linear(sum(self.parts), channels)
        self.norm = RowNorm(channels) if norm else None

    def forward(self, *parts: Tensor) -> Tensor:
        """Return the layer of the parts side by side, which are never put there: each has its columns of the weight."""
        first, *others = self.linear.weight.split(self.parts, 1)
        x = functional.linear(parts[0], first, self.linear.bias)
        for part, weight in zip(parts[1:], others, strict=True):
            x = x + functional.linear(part, weight)
        return (x if self.norm is None else self.norm(x)).relu()


def glorot(network: nn.Module) -> None:
    """Initialise the linear layers of a network as Glorot and Bengio do, their biases at zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
