"""What layers of any field types share, and layers that treat every field alike: restriction, norm, pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isotypic.groups.catalogue import named
from isotypic.groups.circle import (
    AnyRepresentation,
    Fields,
    FieldsLike,
    FieldSum,
    O2Fields,
    SO2Fields,
    field_sum,
    invariants,
    members,
    restriction,
)
from isotypic.groups.fields import FieldType, scalar_fields
from isotypic.groups.finite import FiniteGroup, Floats, Indices
from isotypic.groups.representations import regular
from isotypic.nn.layer import EquivariantLayer
from isotypic.nn.pooling import Reduction


class FieldLayer(EquivariantLayer):
    """An equivariant layer between sums of fields of a finite group of the plane or of space, of SO(2) or of O(2).

    Attributes:
        in_type: the types of the input's channels, one behind the other.
        out_type: those of the output.
    """

    in_type: FieldSum  # type: ignore[assignment]
    out_type: FieldSum  # type: ignore[assignment]

    def __init__(self, in_type: FieldsLike, out_type: FieldsLike) -> None:
        super().__init__(field_sum(in_type), field_sum(out_type))  # type: ignore[arg-type]

    def parts(self, x: Tensor) -> list[tuple[Fields, Tensor]]:
        """Return every part of the input's type with its channels, ``[B, fields, dimension, *space]``."""
        self.check(x)
        split = x.split(self.in_type.sizes, 1)
        return [(part, t.unflatten(1, (part.fields, -1))) for part, t in zip(self.in_type, split, strict=True)]

    def extra_repr(self) -> str:
        """Say the types in one line."""
        a, b = _short(self.in_type), _short(self.out_type)
        return f"{a if a == b else f'{a} -> {b}'}, {self.in_type.group.name}"


class ExactTables(nn.Module):
    """Constants computed in float64, held as non-persistent buffers of the module's dtype and device.

    A change of dtype casts them from float64 again, so that ``module.float().double()`` is exact. They are functions
    of ``source`` alone, a picklable call without arguments, and neither saved nor pickled.
    """

    def __init__(self, source: Callable[[], dict[str, Floats]]) -> None:
        super().__init__()
        self.source = source
        for name, table in source().items():
            self.register_buffer(name, torch.tensor(table, dtype=torch.get_default_dtype()), persistent=False)

    def forward(self, name: str) -> Tensor:
        """Return one table."""
        return self.get_buffer(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ExactTables:
        before = self._kinds()
        super()._apply(fn, recurse)
        exact = self.source() if self._kinds() != before else {}
        for name, table in exact.items():
            self._buffers[name] = torch.tensor(table).to(self.get_buffer(name))
        return self

    def _kinds(self) -> dict[str, tuple[torch.dtype, torch.device]]:
        return {name: (table.dtype, table.device) for name, table in self.named_buffers()}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what the tables are like and not their entries."""
        return {**self.__dict__, "_buffers": self._kinds()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Compute the tables anew."""
        like, exact = state["_buffers"], state["source"]()
        buffers = {n: torch.tensor(exact[n]).to(dtype=dtype, device=device) for n, (dtype, device) in like.items()}
        super().__setstate__({**state, "_buffers": buffers})


class InvariantTables:
    """The invariant vectors of a representation, scaled to a largest entry of one, and what reads their components.

    A picklable call without arguments, the source of :class:`ExactTables`.
    """

    def __init__(self, representation: AnyRepresentation) -> None:
        self.representation = representation

    def __call__(self) -> dict[str, Floats]:
        """Return both tables, ``[m, n]``."""
        directions = invariants(self.representation)
        if len(directions):
            directions = directions / np.abs(directions).max(axis=1, keepdims=True)
        lengths = (directions**2).sum(axis=1, keepdims=True)
        return {"directions": directions, "dual": directions / lengths}


class Reorder(nn.Module):
    """Take the entries along one axis in another order; nothing where it is theirs already.

    Args:
        order: which entry each entry is.
        axis: where they are.
    """

    order: Tensor

    def __init__(self, order: Indices, axis: int = 1) -> None:
        super().__init__()
        self.axis, self.moves = axis, bool((order != np.arange(len(order))).any())
        self.register_buffer("order", torch.as_tensor(order), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the entries in their new order."""
        return x.index_select(self.axis, self.order) if self.moves else x


class Restrict(FieldLayer):
    """Read a signal of a group as one of a subgroup: from here on a network keeps less symmetry.

    A regular field of G becomes ``|G| / |H|`` regular fields of H (channels are permuted so that they come out
    field-major: one H-field for each right coset H c, its channel h being channel ``h c`` of the G-field). Any other
    field keeps its channels, with its representation restricted to H. Exact; no parameters.

    Args:
        in_type: fields of a finite group, of SO(2) or of O(2).
        subgroup: the name of a group, of as many axes, whose elements are in the group, or that group.

    Raises:
        RequestError: not a subgroup.

    >>> from isotypic.groups import named, regular_fields
    >>> print(Restrict(regular_fields(named("C8"), 3), "C4").out_type)
    6 regular fields of C4 (24 channels)
    >>> print(Restrict(regular_fields(named("Oh", 3), 2), "D4h").out_type)
    6 regular fields of D4h (96 channels)
    """

    def __init__(self, in_type: FieldsLike, subgroup: str | FiniteGroup) -> None:
        whole = field_sum(in_type)
        smaller = named(subgroup, whole.group.dim) if isinstance(subgroup, str) else subgroup
        kinds, orders, start = [], [], 0
        for part in whole:
            kind, order = _restricted(part, smaller)
            kinds.append(kind)
            orders.append(start + order)
            start += part.channels
        super().__init__(whole, tuple(kinds))
        self.reorder = Reorder(np.concatenate(orders))

    def forward(self, x: Tensor) -> Tensor:
        """Relabel ``[B, channels, *space]``."""
        self.check(x)
        return self.reorder(x)

    def extra_repr(self) -> str:
        """Say both types and groups."""
        return f"{super().extra_repr()} to {self.out_type.group.name}"


class SteerableBatchNorm(FieldLayer):
    """Batch norm of any fields: ``(v - mean) / sqrt(var + eps) * weight + bias``.

    The mean is that of a field's invariant components alone (all of a scalar field, the average of a regular one,
    nothing of a vector); the variance is the mean square of what is left, over batch, space and the channels of
    the field. Weight is one number a field, bias one an invariant component. For regular fields it is
    :class:`~isotypic.nn.GroupBatchNorm`. Exact for every element that the pixels allow.

    Args:
        fields: the type of input and output.
        eps: added to the variance.
        momentum: weight of the newest batch in the running statistics.

    Source:
        S. Ioffe, C. Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, fields: FieldsLike, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(fields, fields)
        self.eps, self.momentum = eps, momentum
        self.directions = nn.ModuleList(ExactTables(InvariantTables(part.representation)) for part in self.in_type)
        count = bias_size(self.in_type)
        self.weight = nn.Parameter(torch.ones(self.in_type.fields))
        self.bias = nn.Parameter(torch.zeros(count))
        self.register_buffer("running_mean", torch.zeros(count))
        self.register_buffer("running_var", torch.ones(self.in_type.fields))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch's statistics in training, by the running ones in evaluation."""
        self.check(x)
        mean, var = self._batch(x) if self.training else (self.running_mean, self.running_var)
        scale = self._channels((var + self.eps).rsqrt() * self.weight)
        shift = self._spread(self.bias) - self._spread(mean) * scale
        return torch.addcmul(_over_space(shift.to(x.dtype), x), x, _over_space(scale.to(x.dtype), x))

    def _batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch's mean (invariant components) and variance (fields), and remember them."""
        wide, samples = x.to(self.weight.dtype), (0, *range(2, x.dim()))
        mean = self._invariant(wide.mean(samples))
        rest = wide - _over_space(self._spread(mean), x)
        squares = rest.square().mean(samples).split(self.in_type.sizes)
        var = torch.cat([s.view(p.fields, -1).mean(1) for p, s in zip(self.in_type, squares, strict=True)])
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * self._unbiased(x), self.momentum)
        return mean, var

    def _unbiased(self, x: Tensor) -> Tensor:
        seen = x.numel() // x.shape[1]
        counts = [seen * part.representation.dimension for part in self.in_type]
        factors = zip(self.in_type, counts, strict=True)
        return torch.cat([self.running_var.new_full((p.fields,), n / max(n - 1, 1)) for p, n in factors])

    def _invariant(self, channels: Tensor) -> Tensor:
        """Return the invariant components of ``[channels]``."""
        split = zip(self.in_type, self.directions, channels.split(self.in_type.sizes), strict=True)
        return torch.cat([(t.view(part.fields, 1, -1) * table("dual")).sum(2).flatten() for part, table, t in split])

    def _spread(self, components: Tensor) -> Tensor:
        """Return the channels that invariant components stand for."""
        return spread_bias(components, self.in_type, [table("directions") for table in self.directions])

    def _channels(self, per_field: Tensor) -> Tensor:
        split = zip(self.in_type, per_field.split([part.fields for part in self.in_type]), strict=True)
        return torch.cat([t.repeat_interleave(part.representation.dimension) for part, t in split])


class InvariantPool(FieldLayer):
    """Every field to one number that the group does not change: ``[B, channels, *space] -> [B, fields, *space]``.

    Scalar fields stay, permutation fields (regular, quotient) give their maximum or mean, any other field its norm.

    Args:
        fields: the type of the input.
        reduce: ``"max"`` or ``"mean"``, over the channels of a permutation field.

    >>> from isotypic.groups.circle import SO2Fields
    >>> InvariantPool((SO2Fields(0, 4), SO2Fields(1, 3)))(torch.zeros(2, 10, 5, 5)).shape
    torch.Size([2, 7, 5, 5])
    """

    def __init__(self, fields: FieldsLike, reduce: str = "max") -> None:
        kind = field_sum(fields)
        super().__init__(kind, trivial_fields(kind, kind.fields))
        self.reduce = Reduction.of(reduce)
        self.permuted = tuple(part.representation.is_permutation for part in kind)

    def forward(self, x: Tensor) -> Tensor:
        """Pool every field over its channels."""
        parts = zip(self.parts(x), self.permuted, strict=True)
        return torch.cat([self._pool(fields, permuted) for (_, fields), permuted in parts], 1)

    def _pool(self, fields: Tensor, permuted: bool) -> Tensor:
        if not permuted:
            return field_norm(fields).squeeze(2).to(fields.dtype)
        return fields.amax(2) if self.reduce is Reduction.MAX else fields.mean(2)


def field_norm(fields: Tensor) -> Tensor:
    """Return the norm of every field of ``[B, fields, dimension, ...]``, ``[B, fields, 1, ...]``, smooth at zero.

    For half precision it is in float32: in float16 the square of 300 is infinite, and the smallest norm is zero.
    """
    wide = fields.to(torch.promote_types(fields.dtype, torch.float32))
    return (wide.square().sum(2, keepdim=True) + torch.finfo(wide.dtype).tiny ** 0.5).sqrt()


def trivial_fields(kind: FieldSum, fields: int) -> Fields:
    """Return so many scalar fields of a type's group."""
    if isinstance(kind.group, FiniteGroup):
        return scalar_fields(kind.group, fields)
    return O2Fields(0, fields) if kind.group.mirrors else SO2Fields(0, fields)


def bias_size(kind: FieldSum) -> int:
    """Return how many invariant components all fields have."""
    return sum(part.fields * len(invariants(part.representation)) for part in kind)


def spread_bias(components: Tensor, kind: FieldSum, directions: list[Tensor]) -> Tensor:
    """Return one number a channel from one an invariant component, ``[fields * m] -> [fields * n]`` a part."""
    sizes = [part.fields * len(table) for part, table in zip(kind, directions, strict=True)]
    split = zip(kind, directions, components.split(sizes), strict=True)
    # Products and sums rather than a matrix product, which autocast would round.
    return torch.cat(
        [
            (t.view(part.fields, -1, 1) * table).sum(1).flatten() if len(table) else t.new_zeros(part.channels)
            for part, table, t in split
        ]
    )


def _restricted(part: Fields, smaller: FiniteGroup) -> tuple[FieldType, Indices]:
    """Return one part's type under a subgroup, and which channel each of its channels was."""
    channels, kind = np.arange(part.channels), restriction(part.representation, smaller)
    if not isinstance(part, FieldType) or part.representation != regular(part.group):
        return FieldType(kind, part.fields), channels
    table, inner = part.group.table, members(part.group, smaller)
    cosets = np.unique(table[inner].min(axis=0))
    inside = table[np.ix_(inner, cosets)].T.ravel()
    order = channels.reshape(part.fields, -1)[:, inside].ravel()
    return FieldType(regular(smaller), part.fields * len(cosets)), order


def _over_space(per_channel: Tensor, x: Tensor) -> Tensor:
    """Return ``[channels]`` with an axis of size one for every axis of a signal's space."""
    return per_channel[(..., *(None,) * (x.dim() - 2))]


def _short(kind: FieldSum) -> str:
    return " + ".join(f"{part.fields} {part.representation.name}" for part in kind)
