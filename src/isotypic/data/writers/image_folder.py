"""A set of images as the folder that the data set ``folder`` reads: PNG files, and the table that lists them.

``<split>/<class>/<patient>/<number>.png``, without the levels of which the set knows nothing; the number is that of the
image in the set, from 0. ``images.csv`` has the columns ``file,label[,patient][,split]`` in the order of the set, so
that what is read back is the same set. It is written first: a folder that is not finished is refused when it is read,
for an image of its table is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from isotypic.data.image_set import ImageSet
from isotypic.data.writers.output_folder import Progress, claim, folder_name, png, write_missing
from isotypic.errors import RequestError

TABLE = "images.csv"


def write(image_set: ImageSet, folder: Path, made_of: Mapping[str, str], progress: Progress) -> int:
    """Write the images that are not there yet, and return how many were there before.

    Args:
        image_set: the images; lazy ones are read block by block.
        folder: empty, or with a part of the same images.
        made_of: what tells these images from others.
        progress: told how far it has come.

    Raises:
        RequestError: the images are no PNG files, the folder holds other files or images of another request, or it
            cannot be written (disk full, no permission): what is written then stays.
    """
    channels, dtype = image_set.shape[0], image_set.images.dtype
    if channels not in (1, 3) or dtype != np.uint8 or image_set.axes != 2:
        kind = "" if image_set.axes == 2 else "volumes of "
        raise RequestError(
            f"{image_set.name}: expected images of 1 or 3 channels of uint8 to write them as PNG, "
            f"received {kind}{channels} channels of {dtype}"
        )
    table = listing(image_set)
    claim(folder, made_of, {TABLE: table.to_csv(index=False)})
    return write_missing(folder, table["file"].tolist(), lambda rows: map(png, image_set.images[rows]), progress)


def listing(image_set: ImageSet) -> pd.DataFrame:
    """Return the table of a set: ``file, label`` and, where known, ``patient`` and ``split``."""
    labels = np.array(image_set.classes)[image_set.labels]
    columns = {"split": image_set.split, "label": labels, "patient": image_set.subjects}
    known = {name: values for name, values in columns.items() if values is not None}
    folders = zip(*(map(folder_name, values.tolist()) for values in known.values()), strict=True)
    digits = len(str(len(image_set) - 1))
    files = ["/".join((*parts, f"{number:0{digits}}.png")) for number, parts in enumerate(folders)]
    table = pd.DataFrame({"file": files})
    for name in ("label", "patient", "split"):
        if name in known:
            table[name] = known[name]
    return table
