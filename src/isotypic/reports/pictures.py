"""The pictures that a study has in its folder: samples of its images, and what the networks of its cells do."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isotypic.errors import RequestError
from isotypic.reports.findings import Findings
from isotypic.studies.folder import cell_folder, picture_path
from isotypic.studies.records import Record

KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Picture:
    """A picture as a data address, whose it is, and what it shows."""

    address: str
    name: str
    caption: str


@dataclass(frozen=True)
class Pictures:
    """The pictures of a page.

    Args:
        sample: the study's sample images.
        cells: by name, those of the declared arms, of each that left one.
    """

    sample: str | None = None
    cells: Mapping[str, tuple[Picture, ...]] = field(default_factory=dict)


def pictures(folder: Path, findings: Findings) -> Pictures:
    """Return the pictures in a study's folder.

    Args:
        folder: the study's.
        findings: they say which arms are declared.

    Raises:
        RequestError: the sample images lie outside the study, are not there, or are no PNG, JPEG or SVG.
    """
    sample = findings.study.info.sample_images
    arms = [findings.study.done(arm, findings.finished) for arm in (findings.primary.a, findings.primary.b)]
    names = dict.fromkeys(name for records in arms for record in records for name in _captions(record))
    shown = {name: tuple(found for records in arms if (found := _first(folder, records, name))) for name in names}
    return Pictures(
        sample=None if sample is None else embedded(folder, sample),
        cells={name: found for name, found in shown.items() if found},
    )


def embedded(folder: Path, name: str) -> str:
    """Return a picture of a study's folder as a data address.

    Raises:
        RequestError: the file lies outside the study, is not there, or is no PNG, JPEG or SVG.
    """
    path = (folder / name).resolve()
    kind = KINDS.get(path.suffix.lower())
    if kind is None or not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise RequestError(f"sample_images must be a PNG, JPEG or SVG in {folder}, got {name!r}")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _captions(record: Record) -> Mapping[str, str]:
    return record.outcome.pictures if record.outcome else {}


def _first(folder: Path, records: list[Record], name: str) -> Picture | None:
    """Return the picture of the first seed that left one; a folder may have been thinned out since."""
    for record in sorted(records, key=lambda record: record.cell.seed):
        path = picture_path(cell_folder(folder, record.cell), name)
        caption = _captions(record).get(name)
        if caption and path.is_file():
            return Picture(embedded(folder, str(path.relative_to(folder))), record.cell.arm.label, caption)
    return None
