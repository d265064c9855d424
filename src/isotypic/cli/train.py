"""``isotypic train``: one training run of a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from isotypic.cli.data_request import shown
from isotypic.cli.options import Data, Device, Out, Recipe, Seed, Set
from isotypic.cli.tables import evaluation_table
from isotypic.distributed.command import Command
from isotypic.distributed.launch import Launch, launched
from isotypic.errors import RequestError
from isotypic.models.packaged import DESCRIPTION
from isotypic.studies.cell import CACHE_FOLDER
from isotypic.studies.records import ROTATED, UPRIGHT, Measure
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.system import TESTING, TRAINING, Finished, Job, StudiedSystem
from isotypic.tasks.checkpoints import CHECKPOINT_FILE
from isotypic.tasks.pace import Pace
from isotypic.tasks.ranks import leads
from isotypic.tasks.recipe import read_recipe, recipe_of, with_request

RUN = "isotypic.cli.main:run"
"""What every process of several calls."""

Launched = Annotated[
    Launch, typer.Option("--launch", help="By one process, by several of this machine, or by a Spark cluster's.")
]
Processes = Annotated[int, typer.Option("--processes", min=1, help="How many processes train together.")]
Master = Annotated[
    str | None, typer.Option("--master", metavar="URL", help="Of the Spark cluster; default what Spark is set up for.")
]

EXAMPLE = "Example: isotypic train digits --out runs/one --set model.group=p4 --set augmentation=none"


def command(
    recipe: Recipe,
    data: Data = None,
    out: Out = None,
    set_: Set = None,
    seed: Seed = 0,
    device: Device = "cpu",
    launch: Launched = Launch.LOCAL,
    processes: Processes = 1,
    master: Master = None,
) -> None:
    """Train on all training images, test upright and turned, and write weights.safetensors and run.yaml.

    A training that was stopped goes on when the same command is given again. --launch torchrun --processes 4 trains by
    four processes, each with its share of every batch; --launch spark by those of a Spark cluster.
    """
    console = Console(quiet=not leads())
    settings = recipe_of(with_request(read_recipe(recipe), data, set_ or []))
    system = system_of(settings)
    folder = out or Path("runs") / f"{settings.name}-{system.group_name(settings)}-seed{seed}"
    if launch is not Launch.LOCAL:
        words = (recipe, *_words(data, folder, set_ or [], seed, device))
        launched(launch, Command(RUN, ("train", *words)), processes, master, folder, gpu=device == "cuda")
        return
    if processes > 1 or master is not None:
        raise RequestError("expected --launch torchrun or spark with --processes or --master, received local")
    kept = folder / CHECKPOINT_FILE
    if kept.exists():
        console.print(f"going on from {kept}", highlight=False, soft_wrap=True)
    else:
        _refuse_taken(folder)
    with shown(console, "preparing") as counted:
        material = system.material(settings, folder / CACHE_FOLDER, counted)
    about = system.describe(settings, material)
    whole = np.sort(system.subset(material, about.available, seed))
    job = Job(settings, material, whole, system.moved_by(settings), seed, device)
    finished = _followed(console, system, job, folder)
    if finished is None:
        return
    console.print(_table(about.measure, finished))
    console.print(f"run: {folder.resolve()}", highlight=False, soft_wrap=True)


def _words(data: Path | None, folder: Path, assignments: list[str], seed: int, device: str) -> Iterator[str]:
    """Yield the words of the command that every process carries out."""
    if data is not None:
        yield from ("--data", str(data.resolve()))
    yield from ("--out", str(folder.resolve()), "--seed", str(seed), "--device", device)
    for assignment in assignments:
        yield from ("--set", assignment)


def _followed(
    console: Console, system: StudiedSystem[Any, Any, Any], job: Job[Any, Any], folder: Path
) -> Finished | None:
    """Do a job below a bar for each of its stages; of several processes the first tells how it ended."""
    if not leads():
        system.train(replace(job, kept=folder / CHECKPOINT_FILE))
        return None
    with _bar(console) as bar:
        tasks = {stage: bar.add_task(f"{stage} {job.recipe.name}", total=1.0, pace="") for stage in (TRAINING, TESTING)}

        def advance(stage: str, fraction: float, pace: Pace | None = None) -> None:
            bar.update(tasks[stage], completed=fraction, pace=pace or "")

        return system.run(replace(job, progress=advance), folder)


def _table(measure: Measure, finished: Finished) -> Table:
    outcome = finished.outcome
    title = f"{len(finished.predictions.images)} {measure.unit}s, group {outcome.group}"
    every = f"all {len(outcome.per_rotation)} elements"
    moved = finished.predictions.elements[-1] if finished.predictions.drawn else every
    tests = {"upright": outcome.tests[UPRIGHT], moved: outcome.tests[ROTATED]}
    return evaluation_table(title, measure, tests, outcome.per_rotation, outcome.changed_images)


def _refuse_taken(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(path.name != CACHE_FOLDER for path in folder.iterdir())):
        has = "a run" if (folder / DESCRIPTION).exists() else "other files"
        raise RequestError(f"expected an empty folder at {folder}, found {has}; give another --out")


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    return Progress(*columns, console=console)
