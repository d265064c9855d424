"""Weights from a file, or from a run, put into a network that is there."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from isotypic.errors import RequestError
from isotypic.models.packaged import WEIGHTS, run_on_disk


def start_from(network: nn.Module, run: Path | str | None) -> None:
    """Give a network the weights of a run, with which its training then begins.

    Args:
        network: what is to be trained.
        run: the folder of the run, or the name of one that comes with the package; None leaves the network as it is.

    Raises:
        RequestError: there is no such run, or it is one of another network.
    """
    if run is not None:
        with run_on_disk(run) as folder:
            load_weights(network, folder / WEIGHTS)


def load_weights(network: nn.Module, path: Path) -> None:
    """Give a network the weights of a file, which must be its own to the last tensor.

    Args:
        network: what they are for.
        path: a state dict, ``.safetensors`` or what ``torch.save`` writes, of which no code is run.

    Raises:
        RequestError: the file is missing, damaged or of another network.
    """
    expected, received = network.state_dict(), _state(path)
    strange = [f"lacks {name}" for name in sorted(expected.keys() - received.keys())[:1]]
    strange += [f"has {name}" for name in sorted(received.keys() - expected.keys())[:1]]
    if strange:
        raise RequestError(f"{path}: the weights are of another network: the file {' and '.join(strange)}")
    for name, tensor in expected.items():
        if tensor.shape != received[name].shape:
            raise RequestError(
                f"{path}: the weights are of another network: expected {name} of {list(tensor.shape)}, the file has "
                f"{list(received[name].shape)}"
            )
    network.load_state_dict(received)


def _state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise RequestError(f"expected a weight file at {path}, found none")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, TypeError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RequestError(f"{path}: cannot be read as a state dict ({reason})") from error
