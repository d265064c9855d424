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
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from isotypic.configuration import assign, validated
from isotypic.data.catalogue import CANDIDATES, DATASETS, LABELLED, recognise_either
from isotypic.data.config import CandidateDataConfig, DataConfig, SegmentationDataConfig
from isotypic.data.readers.tree import open_tree
from isotypic.errors import RequestError, unknown
from isotypic.files import file_state

AnyDataConfig = DataConfig | SegmentationDataConfig | CandidateDataConfig
Progress = Callable[[int, int], None]

NAMES = (*DATASETS, *LABELLED, *CANDIDATES)
PATHLESS = ("digits", "sticks", "nodules")
"""Data sets that lie nowhere."""

DataPath = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PATH]",
        help="The data set: a folder or a file; none for digits, sticks and nodules.",
        show_default=False,
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", help=f"Read it as {', '.join(NAMES)}; default by what lies there."),
]

_EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


def data_config(path: Path | None, dataset: str | None, assignments: list[str] | None) -> AnyDataConfig:
    """Return the ``data`` section that a command line asks for: of images with classes or labels, or of candidates.

    Args:
        path: where the data set lies.
        dataset: its name, or None to go by what lies there.
        assignments: what is set besides, ``data.key=value``.

    Raises:
        RequestError: nothing is there, a name is unknown, or a value is out of range.
    """
    if path is not None and not path.exists():
        raise RequestError(f"{path}: no such file or folder; give the path of a data set")
    if path is None and dataset is None:
        raise RequestError("expected the path of a data set, or --dataset digits or sticks, received neither")
    name = dataset or recognise_either(Path(str(path)))
    if name not in NAMES:
        raise unknown("data set", name, NAMES)
    place = {} if path is None else {"path": str(path.resolve())}
    raw = assign({"data": {"dataset": name, **place}}, assignments or [])
    strange = sorted(set(raw) - {"data"})
    if strange:
        raise RequestError(f"expected --set data.key=value, received the key {strange[0]!r}")
    if name not in PATHLESS and raw["data"].get("path") is None:
        raise RequestError(f"the data set {name!r} needs a path; give it as the first argument")
    if name in DATASETS:
        return validated(DataConfig, raw["data"], "data")
    if name in CANDIDATES:
        return validated(CandidateDataConfig, raw["data"], "data")
    return validated(SegmentationDataConfig, raw["data"], "data")


def state_of(config: AnyDataConfig) -> str:
    """Return a text that changes when the files of a data set do."""
    if config.path is None:
        return config.dataset
    return open_tree(config.path).fingerprint() if config.path.is_dir() else file_state(config.path)


@contextmanager
def shown(console: Console, doing: str) -> Iterator[Progress]:
    """Give what shows how much is done: a bar with the time left, or a line a minute without a terminal.

    What was there before the first call does not count for the pace; where the count begins anew, so does the bar.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, lines = bar.add_task(doing, total=None), _Lines(console, doing)

        def advance(done: int, total: int) -> None:
            if bar.tasks[0].total is None or done < bar.tasks[0].completed:
                bar.reset(task, completed=done, total=total)
            bar.update(task, completed=done)
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
        if self.before is None or done < self.before:
            self.before, self.start = done, now
        if now - self.said < _EVERY or done == self.before:
            return
        self.said = now
        left = timedelta(seconds=round((now - self.start) / (done - self.before) * (total - done)))
        self.console.print(f"{self.doing}: {done:,} of {total:,}; {left} left", highlight=False)
