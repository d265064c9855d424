"""Writing files so that nothing is ever half-written: write beside, then rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Call ``write`` with a temporary path beside ``path``, then rename it to ``path``.

    A reader sees the old file or the new one, never a part; when ``write`` fails the old file stays and the
    temporary one is removed.

    Args:
        path: the file to make; its folder is created.
        write: writes a whole file at the path that it is given.

    Returns:
        ``path``.

    Raises:
        OSError: what the file system answers (disk full, no permission).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        beside.chmod(0o666 & ~_umask())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 text file atomically (see :func:`write_atomically`)."""
    return write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def file_state(path: Path) -> str:
    """Return what changes when a file does: its place, its size and when it was written."""
    found = path.stat()
    return f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
