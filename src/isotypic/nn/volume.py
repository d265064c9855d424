"""Group convolutions of volumes, for the groups of the voxel grid: C1, Cs, C4, D4, D4h, T, O, Oh.

Axis order is ``(z, y, x)``; the four-fold axis of C4, D4 and D4h is z, so kernels, strides and windows may differ
between z and the plane, as anisotropic voxels need.
"""

from __future__ import annotations

from torch.nn import functional

from isotypic.groups.finite import FiniteGroup
from isotypic.nn.convolution import DirectConvolution, Extent, TransposedConvolution, conv_types, window


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

    # The arguments of torch.nn.Conv3d, so more than eight: a layer is exchanged by its name alone.
    def __init__(  # noqa: PLR0913
        self,
        in_fields: int,
        out_fields: int,
        kernel_size: Extent,
        group: str | FiniteGroup,
        *,
        lift: bool = False,
        stride: Extent = 1,
        padding: Extent | str = 0,
        dilation: Extent = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        types = conv_types(group, 3, in_fields, out_fields, lift)
        moved = window(
            types[0].group,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
        )
        super().__init__(types, moved, bias, functional.conv3d)


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

    # The arguments of torch.nn.ConvTranspose3d, so more than eight.
    def __init__(  # noqa: PLR0913
        self,
        in_fields: int,
        out_fields: int,
        kernel_size: Extent,
        group: str | FiniteGroup,
        *,
        stride: Extent = 1,
        padding: Extent = 0,
        output_padding: Extent = 0,
        dilation: Extent = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        types = conv_types(group, 3, in_fields, out_fields, lift=False)
        moved = window(
            types[0].group,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            output_padding=output_padding,
        )
        super().__init__(types, moved, bias, functional.conv_transpose3d)
