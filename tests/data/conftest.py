import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_idx():
    def write(path: Path, array: np.ndarray) -> Path:
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        content = header + array.astype(np.uint8).tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    return write


@pytest.fixture
def write_png():
    def write(path: Path, pixels: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def grey():
    def make(value: int, height: int = 5, width: int = 6) -> np.ndarray:
        pixels = np.full((height, width), value, dtype=np.uint8)
        pixels[0, 0] = 7  # a corner to tell orientations apart
        return pixels

    return make
