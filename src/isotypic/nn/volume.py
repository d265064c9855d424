"""Group convolutions of volumes, for the groups of the voxel grid: C1, Cs, C4, D4, D4h, T, O, Oh.

Axis order is ``(z, y, x)``; the four-fold axis of C4, D4 and D4h is z, so kernels, strides and windows may differ
between z and the plane, as anisotropic voxels need.
"""

from __future__ import annotations

from torch.nn import functional

from isotypic.nn.convolution import DirectConvolution, TransposedConvolution


class GroupConv3d(DirectConvolution):
    """Group convolution of a volume, exactly equivariant on every size.

    The formula, the arguments and the errors are those of :class:`isotypic.nn.GroupConv2d`, over three axes; with the
    trivial group it is ``torch.nn.Conv3d``.

    Args:
        in_fields: fields of the input; its channels are ``in_fields * |G|``, or ``in_fields`` when ``lift``.
        out_fields: fields of the output.
        kernel_size: taps, one number or ``(z, y, x)``; the group must map the kernel to itself.
        group: ``"D4h"``, ``"O"``, ... or a :class:`~isotypic.groups.FiniteGroup` of the voxel grid.
        lift: whether the input is a plain volume (scalar fields).
        stride: samples between outputs.
        padding: samples on either side, or ``"same"``, or ``"valid"``.
        dilation: samples between taps.
        groups: independent blocks of fields.
        bias: whether to add one learned number a field.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Source:
        M. Winkels, T. Cohen, 3D G-CNNs for Pulmonary Nodule Detection, MIDL 2018, arXiv 1804.04656.

    >>> import torch
    >>> layer = GroupConv3d(1, 2, (1, 3, 3), "D4", lift=True, stride=(1, 2, 2))
    >>> layer(torch.zeros(1, 1, 6, 13, 12)).shape
    torch.Size([1, 16, 6, 6, 5])
    """

    axes = 3
    convolve = staticmethod(functional.conv3d)


class GroupConvTranspose3d(TransposedConvolution):
    """Transposed group convolution of a volume: the adjoint of :class:`GroupConv3d` with the same window.

    The arguments and the errors are those of :class:`isotypic.nn.GroupConvTranspose2d`, over three axes.

    Args:
        in_fields: fields of the input.
        out_fields: fields of the output.
        kernel_size: taps, one number or ``(z, y, x)``.
        group: a group of the voxel grid, or its name.
        stride: how much finer the output grid is.
        padding: samples cut from either side of the output.
        output_padding: samples beyond the least size where no size is asked for; on both sides, by a wider kernel.
        dilation: samples between taps.
        groups: independent blocks of fields.
        bias: whether to add one learned number a field.
    """

    axes = 3
    convolve = staticmethod(functional.conv_transpose3d)
