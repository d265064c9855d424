"""``isotypic export``: a trained run as one file that runs without this library."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch import Tensor, nn

from isotypic import __version__
from isotypic.convert.export import FORMATS, Exported, export
from isotypic.errors import RequestError, chosen
from isotypic.inference.run import Run, load_run

EXAMPLE = "Example: isotypic export runs/one --format onnx --size 96x96 --out cells.onnx"


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.", show_default=False)],
    format: Annotated[str, typer.Option("--format", help="torch (a torch.export program) or onnx.")],
    size: Annotated[
        str | None, typer.Option("--size", help="Image size, such as 96x96; default that of the training images.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; default the run's name, here, .pt2 or .onnx.")
    ] = None,
    free_size: Annotated[
        bool, typer.Option("--free-size", help="Take every size whose strides fall alike, not only this one.")
    ] = False,
) -> None:
    """Write the network with its normalisation and calibration: images in as they are stored, probabilities out."""
    path, trained = _path(format, out, run), load_run(run)
    shape = (1, trained.image_shape[0], *(_size(size) if size else trained.image_shape[1:]))
    metadata = {"classes": trained.classes, "outputs": "class probabilities", "version": __version__}
    values = (0.0, trained.normalisation.scale)
    written = export(Whole(trained), shape, path, values=values, metadata=metadata, free_size=free_size)
    _report(written, trained, Console(soft_wrap=True, highlight=False))


class Whole(nn.Module):
    """All of a prediction but the class: normalisation, network, and calibrated probabilities.

    Args:
        run: a trained run.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.network, self.calibration = run.model, run.calibration
        black = torch.zeros(run.image_shape[0], 1, 1, dtype=torch.float64)
        offset = run.normalisation.apply(black)
        dtype = next(run.model.parameters()).dtype
        self.register_buffer("gain", (run.normalisation.apply(black + 1) - offset).to(dtype), persistent=False)
        self.register_buffer("offset", offset.to(dtype), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return class probabilities ``[n, classes]`` of images ``[n, C, y, x]`` from 0 to the stored full scale."""
        return self.calibration.probabilities(self.network(image * self.gain + self.offset))


def _path(format: str, out: Path | None, run: Path) -> Path:
    ending = chosen("format", format, FORMATS)
    if out is not None and out.suffix != ending:
        raise RequestError(f"expected --out to end in {ending} for --format {format}, received {out.name!r}")
    return out or Path(run.resolve().name + ending)


def _size(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", text):
        raise RequestError(f"expected --size such as 96x96, received {text!r}")
    return tuple(int(n) for n in text.split("x"))


def _report(written: Exported, run: Run, console: Console) -> None:
    bytes_written = written.path.stat().st_size
    lines = {
        "file": f"{written.path.resolve()} ({bytes_written / 1e6:.2f} MB)",
        "format": written.format,
        "input": f"image: float32 [batch, {run.image_shape[0]}, y, x], values 0 to {run.normalisation.scale:g}",
        "output": f"{written.outputs[0]}: probabilities of {', '.join(run.classes)}",
        "sizes": written.served,
        "difference": f"{written.difference:.1e} of the largest value, run at batches of 1 and 3",
    }
    for name, text in lines.items():
        console.print(f"{name:<11}{text}", markup=False)
