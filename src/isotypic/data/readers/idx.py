"""The IDX format of MNIST: a magic number, the dimensions, then the values, big-endian; plain or gzipped.

Layout (Yann LeCun, Corinna Cortes, Christopher Burges, "The MNIST database of handwritten digits"): two zero
bytes, one byte for the type of the values, one byte for the number of dimensions, then each dimension as a
32-bit integer, then the values in C order.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from isotypic.errors import RequestError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"


def read(path: Path, dimensions: int | None = None) -> np.ndarray:
    """Return the array in an IDX file, in the byte order of the machine.

    Args:
        path: the file, plain or gzipped (told by its first bytes, not by its name).
        dimensions: how many dimensions it must have; None takes any.

    Raises:
        RequestError: the file is missing, is not IDX, ends early, has bytes left over or other dimensions.
    """
    try:
        with _opened(path) as stream:
            array = _parse(path, stream)
    except (OSError, EOFError, zlib.error) as error:
        raise RequestError(f"{path}: cannot be read as IDX ({error}); fetch the file again") from error
    if dimensions is not None and array.ndim != dimensions:
        raise RequestError(f"{path}: expected {dimensions} dimensions, received {array.ndim}")
    return array


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
    return cast(IO[bytes], gzip.open(path, "rb")) if zipped else path.open("rb")


def _parse(path: Path, stream: IO[bytes]) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise RequestError(
            f"{path}: not an IDX file: expected the bytes 00 00, a type and a number of dimensions, "
            f"received {magic.hex(' ') or 'an empty file'}"
        )
    header = stream.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise RequestError(f"{path}: truncated: the file ends within its header; fetch it again")
    shape = struct.unpack(f">{magic[3]}I", header)
    dtype = np.dtype(_TYPES[magic[2]])
    expected = math.prod(shape) * dtype.itemsize
    content = _content(stream, expected)
    if len(content) < expected:
        raise RequestError(
            f"{path}: truncated: expected {expected} bytes for {list(shape)}, received {len(content)}; fetch it again"
        )
    if stream.read(1):
        raise RequestError(f"{path}: expected {expected} bytes for {list(shape)}, received more")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _content(stream: IO[bytes], count: int) -> bytearray:
    """Read up to ``count`` bytes in pieces, so that a corrupt header does not ask for memory at once."""
    content = bytearray()
    while len(content) < count and (piece := stream.read(min(count - len(content), 1 << 22))):
        content += piece
    return content
