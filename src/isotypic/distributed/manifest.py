"""What a folder of shards holds, as JSON beside them: columns, classes, counts, and size and hash of every file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from isotypic.configuration import Config, validated
from isotypic.errors import RequestError
from isotypic.files import write_text

MANIFEST = "manifest.json"

_PIECE = 2**20


class Shard(Config):
    """One file of jets, or a run of rows of the sources of which none was kept."""

    file: str = Field(description="name in the folder")
    rows: int = Field(ge=0, description="jets in it; without any there is no file")
    bytes: int = Field(ge=0, description="size of the file")
    sha256: str = Field(description="its hash")
    begin: int = Field(ge=0, description="first row of the sources that it is made of")
    end: int = Field(ge=0, description="the row after the last")
    counts: tuple[int, ...] = Field(description="jets of every class")
    dropped: dict[str, int] = Field(description="jets that were left out, by reason")


class Manifest(Config):
    """What a folder of shards holds."""

    format: Literal["isotypic jets 1"] = "isotypic jets 1"
    features: tuple[str, ...] = Field(description="what is known of a particle, in order")
    particles: int = Field(ge=1, description="particles that a jet is padded to")
    classes: tuple[str, ...] = Field(description="what labels stand for")
    together: int = Field(ge=1, description="neighbouring rows that belong together, such as the jets of an event")
    rows: int = Field(ge=1, description="jets")
    counts: dict[str, int] = Field(description="jets of every class")
    dropped: dict[str, int] = Field(description="jets of the sources that were left out, by reason")
    columns: dict[str, str] = Field(description="of the Parquet files, with their types")
    sources: tuple[str, ...] = Field(description="names of the files that the jets come from")
    shards: tuple[Shard, ...]

    def digest(self) -> str:
        """Return a hash that is the same for the same jets in the same order, wherever they lie."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.shards).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest of a folder, whole or not at all."""
    return write_text(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        RequestError: there is none, or it cannot be read, or does not agree with itself.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise RequestError(
            f"{folder}: expected shards with {MANIFEST}, found none; make them with isotypic data convert jets SRC "
            f"{folder}, and if that was stopped, give the same command again"
        )
    manifest = validated(Manifest, parsed(path), str(path))
    rows = sum(shard.rows for shard in manifest.shards)
    counts = [sum(of_class) for of_class in zip(*(shard.counts for shard in manifest.shards), strict=True)]
    if manifest.rows != rows or list(manifest.counts.values()) != counts:
        raise RequestError(f"{path}: says {manifest.rows:,} jets, and its shards have {rows:,}; convert the jets again")
    return manifest


def has_manifest(folder: Path) -> bool:
    """Say whether a folder holds shards."""
    return (folder / MANIFEST).is_file()


def sha256_of(path: Path) -> str:
    """Return the hash of a file, read piece by piece."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()


def problem_of(folder: Path, shard: Shard, *, hashed: bool) -> str | None:
    """Return what is wrong with a file, or None.

    Args:
        folder: where it lies.
        shard: what it should be.
        hashed: whether its contents are read and compared with the hash.
    """
    path = folder / shard.file
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != shard.bytes:
        return f"has {size:,} bytes where the manifest says {shard.bytes:,}"
    if hashed and sha256_of(path) != shard.sha256:
        return "is not the file that was written: its hash differs from the manifest's"
    return None


def parsed(path: Path) -> dict[str, Any]:
    """Return what a JSON file of ours holds.

    Raises:
        RequestError: it cannot be read, or holds no keys.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"{path}: cannot be read as JSON ({error}); convert the jets again") from error
    if not isinstance(found, dict):
        raise RequestError(f"{path}: expected a manifest of jets, received {type(found).__name__}")
    return found
