"""Transforms of signals on the sphere and on SO(3) as modules, which hold the tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from isotypic.errors import RequestError
from isotypic.groups.finite import Floats
from isotypic.groups.so3.grids import soft
from isotypic.groups.so3.spectra import Band
from isotypic.groups.so3.transforms import Gather, gather, legendre, s2_gather, s2_waves, waves, weighted
from isotypic.nn.fieldwise import ExactTables
from isotypic.ops.sphere.sparse import SparseRows
from isotypic.ops.sphere.spectra import rotate_spectrum
from isotypic.ops.sphere.transforms import Tables, analyse, synthesise


@dataclass(frozen=True)
class Samples:
    """The SOFT grid of a signal.

    Attributes:
        bandwidth: b: 2 b samples of beta and of alpha.
        gamma: samples of gamma; None on the sphere.
    """

    bandwidth: int
    gamma: int | None = None

    @property
    def space(self) -> tuple[int, ...]:
        """Samples along every axis."""
        return (2 * self.bandwidth,) * 2 + (() if self.gamma is None else (self.gamma,))

    @property
    def names(self) -> str:
        """The axes, for messages."""
        return "beta, alpha" if self.gamma is None else "beta, alpha, gamma"


def so3_samples(bandwidth: int, n_max: int | None) -> Samples:
    """Return the grid of a signal on SO(3): gamma has 2 b samples, or ``2 (n_max + 1)``."""
    return Samples(bandwidth, 2 * bandwidth if n_max is None else 2 * (n_max + 1))


@dataclass(frozen=True)
class Source:
    """The tables of one direction of a transform, in float64: a picklable call without arguments.

    Attributes:
        samples: the grid.
        band: the spectrum.
        analysis: from the grid to the spectrum; otherwise back.
    """

    samples: Samples
    band: Band
    analysis: bool

    @property
    def gather(self) -> Gather:
        """Where products go."""
        return s2_gather(self.band) if self.samples.gamma is None else gather(self.band)

    def __call__(self) -> dict[str, Floats]:
        """Return the tables."""
        found = self.gather
        made = {"sign": found.sign, "inverse_sign": found.inverse_sign}
        return {**made, **(self._sphere() if self.samples.gamma is None else self._rotations(self.samples.gamma))}

    def _sphere(self) -> dict[str, Floats]:
        b, grid = self.samples.bandwidth, soft(self.samples.bandwidth)
        levels = 2.0 * np.arange(self.band.degrees)[:, None] + 1
        factor = grid.weights / (2 * b) if self.analysis else levels
        return {"alpha": s2_waves(2 * b, self.band.rows), "wigner": legendre(grid, self.band) * factor}

    def _rotations(self, turns: int) -> dict[str, Floats]:
        b = self.samples.bandwidth
        wigner = weighted(soft(b), self.band, analysis=self.analysis)
        around = {"alpha": waves(2 * b, self.band.rows), "gamma": waves(turns, self.band.columns)}
        return {**around, "wigner": wigner / (2 * b * turns) if self.analysis else wigner}


class Half(nn.Module):
    """One direction of a transform.

    Args:
        samples: the grid.
        band: the spectrum; its orders must be below half the samples.
        analysis: from the grid to the spectrum; otherwise back.
    """

    index: Tensor
    inverse: Tensor

    def __init__(self, samples: Samples, band: Band, *, analysis: bool) -> None:
        super().__init__()
        self.source = Source(samples, band, analysis)
        self.tables = ExactTables(self.source)
        self.register_buffer("index", torch.tensor(self.source.gather.index), persistent=False)
        self.register_buffer("inverse", torch.tensor(self.source.gather.inverse), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the spectrum ``[entries, B, C]`` of a signal ``[B, C, *space]``, or the signal of a spectrum."""
        return (analyse if self.source.analysis else synthesise)(x, self._read())

    def _read(self) -> Tables:
        sphere = self.source.samples.gamma is None
        return Tables(
            self.source.band,
            self.tables("alpha"),
            None if sphere else self.tables("gamma"),
            self.tables("wigner"),
            2 * self.source.samples.bandwidth,
            SparseRows(self.index, self.tables("sign")),
            SparseRows(self.inverse, self.tables("inverse_sign")),
        )

    def extra_repr(self) -> str:
        """Say grid and band in one line."""
        return f"{self.source.samples}, {self.source.band}"


class SphericalTransform(nn.Module):
    """The Fourier transform of signals on the SOFT grid of the sphere, and its inverse.

    ``x^l_m = sum over the grid of w f conj(D^l_m0)``, in the real basis of :mod:`isotypic.groups.so3.real`, exact for
    signals of degrees below the bandwidth; the inverse carries ``2 l + 1``.

    Args:
        bandwidth: b, for signals ``[B, C, 2 b, 2 b]``, axes beta and alpha.

    Raises:
        RequestError: a bandwidth below 1; at the call, a signal of another size.

    >>> transform = SphericalTransform(4)
    >>> transform.analyse(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([16, 2, 3])
    """

    def __init__(self, bandwidth: int) -> None:
        super().__init__()
        _at_least_one(bandwidth)
        self._halves(Samples(bandwidth), Band(bandwidth, bandwidth - 1, 0))

    def _halves(self, samples: Samples, band: Band) -> None:
        self.samples, self.band = samples, band
        self.forth, self.back = Half(samples, band, analysis=True), Half(samples, band, analysis=False)

    def analyse(self, signal: Tensor) -> Tensor:
        """Return the real spectrum ``[entries, B, C]`` of a signal ``[B, C, *space]``, entries of ``self.band``."""
        check_space(signal, self.samples, type(self).__name__)
        return self.forth(signal)

    def synthesise(self, spectrum: Tensor) -> Tensor:
        """Return the signal ``[B, C, *space]`` of a real spectrum ``[entries, B, C]``."""
        if spectrum.dim() != 3 or len(spectrum) != self.band.entries:
            raise RequestError(
                f"{type(self).__name__}: expected a spectrum [{self.band.entries}, batch, channels], "
                f"received {list(spectrum.shape)}"
            )
        return self.back(spectrum)

    def rotate(self, signal: Tensor, rotation: Rotation) -> Tensor:
        """Return ``(h f)(g) = f(h^-1 g)``, exact for band-limited signals; others lose what is beyond the band."""
        return self.synthesise(rotate_spectrum(self.analyse(signal), self.band, rotation))

    def forward(self, signal: Tensor) -> Tensor:
        """Return the spectrum."""
        return self.analyse(signal)


class RotationTransform(SphericalTransform):
    """The same for signals on SO(3), ``[B, C, 2 b, 2 b, 2 b]``, axes beta, alpha, gamma.

    Args:
        bandwidth: b.
        n_max: keep orders ``|n| <= n_max`` alone; gamma has ``2 (n_max + 1)`` samples then.

    Raises:
        RequestError: a bandwidth below 1, ``n_max`` not in [0, b); at the call, a signal of another size.
    """

    def __init__(self, bandwidth: int, n_max: int | None = None) -> None:
        nn.Module.__init__(self)
        _at_least_one(bandwidth)
        check_limit(n_max, bandwidth, type(self).__name__)
        columns = bandwidth - 1 if n_max is None else n_max
        self._halves(so3_samples(bandwidth, n_max), Band(bandwidth, bandwidth - 1, columns))


def check_space(signal: Tensor, samples: Samples, name: str, channels: int | None = None) -> None:
    """Raise RequestError unless a signal has the axes, the sizes and the channels that are expected."""
    wanted = tuple(samples.space)
    right = signal.dim() == len(wanted) + 2 and tuple(signal.shape[2:]) == wanted
    if not right or (channels is not None and signal.shape[1] != channels):
        sizes = ", ".join(map(str, wanted))
        raise RequestError(
            f"{name}: expected [batch, {'channels' if channels is None else channels}, {sizes}], axes {samples.names}, "
            f"for bandwidth {samples.bandwidth}, received {list(signal.shape)}: sample it on that grid"
        )


def check_limit(n_max: int | None, bandwidth: int, name: str) -> None:
    """Raise RequestError unless a limit of the orders n is below a bandwidth."""
    if n_max is not None and not 0 <= n_max < bandwidth:
        raise RequestError(
            f"{name}: expected n_max from 0 to {bandwidth - 1}, below every bandwidth it meets, received {n_max}"
        )


def _at_least_one(bandwidth: int) -> None:
    if bandwidth < 1:
        raise RequestError(f"expected a bandwidth of at least 1, received {bandwidth}")
