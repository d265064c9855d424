"""Which data set the commands of ``isotypic data`` are asked for, and how they show that it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from isotypic.configuration import validated
from isotypic.data.catalogue import DATASETS
from isotypic.data.config import DataConfig
from isotypic.data.readers.tree import open_tree
from isotypic.errors import RequestError, unknown
from isotypic.files import file_state
from isotypic.tasks.recipe import with_request

DataPath = Annotated[
    Path | None,
    typer.Argument(metavar="[PATH]", help="The data set: a folder or a file; none for digits.", show_default=False),
]
Dataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", help=f"Read it as {', '.join(DATASETS)}; default by what lies there."),
]

_EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


def data_config(path: Path | None, dataset: str | None, assignments: list[str] | None) -> DataConfig:
    """Return the ``data`` section that a command line asks for.

    Args:
        path: where the data set lies.
        dataset: its name, or None to go by what lies there.
        assignments: what is set besides, ``data.key=value``.

    Raises:
        RequestError: nothing is there, a name is unknown, or a value is out of range.
    """
    if path is None and dataset is None:
        raise RequestError("expected the path of a data set, or --dataset digits, received neither")
    if dataset is not None and dataset not in DATASETS:
        raise unknown("data set", dataset, DATASETS)
    if path is not None and not path.exists():
        raise RequestError(f"{path}: no such file or folder; give the path of a data set")
    named = {} if dataset is None else {"dataset": dataset, "path": path and str(path.resolve())}
    raw = with_request({"data": named}, None if named else path, assignments or [])
    strange = sorted(set(raw) - {"data"})
    if strange:
        raise RequestError(f"expected --set data.key=value, received the key {strange[0]!r}")
    return validated(DataConfig, raw["data"], "data")


def state_of(config: DataConfig) -> str:
    """Return a text that changes when the files of a data set do."""
    if config.path is None:
        return config.dataset
    return open_tree(config.path).fingerprint() if config.path.is_dir() else file_state(config.path)


@contextmanager
def shown(console: Console, doing: str) -> Iterator[Callable[[int, int], None]]:
    """Give what shows how many images are done: a bar with the time left, or a line a minute without a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, lines = bar.add_task(doing, total=None), _Lines(console, doing)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if not console.is_terminal:
                lines(done, total)

        yield advance


class _Lines:
    """Prints now and then how far it has come, at the pace since the first call."""

    def __init__(self, console: Console, doing: str) -> None:
        self.console, self.doing = console, doing
        self.start = self.said = time.monotonic()
        self.before: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.before is None:
            self.before = done
        if now - self.said < _EVERY or done == self.before:
            return
        self.said = now
        left = timedelta(seconds=round((now - self.start) / (done - self.before) * (total - done)))
        self.console.print(f"{self.doing}: {done:,} of {total:,} images; {left} left", highlight=False)
