"""Running a study: what is finished stays, what is missing is run, nothing is run twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import AcquireReturnProxy, FileLock, Timeout

from isotypic.errors import RequestError
from isotypic.files import write_atomically
from isotypic.studies.folder import (
    RECORD_FILE,
    STUDY_FILE,
    StudyRecords,
    cell_folder,
    read_record,
    read_study,
    table,
    write_study,
)
from isotypic.studies.records import Cell, StudyInfo
from isotypic.studies.spec import Plan, settings_as_recorded, settings_of
from isotypic.studies.workers import Event, run_cells

TABLE_FILE = "table.csv"
LOCK_FILE = ".running"
"""Locked by the process that runs the study; the system unlocks it when that process ends, however it does."""

_WORDS = ("title", "description", "further")
"""What is said of a study, or shown beside its measure, and changes nothing in it."""


def claim(folder: Path, info: StudyInfo) -> None:
    """Make a folder the study's own, or check that it already is and take over the words that describe it.

    Raises:
        RequestError: the folder holds another study, or other files.
    """
    if not (folder / STUDY_FILE).exists():
        ours = {"cache"}
        others = [path.name for path in folder.iterdir() if path.name not in ours] if folder.exists() else []
        if others:
            raise RequestError(
                f"expected an empty folder or this study at {folder}, found {sorted(others)[0]!r}; give another --out"
            )
        write_study(folder, info)
        return
    before = read_study(folder)
    different = _difference(_identity(before), _identity(info))
    if different:
        raise RequestError(
            f"{folder} holds another study ({different}); give another --out, or the same settings to resume it"
        )
    write_study(folder, before.model_copy(update={name: getattr(info, name) for name in _WORDS}))


def unfinished(folder: Path, cells: list[Cell]) -> list[Cell]:
    """Return the cells that are not done: those without a record, and those that failed."""
    return [cell for cell in cells if not _is_done(folder, cell)]


def run(folder: Path, plan: Plan, *, workers: int | None = None, device: str = "cpu") -> Iterator[Event]:
    """Run what is unfinished in a study's folder and yield what happens.

    Args:
        folder: a folder that :func:`claim` accepted.
        plan: the study.
        workers: parallel processes; default one a core.
        device: where they train.

    Raises:
        RequestError: another process runs it.
    """
    with _locked(folder):
        cells = unfinished(folder, plan.cells)
        cores = os.cpu_count() or 1
        crew = max(1, min(workers or cores, len(cells)))
        threads = max(1, min(cores // crew, torch.get_num_threads()))  # OMP_NUM_THREADS has the last word
        yield from run_cells(folder, cells, workers=crew, threads=threads, device=device)


def _locked(folder: Path) -> AcquireReturnProxy:
    try:
        return FileLock(folder / LOCK_FILE).acquire(timeout=0)
    except Timeout as held:
        raise RequestError(
            f"{folder}: another process runs this study; wait until it ends, or give another --out"
        ) from held


def write_table(folder: Path) -> Path:
    """Write the tidy table of all records as ``table.csv``, a row a cell in the order of the grid."""
    records = StudyRecords.load(folder)
    order = {cell: i for i, cell in enumerate(records.info.cells())}
    frame = table(sorted(records.records, key=lambda record: order[record.cell]), records.info.measure.name)
    return write_atomically(folder / TABLE_FILE, lambda path: frame.to_csv(path, index=False))


def _is_done(folder: Path, cell: Cell) -> bool:
    place = cell_folder(folder, cell)
    return (place / RECORD_FILE).exists() and read_record(place).status == "done"


def _identity(info: StudyInfo) -> dict[str, object]:
    """Return what makes two studies the same: all but words and the machine that they run on; arms by their names.

    Settings that came after a study was begun count as what they are by default.
    """
    flat: dict[str, object] = {}
    plain = info.model_dump(mode="json", exclude={"environment", "sample_images"})
    _flatten("", {**plain, "settings": settings_as_recorded(*settings_of(info.settings))}, flat)
    return {**{key: value for key, value in flat.items() if key not in _WORDS}, "arms": [a.label for a in info.arms]}


def _flatten(prefix: str, value: object, into: dict[str, object]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{prefix}.{key}" if prefix else str(key), inner, into)
    else:
        into[prefix.removeprefix("settings.")] = value


def _difference(before: dict[str, object], now: dict[str, object]) -> str:
    """Say the first setting that differs, or nothing."""
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            return f"its {key} is {before.get(key)!r}, asked for {now.get(key)!r}"
    return ""
