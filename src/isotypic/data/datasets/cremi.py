"""CREMI: volumes of fruit fly brain by serial-section electron microscopy, in HDF5, every section an image.

``volumes/raw`` and ``volumes/labels/neuron_ids`` are ``[z, y, x]`` with the attribute ``resolution`` (z, y, x) in
nanometres; in the padded files the labels start at their attribute ``offset`` (z, y, x), nanometres from the raw
volume's first voxel, and only what is labelled is read. A pixel is *boundary* where one of its 4 neighbours in the
section has another neuron; with ``distance`` d also every pixel within d pixels of such a one.

Neighbouring sections are nearly the same, so the split is by depth: of every volume the last sections are the
test part, those before them the validation part.

Source: J. Funke, S. Saalfeld, D. Bock, S. Turaga, E. Perlman, "CREMI: MICCAI Challenge on Circuit Reconstruction
from Electron Microscopy Images", 2016, https://cremi.org.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy.ndimage import distance_transform_edt

from isotypic.data.config import CremiConfig, SegmentationDataConfig
from isotypic.data.labelled.decoded_pairs import Pair, decoded_pairs
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.readers.hdf5 import SUFFIXES, opened
from isotypic.data.readers.label import consecutive
from isotypic.data.splits import by_depth
from isotypic.errors import RequestError
from isotypic.files import file_state

_RAW, _NEURONS = "volumes/raw", "volumes/labels/neuron_ids"


@dataclass(frozen=True)
class Volume:
    """Where a volume lies and what of it is labelled.

    Args:
        path: the HDF5 file.
        sections: how many labelled sections it has.
        start: the first labelled voxel (z, y, x) of the raw volume.
        pixel_size: (y, x) in micrometres.
    """

    path: Path
    sections: int
    start: tuple[int, int, int]
    pixel_size: tuple[float, float]


def load(config: SegmentationDataConfig, cache: Path) -> LabelledImages:
    """Return the sections of one volume, or of all volumes of a folder.

    Args:
        config: ``path`` is an HDF5 file or a folder of them; also ``cremi`` and the fractions.
        cache: where the sections are kept.

    Raises:
        RequestError: no path, no volumes, a file that cannot be read or has no labels, volumes of different
            pixel size, or too few sections to split.
    """
    if config.path is None:
        raise RequestError("the data set 'cremi' needs a path to its HDF5 files: give --data PATH")
    volumes = [volume_of(path) for path in volume_files(config.path)]
    sizes = {volume.pixel_size for volume in volumes}
    if len(sizes) > 1:
        raise RequestError(f"{config.path}: volumes of different pixel sizes: {sorted(sizes)}; give them one by one")
    sources = [(volume, z) for volume in volumes for z in range(volume.sections)]
    origin = ("cremi", config.cremi.model_dump_json(), *(file_state(volume.path) for volume in volumes))
    found = decoded_pairs(sources, lambda source: _section(*source, config.cremi), origin, cache)
    split = np.concatenate([by_depth(str(volume.path), volume.sections, config) for volume in volumes])
    return LabelledImages(
        "cremi",
        found.images,
        found.labels,
        Origins(found.names, split=split, kinds=found.kinds),
        classes=("inside", "boundary") if config.cremi.target == "boundary" else None,
        pixel_size=config.pixel_sides or sizes.pop(),
    )


def volume_files(path: Path) -> Sequence[Path]:
    """Return the HDF5 files at a path: the file itself, or those that lie in the folder.

    Raises:
        RequestError: there are none.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    volumes = [file for file in files if file.suffix.lower() in SUFFIXES and file.is_file()]
    if not volumes:
        raise RequestError(f"{path}: no HDF5 files: expected {', '.join(sorted(SUFFIXES))}")
    return volumes


def volume_of(path: Path) -> Volume:
    """Return where the labelled part of a volume lies.

    Raises:
        RequestError: the file cannot be read, a volume is missing, the labels do not lie on the voxels of the raw
            volume or reach out of it.
    """
    with opened(path) as file:
        raw, neurons = (_volume_at(path, file, key) for key in (_RAW, _NEURONS))
        if raw.dtype != np.uint8 or neurons.dtype.kind not in "iu":
            raise RequestError(f"{path}: expected {_RAW} of uint8 and integer labels, received {raw.dtype}")
        resolution = np.array(raw.attrs.get("resolution", (40.0, 4.0, 4.0)), dtype=np.float64)
        start = np.array(neurons.attrs.get("offset", (0.0, 0.0, 0.0)), dtype=np.float64) / resolution
        first = np.rint(start).astype(int)
        if abs(start - first).max() > 1e-3 or (first < 0).any() or (first + neurons.shape > raw.shape).any():
            raise RequestError(
                f"{path}: the labels {list(neurons.shape)} start at voxel {start.tolist()} of the raw volume "
                f"{list(raw.shape)}; expected whole voxels inside it"
            )
        z, y, x = first.tolist()
        return Volume(path, int(neurons.shape[0]), (z, y, x), (resolution[1] / 1000, resolution[2] / 1000))


def boundary(neurons: np.ndarray, distance: float = 0) -> np.ndarray:
    """Return where a pixel of a section has a 4-neighbour of another neuron, or lies near such a one.

    Args:
        neurons: ``[y, x]`` labels.
        distance: in pixels, from pixel centre to pixel centre.

    Returns:
        ``[y, x]`` bool.

    >>> boundary(np.array([[1, 1, 2, 2]])).tolist()
    [[False, True, True, False]]
    """
    edge = np.zeros(neurons.shape, dtype=bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        change = neurons[one] != neurons[other]
        edge[one] |= change
        edge[other] |= change
    if distance == 0 or not edge.any():
        return edge
    return distance_transform_edt(~edge) <= distance


def _section(volume: Volume, z: int, config: CremiConfig) -> Pair:
    with opened(volume.path) as file:
        neurons = file[_NEURONS][z]
        first, top, left = volume.start
        height, width = neurons.shape
        image = file[_RAW][first + z, top : top + height, left : left + width]
    name = f"{volume.path.stem}-{z:04}"
    target = boundary(neurons, config.distance).astype(np.int32) if config.target == "boundary" else None
    return Pair(name, image[None], consecutive(name, neurons) if target is None else target, volume.path.stem)


def _volume_at(path: Path, file: h5py.File, key: str) -> h5py.Dataset:
    found = file.get(key)
    if not isinstance(found, h5py.Dataset) or found.ndim != 3:
        raise RequestError(f"{path}: expected a volume {key} [z, y, x]; is this a test volume without labels?")
    return found
