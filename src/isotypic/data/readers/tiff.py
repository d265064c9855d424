"""TIFF, OME-TIFF, ImageJ and BigTIFF files, read by windows.

* Values that lie in one piece, uncompressed, are a memory map.
* Otherwise, up to :data:`KEPT_BYTES`, a plane is decoded and kept.
* Beyond, the strips or tiles under a window are decoded, and the last used ones kept, :data:`KEPT_BYTES` at most (but
  at least one: a file of a single compressed strip is as large in memory as it is).

Where white is stored as zero, integers are inverted. Alpha is dropped. The pixel size is that of OME or ImageJ, or a
resolution in centimetres if it is finer than 10 µm, as slide scanners write; a resolution in inches is a printer's.
Aperio's is in the description of the first page. Of several images in a file the largest is taken: thumbnails and
labels are beside it.
"""

from __future__ import annotations

import re
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from isotypic.data.readers.pixels import Opened, Pixels, StoredPixels, Window, plane_of, unreadable
from isotypic.errors import RequestError

Page = tifffile.TiffPage | tifffile.TiffFrame

TIFF_SUFFIXES = frozenset({".tif", ".tiff", ".btf", ".tf8", ".lsm"})
KEPT_BYTES = 2**28
_COLOURS = frozenset(tifffile.PHOTOMETRIC[name] for name in ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR"))
_ALPHA = frozenset({tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA})


def open_tiff(name: Path | str, source: Path | BytesIO, plane: int | None = None) -> Opened:
    """Open a plane of a TIFF file.

    Args:
        name: what the file is called, for errors.
        source: the file, or its bytes.
        plane: which plane of a stack.

    Raises:
        RequestError: the file is corrupt, holds several images of one size, neither grey nor RGB ones, or a stack and
            no plane is chosen, or is compressed in a way that needs imagecodecs.
    """
    with _reading(name, source) as file:
        series = _main_series(name, file)
        pixels = _pixels(name, source, series, plane)
        opened = Opened(pixels, series.axes, _spacing(file), _channels(file, pixels.shape[0]))
        weakref.finalize(pixels, file.close)
    return opened


def open_levels(path: Path) -> list[Opened]:
    """Open the resolutions of a TIFF file, finest first; nothing of them is decoded yet.

    Args:
        path: a file with a pyramid, or with a single image, which is then the only resolution.

    Raises:
        RequestError: as :func:`open_tiff`.
    """
    with _reading(path, path) as file:
        main = _main_series(path, file)
        spacing, levels = _spacing(file), sorted(main.levels, key=lambda level: level.size, reverse=True)
        found = [Opened(_pixels(path, path, level, None, at_once=False), level.axes, spacing) for level in levels]
        weakref.finalize(file, file.filehandle.close)  # once no level is left that reads from it
    return found


@contextmanager
def _reading(name: Path | str, source: Path | BytesIO) -> Iterator[tifffile.TiffFile]:
    """Give a file, which stays open unless something goes wrong."""
    try:
        file = tifffile.TiffFile(source)
    except Exception as error:  # decoders raise errors of every type on corrupt files
        raise unreadable(name, error) from error
    try:
        yield file
    except RequestError:
        file.close()
        raise
    except Exception as error:  # as above
        file.close()
        raise unreadable(name, error) from error


def _main_series(name: Path | str, file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    series = sorted(file.series, key=lambda s: s.size, reverse=True)
    if not series:
        raise RequestError(f"{name}: expected an image, received a TIFF file without pages")
    if len(series) > 1 and series[0].size == series[1].size:
        raise RequestError(f"{name}: expected one image, received {len(series)}; save them as single files")
    return series[0]


def _pixels(
    name: Path | str,
    source: Path | BytesIO,
    series: tifffile.TiffPageSeries,
    plane: int | None,
    *,
    at_once: bool = True,
) -> Pixels:
    """Return a plane; one that has to be decoded is decoded at once where it is small and that is wanted."""
    at = plane_of(name, series.axes, series.shape, plane)
    page = series.keyframe
    colours = tifffile.PHOTOMETRIC(page.photometric)
    if colours not in _COLOURS or page.dtype is None or page.dtype.kind not in "buif":
        raise RequestError(f"{name}: expected a grey or RGB image, received {colours.name} of {page.dtype}")
    samples = _colour_samples(series)
    if series.dataoffset is not None:
        pixels: Pixels = StoredPixels(_in_one_piece(source, series, series.dataoffset), series.axes, at, samples)
    else:
        pixels = _decoded(name, series, at, samples, KEPT_BYTES if at_once else 0)
    white_is_zero = colours == tifffile.PHOTOMETRIC.MINISWHITE and page.dtype.kind in "bu"
    return _Inverted(pixels) if white_is_zero else pixels


def _in_one_piece(source: Path | BytesIO, series: tifffile.TiffPageSeries, offset: int) -> np.ndarray:
    """Return values that are stored one behind the other: those of a file mapped, not read."""
    if isinstance(source, BytesIO):
        return series.asarray()
    dtype = np.dtype(series.dtype).newbyteorder(series.keyframe.parent.byteorder)
    return np.memmap(source, dtype, "r", offset=offset, shape=series.shape)


def _colour_samples(series: tifffile.TiffPageSeries) -> int | None:
    """Return how many samples are colours, None for all."""
    page = series.keyframe
    if page.photometric == tifffile.PHOTOMETRIC.RGB and page.samplesperpixel == 4:
        return 3
    return page.samplesperpixel - sum(extra in _ALPHA for extra in page.extrasamples) or None


def _decoded(
    name: Path | str, series: tifffile.TiffPageSeries, at: dict[str, int], samples: int | None, most: int
) -> Pixels:
    """Return pixels that have to be decoded, at once where they are of at most so many bytes."""
    page = series.keyframe
    lead = len(series.shape) - len(page.shape)
    pages_alone = lead >= 0 and series.shape[lead:] == page.shape and set(at) <= set(series.axes[:lead])
    if not pages_alone:
        return StoredPixels(series.asarray(), series.axes, at, samples)
    numbers = np.arange(len(series.pages)).reshape(series.shape[:lead])
    places = tuple(at.get(axis, slice(None)) for axis in series.axes[:lead])
    chosen = [series.pages[int(number)] for number in np.ravel(numbers[places])]
    pages = [each for each in chosen if each is not None]
    if len(pages) < len(chosen):
        raise RequestError(f"{name}: {len(chosen) - len(pages)} of {len(chosen)} pages are missing")
    if len(pages) * page.nbytes > most:
        return _SegmentedPixels(name, page, pages, samples)
    return StoredPixels(np.stack([each.asarray() for each in pages]), "C" + page.axes, {}, samples)


class _Inverted:
    """Pixels of which white is stored as zero."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype

    def __getitem__(self, window: Window) -> np.ndarray:
        return ~self.pixels[window]


class _SegmentedPixels:
    """Pages, one behind the other along the channels, of which strips or tiles are decoded as they are asked for."""

    def __init__(self, name: Path | str, key: tifffile.TiffPage, pages: Sequence[Page], samples: int | None) -> None:
        self.name, self.key, self.pages, self.samples = name, key, pages, slice(samples)
        self.grain = (key.tilelength, key.tilewidth) if key.is_tiled else (key.rowsperstrip, key.imagewidth)
        self.grid = tuple(-(-n // g) for n, g in zip((key.imagelength, key.imagewidth), self.grain, strict=True))
        self.planar = key.planarconfig == tifffile.PLANARCONFIG.SEPARATE and key.samplesperpixel > 1
        colours = len(range(key.samplesperpixel)[self.samples])
        self.shape = (len(pages) * colours, key.imagelength, key.imagewidth)
        self.dtype = np.dtype(key.dtype).newbyteorder("=")
        self._kept: OrderedDict[tuple[int, int], np.ndarray | None] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, window: Window) -> np.ndarray:
        channels, *space = window
        rows, columns = (range(n)[part] for n, part in zip(self.shape[1:], space, strict=True))
        try:
            parts = [self._page(number, rows, columns)[self.samples] for number in range(len(self.pages))]
        except Exception as error:  # decoders raise errors of every type on corrupt files
            raise unreadable(self.name, error) from error
        return np.concatenate(parts)[channels]

    def _page(self, number: int, rows: range, columns: range) -> np.ndarray:
        """Return a window ``[samples, y, x]`` of one page; what the file leaves out is zero."""
        samples = self.key.samplesperpixel
        found = np.zeros((samples, len(rows), len(columns)), self.dtype)
        for plane, part in enumerate(found[:, None] if self.planar else [found]):
            for i in range(rows.start // self.grain[0], -(-rows.stop // self.grain[0])):
                for j in range(columns.start // self.grain[1], -(-columns.stop // self.grain[1])):
                    segment = self._segment(number, (plane * self.grid[0] + i) * self.grid[1] + j)
                    if segment is not None:
                        _paste(part, segment, (rows, columns), (i * self.grain[0], j * self.grain[1]))
        return found

    def _segment(self, number: int, index: int) -> np.ndarray | None:
        """Return a strip or tile ``[samples, y, x]``, None where the file leaves it out."""
        if (number, index) in self._kept:
            self._kept.move_to_end((number, index))
            return self._kept[number, index]
        segment = _decode(self.key, self.pages[number], index)
        self._kept[number, index] = segment
        self._bytes += 0 if segment is None else segment.nbytes
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= 0 if oldest is None else oldest.nbytes
        return segment


def _decode(key: tifffile.TiffPage, page: Page, index: int) -> np.ndarray | None:
    handle = page.parent.filehandle
    handle.seek(page.dataoffsets[index])
    content = handle.read(page.databytecounts[index]) or None
    found = key.decode(content, index, jpegtables=page.jpegtables, jpegheader=key.jpegheader)[0]
    return None if found is None else np.moveaxis(found[0], -1, 0)


def _paste(window: np.ndarray, segment: np.ndarray, within: tuple[range, range], corner: tuple[int, int]) -> None:
    """Copy what a segment and a window share; ``within`` are the window's pixels, ``corner`` the segment's first."""
    into, out = [], []
    for wanted, first, size in zip(within, corner, segment.shape[-2:], strict=True):
        start, stop = max(wanted.start, first), min(wanted.stop, first + size)
        into.append(slice(start - wanted.start, stop - wanted.start))
        out.append(slice(start - first, stop - first))
    window[:, into[0], into[1]] = segment[:, out[0], out[1]]


def _ome_pixels(file: tifffile.TiffFile) -> dict[str, Any]:
    """Return what OME says about the first image, empty where the file has no such text."""
    if not file.is_ome or not file.ome_metadata:
        return {}
    images = tifffile.xml2dict(file.ome_metadata)["OME"].get("Image", {})
    return (images[0] if isinstance(images, list) else images).get("Pixels", {})


def _channels(file: tifffile.TiffFile, count: int) -> tuple[str, ...]:
    found = _ome_pixels(file).get("Channel", [])
    named = tuple(str(channel.get("Name", "")) for channel in (found if isinstance(found, list) else [found]))
    return named if len(named) == count and all(named) else ()


def _spacing(file: tifffile.TiffFile) -> tuple[float, float, str] | None:
    """Return height, width and unit of a pixel."""
    ome = _ome_pixels(file)
    if "PhysicalSizeX" in ome and "PhysicalSizeY" in ome:
        y, x = (str(ome.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "YX")
        return (float(ome["PhysicalSizeY"]), float(ome["PhysicalSizeX"]), x) if x == y else None
    if file.is_svs:
        return _aperio_spacing(file.pages.first)
    size = _resolution(file.pages.first)
    if size is None:
        return None
    if file.is_imagej:
        return (*size, str((file.imagej_metadata or {}).get("unit", "")))
    centimetres = file.pages.first.resolutionunit == tifffile.RESUNIT.CENTIMETER
    return (size[0] * 1e4, size[1] * 1e4, "µm") if centimetres and max(size) < 1e-3 else None


def _aperio_spacing(page: tifffile.TiffPage) -> tuple[float, float, str] | None:
    """Return the micrometres a pixel of ``Aperio ... |MPP = 0.4990|...``."""
    said = re.search(r"\|\s*MPP\s*=\s*([\d.]+)", page.description)
    return None if said is None else (float(said[1]), float(said[1]), "µm")


def _resolution(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Return height and width of a pixel in the page's unit of resolution."""
    (per_y, y), (per_x, x) = (page.tags.valueof(f"{axis}Resolution", default=(0, 0)) for axis in "YX")
    return (y / per_y, x / per_x) if per_y and per_x else None
