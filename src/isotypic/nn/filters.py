"""The filter bank of a group convolution: index tables, expansion, and the memory of the last one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from isotypic.ops.expansion import FilterShape, expand, gather_index, inverse_permutations
from isotypic.ops.resampling import Sizes, widen


class FilterBank(nn.Module):
    """Expands one authoritative weight to the filters of an ordinary convolution, for any strided size.

    Where no gradient of the weight is asked for, the last expansion is kept and used again as long as the weight
    holds the same *values*: it is compared with a copy, 1/|G| of the expansion's size, so that nothing can go
    stale however the weight was written (``load_state_dict``, an EMA, ``.data``). On other devices than the CPU a
    comparison would wait for the device and expansion is cheap, so nothing is kept. Neither tables nor expansions
    are in the state dict.
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
        self._kept: tuple[Any, Tensor, Tensor, Sizes] | None = None

    def _table(self, name: str, table: Tensor) -> None:
        self.register_buffer(name, table.reshape(-1).to(torch.int32), persistent=False)

    def forward(self, weight: Tensor, remainder: Sizes, dilation: Sizes, channels_last: bool) -> tuple[Tensor, Sizes]:
        """Return the filters ``[M |G|, N components, *kernel]``, widened for a remainder, and their dilation."""
        if not self._may_keep(weight):
            return self._expand(weight, remainder, dilation, channels_last)
        key = (remainder, dilation, channels_last)
        kept = self._kept
        if kept is None or kept[0] != key or not _same(kept[1], weight):
            with torch.inference_mode(False), torch.no_grad():
                filters, left = self._expand(weight.detach(), remainder, dilation, channels_last)
                kept = self._kept = (key, weight.detach().clone(), filters, left)
        return kept[2], kept[3]

    def _expand(self, weight: Tensor, remainder: Sizes, dilation: Sizes, channels_last: bool) -> tuple[Tensor, Sizes]:
        tables = (self.nhwc, self.nhwc_inverse) if channels_last else (self.nchw, self.nchw_inverse)
        filters = expand(weight, self.shape, *tables, channels_last=channels_last)
        return widen(filters, remainder, dilation)

    def _may_keep(self, weight: Tensor) -> bool:
        differentiated = torch.is_grad_enabled() and weight.requires_grad
        return weight.device.type == "cpu" and not differentiated and not torch.compiler.is_compiling()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and deepcopy leave the kept expansion behind."""
        return {**self.__dict__, "_kept": None}


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits; comparing whole words is several times faster than floats."""
    return a.dtype == b.dtype and a.device == b.device and torch.equal(_words(a), _words(b))


def _words(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    bytes_held = flat.numel() * flat.element_size()
    words = next((dtype for size, dtype in ((8, torch.int64), (4, torch.int32)) if bytes_held % size == 0), flat.dtype)
    return flat.view(words)
