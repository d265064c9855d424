"""Rotation of a sampled signal by any angle, by interpolation: what approximate equivariance is measured with.

``(g f)(p) = rho(g) f(g^-1 p)`` for the rotation g about the centre of the grid, where f between the samples is
interpolated and zero outside. Relative error (2-norms) for a random image of waves up to pi/4 a sample that falls to
zero at the border, turned by 45 degrees, against the image evaluated at the turned points, float64, 33 x 33 and
65 x 65: bilinear 4 %, bicubic 2.2 %, fourier 0.3 %. Multiples of 90 degrees permute the samples, to 1e-10.
"""

from __future__ import annotations

from enum import Enum
from math import cos, radians, sin

import torch
from torch import Tensor
from torch.nn import functional

from isotypic.errors import RequestError, unknown
from isotypic.groups.circle import FieldsLike, fields_of_the_plane, matrix_at

_FINER = 8


class Interpolation(str, Enum):
    """How a signal is read between its samples."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    FOURIER = "fourier"

    @classmethod
    def of(cls, name: str | Interpolation) -> Interpolation:
        """Return an interpolation by name; RequestError for another name."""
        if name not in {member.value for member in cls}:
            raise unknown("interpolation", str(name), [member.value for member in cls])
        return cls(name)


def rotate(signal: Tensor, degrees: float, fields: FieldsLike | None = None, interpolation: str = "bicubic") -> Tensor:
    """Rotate an image counter-clockwise as seen on the screen, channels by their representation.

    Args:
        signal: ``[B, channels, y, x]``, channels field-major.
        degrees: the angle, of any size.
        fields: the type of the channels, :class:`~isotypic.groups.FieldType`, ``SO2Fields`` or a sequence of them;
            default: scalar fields. For a finite group the angle must be one of its rotations.
        interpolation: ``"bilinear"``, ``"bicubic"`` or ``"fourier"``: bicubic on a grid eight times finer,
            reached by the discrete Fourier transform, for signals that fall to zero at the border.

    Raises:
        RequestError: not four axes, channels of another type, a rotation that is not in the group, another
            interpolation.

    >>> image = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> torch.allclose(rotate(image, 90), torch.rot90(image, 1, (2, 3)), atol=1e-5)
    True
    """
    if signal.dim() != 4:
        raise RequestError(f"expected a signal [batch, channels, y, x], received {list(signal.shape)}")
    moved = _rotate_space(signal, radians(degrees), Interpolation.of(interpolation))
    return moved if fields is None else rotate_channels(moved, degrees, fields)


def rotate_channels(signal: Tensor, degrees: float, fields: FieldsLike) -> Tensor:
    """Apply the representation of a rotation to every field of ``[B, channels, ...]``.

    Raises:
        RequestError: channels of another type, a rotation that is not in the group.
    """
    kind = fields_of_the_plane(fields)
    if signal.shape[1] != kind.channels:
        raise RequestError(f"expected {kind.channels} channels, {kind}, received {signal.shape[1]}")
    moved = []
    for part, channels in zip(kind, signal.split(kind.sizes, 1), strict=True):
        matrix = torch.as_tensor(matrix_at(part.representation, degrees)).to(signal)
        moved.append(torch.einsum("ij,bfj...->bfi...", matrix, channels.unflatten(1, (part.fields, -1))).flatten(1, 2))
    return torch.cat(moved, 1)


def _rotate_space(signal: Tensor, angle: float, interpolation: Interpolation) -> Tensor:
    """Sample at ``g^-1 p`` for every position p of the grid."""
    sizes = signal.shape[2:]
    axes = [torch.arange(n, device=signal.device, dtype=signal.dtype) - (n - 1) / 2 for n in sizes]
    y, x = torch.meshgrid(*axes, indexing="ij")
    turned = (cos(angle) * y + sin(angle) * x, cos(angle) * x - sin(angle) * y)
    source = [place + (n - 1) / 2 for place, n in zip(turned, sizes, strict=True)]
    if interpolation is Interpolation.FOURIER:
        signal, source = _refine(signal), [_FINER * place for place in source]
    # grid_sample counts (x, y) from -1 to 1 over the outer edges of the samples.
    units = [(2 * place + 1) / n - 1 for place, n in zip(source, signal.shape[2:], strict=True)]
    grid = torch.stack(units[::-1], -1).expand(len(signal), -1, -1, -1)
    mode = "bilinear" if interpolation is Interpolation.BILINEAR else "bicubic"
    return functional.grid_sample(signal, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _refine(signal: Tensor) -> Tensor:
    """Return the trigonometric interpolation on a grid ``_FINER`` times finer; sample j becomes ``_FINER j``."""
    for axis in (2, 3):
        n = signal.shape[axis]
        spectrum = torch.fft.rfft(signal, dim=axis)
        if n % 2 == 0:
            # The highest frequency of an even size stands for both signs: half for each.
            half = torch.ones(spectrum.shape[axis], dtype=signal.dtype, device=signal.device)
            half[-1] = 0.5
            spectrum = spectrum * half.view([-1 if i == axis else 1 for i in range(4)])
        signal = torch.fft.irfft(spectrum, n=_FINER * n, dim=axis) * _FINER
    return signal
