"""Windows cover an image once, in few reads of its chunks; a store that is damaged says which image it is of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotypic.data import levels
from isotypic.data.readers.micrograph import open_micrograph
from isotypic.data.readers.pixels import windows
from isotypic.errors import RequestError
from isotypic.inference.writers import overlay


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 700), st.integers(1, 700)), st.integers(1, 300_000), st.integers(1, 300)
)
def test_windows_cover_every_pixel_once_are_high_and_bounded(shape, values, step):
    seen = np.zeros(shape[1:], int)
    for rows, columns in windows(shape, values, step):
        seen[rows, columns] += 1
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        assert rows.start % step == columns.start % step == 0
        assert high >= 256 or rows.stop == shape[1]
        assert shape[0] * high * wide <= values or (high < 256 + step and wide <= step)
    assert (seen == 1).all()


class Chunked:
    """An array that counts how often each of its chunks is read, as a store without memory decodes it."""

    def __init__(self, array, chunk):
        self.array, self.chunk, self.shape, self.dtype = array, chunk, array.shape, array.dtype
        self.reads = np.zeros([-(-n // c) for n, c in zip(array.shape[1:], chunk, strict=True)], int)

    def __getitem__(self, window):
        rows, columns = (slice(p.start // c, -(-p.stop // c)) for p, c in zip(window[1:], self.chunk, strict=True))
        self.reads[rows, columns] += 1
        return self.array[window]


@pytest.mark.parametrize("use", [lambda image: levels.levels(image, (50,)), lambda image: overlay._reduced(image, 3)])
def test_chunks_are_decoded_a_few_times(use, monkeypatch):
    for module in (levels, overlay):
        monkeypatch.setattr(module, "STRIP_VALUES", 1 << 15)
    image = Chunked(np.random.default_rng(0).integers(0, 99, (2, 700, 900), dtype=np.uint8), (256, 64))
    use(image)
    assert 1 <= image.reads.min() <= image.reads.max() <= 4, "twice along each axis: windows need not begin at chunks"


def test_a_damaged_chunk_of_ome_zarr_is_one_line(tmp_path):
    zarr = pytest.importorskip("zarr")
    data = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", shape=data.shape, dtype=data.dtype, chunks=(32, 32))[:] = data
    axes = [{"name": name} for name in "yx"]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    (tmp_path / "a.zarr" / "0" / "c" / "1" / "0").write_bytes(b"junk")
    pixels = open_micrograph(tmp_path / "a.zarr").pixels
    np.testing.assert_array_equal(pixels[:, 0:32, 0:64][0], data[:32])
    with pytest.raises(RequestError, match=r"a.zarr: cannot be read as an image \(.+\)$") as caught:
        pixels[:, 0:64, 0:64]
    assert "\n" not in str(caught.value)
