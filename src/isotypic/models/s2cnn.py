"""Spherical CNNs for the segmentation of spherical images: from the sphere over SO(3) back to the sphere.

Source:
    J. Gerken et al., Equivariance versus Augmentation for Spherical Images, ICML 2022, arXiv 2202.03990.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from isotypic.errors import RequestError
from isotypic.groups.so3.kernels import S2Kernel, SO3Kernel
from isotypic.nn.sphere.layers import Mode, S2Conv, SO3Conv, SO3ToS2


@dataclass(frozen=True)
class S2CNNWidths:
    """The sizes of a spherical segmentation network.

    Attributes:
        bandwidths: of the input, of every signal in between, of the output: one more than there are layers.
        channels: likewise.
        max_betas: of every layer's kernel, in radians.
    """

    bandwidths: tuple[int, ...]
    channels: tuple[int, ...]
    max_betas: tuple[float, ...]

    def __post_init__(self) -> None:
        layers = len(self.max_betas)
        if layers < 2 or {len(self.bandwidths), len(self.channels)} != {layers + 1}:
            raise RequestError(
                "expected at least two layers, and one bandwidth and one number of channels more than layers, received "
                f"{layers} layers, {len(self.bandwidths)} bandwidths, {len(self.channels)} channels"
            )


S2CNN_204K = S2CNNWidths(
    bandwidths=(50, 42, 35, 27, 20, 27, 35, 42, 50),
    channels=(1, 11, 12, 13, 14, 13, 12, 11, 11),
    max_betas=tuple(math.pi * part for part in (0.1238, 0.1474, 0.1768, 0.2292, 0.3095, 0.2292, 0.1768, 0.1474)),
)
"""The network ``s2cnn-204k`` of the paper: 204,073 parameters."""


class S2CNN(nn.Module):
    """Segmentation ``[B, channels, beta, alpha] -> [B, classes, beta, alpha]`` of spherical images.

    Linear layers commute with every rotation to rounding, on band-limited signals; ReLU, which makes degrees that no
    grid holds, is what makes the network approximate.

    Args:
        widths: bandwidths, channels and kernels; default ``s2cnn-204k``.
        n_max: limit of the orders n on SO(3): far less to compute, and as exact.
        mode: ``"band-limited"``, or ``"compat"``, as the reference implementation computes.

    >>> sum(p.numel() for p in S2CNN().parameters())
    204073
    """

    def __init__(
        self, widths: S2CNNWidths = S2CNN_204K, n_max: int | None = None, mode: Mode | str = Mode.BAND_LIMITED
    ) -> None:
        super().__init__()
        pairs = zip(widths.channels, widths.channels[1:], strict=False)
        bands = zip(widths.bandwidths, widths.bandwidths[1:], strict=False)
        sizes = [(*channels, *bandwidths) for channels, bandwidths in zip(pairs, bands, strict=True)]
        beta = widths.max_betas
        self.lift = S2Conv(*sizes[0], kernel=S2Kernel(beta[0]), n_max=n_max, mode=mode)
        self.hidden = nn.ModuleList(
            SO3Conv(*size, kernel=SO3Kernel(angle), n_max=n_max, mode=mode)
            for size, angle in zip(sizes[1:-1], beta[1:-1], strict=True)
        )
        self.project = SO3ToS2(*sizes[-1], kernel=SO3Kernel(beta[-1]), n_max=n_max, mode=mode)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        x = self.lift(image).relu_()
        for layer in self.hidden:
            x = layer(x).relu_()
        return self.project(x)
