"""``isotypic check``: does a network commute with a group, and which layer breaks it."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from torch import nn

from isotypic.convert.check import check
from isotypic.convert.tracing import axes_of
from isotypic.errors import RequestError
from isotypic.inference.run import DESCRIPTION, load_run

EXAMPLE = "Example: isotypic check my_package.nets:make_unet --size 96x96 --group p4m"


def command(
    subject: Annotated[
        str, typer.Argument(help="A trained run, or module:factory in Python.", metavar="RUN|MODULE:FACTORY")
    ],
    size: Annotated[str, typer.Option("--size", help="Image size, such as 96x96 or 12x72x72.", show_default=False)],
    group: Annotated[str, typer.Option("--group", help="The group.")] = "p4m",
    channels: Annotated[
        int, typer.Option("--channels", min=1, help="Channels of the input of a factory's network.")
    ] = 1,
) -> None:
    """Print every layer with its measured error; exit code 1 where the network is not exact."""
    network, expected = _network(subject, channels)
    found = check(network, (1, expected, *_size(size, network)), group)
    Console(soft_wrap=True, highlight=False).print(str(found), markup=False)
    raise typer.Exit(0 if found.exact else 1)


def _network(subject: str, channels: int) -> tuple[nn.Module, int]:
    """Return a network and the channels of its input."""
    if (Path(subject) / DESCRIPTION).is_file():
        run = load_run(Path(subject))
        return run.model, run.image_shape[0]
    module, colon, factory = subject.partition(":")
    if not colon:
        raise RequestError(f"expected a run's folder or module:factory, received {subject!r}")
    return _made(module, factory), channels


def _made(module: str, factory: str) -> nn.Module:
    sys.path.insert(0, str(Path.cwd()))
    try:
        network = getattr(import_module(module), factory)()
    except (ImportError, AttributeError) as error:
        raise RequestError(f"expected a function {factory!r} in a module {module!r}: {error}") from error
    if not isinstance(network, nn.Module):
        raise RequestError(f"expected {module}:{factory} to return an nn.Module, received {type(network).__name__}")
    return network


def _size(text: str, network: nn.Module) -> tuple[int, ...]:
    axes = axes_of(network)
    sizes = tuple(int(n) for n in text.split("x")) if re.fullmatch(r"\d+(x\d+)+", text) else ()
    if not sizes or (len(axes) == 1 and {len(sizes)} != axes):
        wanted = "96x96 or 12x72x72" if len(axes) != 1 else "x".join(["96"] * next(iter(axes)))
        raise RequestError(f"expected --size such as {wanted}, received {text!r}")
    return sizes
