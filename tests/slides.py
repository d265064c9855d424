"""Small slides with glass and tissue, written with a pyramid, and classifiers for them that nobody has trained."""

import numpy as np
import tifffile
import torch
from skimage.filters import gaussian

from isotypic.data.normalisation import Normalisation
from isotypic.inference.run import RunDescription, load_run, save_run
from isotypic.models.catalogue import build
from isotypic.tasks.recipe import recipe_of

SIDE = 32


def slide(height, width, seed=0, tissue=0.3):
    """Blobs of stained tissue on glass, ``[y, x, 3]`` uint8; ``tissue`` is about their share."""
    generator = np.random.default_rng(seed)
    blobs = gaussian(generator.normal(size=(height, width)), 14)
    texture = 20 * gaussian(generator.normal(size=(height, width, 3)), (1.5, 1.5, 0)) / 0.19
    stained = np.array([190, 110, 165]) + texture
    glass = 243 + texture / 20
    inside = blobs > np.quantile(blobs, 1 - tissue) if tissue else np.zeros_like(blobs, bool)
    return np.where(inside[..., None], stained, glass).clip(0, 255).astype(np.uint8)


def write_slide(path, pixels, *, levels=2, microns=0.5, halved=lambda image: image[::2, ::2], **tags):
    """An OME-TIFF in tiles, with its smaller levels below the first."""
    said = {} if microns is None else {f"PhysicalSize{axis}": microns for axis in "XY"}
    stored = {"tile": (64, 64), "compression": "zlib", "photometric": "rgb"}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(pixels, subifds=levels - 1, metadata={"axes": "YXS", **said, **tags}, **stored)
        for _ in range(levels - 1):
            pixels = halved(pixels)
            file.write(pixels, subfiletype=1, **stored)
    return path


def saved(folder, group="p4m", classes=("normal", "tumour"), **changes):
    """A run on disk."""
    recipe = recipe_of({"name": "patches", "model": {"family": "convnet", "stages": [[4], [4]], "group": group}})
    torch.manual_seed(0)
    description = {
        "version": "0",
        "recipe": recipe.model_dump(mode="json"),
        "classes": list(classes),
        "image_shape": (3, SIDE, SIDE),
        "normalisation": Normalisation((0.7,) * 3, (0.2,) * 3, 255.0).to_dict(),
    }
    model = build(recipe.model, 3, len(classes))
    return save_run(folder, model, RunDescription(**{**description, **changes}))


def classifier(folder, group="p4m", **changes):
    return load_run(saved(folder, group, **changes))
