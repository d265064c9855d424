"""Group convolutions of images, for the groups of the pixel grid: C1, C2, C4 (p4), Cs, D2, D4 (p4m)."""

from __future__ import annotations

from torch.nn import functional

from isotypic.nn.convolution import DirectConvolution, TransposedConvolution


class GroupConv2d(DirectConvolution):
    """Group convolution of an image, exactly equivariant on every size.

    ``(f * psi)(p, g) = sum_{q, h} f(q, h) psi(g^-1 h, g^-1 (q - p))``, or without h when it lifts a plain image.
    With the trivial group it is ``torch.nn.Conv2d``. Arguments after ``group`` mean what they mean there, counted
    in fields.

    Args:
        in_fields: fields of the input; its channels are ``in_fields * |G|``, or ``in_fields`` when ``lift``.
        out_fields: fields of the output; its channels are ``out_fields * |G|``.
        kernel_size: taps, one number or ``(y, x)``; the group must map the kernel to itself.
        group: ``"p4"``, ``"p4m"``, ... or a :class:`~isotypic.groups.FiniteGroup` of the pixel grid.
        lift: whether the input is a plain image (scalar fields).
        stride: samples between outputs. Where it does not fit the size the kernel is widened by the parity rule.
        padding: samples on either side, or ``"same"`` (odd kernels, stride 1), or ``"valid"``.
        dilation: samples between taps.
        groups: independent blocks of fields; ``groups=in_fields`` is depthwise.
        bias: whether to add one learned number a field.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Raises:
        RequestError: the group is not of the grid, or does not map kernel, stride, padding or dilation to itself;
            at the call, an input of another type.

    Source:
        T. Cohen, M. Welling, Group Equivariant Convolutional Networks, ICML 2016, arXiv 1602.07576.

    >>> import torch
    >>> layer = GroupConv2d(3, 16, 3, "p4m", lift=True, padding=1)
    >>> layer(torch.zeros(2, 3, 21, 32)).shape
    torch.Size([2, 128, 21, 32])
    """

    axes = 2
    convolve = staticmethod(functional.conv2d)


class GroupConvTranspose2d(TransposedConvolution):
    """Transposed group convolution of an image: the adjoint of :class:`GroupConv2d` with the same window.

    Exactly equivariant for every size that it is told to reach: ``layer(x, output_size=...)`` widens the kernel by
    the parity rule where ``torch.nn.ConvTranspose2d`` would pad one side (``output_padding``).

    Args:
        in_fields: fields of the input.
        out_fields: fields of the output.
        kernel_size: taps, one number or ``(y, x)``.
        group: a group of the pixel grid, or its name.
        stride: how much finer the output grid is.
        padding: samples cut from either side of the output.
        output_padding: samples beyond the least size where no size is asked for; on both sides, by a wider kernel.
        dilation: samples between taps.
        groups: independent blocks of fields.
        bias: whether to add one learned number a field.

    Raises:
        RequestError: as :class:`GroupConv2d`; an ``output_size`` that the window cannot reach.

    >>> import torch
    >>> layer = GroupConvTranspose2d(4, 2, 3, "p4", stride=2, padding=1)
    >>> layer(torch.zeros(1, 16, 8, 8), output_size=(16, 16)).shape
    torch.Size([1, 8, 16, 16])
    """

    axes = 2
    convolve = staticmethod(functional.conv_transpose2d)
