"""``isotypic check``: does a network commute with a group, and which layer breaks it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from torch import Tensor, nn

from isotypic.convert.check import Check, check
from isotypic.convert.comparison import Comparison, compare
from isotypic.convert.prediction import Verdict
from isotypic.convert.tracing import axes_of
from isotypic.data.preparation import Colour, coloured, prepare, resized
from isotypic.data.readers.image import read
from isotypic.errors import RequestError
from isotypic.inference.run import Run, load_run
from isotypic.models.packaged import DESCRIPTION
from isotypic.ops.action import act
from isotypic.reports.symmetry import FORMATS, SymmetryPicture, write_picture

EXAMPLE = "Example: isotypic check my_package.nets:make_unet --size 96x96 --group p4m --image cells.png"


def command(
    subject: Annotated[
        str, typer.Argument(help="A trained run, or module:factory in Python.", metavar="RUN|MODULE:FACTORY")
    ],
    size: Annotated[
        str | None, typer.Option("--size", help="Image size, such as 96x96 or 12x72x72; default that of --image.")
    ] = None,
    group: Annotated[str, typer.Option("--group", help="The group.")] = "p4m",
    channels: Annotated[
        int, typer.Option("--channels", min=1, help="Channels of the input of a factory's network.")
    ] = 1,
    image: Annotated[
        Path | None, typer.Option("--image", help="An image to show under every element, with the differences.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Picture to write, PNG, SVG or PDF; default check.png.")
    ] = None,
) -> None:
    """Print every layer with its measured error; exit code 1 where the network is not exact."""
    target, asked = _target(image, out), _subject(subject, channels)
    shape = None if size is None else _size(size, asked.network)
    console = Console(soft_wrap=True, highlight=False)
    if image is not None:
        pixels = _prepared(image, asked, shape)
        found = check(asked.network, (1, *pixels.shape), group)
        compared = compare(asked.network, asked.normalised(pixels), found.group)
        write_picture(_picture(found, compared, pixels, asked), target)
    elif shape is not None:
        found = check(asked.network, (1, asked.channels, *shape), group)
    else:
        raise RequestError("expected --size such as 96x96, or an --image that has a size")
    console.print(str(found), markup=False)
    if image is not None:
        console.print(f"picture: {target.resolve()}", markup=False)
    raise typer.Exit(0 if found.exact else 1)


@dataclass(frozen=True)
class _Subject:
    """A network and what goes into it.

    Attributes:
        network: the network.
        channels: of its input.
        run: the trained run that it is of, or None.
    """

    network: nn.Module
    channels: int
    run: Run | None = None

    def normalised(self, pixels: np.ndarray) -> Tensor:
        """Return uint8 pixels as the network wants them: as in training, or for a factory's network in 0..1."""
        signal = torch.from_numpy(np.ascontiguousarray(pixels)).double()
        return self.run.normalisation.apply(signal) if self.run else signal / 255


def _subject(words: str, channels: int) -> _Subject:
    if (Path(words) / DESCRIPTION).is_file():
        run = load_run(Path(words))
        return _Subject(run.model, run.image_shape[0], run)
    module, colon, factory = words.partition(":")
    if not colon:
        raise RequestError(f"expected a run's folder or module:factory, received {words!r}")
    return _Subject(_made(module, factory), channels)


def _target(image: Path | None, out: Path | None) -> Path:
    if image is None and out is not None:
        raise RequestError("expected an --image to draw with --out")
    if out is not None and out.suffix.lower() not in FORMATS:
        raise RequestError(f"expected --out to end in {', '.join(FORMATS)}, received {out.name!r}")
    return out or Path("check.png")


def _prepared(path: Path, asked: _Subject, size: tuple[int, ...] | None) -> np.ndarray:
    """Return an image file as uint8 ``[channels, y, x]`` in the colours and the size that the network takes."""
    if axes_of(asked.network) == {3} or (size is not None and len(size) != 2):
        raise RequestError("expected a network of the plane with --image; leave it out to check one of volumes")
    pixels = read(path)[None]
    if asked.run:
        pixels = prepare(pixels, asked.run.recipe.data)
    elif pixels.shape[1] != asked.channels:
        wanted: dict[int, Colour] = {1: "grey", 3: "rgb"}
        pixels = coloured(pixels, wanted.get(asked.channels, "keep"))
    if pixels.shape[1] != asked.channels:
        raise RequestError(f"expected an image of {asked.channels} channels, received {path} with {pixels.shape[1]}")
    return resized(pixels, size and (size[0], size[1]))[0]


def _picture(found: Check, compared: Comparison, pixels: np.ndarray, asked: _Subject) -> SymmetryPicture:
    """Return the arrays of the figure; of a dense output the channel that varies most is shown."""
    title, subtitle = _verdict(found)
    image, upright = torch.from_numpy(pixels), compared.found[0]
    channel = int(upright.flatten(1).std(1).argmax()) if compared.is_dense else 0
    names = asked.run.classes if asked.run else tuple(f"class {i}" for i in range(len(upright)))

    def shown(tensors: tuple[Tensor, ...]) -> tuple[np.ndarray, ...]:
        return tuple((t[channel] if compared.is_dense else t).numpy() for t in tensors)

    return SymmetryPicture(
        title,
        subtitle,
        compared.elements,
        tuple(_displayed(act(image, g, found.group)) for g in range(found.group.order)),
        shown(compared.found),
        shown(compared.wanted),
        tuple(difference.numpy() for difference in compared.differences),
        () if compared.is_dense else tuple(names),
    )


def _verdict(found: Check) -> tuple[str, str]:
    """Return the title of the figure, and the reason."""
    first, name = found.first_break, found.group.name
    if found.exact or first is None:
        return f"Equivariant under {name}: exact", "every layer was measured under every element, in float64"
    prediction = first.prediction
    reason = "; ".join(part for part in (prediction.reason, prediction.repair) if part)
    word = "Only approximately" if found.verdict is Verdict.APPROXIMATE else "Not"
    return f"{word} equivariant under {name}: first broken by {first.place}", reason


def _displayed(pixels: Tensor) -> np.ndarray:
    """Return uint8 ``[channels, y, x]`` as ``[y, x]``, or ``[y, x, 3]`` for three channels, in 0..1."""
    scaled = pixels.double().numpy() / 255
    return np.moveaxis(scaled, 0, -1) if len(scaled) == 3 else scaled[0]


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
    sizes = tuple(int(n) for n in text.split("x")) if re.fullmatch(r"[1-9]\d*(x[1-9]\d*)+", text) else ()
    if not sizes or (len(axes) == 1 and {len(sizes)} != axes):
        wanted = "96x96 or 12x72x72" if len(axes) != 1 else "x".join(["96"] * next(iter(axes)))
        raise RequestError(f"expected --size such as {wanted}, received {text!r}")
    return sizes
