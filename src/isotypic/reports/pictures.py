"""The pictures that a study has in its folder: samples of its images, and what the networks of its cells do."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from isotypic.errors import RequestError
from isotypic.reports.findings import Findings
from isotypic.studies.folder import EXAMPLES_FILE, cell_folder
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
    """The pictures of a page: the study's sample images, and an example of each declared arm that left one."""

    sample: str | None = None
    examples: tuple[Picture, ...] = ()


def pictures(folder: Path, findings: Findings) -> Pictures:
    """Return the pictures in a study's folder.

    Args:
        folder: the study's.
        findings: they say which arms are declared.

    Raises:
        RequestError: the sample images lie outside the study, are not there, or are no PNG, JPEG or SVG.
    """
    sample = findings.study.info.sample_images
    arms = (findings.primary.a, findings.primary.b)
    shown = [_example(folder, findings.study.done(arm, findings.finished)) for arm in arms]
    return Pictures(
        sample=None if sample is None else embedded(folder, sample),
        examples=tuple(picture for picture in shown if picture),
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


def _example(folder: Path, records: list[Record]) -> Picture | None:
    """Return the picture of the first seed that left one; a folder may have been thinned out since."""
    for record in sorted(records, key=lambda record: record.cell.seed):
        path = cell_folder(folder, record.cell) / EXAMPLES_FILE
        caption = record.outcome.examples if record.outcome else None
        if caption and path.is_file():
            return Picture(embedded(folder, str(path.relative_to(folder))), record.cell.arm.label, caption)
    return None
