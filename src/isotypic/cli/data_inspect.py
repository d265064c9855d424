"""``isotypic data inspect``: what isotypic sees in a data set, and what is suspicious about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from isotypic.cli.data_jets import inspect_jets
from isotypic.cli.data_pictures import draw, draw_candidates, draw_labelled
from isotypic.cli.data_request import AnyDataConfig, DataPath, Dataset, Progress, data_config, shown
from isotypic.cli.data_tables import Seen, say, say_scans
from isotypic.cli.following import plain_console
from isotypic.cli.options import Set
from isotypic.data.catalogue import holds_scans, list_candidates, load, load_labelled
from isotypic.data.config import CandidateDataConfig, DataConfig
from isotypic.data.datasets import jets
from isotypic.data.inspection.candidates import CandidateInspection, inspect_candidates
from isotypic.data.inspection.classified import inspect
from isotypic.data.inspection.labelled import inspect_labelled
from isotypic.data.inspection.scans import inspect_scans
from isotypic.data.splits import split, split_labelled
from isotypic.distributed.manifest import has_manifest
from isotypic.errors import RequestError
from isotypic.inference.findings import reached
from isotypic.studies.systems.png import can_draw

SUMMARY = "Say what isotypic sees in a data set: classes, patients, split, statistics, copies; of scans their headers."
EXAMPLE = "Example: isotypic data inspect photos/ --picture photos.png"


def command(
    path: DataPath = None,
    dataset: Dataset = None,
    set_: Set = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw some images of every class or part.")
    ] = None,
) -> None:
    """Read every image once, or the header of every scan; nothing is left but the picture."""
    console = plain_console()
    if path is not None and dataset is None and path.exists():
        looked = _without_images(console, path, json_, given={"--set": set_, "--picture": picture})
        if looked:
            return
    config = data_config(path, dataset, set_)
    if picture is not None and not can_draw():
        raise RequestError("--picture needs matplotlib; install isotypic[report]")
    with TemporaryDirectory(prefix="isotypic-") as cache, shown(Console(stderr=True), "reading") as progress:
        seen = _inspected(config, Path(cache), picture, progress)
    if json_:
        console.print_json(json.dumps({"dataset": config.dataset, "split_seed": config.split_seed, **seen.to_dict()}))
        return
    say(console, seen, config)
    if picture is not None:
        console.print(f"picture: {picture.resolve()}", highlight=False, markup=False, soft_wrap=True)


def _without_images(console: Console, path: Path, as_json: bool, given: Mapping[str, object]) -> bool:
    """Look into shards of jets, or into scans without candidates, and say whether it was one of them."""
    if has_manifest(path):
        _refuse_given(path, "these are shards of jets", given)
        inspect_jets(path, as_json=as_json)
        return True
    if jets.recognises(path):
        raise RequestError(f"{path}: files of jets are looked into as shards: isotypic data convert jets {path} SHARDS")
    if holds_scans(path):
        _refuse_given(path, "these are scans without candidates_V2.csv", given)
        _inspect_scans(console, path, as_json)
        return True
    return False


def _refuse_given(path: Path, what: str, given: Mapping[str, object]) -> None:
    """Refuse options that are for sets of images alone."""
    for option, value in given.items():
        if value:
            raise RequestError(f"{path}: {option} is for data sets of images, and {what}: leave it out")


def _inspect_scans(console: Console, path: Path, as_json: bool) -> None:
    """Say what the headers of scans without candidates say."""
    with shown(Console(stderr=True), "reading") as progress:
        seen = inspect_scans(path, progress)
    if as_json:
        console.print_json(json.dumps(seen.to_dict()))
    else:
        say_scans(console, seen)


def _inspected(config: AnyDataConfig, cache: Path, picture: Path | None, progress: Progress) -> Seen:
    """Return what is in a set, and draw it."""
    if isinstance(config, CandidateDataConfig):
        return _candidates(config, cache, picture, progress)
    if isinstance(config, DataConfig):
        found = load(config, cache)
        splits = split(found, config)
        seen = inspect(found, splits, progress)
        if picture is not None:
            draw(found, splits, picture)
        return seen
    labelled = load_labelled(config, cache)
    parts = split_labelled(labelled, config)
    counted = inspect_labelled(labelled, parts, progress)
    if picture is not None:
        draw_labelled(labelled, parts, picture)
    return counted


def _candidates(
    config: CandidateDataConfig, cache: Path, picture: Path | None, progress: Progress
) -> CandidateInspection:
    listing = list_candidates(config, cache, progress)
    splits = split(listing, config)
    seen = inspect_candidates(listing, splits, config, reached, progress)
    if picture is not None:
        draw_candidates(listing, splits, config, picture)
    return seen
