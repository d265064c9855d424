"""The files below a folder or in a zip archive, read in place: nothing is unpacked to the disk.

Names are relative, with forward slashes, sorted; hidden ones and the ``__MACOSX`` of zip archives are left out.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from threading import Lock

from isotypic.errors import RequestError


class Tree(ABC):
    """A set of files by their relative names.

    Args:
        path: the folder or the archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The relative names of all files, sorted."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            RequestError: it cannot be read.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a text that changes when a file is added, removed, replaced or changed in size or time."""

    def where(self, name: str) -> str:
        """Return what a file is called in errors."""
        return f"{self.path}/{name}"

    def stems(self, folder: str, suffixes: frozenset[str]) -> dict[str, str]:
        """Return the files below a folder by their names without folder and suffix.

        Raises:
            RequestError: two files differ in the suffix alone.
        """
        found: dict[str, str] = {}
        for name in self.names:
            inside = name.removeprefix(f"{folder}/") if folder else name
            if (folder and inside == name) or Path(name).suffix.lower() not in suffixes:
                continue
            stem = str(Path(inside).with_suffix(""))
            if stem in found:
                raise RequestError(f"{self.where(name)}: {found[stem]!r} has the same name; keep one of them")
            found[stem] = name
        return found


class _Folder(Tree):
    @cached_property
    def names(self) -> tuple[str, ...]:
        files = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return tuple(sorted(path.as_posix() for path in files if _wanted(path.parts)))

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise RequestError(f"{self.where(name)}: cannot be read ({error.strerror})") from error

    def fingerprint(self) -> str:
        digest = hashlib.sha256(str(self.path.resolve()).encode())
        for name in self.names:
            found = (self.path / name).stat()
            digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
        return digest.hexdigest()


class _Archive(Tree):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._reading = Lock()
        try:
            self._file = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise RequestError(f"{path}: cannot be read as a zip archive ({error}); fetch the file again") from error

    @cached_property
    def names(self) -> tuple[str, ...]:
        members = (member.filename for member in self._file.infolist() if not member.is_dir())
        return tuple(sorted(name for name in members if _wanted(tuple(name.split("/")))))

    def read(self, name: str) -> bytes:
        try:
            with self._reading:
                return self._file.read(name)
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise RequestError(f"{self.where(name)}: cannot be read from the archive ({error})") from error

    def fingerprint(self) -> str:
        found = self.path.stat()
        return f"{self.path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}"


def open_tree(path: Path) -> Tree:
    """Return the files of a folder or of a zip archive.

    Raises:
        RequestError: nothing is there, or it is neither.
    """
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise RequestError(f"{path}: no such file or folder; give --data PATH")
    if path.suffix.lower() != ".zip":
        raise RequestError(f"{path}: expected a folder or a .zip archive")
    return _Archive(path)


def _wanted(parts: tuple[str, ...]) -> bool:
    return parts[0] != "__MACOSX" and not any(part.startswith(".") for part in parts)
