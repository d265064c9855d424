"""Products of spectra, degree by degree, and their rotation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from isotypic.groups.so3.real import real_wigner_matrix
from isotypic.groups.so3.spectra import Band

Blocks = Sequence[Tensor]
"""A kernel's spectrum: for every degree ``[p C, q O]``, that is ``Y[q, p]`` from channel C to channel O."""


def multiply(spectrum: Tensor, blocks: Blocks, band: Band, out: Band, bias: Tensor | None = None) -> Tensor:
    """Return ``Z_l = X_l Y_l^T`` summed over channels, ``[entries of out, B, O]``.

    Rows are untouched, so the product commutes with rotations, which act on rows; columns may be the orders of SO(3) or
    the one of the sphere, on either end.

    Args:
        spectrum: ``[entries, B, C]``.
        blocks: the kernel's spectrum.
        band: of the signal.
        out: of the result: the same degrees and rows.
        bias: ``[O]``, added to degree 0, which is the constant.
    """
    batch, channels = spectrum.shape[1:]
    made = []
    parts = zip(spectrum.split(band.sizes), blocks, band.shapes, out.shapes, strict=True)
    for part, block, (rows, columns), (_, width) in parts:
        left = part.view(rows, columns, batch, channels).transpose(1, 2).reshape(rows * batch, -1)
        product = torch.mm(left, block).view(rows, batch, width, -1)
        made.append(product.transpose(1, 2).reshape(rows * width, batch, -1))
    if bias is not None:
        made[0] = made[0] + bias
    return torch.cat(made)


def rotate_spectrum(spectrum: Tensor, band: Band, rotation: Rotation) -> Tensor:
    """Return the spectrum of the rotated signal, ``(h f)(g) = f(h^-1 g)``: every degree times ``conj(D(h))``.

    Args:
        spectrum: ``[entries, B, C]``; all orders m of every degree.
        band: its band, rows up to the last degree.
        rotation: h, one rotation.
    """
    made = []
    for degree, (part, (rows, _)) in enumerate(zip(spectrum.split(band.sizes), band.shapes, strict=True)):
        turn = torch.tensor(real_wigner_matrix(degree, rotation)).to(spectrum)
        made.append((turn @ part.reshape(rows, -1)).view_as(part))
    return torch.cat(made)
