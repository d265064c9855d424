"""What is in a folder of shards, found in one pass in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isotypic.distributed.manifest import Manifest, problem_of, read_manifest
from isotypic.distributed.shards import ShardFile
from isotypic.errors import RequestError

Progress = Callable[[int, int], object]
"""Called with the jets that are read, and all of them."""

_COLUMNS = ("particles", "label", "mass", "row_id")
_MASSES = 2000
"""GeV; masses are counted by whole GeV up to it."""

_SHARES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class ClassOfJets:
    """The jets of one class.

    Attributes:
        jets: how many.
        mass: in GeV, to one GeV: below which 5, 50 and 95 % of them lie.
        particles: the same of how many particles they have.
    """

    jets: int
    mass: tuple[int, int, int]
    particles: tuple[int, int, int]


@dataclass(frozen=True)
class JetInspection:
    """What is in a folder of shards.

    Attributes:
        name: of the folder.
        manifest: what it says of itself.
        classes: the jets of every class.
        bytes: size of all files.
        groups: how many row groups there are.
        full: jets of which as many particles are kept as can be: they may have had more.
    """

    name: str
    manifest: Manifest
    classes: dict[str, ClassOfJets]
    bytes: int
    groups: int
    full: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for a JSON record."""
        manifest = self.manifest.model_dump(exclude={"shards"})
        shards = sum(shard.rows > 0 for shard in self.manifest.shards)
        return {**asdict(self), "manifest": manifest, "shards": shards, "warnings": self.warnings}

    @property
    def warnings(self) -> list[str]:
        """What should be looked at before anything is trained, a sentence each."""
        none = [f"there is no jet of class {name!r}" for name, found in self.classes.items() if not found.jets]
        left, rows = sum(self.manifest.dropped.values()), self.manifest.rows
        many = [
            f"{self.full / rows:.0%} of the jets have all {self.manifest.particles} particles, and may have had more"
        ]
        most = [f"{left / (left + rows):.0%} of the jets of the sources were left out"]
        return [*none, *(many if self.full > rows / 10 else []), *(most if left > rows else [])]


def inspect(folder: Path, progress: Progress) -> JetInspection:
    """Read every file, compare it with the manifest and its hash, and return what is in them.

    Args:
        folder: with shards and their manifest.
        progress: told how far it has come.

    Raises:
        RequestError: there are no shards; or a file is missing, truncated, changed, or has other jets than the manifest
            says.
    """
    manifest = read_manifest(folder)
    masses = np.zeros((len(manifest.classes), _MASSES + 1), np.int64)
    sizes = np.zeros((len(manifest.classes), manifest.particles + 1), np.int64)
    done = groups = 0
    for shard in manifest.shards:
        if not shard.rows:
            continue
        problem = problem_of(folder, shard, hashed=True)
        if problem is not None:
            raise RequestError(f"{folder / shard.file}: {problem}; the command that converted the jets makes it again")
        file, counted = ShardFile(folder / shard.file, manifest.particles), masses.sum(1)
        for group in range(len(file.groups)):
            found = file.read(group, _COLUMNS)
            np.add.at(masses, (found["label"], np.minimum(found["mass"], _MASSES).astype(np.int64)), 1)
            np.add.at(sizes, (found["label"], found["particles"]), 1)
            done += len(found["label"])
            progress(done, manifest.rows)
        groups += len(file.groups)
        if tuple((masses.sum(1) - counted).tolist()) != shard.counts:
            raise RequestError(
                f"{folder / shard.file}: has other classes than the manifest says; convert the jets again"
            )
    classes = {
        name: ClassOfJets(int(masses[place].sum()), _quantiles(masses[place]), _quantiles(sizes[place]))
        for place, name in enumerate(manifest.classes)
    }
    size = sum(shard.bytes for shard in manifest.shards)
    return JetInspection(folder.resolve().name, manifest, classes, size, groups, int(sizes[:, -1].sum()))


def _quantiles(counts: np.ndarray) -> tuple[int, int, int]:
    """Return the values below or at which shares of what is counted lie; 0 of nothing."""
    sums = np.cumsum(counts)
    low, middle, high = (int(np.searchsorted(sums, share * sums[-1])) if sums[-1] else 0 for share in _SHARES)
    return low, middle, high
