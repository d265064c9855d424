"""The device that a request names."""

from __future__ import annotations

import torch

from isotypic.errors import RequestError, unknown

_NAMES = ("cpu", "cuda", "auto")


def torch_device(name: str) -> torch.device:
    """Return the device of a name: ``cpu``, ``cuda``, or ``auto``, which is CUDA where there is one.

    Raises:
        RequestError: there is no such name, or no CUDA device.

    >>> torch_device("cpu")
    device(type='cpu')
    """
    if name not in _NAMES:
        raise unknown("device", name, _NAMES)
    if name == "cuda" and not torch.cuda.is_available():
        raise RequestError("expected a CUDA device, found none; use --device cpu (device='cpu')")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
