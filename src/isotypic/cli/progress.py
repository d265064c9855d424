"""One live display for a study: a bar with the time left, and what each worker does; plain lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from isotypic.studies.records import Cell
from isotypic.studies.systems.system import TRAINING
from isotypic.studies.workers import Advanced, Ended, Event


class StudyDisplay:
    """Shows how far a study has come.

    Args:
        console: where to write.
        total: cells of the whole study.
        finished: cells that were done before.
    """

    def __init__(self, console: Console, total: int, finished: int) -> None:
        self.console, self.total = console, total
        self.before = self.ended = finished
        self.failures = 0
        self.running: dict[Cell, Advanced] = {}
        self.start = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("cells"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            expand=True,
        )
        self.task = self.bar.add_task("study", total=total, completed=finished, left="")

    def follow(self, events: Iterable[Event]) -> None:
        """Show events until there are no more."""
        if not self.console.is_terminal:
            for event in events:
                self._take(event)
                if isinstance(event, Ended):
                    self.console.print(f"[{self.ended}/{self.total}] {_say(event)}; {self.time_left()}", markup=False)
            return
        with Live(self._picture(), console=self.console, refresh_per_second=4) as live:
            for event in events:
                self._take(event)
                if isinstance(event, Ended) and event.error:
                    live.console.print(_say(event), style="red", markup=False)
                live.update(self._picture())

    def time_left(self) -> str:
        """Say how long the rest takes at the pace so far."""
        come = self._come()
        done, rest = come - self.before, self.total - come
        if rest <= 0:
            return "done"
        if done < 0.2:
            return "estimating time left"
        seconds = (time.monotonic() - self.start) * rest / done
        return f"{_duration(seconds)} left"

    def _take(self, event: Event) -> None:
        if isinstance(event, Advanced):
            self.running[event.cell] = event
        else:
            self.running.pop(event.cell, None)
            self.ended += 1
            self.failures += event.error is not None
        self.bar.update(self.task, completed=self._come(), left=self.time_left())

    def _come(self) -> float:
        """Return how many cells are done; one that is tested counts as trained, which takes most of the time."""
        return self.ended + sum(event.fraction if event.stage == TRAINING else 1 for event in self.running.values())

    def _picture(self) -> Group:
        lines = [Text(f"  {_name(event.cell)}  {_stage(event)}", style="dim") for event in self.running.values()]
        return Group(self.bar, *lines)


def _stage(event: Advanced) -> str:
    return f"{event.stage} {event.fraction:4.0%}{f', {event.pace}' if event.pace else ''}"


def _say(event: Ended) -> str:
    return f"{_name(event.cell)}: {'done' if event.error is None else 'FAILED, ' + event.error}"


def _name(cell: Cell) -> str:
    return f"{cell.arm.label}, n = {cell.size}, seed {cell.seed}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
