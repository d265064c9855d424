"""Spherical CNNs: from the sphere over SO(3) back to the sphere, or to what a rotation does not change.

Source:
    J. Gerken et al., Equivariance versus Augmentation for Spherical Images, ICML 2022, arXiv 2202.03990.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from isotypic.configuration import Config
from isotypic.errors import RequestError
from isotypic.groups.so3.kernels import S2Kernel, SO3Kernel
from isotypic.nn.sphere.layers import Mode, S2Conv, SO3Conv, SO3Integrate, SO3ToS2, SphereConvolution

Bandwidth = Annotated[int, Field(ge=2, le=256)]
Channels = Annotated[int, Field(ge=1)]

_SHARES = (0.84, 0.70, 0.54, 0.40, 0.54, 0.70, 0.84)
"""Bandwidths within ``s2cnn-204k`` over that of its images."""

_FALLING = (0.84, 0.66, 0.50, 0.34, 0.20)
"""Those within a classifier."""

_REACH, _FARTHEST = 6.1895, 0.5
"""``max_beta / pi`` of a kernel times the bandwidth of its input, as in ``s2cnn-204k``; and the largest of it."""


class _Spherical(Config):
    family: Literal["s2cnn"] = "s2cnn"
    bandwidth: Bandwidth | None = Field(None, description="of the images; none: data.bandwidth")
    n_max: int | None = Field(
        None, ge=0, description="limit of the orders n on SO(3): far less to compute, and as exact; none: all"
    )
    start: Literal["level", "reference"] = Field(
        "level", description="weights before training: scaled so that signals keep their variance, or as in the paper"
    )
    mode: Literal["band-limited", "compat"] = Field(
        "band-limited", description="compat: degrees as the reference implementation computes them"
    )

    @property
    def of_images(self) -> int:
        """The bandwidth of the images.

        Raises:
            RequestError: it was left open.
        """
        if self.bandwidth is None:
            raise RequestError("expected the bandwidth of the images, received none; set model.bandwidth")
        return self.bandwidth

    def _within(self, given: list[int] | None, shares: tuple[float, ...]) -> tuple[int, ...]:
        return tuple(given or (max(2, round(share * self.of_images)) for share in shares))


class S2CNNConfig(_Spherical):
    """The ``model`` section of a recipe for :class:`S2CNN`; by default ``s2cnn-204k``, scaled to the bandwidth."""

    channels: list[Channels] = Field([11, 12, 13, 14, 13, 12, 11], description="of the signals on SO(3)")
    bandwidths: list[Bandwidth] | None = Field(
        None, description="of the signals on SO(3); none: for seven of them in the proportions of s2cnn-204k"
    )

    def widths(self, in_channels: int, classes: int) -> S2CNNWidths:
        """Return the sizes of the network."""
        inside = self._within(self.bandwidths, _SHARES)
        bandwidths = self.of_images, *inside, self.of_images
        return S2CNNWidths(bandwidths, (in_channels, *self.channels, classes), reaches(bandwidths[:-1]))


class S2CNNClassifierConfig(_Spherical):
    """The ``model`` section of a recipe for :class:`S2CNNClassifier`; by default about 150 thousand parameters."""

    channels: list[Channels] = Field([8, 10, 13, 17, 20], description="of the signals on SO(3)")
    bandwidths: list[Bandwidth] | None = Field(
        None, description="of the signals on SO(3); none: for five of them from 0.84 to 0.2 of that of the images"
    )

    def widths(self, in_channels: int) -> S2CNNWidths:
        """Return the sizes of the convolutions."""
        bandwidths = self.of_images, *self._within(self.bandwidths, _FALLING)
        return S2CNNWidths(bandwidths, (in_channels, *self.channels), reaches(bandwidths[:-1]))


def reaches(bandwidths: tuple[int, ...]) -> tuple[float, ...]:
    """Return ``max_beta`` in radians of kernels on inputs of some bandwidths: about the same number of grid steps.

    >>> [round(reach / math.pi, 4) for reach in reaches((50, 42, 35, 27, 20))]
    [0.1238, 0.1474, 0.1768, 0.2292, 0.3095]
    """
    return tuple(math.pi * min(_FARTHEST, round(_REACH / bandwidth, 4)) for bandwidth in bandwidths)


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
        sizes, beta = _sizes(widths), widths.max_betas
        self.lift = S2Conv(*sizes[0], kernel=S2Kernel(beta[0]), n_max=n_max, mode=mode)
        self.hidden = nn.ModuleList(
            SO3Conv(*size, kernel=SO3Kernel(angle), n_max=n_max, mode=mode)
            for size, angle in zip(sizes[1:-1], beta[1:-1], strict=True)
        )
        self.project = SO3ToS2(*sizes[-1], kernel=SO3Kernel(beta[-1]), n_max=n_max, mode=mode)

    @property
    def convolutions(self) -> list[SphereConvolution]:
        """The layers in their order."""
        return [self.lift, *(layer for layer in self.hidden if isinstance(layer, SphereConvolution)), self.project]

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of every pixel."""
        x = self.lift(image).relu_()
        for layer in self.hidden:
            x = layer(x).relu_()
        return self.project(x)


class S2CNNClassifier(nn.Module):
    """A classifier ``[B, channels, beta, alpha] -> [B, classes]`` of spherical images.

    Convolutions with ReLU, the mean over all rotations, and a linear layer: a rotation of the image changes the logits
    as far as ReLU makes degrees that no grid holds.

    Args:
        widths: bandwidths, channels and kernels of the convolutions.
        classes: how many logits.
        n_max: as of :class:`S2CNN`.
        mode: as of :class:`S2CNN`.

    >>> net = S2CNNClassifier(S2CNNClassifierConfig(bandwidth=50).widths(1), 10)
    >>> sum(p.numel() for p in net.parameters())
    148502
    """

    def __init__(
        self, widths: S2CNNWidths, classes: int, n_max: int | None = None, mode: Mode | str = Mode.BAND_LIMITED
    ) -> None:
        super().__init__()
        (first, *others), beta = _sizes(widths), widths.max_betas
        self.lift = S2Conv(*first, kernel=S2Kernel(beta[0]), n_max=n_max, mode=mode)
        self.hidden = nn.ModuleList(
            SO3Conv(*size, kernel=SO3Kernel(angle), n_max=n_max, mode=mode)
            for size, angle in zip(others, beta[1:], strict=True)
        )
        self.integrate = SO3Integrate(widths.bandwidths[-1], n_max)
        self.classify = nn.Linear(widths.channels[-1], classes)

    @property
    def convolutions(self) -> list[SphereConvolution]:
        """The layers in their order."""
        return [self.lift, *(layer for layer in self.hidden if isinstance(layer, SphereConvolution))]

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        x = self.lift(image).relu_()
        for layer in self.hidden:
            x = layer(x).relu_()
        return self.classify(self.integrate(x))


def segmenting(config: S2CNNConfig, in_channels: int, classes: int) -> S2CNN:
    """Make the network of a recipe that segments."""
    return S2CNN(config.widths(in_channels, classes), config.n_max, config.mode)


def classifying(config: S2CNNClassifierConfig, in_channels: int, classes: int) -> S2CNNClassifier:
    """Make the network of a recipe that classifies."""
    return S2CNNClassifier(config.widths(in_channels), classes, config.n_max, config.mode)


def _sizes(widths: S2CNNWidths) -> list[tuple[int, int, int, int]]:
    """Return channels and bandwidths of input and output of every layer."""
    ends = zip(pairwise(widths.channels), pairwise(widths.bandwidths), strict=True)
    return [(*channels, *bandwidths) for channels, bandwidths in ends]
