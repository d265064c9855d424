"""Worker processes that run cells, one after another, and can be lost without losing the study.

Each worker is a process of its own with a budget of threads. It is told a cell over a pipe and answers with progress
and the end. When the parent is gone the pipe breaks and the worker ends; when a worker is gone the parent sees it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from isotypic.errors import RequestError
from isotypic.studies.cell import run_cell
from isotypic.studies.folder import cell_folder, write_record
from isotypic.studies.records import Cell, Record
from isotypic.tasks.pace import Pace


@dataclass(frozen=True)
class Advanced:
    """A worker has come so far with a stage of its cell, the fraction between 0 and 1, and goes at a pace."""

    cell: Cell
    stage: str
    fraction: float
    pace: Pace | None = None


@dataclass(frozen=True)
class Ended:
    """A cell has been recorded, as done or as failed (then with the reason)."""

    cell: Cell
    error: str | None


Event = Advanced | Ended


def run_cells(study: Path, cells: list[Cell], *, workers: int, threads: int, device: str) -> Iterator[Event]:
    """Run cells in parallel processes and yield what happens.

    A cell that raises is recorded as failed with its error; so is one whose process dies (killed, out of memory), and a
    new process takes its place. Processes are ended when the iteration is.

    Args:
        study: the study's folder.
        cells: what to run, in order.
        workers: how many processes.
        threads: compute threads of each.
        device: where they train.
    """
    waiting = list(reversed(cells))
    crew = [_Worker(study, threads, device) for _ in range(min(workers, len(cells)))]
    try:
        for worker in crew:
            worker.give(waiting.pop())
        while any(worker.cell for worker in crew):
            ready = wait([worker.pipe for worker in crew if worker.cell])
            for worker in [w for w in crew if w.pipe in ready]:
                event = worker.hear()
                yield event
                if isinstance(event, Ended):
                    worker.cell = None
                    if waiting:
                        worker.give(waiting.pop())
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """The parent's side of one worker process."""

    def __init__(self, study: Path, threads: int, device: str) -> None:
        self.arguments = (study, threads, device)
        self.cell: Cell | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, *self.arguments), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, cell: Cell) -> None:
        if not self.process.is_alive():
            self._start()
        self.cell = cell
        self.pipe.send(cell)

    def hear(self) -> Event:
        """Return the worker's next event; its death is the failure of its cell."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return self._failed(_cause(self.process.exitcode))

    def _failed(self, error: str) -> Ended:
        if self.cell is None:
            raise RuntimeError("a worker without a cell ended")
        _record_failure(self.arguments[0], self.cell, error)
        return Ended(self.cell, error)

    def end(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def _serve(pipe: Connection, study: Path, threads: int, device: str) -> None:
    """Run in the worker: do the cells that come over the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    try:
        while True:
            cell = pipe.recv()
            pipe.send(Ended(cell, _run(pipe, study, cell, device)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(1)


def _run(pipe: Connection, study: Path, cell: Cell, device: str) -> str | None:
    """Run a cell and return why it failed, if it did."""
    try:
        run_cell(study, cell, device=device, progress=lambda *come: pipe.send(Advanced(cell, *come)))
    except (BrokenPipeError, ConnectionResetError):
        raise
    # Whatever a cell raises is recorded with its text and the study goes on: one cell must not cost the others.
    except Exception as error:
        summary = f"{type(error).__name__}: {error}"
        detail = summary if isinstance(error, RequestError) else traceback.format_exc()
        _record_failure(study, cell, detail)
        return summary
    return None


def _record_failure(study: Path, cell: Cell, error: str) -> None:
    write_record(cell_folder(study, cell), Record(cell=cell, status="failed", error=error))


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"the worker process was ended by {signal.Signals(-exit_code).name} (out of memory?)"
    return f"the worker process ended with exit code {exit_code}"
