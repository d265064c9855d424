"""Files of jets as a folder of Parquet shards with a manifest, in bounded memory, gone on with where it was stopped.

A shard is what is kept of a run of rows of the sources, so that each can be made alone. It is written beside and
renamed, then its size, hash and counts are noted in ``.progress/``; what is there and has its hash is kept, and the
rest is made. The manifest comes last: without it, a folder is not read.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from isotypic.configuration import validated
from isotypic.data.datasets.jets import JetFiles, total
from isotypic.data.jets.batch import FEATURES
from isotypic.data.jets.config import JetSources
from isotypic.data.jets.table import JetTable
from isotypic.data.writers.output_folder import Progress, claim, disk_said
from isotypic.distributed.manifest import (
    Manifest,
    Shard,
    has_manifest,
    parsed,
    problem_of,
    read_manifest,
    sha256_of,
    write_manifest,
)
from isotypic.distributed.shards import SUFFIX, arrow, schema, write_shard
from isotypic.errors import RequestError
from isotypic.files import file_state, write_atomically, write_text

_LEDGER = ".progress"


@dataclass(frozen=True)
class Converted:
    """What a conversion left.

    Attributes:
        manifest: of the folder.
        before: how many of its shards were there before.
    """

    manifest: Manifest
    before: int


def convert(sources: JetSources, folder: Path, progress: Progress) -> Converted:
    """Write the shards that are not there yet, then the manifest.

    Args:
        sources: the files, and what is kept of them.
        folder: empty, or with a part of the same shards.
        progress: told how many rows of the sources are done, and all of them.

    Raises:
        RequestError: pyarrow is not installed; what :class:`isotypic.data.datasets.jets.JetFiles` refuses; no jet is
            kept; the folder holds something else; or it cannot be written (disk full, no permission): what is written
            then stays.
    """
    arrow()
    files = JetFiles(sources)
    claim(folder, {"format": Manifest.model_fields["format"].default, **_made_of(sources, files)}, {})
    with disk_said(folder):
        for path in folder.glob(f".part-*{SUFFIX}"):  # what a killed process left
            path.unlink()
        known = _known(folder)
        plan = list(_plan(len(files), sources.data.shard_rows))
        kept = {place: shard for place, shard in known.items() if _is_whole(folder, shard)}
        before = sum(shard.rows > 0 for shard in kept.values())
        done = sum(shard.end - shard.begin for shard in kept.values())
        progress(done, len(files))
        for place, (begin, end) in enumerate(plan):
            if place not in kept:
                tell = partial(_advance, progress, done - begin, len(files))
                kept[place] = _make(files, folder, place, (begin, end), tell)
                done += end - begin
        manifest = _manifest(files, [kept[place] for place in range(len(plan))])
        write_manifest(folder, manifest)
        shutil.rmtree(folder / _LEDGER, ignore_errors=True)
    return Converted(manifest, before)


def _made_of(sources: JetSources, files: JetFiles) -> dict[str, str]:
    return {"data": sources.data.model_dump_json(), "files": "\n".join(file_state(file.path) for file in files.files)}


def _plan(rows: int, size: int) -> Iterator[tuple[int, int]]:
    for begin in range(0, rows, size):
        yield begin, min(begin + size, rows)


def _known(folder: Path) -> dict[int, Shard]:
    """Return what was noted of shards, by their places."""
    if has_manifest(folder):
        return dict(enumerate(read_manifest(folder).shards))
    notes = sorted((folder / _LEDGER).glob("[0-9]*.json"))
    return {int(note.stem): validated(Shard, parsed(note), str(note)) for note in notes}


def _is_whole(folder: Path, shard: Shard) -> bool:
    return not shard.rows or problem_of(folder, shard, hashed=True) is None


def _advance(progress: Progress, before: int, total: int, row: int) -> None:
    progress(before + row, total)


@dataclass
class _Counted:
    """Passes tables on, and counts what is in them and what was left out."""

    classes: int
    rows: int = 0
    counts: np.ndarray = field(init=False)
    dropped: list[dict[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.classes, np.int64)

    def __call__(self, files: JetFiles, rows: tuple[int, int], tell: partial[None]) -> Iterator[JetTable]:
        done = rows[0]
        for selected in files.read(*rows):
            self.rows += len(selected.table)
            self.counts += np.bincount(selected.table.label, minlength=self.classes)
            self.dropped.append(selected.dropped)
            yield selected.table
            done += len(selected.table) + sum(selected.dropped.values())
            tell(done)


def _make(files: JetFiles, folder: Path, place: int, rows: tuple[int, int], tell: partial[None]) -> Shard:
    """Write one shard and note it."""
    path, counted = folder / f"part-{place:05}{SUFFIX}", _Counted(len(files.classes))
    config = files.config

    def write(beside: Path) -> None:
        write_shard(beside, counted(files, rows, tell), config.particles, config.group_rows)

    write_atomically(path, write)
    if not counted.rows:
        path.unlink()
    shard = Shard(
        file=path.name,
        rows=counted.rows,
        bytes=path.stat().st_size if counted.rows else 0,
        sha256=sha256_of(path) if counted.rows else "",
        begin=rows[0],
        end=rows[1],
        counts=tuple(counted.counts.tolist()),
        dropped=total(counted.dropped),
    )
    write_text(folder / _LEDGER / f"{place:05}.json", shard.model_dump_json())
    return shard


def _manifest(files: JetFiles, shards: list[Shard]) -> Manifest:
    counts = np.sum([shard.counts for shard in shards], axis=0).tolist()
    dropped = total([shard.dropped for shard in shards])
    if not sum(counts):
        left = ", ".join(f"{count:,} by {reason}" for reason, count in dropped.items())
        raise RequestError(f"no jet is kept of {len(files):,} ({left}); widen data.classes or data.mass")
    columns = schema(files.config.particles)
    return Manifest(
        features=FEATURES,
        particles=files.config.particles,
        classes=files.classes,
        together=files.together,
        rows=sum(counts),
        counts=dict(zip(files.classes, counts, strict=True)),
        dropped=dropped,
        columns={name: str(columns.field(name).type) for name in columns.names},
        sources=tuple(file.path.name for file in files.files),
        shards=tuple(shards),
    )
