"""Files compressed by gzip, unpacked once into a cache."""

from __future__ import annotations

import gzip
import shutil
import zlib
from hashlib import sha256
from pathlib import Path

from isotypic.errors import RequestError
from isotypic.files import file_state, write_atomically

_CHUNK = 1 << 22


def unpacked(path: Path, cache: Path) -> Path:
    """Return the file that a ``.gz`` holds, unpacked in the cache; another file is returned as it is.

    It is unpacked piece by piece, and again only when the packed file has changed.

    Raises:
        RequestError: the file is cut short or damaged, or the cache cannot take it.
    """
    if path.suffix.lower() != ".gz":
        return path
    state = sha256(file_state(path).encode()).hexdigest()[:16]
    plain = cache / f"{path.stem.removesuffix('.h5')}-{state}{Path(path.stem).suffix}"
    if not plain.exists():
        write_atomically(plain, lambda beside: _unpack(path, beside))
    return plain


def _unpack(path: Path, to: Path) -> None:
    try:
        with gzip.open(path, "rb") as packed, to.open("wb") as plain:
            shutil.copyfileobj(packed, plain, _CHUNK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RequestError(f"{path}: cannot be unpacked ({error}); is the download complete?") from error
    except OSError as error:
        raise RequestError(f"{path}: cannot be unpacked into {to.parent} ({error.strerror or error})") from error
