"""Normalisation that commutes with the group: statistics and affine parameters are shared over a field.

Batch norm with statistics of its own for each of a field's |G| channels is *not* equivariant: the group permutes
those channels, the statistics stay. Instance norm may share its statistics or not, both are equivariant.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups.catalogue import resolve
from isotypic.groups.fields import FieldType, regular_fields
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.layer import EquivariantLayer
from isotypic.ops.norm import Running, field_batch_norm


class FieldNorm(EquivariantLayer):
    """What the norms share: one weight and one bias a field.

    Attributes:
        weight: ``[fields]``, ones at first; None without ``affine``.
        bias: ``[fields]``, zeros at first; None without ``affine``.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, kind: FieldType, eps: float, affine: bool) -> None:
        super().__init__(kind, kind)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(kind.fields)) if affine else None
        self.bias = nn.Parameter(torch.zeros(kind.fields)) if affine else None

    def per_channel(self, parameter: Tensor | None) -> Tensor | None:
        """Return one number a channel."""
        return None if parameter is None else parameter.repeat_interleave(self.in_type.representation.dimension)


class GroupBatchNorm(FieldNorm):
    """Batch norm of regular fields: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Mean and variance of a field are taken over batch, space *and* its |G| channels.

    Args:
        fields: fields of the signal, ``[B, fields * |G|, *space]``.
        group: the group or its name.
        dim: axes of space, where the group is given by name.
        eps: added to the variance.
        momentum: weight of the newest batch in the running statistics.
        affine: whether to learn weight and bias.

    Source:
        S. Ioffe, C. Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        fields: int,
        group: str | FiniteGroup,
        *,
        dim: int = 2,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__(_regular(group, dim, fields), eps, affine)
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(fields))
        self.register_buffer("running_var", torch.ones(fields))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch's statistics in training, by the running ones in evaluation."""
        self.check(x)
        if not self.training:
            return self._evaluate(x)
        self.num_batches_tracked.add_(1)
        running = Running(self.running_mean, self.running_var, self.momentum)
        order = self.in_type.representation.dimension
        return field_batch_norm(x, (self.weight, self.bias), running, order=order, eps=self.eps)

    def _evaluate(self, x: Tensor) -> Tensor:
        mean, var = self.per_channel(self.running_mean), self.per_channel(self.running_var)
        weight, bias = self.per_channel(self.weight), self.per_channel(self.bias)
        return functional.batch_norm(x, mean, var, weight, bias, training=False, eps=self.eps)


class GroupInstanceNorm(FieldNorm):
    """Instance norm of regular fields: each sample is normalised by its own mean and variance over space.

    Args:
        fields: fields of the signal, ``[B, fields * |G|, *space]``.
        group: the group or its name.
        dim: axes of space, where the group is given by name.
        shared: whether a field's |G| channels share their statistics; either way is equivariant.
        eps: added to the variance.
        affine: whether to learn weight and bias (torch's default is not to).

    Source:
        D. Ulyanov et al., Instance Normalization, arXiv 1607.08022.
    """

    def __init__(
        self,
        fields: int,
        group: str | FiniteGroup,
        *,
        dim: int = 2,
        shared: bool = True,
        eps: float = 1e-5,
        affine: bool = False,
    ) -> None:
        super().__init__(_regular(group, dim, fields), eps, affine)
        self.shared = shared

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every sample, in training and in evaluation alike."""
        self.check(x)
        if not self.shared:
            return functional.instance_norm(
                x, weight=self.per_channel(self.weight), bias=self.per_channel(self.bias), eps=self.eps
            )
        fields = x.unflatten(1, (self.in_type.fields, -1)).flatten(2)
        return functional.instance_norm(fields, weight=self.weight, bias=self.bias, eps=self.eps).view_as(x)


class GroupGroupNorm(FieldNorm):
    """Group norm of regular fields: fields in blocks, each block normalised over its fields and space.

    "Group" is meant twice: blocks of channels, as in torch's ``GroupNorm``, and the symmetry group.

    Args:
        blocks: how many blocks; divides the fields.
        fields: fields of the signal, ``[B, fields * |G|, *space]``.
        group: the group or its name.
        dim: axes of space, where the group is given by name.
        shared: whether the |G| channels share their statistics; either way is equivariant.
        eps: added to the variance.
        affine: whether to learn weight and bias.

    Source:
        Y. Wu, K. He, Group Normalization, ECCV 2018, arXiv 1803.08494.
    """

    def __init__(
        self,
        blocks: int,
        fields: int,
        group: str | FiniteGroup,
        *,
        dim: int = 2,
        shared: bool = True,
        eps: float = 1e-5,
        affine: bool = True,
    ) -> None:
        if blocks < 1 or fields % blocks:
            raise RequestError(f"expected a number of blocks that divides the {fields} fields, received {blocks}")
        super().__init__(_regular(group, dim, fields), eps, affine)
        self.blocks, self.shared = blocks, shared

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every sample, in training and in evaluation alike."""
        self.check(x)
        order = self.in_type.representation.dimension
        if self.shared:
            weight, bias = self.per_channel(self.weight), self.per_channel(self.bias)
            return functional.group_norm(x, self.blocks, weight, bias, self.eps)
        elements = x.unflatten(1, (-1, order)).movedim(2, 1).flatten(0, 1)
        normal = functional.group_norm(elements, self.blocks, self.weight, self.bias, self.eps)
        return normal.unflatten(0, (len(x), order)).movedim(1, 2).flatten(1, 2)


class GroupLayerNorm(FieldNorm):
    """Layer norm of regular fields: at every position, over all fields and their |G| channels.

    Args:
        fields: fields of the signal, ``[B, fields * |G|, *space]``.
        group: the group or its name.
        dim: axes of space, where the group is given by name.
        shared: whether the |G| channels share their statistics; either way is equivariant.
        channels_last: whether the channels are the last axis, ``[..., fields * |G|]``.
        eps: added to the variance.
        affine: whether to learn weight and bias.

    Source:
        J. Ba et al., Layer Normalization, arXiv 1607.06450.
    """

    def __init__(
        self,
        fields: int,
        group: str | FiniteGroup,
        *,
        dim: int = 2,
        shared: bool = True,
        channels_last: bool = False,
        eps: float = 1e-6,
        affine: bool = True,
    ) -> None:
        super().__init__(_regular(group, dim, fields), eps, affine)
        self.shared, self.channels_last = shared, channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every position of every sample."""
        if self.channels_last:
            return self._rows(x)
        self.check(x)
        return self._rows(x.movedim(1, -1)).movedim(-1, 1)

    def _rows(self, rows: Tensor) -> Tensor:
        if self.shared:
            weight, bias = self.per_channel(self.weight), self.per_channel(self.bias)
            return functional.layer_norm(rows, rows.shape[-1:], weight, bias, self.eps)
        elements = rows.unflatten(-1, (self.in_type.fields, -1)).transpose(-1, -2)
        normal = functional.layer_norm(elements, elements.shape[-1:], self.weight, self.bias, self.eps)
        return normal.transpose(-1, -2).flatten(-2)


def _regular(group: str | FiniteGroup, dim: int, fields: int) -> FieldType:
    return regular_fields(resolve(group, dim) if isinstance(group, str) else group, fields)
