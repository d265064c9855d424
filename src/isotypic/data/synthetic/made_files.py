"""Jets and events that are made from a seed, as files, by several processes, gone on with where it was stopped.

File ``n`` holds rows ``n R`` to ``(n + 1) R`` and comes from (seed, ``n``) alone: so a set that is made larger keeps
its files. Each is written beside and renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isotypic.data.jets.config import MadeEventsConfig, MadeJetsConfig
from isotypic.data.synthetic import events, jets, pythia, pythia_events
from isotypic.data.writers.jet_files import CLASSES, LHCO_PARTICLES, write_hls4ml, write_lhco
from isotypic.data.writers.output_folder import Progress, claim, disk_said
from isotypic.errors import RequestError

FORMAT = "jets 1"
"""Changes when the same request makes other jets."""

_SEEDS = 899_999_000
"""Pythia takes no larger ones."""


class Rows(NamedTuple):
    """A file, and which rows of the whole it holds."""

    name: str
    number: int
    begin: int
    end: int


Make = Callable[[Rows, Path], Path]
"""Writes a file at a path."""


def write_jets(config: MadeJetsConfig, folder: Path, progress: Progress, workers: int = 1) -> int:
    """Write files of jets in the layout of HLS4ML that are not there yet, and return how many rows were there before.

    Args:
        config: which jets, and the seed.
        folder: empty, or with files of the same request but for their number.
        progress: told how many jets are there, and how many there will be.
        workers: processes; with one, in this process.

    Raises:
        RequestError: Pythia or FastJet is not installed, the folder holds something else or more files than are asked
            for, or it cannot be written.
    """
    config = config.model_copy(update={"file_rows": min(config.file_rows, config.count)})
    return _write("jets", config, folder, partial(make_jets, config), _How(progress, workers))


def write_events(config: MadeEventsConfig, folder: Path, progress: Progress, workers: int = 1) -> int:
    """Write files of events in the layout of the LHC Olympics (see :func:`write_jets`)."""
    config = config.model_copy(update={"file_rows": min(config.file_rows, config.count)})
    return _write("events", config, folder, partial(make_events, config), _How(progress, workers))


def make_jets(config: MadeJetsConfig, rows: Rows, path: Path) -> Path:
    """Write one file of jets; as many of each kind, in random order."""
    count, generator = rows.end - rows.begin, np.random.default_rng([config.seed, rows.number])
    order = np.arange(rows.begin, rows.end) % len(config.kinds)
    chosen = np.array([CLASSES.index(kind) for kind in config.kinds])[generator.permutation(order)]
    if config.generator == "small":
        return write_hls4ml(path, *jets.draw(chosen, generator, config.particles), chosen)
    momenta, found = np.zeros((count, config.particles, 4)), np.zeros((count, 4))
    for label in np.unique(chosen):
        places = np.flatnonzero(chosen == label)
        seed = int(generator.integers(_SEEDS))
        momenta[places], found[places] = pythia.draw(CLASSES[label], len(places), seed, config)
    return write_hls4ml(path, momenta, found, chosen)


def make_events(config: MadeEventsConfig, rows: Rows, path: Path) -> Path:
    """Write one file of events; the first of every 1 / signal in number are signal, in random order."""
    generator = np.random.default_rng([config.seed, rows.number])
    number = np.arange(rows.begin, rows.end + 1)
    signal = generator.permutation(np.diff(np.floor(number * config.signal + 1e-9)) > 0)
    if config.generator == "small":
        return write_lhco(path, events.draw(signal, config.masses, generator), signal)
    particles = np.zeros((len(signal), LHCO_PARTICLES, 3))
    for is_signal in np.unique(signal):
        places = np.flatnonzero(signal == is_signal)
        seed = int(generator.integers(_SEEDS))
        particles[places] = pythia_events.draw(len(places), seed, config.masses if is_signal else None)
    return write_lhco(path, particles, signal)


class _How(NamedTuple):
    """How files are made."""

    progress: Progress
    workers: int


def _write(kind: str, config: MadeJetsConfig | MadeEventsConfig, folder: Path, make: Make, how: _How) -> int:
    claim(folder, {"format": FORMAT, kind: config.model_dump_json(exclude={"count"})}, {})
    files = list(_files(kind, config))
    with disk_said(folder):
        there = {path.name for path in folder.glob(f"{kind}-*.h5")}
        more = there - {rows.name for rows in files}
        if more:
            raise RequestError(
                f"{folder}: holds {len(more)} files more than are asked for, {min(more)} is one; ask for as many with "
                f"data.{kind}.count, or give another --out"
            )
        for path in folder.glob(f".{kind}-*.h5"):  # what a killed process left
            path.unlink()
        missing = [rows for rows in files if rows.name not in there]
        before = done = sum(rows.end - rows.begin for rows in files if rows.name in there)
        how.progress(done, config.count)
        for rows in _made(missing, folder, make, how.workers):
            done += rows.end - rows.begin
            how.progress(done, config.count)
    return before


def _made(missing: list[Rows], folder: Path, make: Make, workers: int) -> Iterator[Rows]:
    """Make files, and yield each when it is there."""
    if workers == 1 or len(missing) < 2:
        for rows in missing:
            make(rows, folder / rows.name)
            yield rows
        return
    with ProcessPoolExecutor(min(workers, len(missing)), mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(make, rows, folder / rows.name): rows for rows in missing}
        try:
            for future in as_completed(waiting):
                future.result()
                yield waiting[future]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _files(kind: str, config: MadeJetsConfig | MadeEventsConfig) -> Iterator[Rows]:
    for number, begin in enumerate(range(0, config.count, config.file_rows)):
        end = begin + config.file_rows
        yield Rows(f"{kind}-{begin:08}-{end:08}.h5", number, begin, end)
