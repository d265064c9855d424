"""BBBC038, the nuclei of the Data Science Bowl 2018, in its folder layout or straight from the zip archive.

Layout: ``<id>/images/<id>.png`` and ``<id>/masks/*.png``, one nucleus a mask, below any folder; where a folder
``stage1_train`` is there only it is read. The masks of the published set, also the corrected ones, share a pixel
here and there: up to 4 shared pixels an image go to the smaller nucleus, more are refused.

Two kinds of image are told apart by the pixels alone. *Fluorescence* is grey on dark: the channels differ by at
most 2 of 255 on average over the image, and the median grey level is below a quarter of the full scale. All
else is *brightfield* (stained tissue, or grey on white). Splits are balanced over both.

About half of the published photographs are pieces of larger ones, a nucleus on the cut in two of them. Which belong
together is found by their edges (:mod:`isotypic.data.labelled.adjoining`), and a split keeps them together.

Source: J. Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature
Methods, 2019, https://bbbc.broadinstitute.org/BBBC038 (CC0).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isotypic.data.config import SegmentationDataConfig
from isotypic.data.datasets.four_nuclei import four_nuclei
from isotypic.data.labelled.adjoining import whole_photographs
from isotypic.data.labelled.decoded_pairs import DecodedPairs, Pair, decoded_pairs
from isotypic.data.labelled.images import LabelledImages, Origins
from isotypic.data.preparation import Colour, coloured
from isotypic.data.readers import image
from isotypic.data.readers.tree import Tree, open_tree
from isotypic.errors import RequestError

_MEMBER = re.compile(
    r"(?P<folder>(?:.*/)?(?P<id>[^/]+))/(?P<what>images|masks)/[^/]+\.(?:png|tiff?|bmp)", re.IGNORECASE
)
_SHARED_PIXELS = 4
_GREY, _DARK = 2.0, 64.0


class Source(NamedTuple):
    """The files of one photograph: its id, its image and the mask of each nucleus."""

    id: str
    image: str
    masks: Sequence[str]


def load(config: SegmentationDataConfig, cache: Path) -> LabelledImages:
    """Return the photographs with their nuclei numbered, or crops of four nuclei where the request has them.

    Args:
        config: ``path`` is the folder or the zip archive; also ``colour`` and ``four_nuclei``.
        cache: where the decoded images are kept.

    Raises:
        RequestError: no path, no such layout, an image without masks, a file that cannot be read, masks that
            overlap or have another size than their image.
    """
    if config.path is None:
        raise RequestError("the data set 'bbbc038' needs a path to its folder or zip archive: give --data PATH")
    tree = open_tree(config.path)
    origin = ("bbbc038", tree.fingerprint(), config.colour)
    found = decoded_pairs(sources(tree), lambda source: _decoded(tree, source, config.colour), origin, cache)
    labelled = LabelledImages(
        "bbbc038",
        found.images,
        found.labels,
        Origins(found.names, subjects=_subjects(found), kinds=found.kinds),
        pixel_size=config.pixel_sides,
    )
    return labelled if config.four_nuclei is None else four_nuclei(labelled, config, config.four_nuclei)


def _subjects(found: DecodedPairs) -> np.ndarray:
    """Return for every photograph the first one that the same larger photograph was cut into."""
    _, first, whole = np.unique(whole_photographs(found.images), return_index=True, return_inverse=True)
    return found.names[first[whole]]


def recognises(names: Sequence[str]) -> bool:
    """Return whether some file names follow the layout ``<id>/images/<id>.png``, ``<id>/masks/*.png``."""
    found = (_MEMBER.fullmatch(name) for name in names)
    return any(match["what"] == "images" and Path(match.string).stem == match["id"] for match in found if match)


def sources(tree: Tree) -> list[Source]:
    """Return the photographs below a folder or in an archive, in the order of their ids.

    Raises:
        RequestError: there are none, or one has no masks or several images.
    """
    members: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"images": [], "masks": []})
    for name in tree.names:
        match = _MEMBER.fullmatch(name)
        if match:
            members[match["folder"]][match["what"].lower()].append(name)
    training = {folder: files for folder, files in members.items() if "stage1_train" in folder.split("/")[:-1]}
    chosen = training or members
    if not chosen:
        raise RequestError(f"{tree.path}: no nuclei: expected <id>/images/<id>.png and <id>/masks/*.png")
    return [_source(tree, folder, files) for folder, files in sorted(chosen.items())]


def kind_of(pixels: np.ndarray) -> str:
    """Return ``fluorescence`` for a photograph ``[C, y, x]`` uint8 that is grey on dark, else ``brightfield``.

    >>> dark = np.full((3, 4, 4), 9, dtype=np.uint8)
    >>> kind_of(dark), kind_of(255 - dark)
    ('fluorescence', 'brightfield')
    """
    colourful = np.ptp(pixels, axis=0).mean() > _GREY
    return "brightfield" if colourful or np.median(pixels) >= _DARK else "fluorescence"


def _source(tree: Tree, folder: str, files: dict[str, list[str]]) -> Source:
    if len(files["images"]) != 1:
        raise RequestError(f"{tree.where(folder)}/images: expected one image, received {len(files['images'])}")
    if not files["masks"]:
        raise RequestError(
            f"{tree.where(folder)}/masks: no masks of this image; expected one black and white PNG file a nucleus"
        )
    return Source(folder.rsplit("/", 1)[-1], files["images"][0], files["masks"])


def _decoded(tree: Tree, source: Source, colour: Colour) -> Pair:
    pixels = image.decode(tree.where(source.image), tree.read(source.image))
    labels = _numbered(tree, source, pixels.shape[1:])
    return Pair(source.id, coloured(pixels[None], colour)[0], labels, kind_of(pixels))


def _numbered(tree: Tree, source: Source, size: tuple[int, ...]) -> np.ndarray:
    """Return the nuclei numbered in the order of their files; a shared pixel goes to the smaller one."""
    nuclei = [_mask(tree, name, size, source.image) for name in source.masks]
    claims = np.bincount(np.concatenate(nuclei), minlength=size[0] * size[1])
    if (claims > 1).sum() > _SHARED_PIXELS:
        raise _overlap(tree, source, nuclei, claims, size)
    labels = np.zeros(size[0] * size[1], dtype=np.int32)
    for number in sorted(range(len(nuclei)), key=lambda number: -len(nuclei[number])):
        labels[nuclei[number]] = number + 1
    return labels.reshape(size)


def _mask(tree: Tree, name: str, size: tuple[int, ...], of: str) -> np.ndarray:
    """Return the flat indices of the pixels of one nucleus."""
    mask = image.decode(tree.where(name), tree.read(name))
    if mask.shape[1:] != size:
        raise RequestError(
            f"{tree.where(name)}: the mask is {mask.shape[1]}x{mask.shape[2]} pixels and its image "
            f"{of} is {size[0]}x{size[1]}; give a mask of the same size"
        )
    pixels = np.flatnonzero(mask.any(axis=0))
    if not len(pixels):
        raise RequestError(f"{tree.where(name)}: the mask is empty; remove it")
    return pixels


def _overlap(
    tree: Tree, source: Source, nuclei: list[np.ndarray], claims: np.ndarray, size: tuple[int, ...]
) -> RequestError:
    place = int(np.argmax(claims > 1))
    names = [name for name, pixels in zip(source.masks, nuclei, strict=True) if place in pixels]
    return RequestError(
        f"{tree.where(source.image)}: masks overlap in {int((claims > 1).sum())} pixels, for example "
        f"{' and '.join(Path(name).name for name in names)} at row {place // size[1]}, column {place % size[1]}; "
        "give every pixel to one nucleus"
    )
