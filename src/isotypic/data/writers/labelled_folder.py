"""Images with label images as the folder that the data set ``labelled_folder`` reads.

``images/[<source>/]<name>.png`` with ``labels/[<source>/]<name>.tif``, below ``<split>/`` where the set has a split.
Images of 8 bits with one channel or three are PNG files, others TIFF; labels are TIFF of 16 or 32 bits. All images are
written before the first labels: a folder that is not finished is refused when it is read, for labels are missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile

from isotypic.data.labelled.images import LabelledImages
from isotypic.data.writers.output_folder import Progress, claim, folder_name, png, write_missing
from isotypic.errors import RequestError


def write(labelled: LabelledImages, folder: Path, made_of: Mapping[str, str], progress: Progress) -> int:
    """Write the files that are not there yet, two an image, and return how many were there before.

    Args:
        labelled: the images with their instances.
        folder: empty, or with a part of the same files.
        made_of: what tells these images from others.
        progress: told how far it has come.

    Raises:
        RequestError: labels are classes, not instances; the folder holds other files or images of another request; or
            it cannot be written (disk full, no permission): what is written then stays.
    """
    if labelled.classes is not None:
        raise RequestError(
            f"{labelled.name}: expected labels that number objects, received the classes "
            f"{', '.join(labelled.classes)}, which the layout images/ and labels/ has no place for"
        )
    claim(folder, made_of, {})
    plain = labelled.channels in (1, 3) and labelled.images.dtype == np.uint8
    images = [file_of(labelled, row, "images", "png" if plain else "tif") for row in range(len(labelled))]
    labels = [file_of(labelled, row, "labels", "tif") for row in range(len(labelled))]

    def contents(places: np.ndarray) -> Iterator[bytes]:
        for place in places.tolist():
            part, row = divmod(place, len(labelled))
            image = labelled.images[row]
            yield _tiff(_numbers(labelled.labels[row]), "YX") if part else png(image) if plain else _tiff(image, "CYX")

    return write_missing(folder, images + labels, contents, progress)


def file_of(labelled: LabelledImages, row: int, kind: str, suffix: str) -> str:
    """Return the relative name of the file of an image or of its labels."""
    origins = labelled.origins
    split = [] if origins.split is None else [str(origins.split[row])]
    source = [] if origins.subjects is None else [folder_name(str(origins.subjects[row]))]
    return "/".join((*split, kind, *source, f"{folder_name(str(origins.names[row]))}.{suffix}"))


def _numbers(labels: np.ndarray) -> np.ndarray:
    return labels.astype(np.uint16 if labels.max(initial=0) < 2**16 else np.uint32)


def _tiff(pixels: np.ndarray, axes: str) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, ome=True, compression="zlib", metadata={"axes": axes})
    return file.getvalue()
