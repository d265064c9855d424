"""Jets in the commands of ``isotypic data``: converted to shards, looked into, made."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isotypic.cli.data_request import shown
from isotypic.cli.following import plain_console
from isotypic.configuration import Config, assign, validated
from isotypic.data.jets.config import JetDataConfig, JetSources, MadeEventsConfig, MadeJetsConfig
from isotypic.data.synthetic.made_files import write_events, write_jets
from isotypic.data.writers.output_folder import Progress
from isotypic.distributed.conversion import convert
from isotypic.distributed.inspection import JetInspection, inspect
from isotypic.errors import RequestError

JETS, EVENTS = "jets", "events"
GENERATORS = (JETS, EVENTS)

_SOME = 3
"""Sources that are named."""


class _Converted(Config):
    """What may be set of jets that are converted."""

    data: JetDataConfig = JetDataConfig()


class _MadeSection(Config):
    jets: MadeJetsConfig = MadeJetsConfig()
    events: MadeEventsConfig = MadeEventsConfig()


class _Made(Config):
    """What may be set of jets and events that are made."""

    data: _MadeSection = _MadeSection()


def convert_jets(words: Sequence[Path], out: Path | None, assignments: list[str] | None) -> None:
    """Write files of jets as shards, and say what was kept.

    Args:
        words: the sources, and the folder to write to where ``out`` is None.
        out: the folder to write to.
        assignments: what is set, ``data.key=value``.

    Raises:
        RequestError: sources or the folder are missing, or what :mod:`isotypic.distributed.conversion` refuses.
    """
    *paths, folder = words if out is None else (*words, out)
    if not paths:
        raise RequestError("expected isotypic data convert jets SRC DST, received one path; give both")
    for path in paths:
        if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
            raise RequestError(f"expected a folder outside the sources {path}, received {folder}")
    config = validated(_Converted, assign({}, assignments or []), "the request").data
    console = plain_console()
    with shown(console, "converting") as progress:
        done = convert(JetSources(paths=tuple(paths), data=config), folder, progress)
    manifest = done.manifest
    shards = sum(shard.rows > 0 for shard in manifest.shards)
    left = [f"{count:,} by {reason}" for reason, count in manifest.dropped.items() if count]
    before = f" ({done.before:,} written before)" if done.before else ""
    dropped = f"; left out: {', '.join(left)}" if left else ""
    _print(console, f"{manifest.rows:,} jets in {shards:,} shards{before}{dropped}: {folder.resolve()}")


def inspect_jets(folder: Path, *, as_json: bool) -> None:
    """Say what is in a folder of shards."""
    console = plain_console()
    with shown(Console(stderr=True), "reading") as progress:
        seen = inspect(folder, progress)
    if as_json:
        console.print_json(json.dumps(seen.to_dict()))
        return
    console.print(_facts(seen))
    console.print(_classes(seen))
    for warning in seen.warnings:
        console.print("[bold yellow]look:[/]", end=" ")
        _print(console, warning)


def make(name: str, out: Path, assignments: list[str], workers: int) -> None:
    """Write files of jets or of events that are made from a seed."""
    config = validated(_Made, assign({}, assignments), "the request").data
    write: Callable[[Progress], int]
    if name == JETS:
        count, write = config.jets.count, lambda progress: write_jets(config.jets, out, progress, workers)
    else:
        count, write = config.events.count, lambda progress: write_events(config.events, out, progress, workers)
    console = plain_console()
    with shown(console, "writing") as progress:
        before = write(progress)
    counted = f"{count:,} {name}" + (f" ({before:,} written before)" if before else "")
    _print(console, f"{counted}: {out.resolve()}")


def _facts(seen: JetInspection) -> Table:
    manifest = seen.manifest
    shards = sum(shard.rows > 0 for shard in manifest.shards)
    left = ", ".join(f"{count:,} by {reason}" for reason, count in manifest.dropped.items() if count)
    sources = ", ".join((*manifest.sources[:_SOME], *(("...",) if len(manifest.sources) > _SOME else ())))
    table = Table(title=f"{escape(seen.name)}, shards of jets", title_justify="left", show_header=False)
    rows = {
        "jets": f"{manifest.rows:,} of up to {manifest.particles} particles",
        "features": ", ".join(manifest.features),
        "together": "every jet alone" if manifest.together == 1 else f"{manifest.together} jets an event",
        "files": f"{shards:,} of {seen.bytes / 1e6:,.1f} MB in all, {seen.groups:,} row groups; every hash is right",
        "sources": f"{len(manifest.sources):,}: {sources}",
        "left out": left or "none",
    }
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def _classes(seen: JetInspection) -> Table:
    table = Table("class", "jets", "mass in GeV (5, 50, 95 %)", "particles (5, 50, 95 %)")
    for name, found in seen.classes.items():
        ranges = (", ".join(map(str, values)) for values in (found.mass, found.particles))
        table.add_row(escape(name), f"{found.jets:,}", *ranges)
    return table


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
