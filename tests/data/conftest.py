import gzip
import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REAL = Path(os.environ.get("ISOTYPIC_DATA", Path(__file__).parents[2] / "../shared/data"))


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


@pytest.fixture
def png():
    """The bytes of a PNG file of some pixels."""

    def encode(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return encode


@pytest.fixture
def place(tmp_path):
    """Write files (bytes by name) into a folder, or into a zip archive where the name ends so."""

    def write(name: str, files: dict[str, bytes]) -> Path:
        root = tmp_path / name
        if root.suffix == ".zip":
            with zipfile.ZipFile(root, "w") as archive:
                for file, content in files.items():
                    archive.writestr(file, content)
            return root
        for file, content in files.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(content)
        return root

    return write


@pytest.fixture
def real():
    """The path of a real data set; without it the test is skipped."""

    def find(name: str) -> Path:
        if not (REAL / name).exists():
            pytest.skip(f"needs the real data {name} in {REAL} (or in $ISOTYPIC_DATA)")
        return REAL / name

    return find
