"""``isotypic data make``: images, scans or jets that are made from a seed, as a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from isotypic.cli import data_jets
from isotypic.cli.data_convert import convert
from isotypic.cli.data_request import data_config, shown
from isotypic.cli.following import plain_console
from isotypic.cli.options import Set, Workers
from isotypic.configuration import Config, assign, validated
from isotypic.data.config import CandidateDataConfig
from isotypic.data.synthetic import nodules
from isotypic.errors import unknown

SUMMARY = "Make images, scans or jets from a seed, with their labels, as a folder."
EXAMPLE = "Example: isotypic data make sticks --out sticks --set data.sticks.count=8"

GENERATORS = ("sticks", "nodules", *data_jets.GENERATORS)


class _Request(Config):
    """What may be set of scans that are made: their part of a request for candidates."""

    data: CandidateDataConfig


def command(
    name: Annotated[str, typer.Argument(help=f"What is made: {', '.join(GENERATORS)}.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to; default the name.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the images.")] = 0,
    set_: Set = None,
    workers: Workers = None,
) -> None:
    """Write what is not there yet; the same seed makes the same files.

    Sticks become images/NAME.png and labels/NAME.tif of every part; nodules become scans in the layout of LUNA16:
    subset0 to subset9 with .mhd files, annotations.csv and candidates_V2.csv; jets become HDF5 files in the layout of
    HLS4ML, and events in that of the LHC Olympics, with data.jets.generator=pythia by Pythia 8.
    """
    if name not in GENERATORS:
        raise unknown("generator", name, GENERATORS)
    assignments = [f"data.{name}.seed={seed}", *(set_ or [])]
    if name == "nodules":
        _make_nodules(assignments, out or Path(name))
    elif name in data_jets.GENERATORS:
        data_jets.make(name, out or Path(name), assignments, workers or os.cpu_count() or 1)
    else:
        convert(data_config(None, name, assignments), out or Path(name))


def _make_nodules(assignments: list[str], out: Path) -> None:
    config = validated(_Request, assign({}, assignments), "the request").data.nodules
    console = plain_console()
    with shown(console, "writing") as progress:
        before = nodules.write(config, out, progress)
    counted = f"{config.scans + config.test_scans:,} scans" + (f" ({before:,} written before)" if before else "")
    console.print(f"{counted}: {out.resolve()}", highlight=False, markup=False, soft_wrap=True)
