"""The least size of an image that a classifier takes."""

from __future__ import annotations

from torch import Tensor

from isotypic.errors import RequestError


def refuse_smaller(image: Tensor, least: int, family: str) -> None:
    """Raise for images ``[B, C, y, x]`` with a side shorter than the windows of a network need."""
    height, width = image.shape[2:]
    if min(height, width) < least:
        raise RequestError(
            f"expected images of at least {least} pixels a side for {family}, received {height} x {width}: set "
            f"data.resize={least}, or take fewer model.stages"
        )
