"""The filter bank of a group convolution: index tables, expansion, and the memory of the last one."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from isotypic.ops.expansion import FilterShape, expand, gather_index, inverse_permutations
from isotypic.ops.resampling import Sizes, widen


@dataclass(frozen=True)
class Expanded:
    """What an ordinary convolution needs.

    Attributes:
        filters: ``[M |G|, N components, *kernel]``, widened.
        bias: ``[M |G|]``, or None.
        dilation: what is left of it after widening.
    """

    filters: Tensor
    bias: Tensor | None
    dilation: Sizes


Made = TypeVar("Made")


class Bank(nn.Module, ABC, Generic[Made]):
    """A module that makes filters of a weight and keeps the last that it made.

    Where no gradient of the weight is asked for, they are used again as long as the weight holds the same *values*:
    it is compared with a copy, 1/|G| of the filters' size, so that nothing can go stale however the weight was
    written (``load_state_dict``, an EMA, ``.data``). On other devices than the CPU a comparison would wait for the
    device and expansion is cheap, so nothing is kept. What is kept is in no state dict, pickle or copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: _Kept[Made] | None = None

    def keep(self, key: tuple[Any, ...], weight: Tensor, bias: Tensor | None, make: Callable[[], Made]) -> Made:
        """Return what was kept, if it is of the same key and values, or make it.

        Args:
            key: whatever else it depends on.
            weight: what it is made of.
            bias: likewise, or None.
            make: makes it of them.
        """
        if not may_keep(weight):
            return make()
        kept = self._kept
        if kept is None or not kept.holds_for(key, weight, bias):
            with torch.inference_mode(False), torch.no_grad():
                kept = _Kept(key, make(), [_Snapshot.of(t) for t in (weight, bias) if t is not None])
            self._kept = kept
        return kept.made

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and deepcopy leave behind what was kept."""
        return {**self.__dict__, "_kept": None}


class FilterBank(Bank[Expanded]):
    """Expands one authoritative weight to the filters of an ordinary convolution, for any strided size.

    The last expansion is kept as :class:`Bank` says. Neither tables nor expansions are in the state dict.
    """

    nchw: Tensor
    nchw_inverse: Tensor
    nhwc: Tensor
    nhwc_inverse: Tensor

    def __init__(self, shape: FilterShape) -> None:
        super().__init__()
        self.shape = shape
        for name, channels_last in (("nchw", False), ("nhwc", True)):
            index = gather_index(shape, channels_last=channels_last)
            self._table(name, torch.as_tensor(index))
            self._table(f"{name}_inverse", torch.as_tensor(inverse_permutations(index)))

    def _table(self, name: str, table: Tensor) -> None:
        self.register_buffer(name, table.reshape(-1).to(torch.int32), persistent=False)

    def forward(
        self, weight: Tensor, bias: Tensor | None, widening: Sizes, dilation: Sizes, channels_last: bool
    ) -> Expanded:
        """Return the filters of an ordinary convolution.

        Args:
            weight: ``[M, N components, *kernel]``.
            bias: ``[M]``, or None.
            widening: from :meth:`isotypic.nn.convolution.Window.fitted`, per axis.
            dilation: per axis.
            channels_last: the memory format of the result.
        """
        key = (widening, dilation, channels_last)
        return self.keep(key, weight, bias, lambda: self._expand(weight, bias, *key))

    def _expand(
        self, weight: Tensor, bias: Tensor | None, widening: Sizes, dilation: Sizes, channels_last: bool
    ) -> Expanded:
        tables = (self.nhwc, self.nhwc_inverse) if channels_last else (self.nchw, self.nchw_inverse)
        filters = expand(weight, self.shape, *tables, channels_last=channels_last)
        filters, left = widen(filters, widening, dilation)
        spread = None if bias is None else bias[:, None].expand(-1, self.shape.group.order).reshape(-1)
        return Expanded(filters, spread, left)


def may_keep(weight: Tensor) -> bool:
    """Whether an expansion of a weight may be used again: on the CPU, undifferentiated, and not under a compiler."""
    differentiated = torch.is_grad_enabled() and weight.requires_grad
    return weight.device.type == "cpu" and not differentiated and not torch.compiler.is_compiling()


class _Snapshot:
    """The values of a tensor at one time, to be compared with what its memory holds later.

    Both sides are views made once, as whole words: a comparison allocates nothing, which matters between the large
    buffers of two convolutions, and words compare several times faster than floats.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.pointer, self.dtype = tensor.data_ptr(), tensor.dtype
        self.now = _words(tensor)
        self.then = self.now.clone()

    @classmethod
    def of(cls, tensor: Tensor) -> _Snapshot:
        """Take a snapshot; the tensor's memory is held as long as the snapshot is."""
        return cls(tensor.detach())

    def holds_for(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in the same memory and that memory holds the same bits."""
        same_place = tensor.data_ptr() == self.pointer and tensor.dtype == self.dtype
        return same_place and torch.equal(self.now, self.then)


@dataclass(frozen=True)
class _Kept(Generic[Made]):
    """The last thing made and what it was made of."""

    key: tuple[Any, ...]
    made: Made
    made_of: list[_Snapshot]

    def holds_for(self, key: tuple[Any, ...], weight: Tensor, bias: Tensor | None) -> bool:
        sources = (weight,) if bias is None else (weight, bias)
        return (
            key == self.key
            and len(sources) == len(self.made_of)
            and all(snapshot.holds_for(t) for snapshot, t in zip(self.made_of, sources, strict=True))
        )


def _words(tensor: Tensor) -> Tensor:
    """Return the memory of a dense tensor as whole words, in the order it lies in."""
    flat = tensor.as_strided((tensor.numel(),), (1,))
    held = flat.numel() * flat.element_size()
    words = next((dtype for size, dtype in ((8, torch.int64), (4, torch.int32)) if held % size == 0), flat.dtype)
    return flat.view(words)
