"""Memory maps that pickle as the name of their file, so that worker processes share them instead of copying."""

from __future__ import annotations

from mmap import mmap
from typing import Any

import numpy as np


def packed(array: Any) -> Any:
    """Return the arguments that map the same file again; what is no whole map stays as it is."""
    if not (isinstance(array, np.memmap) and isinstance(array.base, mmap)):
        return array
    place = {"filename": str(array.filename), "mode": "r", "offset": array.offset}
    return {**place, "dtype": array.dtype, "shape": array.shape}


def unpacked(state: Any) -> Any:
    """Return the array of which :func:`packed` gave the state."""
    return np.memmap(**state) if isinstance(state, dict) else state
