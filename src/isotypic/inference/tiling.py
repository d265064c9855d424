"""Dense networks on images larger than memory: tiles that keep every symmetry of the pixel grid.

A network of stride s that commutes with a group of the grid on every size still commutes when it is run tile by tile
and the outputs are blended, if along an axis of n pixels

* all tiles have one length ``t = n (mod s)``, so that every stage of a tile has the parity that it has in the image,
* they start at multiples of s, so that a tile's coarse samples are the image's,
* the set of origins is invariant under ``o -> n - t - o``, which is what a reflection does to a tile's origin,
* the weights are too, ``w_o(p) = w_(n-t-o)(n - 1 - p)``, and add up to one at every pixel,

and if t depends on n alone, so that exchanging the axes exchanges the tiles. Blending is linear: vector fields keep
their symmetry as scalars do. Tiles from 0 in equal steps, the last one moved inwards, break it.

Within ``margin`` pixels of an edge that is not the image's a tile has weight zero. Where the margin is at least the
reach of the network (and nothing in it looks at the whole image, as instance norm does), the result is that of the
whole image to rounding.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isotypic.data.readers.pixels import Pixels
from isotypic.errors import RequestError

IN_MEMORY = 2**28
"""Bytes of output that are kept in memory; a larger output goes to a file."""

Shape = tuple[int, int, int]
Network = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class AxisTiles:
    """The tiles along one axis.

    Attributes:
        size: pixels n of the axis.
        length: pixels t of a tile.
        origins: first pixels of the tiles, rising.
        margin: pixels at an inner edge of a tile that are not used.
        blend: pixels over which one tile gives way to the next.

    Raises:
        RequestError: the tiles do not cover the axis with overlaps of at least ``2 margin + blend``.
    """

    size: int
    length: int
    origins: tuple[int, ...]
    margin: int = 0
    blend: int = 1

    def __post_init__(self) -> None:
        most = self.length - (2 * self.margin + self.blend)
        whole = self.origins[0] == 0 and self.origins[-1] == self.size - self.length
        if not whole or any(not 0 < b - a <= most for a, b in pairwise(self.origins)):
            raise RequestError(
                f"expected tiles of {self.length} from 0 to {self.size}, at most {most} apart for a margin of "
                f"{self.margin} and a blend of {self.blend}, received origins {list(self.origins)}"
            )

    def window(self, tile: int) -> slice:
        """Return the pixels of a tile."""
        return slice(self.origins[tile], self.origins[tile] + self.length)

    def weights(self) -> np.ndarray:
        """Return the weight of every pixel of every tile, ``[tiles, length]``; they add up to one at every pixel.

        Before division by the sum: ``sin(pi/2 min(1, (d + 1/2 - margin) / blend))**2`` at distance d from an inner
        edge, zero within the margin, one towards the edges of the image.

        >>> AxisTiles(7, 4, (0, 3)).weights()
        array([[1. , 1. , 1. , 0.5],
               [0.5, 1. , 1. , 1. ]])
        """
        reach = (np.arange(self.length) + 0.5 - self.margin) / self.blend
        rise = np.sin(np.pi / 2 * reach.clip(0, 1)) ** 2
        weights = np.ones((len(self.origins), self.length))
        weights[1:] *= rise
        weights[:-1] *= rise[::-1]
        total = np.zeros(self.size)
        windows = [self.window(tile) for tile in range(len(weights))]
        for window, weight in zip(windows, weights, strict=True):
            total[window] += weight
        return weights / np.stack([total[window] for window in windows])


@dataclass(frozen=True)
class TileRule:
    """How an image of any size is cut into tiles.

    Attributes:
        side: most pixels of a tile along an axis.
        stride: the network's stride s.
        margin: pixels at an inner edge of a tile that are not used; at best the reach of the network.
        blend: pixels over which one tile gives way to the next.

    Raises:
        RequestError: a number is out of range, or the side leaves no pixels beside the overlap.
    """

    side: int = 512
    stride: int = 1
    margin: int = 64
    blend: int = 32

    def __post_init__(self) -> None:
        if self.stride < 1 or self.margin < 0 or self.blend < 1:
            raise RequestError(f"expected stride >= 1, margin >= 0 and blend >= 1, received {self}")
        least = self.overlap + 2 * self.stride - 1
        if self.side < least:
            raise RequestError(
                f"expected tiles of at least {least} pixels a side for stride {self.stride}, margin {self.margin} "
                f"and blend {self.blend}, received {self.side}"
            )

    @property
    def overlap(self) -> int:
        """Least number of pixels that neighbouring tiles share."""
        return 2 * self.margin + self.blend

    def along(self, size: int) -> AxisTiles:
        """Return the tiles of an axis: one where the axis is not longer than a tile, else those of fewest pixels.

        >>> TileRule(side=64, stride=8, margin=8, blend=8).along(165).origins
        (0, 24, 48, 64, 88, 112)
        >>> TileRule(side=512, stride=16).along(520).length
        344
        """
        if size <= self.side:
            return AxisTiles(size, size, (0,), self.margin, self.blend)
        longest = self.side - (self.side - size) % self.stride
        lengths = range(longest, self.overlap + self.stride - 1, -self.stride)
        length = min(lengths, key=lambda length: length * (1 + self._gaps(size, length)))
        steps = symmetric_steps((size - length) // self.stride, self._gaps(size, length))
        return AxisTiles(size, length, tuple(self.stride * step for step in steps), self.margin, self.blend)

    def _gaps(self, size: int, length: int) -> int:
        """Return how often the next tile begins along an axis, at least."""
        return symmetric_gaps((size - length) // self.stride, (length - self.overlap) // self.stride)

    def over(self, shape: tuple[int, int]) -> Tiling:
        """Return the tiles of an image ``(y, x)``."""
        return Tiling(self.along(shape[0]), self.along(shape[1]))


@dataclass(frozen=True)
class Tiling:
    """The tiles of one image.

    Attributes:
        rows: tiles along y.
        columns: tiles along x.
    """

    rows: AxisTiles
    columns: AxisTiles

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.rows.origins) * len(self.columns.origins)

    def working_bytes(self, channels: int, itemsize: int = 4, in_memory: int = IN_MEMORY) -> int:
        """Return the most bytes that :func:`tiled` holds beside the image and what the network takes for one tile.

        That is one strip, as high as a tile and as wide as the image, two arrays of a tile's output, and the whole
        output where it is at most ``in_memory`` bytes.

        >>> rule = TileRule(side=512, stride=16)
        >>> rule.over((10_000, 10_000)).working_bytes(channels=4) / 1e6
        90.3...
        """
        tile = self.rows.length * self.columns.length
        strip = self.rows.length * self.columns.size
        output = self.rows.size * self.columns.size
        kept = output if channels * itemsize * output <= in_memory else 0
        return channels * itemsize * (2 * tile + strip + kept)


def symmetric_gaps(span: int, most: int) -> int:
    """Return how many gaps of at most ``most``, the same backwards, lie between 0 and ``span``: the fewest."""
    gaps = math.ceil(span / most)
    # An even number of gaps that read the same backwards has an even sum.
    return gaps + 1 if span % 2 and gaps % 2 == 0 else gaps


def symmetric_steps(span: int, gaps: int) -> list[int]:
    """Return integers from 0 to ``span``, so many gaps apart, about equally and invariant under reversal.

    Args:
        span: the last one.
        gaps: from :func:`symmetric_gaps`; an odd span takes an odd number of them.

    >>> symmetric_steps(10, 3)
    [0, 3, 7, 10]
    """
    # Rounded to the nearest: neither these gaps nor the one in the middle exceed the mean, rounded up.
    first = [(2 * i * span + gaps) // (2 * gaps) for i in range(gaps // 2 + 1)] if gaps else [0]
    return sorted({*first, *(span - step for step in first)})


def tiled(
    network: Network,
    image: Pixels,
    tiling: Tiling,
    *,
    scratch: Path | None = None,
    in_memory: int = IN_MEMORY,
    progress: Progress | None = None,
) -> np.ndarray:
    """Run a dense network over an image tile by tile and blend the outputs.

    Args:
        network: maps ``[1, C, y, x]``, of the image's dtype, to ``[1, K, y, x]``; normalisation is its business.
        image: ``[C, y, x]``, read by windows.
        tiling: the tiles, from :meth:`TileRule.over`.
        scratch: folder for an output that is not kept in memory; default the system's folder for temporary files.
        in_memory: most bytes of output that are kept in memory.
        progress: called with the tiles done and all tiles after each one.

    Returns:
        ``[K, y, x]`` in the network's dtype, at least float32. A large one is a read-only memory map of a file
        without a name, which is gone when the array is, or when the process ends in any way.

    Raises:
        RequestError: the tiling is that of another size, the network's output is not at the size of the tile, or the
            scratch folder has no room.
    """
    rows, columns = tiling.rows, tiling.columns
    if tuple(image.shape[1:]) != (rows.size, columns.size):
        raise RequestError(f"expected an image [C, {rows.size}, {columns.size}], received {list(image.shape)}")
    with closing(_Blended(tiling, scratch, in_memory)) as blended:
        for done, (i, j) in enumerate(np.ndindex(len(rows.origins), len(columns.origins)), 1):
            blended.add(i, j, _run(network, image, rows.window(i), columns.window(j)))
            if progress is not None:
                progress(done, tiling.count)
        return blended.array()


def _run(network: Network, image: Pixels, rows: slice, columns: slice) -> np.ndarray:
    """Return the output ``[K, y, x]`` of one tile, in memory of its own."""
    stored = image[:, rows, columns]
    window = np.array(stored).view(stored.dtype.str)  # of two types of 64 bits torch knows one
    with torch.inference_mode():
        output = network(torch.from_numpy(window)[None])
    if output.dim() != 4 or len(output) != 1 or output.shape[2:] != window.shape[1:]:
        raise RequestError(
            f"expected a dense network, [1, K, {window.shape[1]}, {window.shape[2]}] for a tile "
            f"{[1, *window.shape]}, received {list(output.shape)}"
        )
    dtype = torch.promote_types(output.dtype, torch.float32)
    return np.array(output[0].to(device="cpu", dtype=dtype).numpy())


class _Blended:
    """The weighted sum of tiles that come row by row: a strip as high as a tile, of which finished rows leave."""

    def __init__(self, tiling: Tiling, scratch: Path | None, in_memory: int) -> None:
        self.tiling, self.scratch, self.in_memory = tiling, scratch, in_memory
        self.weights = tiling.rows.weights(), tiling.columns.weights()
        self.strip = np.empty((0, 0, 0))
        self.output: _Array | _File

    def add(self, i: int, j: int, tile: np.ndarray) -> None:
        """Add the output ``[K, y, x]`` of the tile at row i and column j; its memory is used."""
        rows, columns = self.tiling.rows, self.tiling.columns
        if i == j == 0:
            shape = len(tile), rows.size, columns.size
            small = math.prod(shape) * tile.dtype.itemsize <= self.in_memory
            self.output = _Array(shape, tile.dtype) if small else _File(shape, tile.dtype, self.scratch)
            self.strip = np.zeros((len(tile), rows.length, columns.size), tile.dtype)
        tile *= self.weights[0][i, :, None].astype(tile.dtype)
        tile *= self.weights[1][j].astype(tile.dtype)
        self.strip[:, :, columns.window(j)] += tile
        if j + 1 == len(columns.origins):
            self._release(rows.origins[i], (*rows.origins, rows.size)[i + 1])

    def array(self) -> np.ndarray:
        """Return the whole output."""
        return self.output.array()

    def close(self) -> None:
        """Let go of the file, if one was opened; what maps it goes on."""
        if len(self.strip):
            self.output.close()

    def _release(self, top: int, below: int) -> None:
        """Write the rows that no other tile adds to, and move the others up."""
        done = below - top
        self.output.write(top, self.strip[:, :done])
        for channel in self.strip:  # one by one: a copy onto itself takes as much memory again
            channel[:-done] = channel[done:]
            channel[-done:] = 0


class _Array:
    """Rows that come from top to bottom, kept in memory."""

    def __init__(self, shape: Shape, dtype: np.dtype) -> None:
        self.kept = np.empty(shape, dtype)

    def write(self, top: int, rows: np.ndarray) -> None:
        self.kept[:, top : top + rows.shape[1]] = rows

    def array(self) -> np.ndarray:
        return self.kept

    def close(self) -> None:
        """Nothing is open."""


class _File:
    """Rows that come from top to bottom, kept in a file without a name.

    They are written to the file, not through a map of it: what is mapped counts as this process's memory, and a full
    disk would end the process instead of raising an error.
    """

    def __init__(self, shape: Shape, dtype: np.dtype, folder: Path | None) -> None:
        self.shape, self.dtype, self.folder = shape, dtype, Path(folder or tempfile.gettempdir())
        with self._said():
            self.file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 (lives until it is mapped)

    def write(self, top: int, rows: np.ndarray) -> None:
        _, y, x = self.shape
        with self._said():
            for channel, part in enumerate(rows):
                self.file.seek((channel * y + top) * x * self.dtype.itemsize)
                self.file.write(np.ascontiguousarray(part).data)
            self.file.flush()

    def array(self) -> np.ndarray:
        return np.memmap(self.file, self.dtype, "r", shape=self.shape)

    def close(self) -> None:
        with suppress(OSError):  # what could not be written cannot be flushed either, and has been said
            self.file.close()

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            size = math.prod(self.shape) * self.dtype.itemsize
            raise RequestError(
                f"{self.folder}: expected room for {size / 1e9:.3g} GB of the network's output, received "
                f"'{error.strerror}'; make room or give another scratch folder"
            ) from error
