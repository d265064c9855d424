"""``isotypic train``: one training run of a recipe."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from isotypic import __version__
from isotypic.cli.options import Data, Device, Out, Recipe, Seed, Set
from isotypic.cli.tables import evaluation_table
from isotypic.errors import RequestError
from isotypic.groups.catalogue import named
from isotypic.inference.evaluation import evaluate
from isotypic.inference.run import DESCRIPTION, RunDescription, save_run
from isotypic.tasks.recipe import read_recipe, recipe_of, with_request
from isotypic.tasks.session import evaluation_batches, material, train
from isotypic.tasks.training import parameter_count

EXAMPLE = "Example: isotypic train digits --out runs/one --set model.group=p4 --set augmentation=none"


def command(
    recipe: Recipe,
    data: Data = None,
    out: Out = None,
    set_: Set = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Train on all training images, test upright and turned, and write weights.safetensors and run.yaml."""
    console = Console()
    settings = recipe_of(with_request(read_recipe(recipe), data, set_ or []))
    group = named(settings.model.group)
    folder = out or Path("runs") / f"{settings.name}-{group.name}-seed{seed}"
    _refuse_taken(folder)
    images = material(settings, folder / "cache")
    with _bar(console) as bar:
        task = bar.add_task(f"training {settings.name}", total=1.0)
        trained = train(
            settings,
            images,
            images.splits.train,
            seed=seed,
            device=device,
            progress=lambda fraction: bar.update(task, completed=fraction),
        )
    test = evaluation_batches(images.images, images.splits.test, trained.normalisation)
    result = evaluate(trained.model, test, named("p4") if group.order == 1 else group)
    description = RunDescription(
        version=__version__,
        recipe=settings.model_dump(mode="json"),
        classes=list(images.images.classes),
        image_shape=images.images.shape,
        normalisation=trained.normalisation.to_dict(),
        figures={
            "test accuracy": result.upright.accuracy,
            "test auc": result.upright.auc,
            "parameters": parameter_count(trained.model),
            "training seconds": round(trained.seconds, 1),
            "seed": seed,
        },
    )
    save_run(folder, trained.model, description)
    console.print(evaluation_table(result))
    console.print(f"run: {folder.resolve()}", highlight=False, soft_wrap=True)


def _refuse_taken(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(path.name != "cache" for path in folder.iterdir())):
        has = "a run" if (folder / DESCRIPTION).exists() else "other files"
        raise RequestError(f"expected an empty folder at {folder}, found {has}; give another --out")


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
