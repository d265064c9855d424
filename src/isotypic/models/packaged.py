"""Where runs lie: in folders of their own, or in the package, by name.

Runs that come with the package are the folders of ``isotypic/models/pretrained`` and go by the names of these.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from isotypic.errors import RequestError, unknown

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable

WEIGHTS = "weights.safetensors"
DESCRIPTION = "run.yaml"

DEFAULT_RUN = "nuclei"
"""The run of the package that segments where none is named."""

FOLDER = f"a folder with {DESCRIPTION} and {WEIGHTS}"
"""What a run is, in words."""

_TRAIN = "train one with isotypic train and give its folder by --run (run=)"


@contextmanager
def run_on_disk(run: Path | str | None = None, root: Traversable | None = None) -> Iterator[Path]:
    """Give the folder of a run for as long as it is read.

    That is the folder itself, or a copy of it where the package is imported from a zip archive.

    Args:
        run: its folder, or the name of one that comes with the package; None for the package's :data:`DEFAULT_RUN`.
        root: where the runs of the package lie; default :func:`packaged_root`.

    Raises:
        RequestError: there is no such run.
    """
    found = pretrained(DEFAULT_RUN, root) if run is None else run_folder(run, root)
    if isinstance(found, Path):
        yield found
        return
    with TemporaryDirectory(prefix="isotypic-") as copy:  # resources.as_file takes folders from Python 3.12 on
        for file in (found / DESCRIPTION, found / WEIGHTS):
            if file.is_file():  # who reads the folder says what is missing
                (Path(copy) / file.name).write_bytes(file.read_bytes())
        yield Path(copy)


def run_folder(run: Path | str, root: Traversable | None = None) -> Traversable:
    """Return the folder of a run: one on disk, or else one of the package by its name.

    Raises:
        RequestError: nothing lies at that path, and the package has no run of that name.
    """
    folder, shipped = Path(run), _shipped(root)
    if (folder / DESCRIPTION).is_file():
        return folder
    if str(run) in shipped:
        return shipped[str(run)]
    if folder.exists():
        return folder  # who reads it says what is missing
    if shipped:
        raise RequestError(f"{unknown('pretrained run', str(run), shipped)}; or give {FOLDER}")
    raise RequestError(
        f"expected a run ({FOLDER}) at {folder}, found no {DESCRIPTION}, and this installation comes without "
        f"pretrained runs; {_TRAIN}"
    )


def pretrained(name: str, root: Traversable | None = None) -> Traversable:
    """Return the folder of a run that comes with the package.

    Args:
        name: of the run.
        root: where the runs of the package lie; default :func:`packaged_root`.

    Raises:
        RequestError: the package has no such run.
    """
    shipped = _shipped(root)
    if name in shipped:
        return shipped[name]
    if shipped:
        raise unknown("pretrained run", name, shipped)
    raise RequestError(f"expected the pretrained run {name!r}, which this installation does not have; {_TRAIN}")


def packaged_names(root: Traversable | None = None) -> list[str]:
    """Return the names of the runs that come with the package.

    Args:
        root: where they lie; default :func:`packaged_root`.
    """
    return list(_shipped(root))


def packaged_root() -> Traversable:
    """Return where the runs of the package lie, in a folder or in the zip archive that it is imported from."""
    return resources.files("isotypic.models") / "pretrained"


def _shipped(root: Traversable | None) -> dict[str, Traversable]:
    """Return the folders of the runs that come with the package, by name."""
    root = packaged_root() if root is None else root
    entries = sorted(root.iterdir(), key=lambda entry: entry.name) if root.is_dir() else []
    return {entry.name: entry for entry in entries if (entry / DESCRIPTION).is_file()}
