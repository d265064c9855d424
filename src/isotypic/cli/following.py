"""Doing images one after another below a bar with the time left, and saying at the end which of them failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from io import TextIOWrapper
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from isotypic.errors import RequestError
from isotypic.inference.ledger import Source

Steps = Callable[[int, int], object]
"""Called with the steps of an image that are done, and all of them."""

_EVERY = 60.0
"""Seconds between two lines about the same image where there is no terminal."""


def follow(
    console: Console,
    waiting: Sequence[Source],
    work: Callable[[Source, Steps], str],
    steps: tuple[str, str],
    *,
    alone: bool,
) -> list[str]:
    """Do what is waiting below a bar, and return what failed; without a terminal print a line an image.

    Args:
        console: where to write.
        waiting: the images.
        work: does one, and returns what is said of it.
        steps: what an image is divided into, and what comes after the last of them.
        alone: there is but this image, and what is wrong with it is an error of the request.
    """
    failures = []
    start = time.monotonic()
    with _bar(console) as bar:
        task = bar.add_task("", total=len(waiting))
        for number, source in enumerate(waiting):
            advance = partial(_advance, bar, task, (source.title, *steps), number)
            advance(0, 1)
            try:
                said = work(source, advance if console.is_terminal else _Lines(console, source, steps[0]))
            except RequestError as error:
                if alone:
                    raise
                failures.append(str(error))
                said = f"FAILED, {error}"
            bar.update(task, completed=number + 1)
            if not console.is_terminal:
                left = (time.monotonic() - start) / (number + 1) * (len(waiting) - number - 1)
                line = f"[{number + 1}/{len(waiting)}] {source.name}: {said}; {timedelta(seconds=round(left))} left"
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    return failures


def say_results(console: Console, out: Path, before: int, failures: Sequence[str]) -> None:
    """Print where the results lie, how many images were finished before, and what failed.

    Raises:
        Exit: with code 1, if anything did.
    """
    skipped = f" ({before} finished before)" if before else ""
    console.print(f"results{skipped}: {out.resolve()}", highlight=False, soft_wrap=True)
    say_failures(failures)


def say_failures(failures: Sequence[str]) -> None:
    """Print what failed.

    Raises:
        Exit: with code 1, if anything did.
    """
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    for failure in failures:
        errors.print(f"[bold red]failed:[/] {escape(failure)}")
    if failures:
        raise typer.Exit(1)


@contextmanager
def memory_said(path: Path, repair: str) -> Iterator[None]:
    """Turn what numpy and torch raise where memory runs out into a line about the image."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has an error of its own for a GPU's memory, and none for the computer's
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
            raise RequestError(f"{path}: memory ran out {repair}") from error
        raise


def plain_console() -> Console:
    """Return the console; as in errors, bytes of a file's name that are no UTF-8 are shown escaped."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console()


class _Lines:
    """Says now and then how far an image has come, where a line cannot be changed once it is printed."""

    def __init__(self, console: Console, source: Source, step: str) -> None:
        self.console, self.name, self.step = console, source.name, step
        self.start = self.said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.said < _EVERY:
            return
        self.said = now
        left = timedelta(seconds=round((now - self.start) / done * (total - done)))
        line = f"{self.name}: {self.step} {done} of {total}; {left} left"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _advance(bar: Progress, task: TaskID, words: tuple[str, str, str], before: int, done: int, total: int) -> None:
    """Show how many steps of an image are done."""
    name, step, last = words
    doing = f"{step} {done + 1} of {total}" if done < total else last
    bar.update(task, description=f"{name}: {doing}", completed=before + done / (total + 1))
