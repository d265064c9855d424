"""Convolutions of spherical signals: from the sphere to SO(3), on SO(3), and back; invariant integration.

A layer multiplies spectra: ``z = x conj(y)^T`` degree by degree, y the spectrum of a kernel near the identity. That
commutes with every rotation as far as the grid resolves the signals: exact for degrees below the bandwidth (to
rounding), in ``mode="band-limited"``, which keeps degrees below ``min(b_in, b_out)``. ``mode="compat"`` computes all
degrees below ``b_out``, as the reference implementation does: a layer to a larger bandwidth then makes up degrees that
the input does not hold, by a quadrature that does not resolve them. A pointwise nonlinearity between layers makes
degrees that no grid holds: what it aliases is the error of a network.

Source:
    T. Cohen, M. Geiger, J. Koehler, M. Welling, Spherical CNNs, ICLR 2018, arXiv 1801.10130; the layer back to the
    sphere: J. Gerken et al., Equivariance versus Augmentation for Spherical Images, ICML 2022, arXiv 2202.03990.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from functools import partial

import torch
from torch import Tensor, nn

from isotypic.errors import RequestError, unknown
from isotypic.groups.so3.kernels import S2Kernel, SO3Kernel
from isotypic.groups.so3.spectra import Band
from isotypic.nn.fieldwise import ExactTables
from isotypic.nn.sphere.kernels import CollapsedPoints, LookupBank, PointBank, SpherePoints
from isotypic.nn.sphere.norm import beta_weights
from isotypic.nn.sphere.transform import Half, Samples, check_limit, check_space, so3_samples
from isotypic.ops.sphere.spectra import multiply


class Mode(Enum):
    """Which degrees a layer computes."""

    BAND_LIMITED = "band-limited"
    COMPAT = "compat"


@dataclass(frozen=True)
class Bandwidths:
    """What a layer is told about degrees and orders.

    Attributes:
        into: bandwidth of the input.
        out: bandwidth of the output.
        n_max: the limit of the orders n on SO(3), or None.
        mode: which degrees are computed.
    """

    into: int
    out: int
    n_max: int | None
    mode: Mode

    @property
    def degrees(self) -> int:
        """How many degrees are computed."""
        return self.out if self.mode is Mode.COMPAT else min(self.into, self.out)

    @property
    def rows(self) -> int:
        """The largest order m: what the input's grid tells apart."""
        return min(self.into, self.degrees) - 1

    @property
    def in_columns(self) -> int:
        """The largest order n of an input on SO(3)."""
        return self._columns(self.into)

    @property
    def out_columns(self) -> int:
        """The largest order n of an output on SO(3)."""
        return self._columns(self.out)

    def _columns(self, bandwidth: int) -> int:
        limit = bandwidth - 1 if self.n_max is None else self.n_max
        return min(limit, self.degrees - 1)

    def band(self, columns: int) -> Band:
        """Return the band of a signal in the layer."""
        return Band(self.degrees, self.rows, columns)


class SphereConvolution(nn.Module, ABC):
    """What the layers share: the way from grid to grid, weight and bias.

    Attributes:
        weight: ``[out_channels, in_channels, *points]``; before use it is multiplied by the scale of the reference
            implementation, ``1 / sqrt(points in_channels b_out^3 / b_in^3)`` on SO(3): weights are of order one.
        bias: ``[out_channels]``; None without ``bias``.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self, channels: tuple[int, int], bandwidths: Bandwidths, kernel: S2Kernel | SO3Kernel, bias: bool
    ) -> None:
        super().__init__()
        if min(channels) < 1:
            raise RequestError(f"{type(self).__name__}: expected at least one channel, received {channels}")
        self.in_channels, self.out_channels = channels
        self.bandwidths, self.kernel = bandwidths, kernel
        self.weight = nn.Parameter(torch.empty(channels[1], channels[0], *kernel.shape))
        self.bias = nn.Parameter(torch.empty(channels[1])) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights uniform in [-1, 1], as in the reference; bias zero."""
        nn.init.uniform_(self.weight, -1.0, 1.0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _connect(self, ends: tuple[Samples, Samples], columns: tuple[int, int]) -> None:
        """Make the transforms of both ends.

        Args:
            ends: grids of input and output.
            columns: the largest order n of either spectrum; 0 on the sphere.
        """
        self.in_samples, self.out_samples = ends
        self.in_band, self.out_band = (self.bandwidths.band(limit) for limit in columns)
        self.analysis = Half(ends[0], self.in_band, analysis=True)
        self.synthesis = Half(ends[1], self.out_band, analysis=False)

    @abstractmethod
    def blocks(self) -> list[Tensor]:
        """Return the kernel's spectrum, for every degree ``[p C, q O]``."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[B, in_channels, *space]`` to ``[B, out_channels, *space]``, in the weight's precision."""
        check_space(x, self.in_samples, type(self).__name__, self.in_channels)
        self._check_dtype(x)
        with torch.autocast(x.device.type, enabled=False):
            spectrum = self.analysis(x)
            _refuse_infinite(spectrum, type(self).__name__)
            product = multiply(spectrum, self.blocks(), self.in_band, self.out_band, self.bias)
            return self.synthesis(product)

    def _check_dtype(self, x: Tensor) -> None:
        if x.dtype != self.weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise RequestError(
                f"{type(self).__name__}: expected {self.weight.dtype} as its weight, received {x.dtype}: "
                "convert either with .to()"
            )

    def extra_repr(self) -> str:
        """Say channels, bandwidths and kernel in one line."""
        b = self.bandwidths
        words = [f"{self.in_channels} -> {self.out_channels} channels", f"bandwidth {b.into} -> {b.out}"]
        words += [f"n_max {b.n_max}"] if b.n_max is not None else []
        return ", ".join([*words, b.mode.value, str(self.kernel)])


class S2Conv(SphereConvolution):
    """Convolution from the sphere to SO(3): ``z_mn = x_m conj(y_n)``.

    Args:
        in_channels: channels of the input ``[B, in_channels, 2 b_in, 2 b_in]``, axes beta and alpha.
        out_channels: channels of the output ``[B, out_channels, 2 b_out, 2 b_out, 2 b_out]``, axes beta, alpha, gamma.
        b_in: bandwidth of the input.
        b_out: bandwidth of the output.
        kernel: where the kernel's points lie.
        n_max: keep orders ``|n| <= n_max`` of the output alone; gamma has ``2 (n_max + 1)`` samples then.
        mode: ``"band-limited"``, the default, or ``"compat"``; told neither, a layer with ``b_out > b_in`` warns.
        bias: whether to learn one number a channel.

    Raises:
        RequestError: no channels, a bandwidth below 1, ``n_max`` not below the bandwidths of SO(3), an unknown mode; at
            the call, another shape or dtype, NaN or infinite samples.

    >>> S2Conv(1, 2, 8, 6)(torch.zeros(3, 1, 16, 16)).shape
    torch.Size([3, 2, 12, 12, 12])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        b_in: int,
        b_out: int,
        *,
        kernel: S2Kernel = S2Kernel(),  # noqa: B008 - frozen
        n_max: int | None = None,
        mode: Mode | str | None = None,
        bias: bool = True,
    ) -> None:
        check_limit(n_max, b_out, type(self).__name__)
        bands = _bandwidths(type(self).__name__, b_in, b_out, n_max, mode)
        super().__init__((in_channels, out_channels), bands, kernel, bias)
        self._connect((Samples(b_in), so3_samples(b_out, n_max)), (0, bands.out_columns))
        # On the reference grid a kernel's spectrum carries a factor 2 b_out.
        gain = 2 * b_out / math.sqrt(math.prod(kernel.shape) * in_channels * b_out**4 / b_in**2)
        blocks = Band(bands.degrees, 0, bands.out_columns)
        self.bank = PointBank(SpherePoints(kernel, bands.degrees, bands.out_columns), blocks, gain)

    def blocks(self) -> list[Tensor]:
        """Return the kernel's spectrum, for every degree ``[C, q O]``."""
        return self.bank(self.weight)


class SO3Conv(SphereConvolution):
    """Convolution on SO(3): ``z_mn = sum_p x_mp conj(y_np)``.

    Args:
        in_channels: channels of the input ``[B, in_channels, 2 b_in, 2 b_in, 2 b_in]``, axes beta, alpha, gamma.
        out_channels: channels of the output ``[B, out_channels, 2 b_out, 2 b_out, 2 b_out]``.
        b_in: bandwidth of the input.
        b_out: bandwidth of the output.
        kernel: where the kernel's points lie.
        n_max: keep orders ``|n| <= n_max`` of input and output alone; gamma has ``2 (n_max + 1)`` samples then. The
            layer commutes with rotations as before and costs far less.
        mode: ``"band-limited"``, the default, or ``"compat"``; told neither, a layer with ``b_out > b_in`` warns.
        bias: whether to learn one number a channel.

    Raises:
        RequestError: as :class:`S2Conv`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        b_in: int,
        b_out: int,
        *,
        kernel: SO3Kernel = SO3Kernel(),  # noqa: B008 - frozen
        n_max: int | None = None,
        mode: Mode | str | None = None,
        bias: bool = True,
    ) -> None:
        check_limit(n_max, min(b_in, b_out), type(self).__name__)
        bands = _bandwidths(type(self).__name__, b_in, b_out, n_max, mode)
        super().__init__((in_channels, out_channels), bands, kernel, bias)
        self._connect((so3_samples(b_in, n_max), so3_samples(b_out, n_max)), (bands.in_columns, bands.out_columns))
        gain = _so3_gain(kernel, in_channels, b_in, b_out)
        self.bank = LookupBank(kernel, Band(bands.degrees, bands.in_columns, bands.out_columns), gain)

    def blocks(self) -> list[Tensor]:
        """Return the kernel's spectrum, for every degree ``[p C, q O]``."""
        return self.bank(self.weight)


class SO3ToS2(SphereConvolution):
    """Convolution from SO(3) to the sphere: ``z_m = sum_n sum_p x_mp conj(y_np)``, its real part.

    The real part keeps the even n alone; the kernel is summed over them before the product.

    Args:
        in_channels: channels of the input ``[B, in_channels, 2 b_in, 2 b_in, 2 b_in]``, axes beta, alpha, gamma.
        out_channels: channels of the output ``[B, out_channels, 2 b_out, 2 b_out]``, axes beta and alpha.
        b_in: bandwidth of the input.
        b_out: bandwidth of the output.
        kernel: where the kernel's points lie.
        n_max: of the input, as for :class:`SO3Conv`.
        mode: ``"band-limited"``, the default, or ``"compat"``; told neither, a layer with ``b_out > b_in`` warns.
        bias: whether to learn one number a channel.

    Raises:
        RequestError: as :class:`S2Conv`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        b_in: int,
        b_out: int,
        *,
        kernel: SO3Kernel = SO3Kernel(),  # noqa: B008 - frozen
        n_max: int | None = None,
        mode: Mode | str | None = None,
        bias: bool = True,
    ) -> None:
        check_limit(n_max, b_in, type(self).__name__)
        bands = _bandwidths(type(self).__name__, b_in, b_out, n_max, mode)
        super().__init__((in_channels, out_channels), bands, kernel, bias)
        self._connect((so3_samples(b_in, n_max), Samples(b_out)), (bands.in_columns, 0))
        source = CollapsedPoints(kernel, bands.degrees, bands.in_columns)
        gain = _so3_gain(kernel, in_channels, b_in, b_out)
        self.bank = PointBank(source, Band(bands.degrees, bands.in_columns, 0), gain)

    def blocks(self) -> list[Tensor]:
        """Return the kernel's spectrum, for every degree ``[p C, O]``."""
        return self.bank(self.weight)


class SO3Integrate(nn.Module):
    """The mean over SO(3), which no rotation changes: ``[B, C, 2 b, 2 b, 2 b] -> [B, C]``.

    Args:
        bandwidth: b of the signal.
        n_max: of the signal, as for :class:`SO3Conv`.

    Raises:
        RequestError: a bandwidth below 1, ``n_max`` not in [0, b); at the call, another shape.
    """

    def __init__(self, bandwidth: int, n_max: int | None = None) -> None:
        super().__init__()
        check_limit(n_max, bandwidth, type(self).__name__)
        self.samples = so3_samples(bandwidth, n_max)
        self.tables = ExactTables(partial(beta_weights, bandwidth))

    def forward(self, x: Tensor) -> Tensor:
        """Integrate over the normalised Haar measure."""
        check_space(x, self.samples, type(self).__name__)
        weights = self.tables("weights")
        return (x.to(weights.dtype).mean(dim=(-2, -1)) * weights).sum(-1)


def _so3_gain(kernel: SO3Kernel, in_channels: int, b_in: int, b_out: int) -> float:
    return 1.0 / math.sqrt(math.prod(kernel.shape) * in_channels * b_out**3 / b_in**3)


def _bandwidths(name: str, b_in: int, b_out: int, n_max: int | None, mode: Mode | str | None) -> Bandwidths:
    """Resolve the mode, and warn where degrees of the output stay empty that nobody said should."""
    if min(b_in, b_out) < 1:
        raise RequestError(f"{name}: expected bandwidths of at least 1, received {b_in} and {b_out}")
    known = [each.value for each in Mode]
    if isinstance(mode, str) and mode not in known:
        raise unknown("mode", mode, known)
    if mode is None and b_out > b_in:
        warnings.warn(
            f"{name}: the output's degrees from {b_in} to {b_out - 1} stay zero, as the input has bandwidth {b_in}: "
            'say mode="band-limited" if that is meant',
            stacklevel=3,
        )
    return Bandwidths(b_in, b_out, n_max, Mode.BAND_LIMITED if mode is None else Mode(mode))


def _refuse_infinite(spectrum: Tensor, name: str) -> None:
    """Raise RequestError for NaN or infinite samples, which all reach degree 0.

    Not on other devices than the CPU, where it would wait for the device, and not under a compiler.
    """
    if spectrum.device.type == "cpu" and not torch.compiler.is_compiling() and not bool(spectrum[0].isfinite().all()):
        raise RequestError(f"{name}: expected finite samples, received NaN or infinity: look for them in the input")
