"""Small segmenters that find something, trained in seconds on sticks of 48 pixels a side, once a process."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np

from isotypic.data.labelled.images import LabelledImages
from isotypic.data.labelled.ragged import Ragged
from isotypic.inference.run import RunDescription, save_run
from isotypic.inference.segmenter import Execution, Segmenter
from isotypic.tasks.recipe import recipe_of
from isotypic.tasks.segmentation.session import LabelledMaterial, labelled_material, train_segmentation

SIDE = 48
STEPS = {"offset": 100, "embedding": 120, "boundary": 60}
HEAD_WIDTHS = {"offset": 4, "embedding": 8, "boundary": 8}


def recipe(heads="offset", group="p4m"):
    sticks = {"size": SIDE, "count": 3, "width": 48, "length": [70, 70], "train_images": 64}
    upsampling = "transposed" if group == "trivial" else "linear"
    model = {"family": "unet", "group": group, "stages": [16, 16], "upsampling": upsampling, "heads": heads}
    return recipe_of(
        {
            "name": f"{heads} heads of {group}",
            "task": "segmentation",
            "data": {"sticks": {**sticks, "validation_images": 1, "test_images": 9}, "normalise": "image"},
            "model": {**model, "head_width": HEAD_WIDTHS[heads], "embedding_dimension": 4},
            "training": {"steps": STEPS[heads], "batch_size": 2, "evaluations": 1, "learning_rate": 1e-2},
            "grouping": {"offset": {"seed": 0.75}, "embedding": {"method": "mean-shift"}},
        }
    )


@cache
def material(heads="offset"):
    found = labelled_material(recipe(), Path())
    if heads != "boundary":
        return found
    sticks = found.labelled
    inside = Ragged.of([(labels > 0).astype(np.int32) for labels in sticks.labels])
    return LabelledMaterial(
        LabelledImages("sticks", sticks.images, inside, sticks.origins, ("no", "stick")), found.splits
    )


@cache
def trained(heads="offset", group="p4m"):
    found = material(heads)
    return train_segmentation(recipe(heads, group), found, found.splits.train, seed=0)


def segmenter(heads="offset", group="p4m", **changes):
    """Exact where nothing else is asked; with a network of its own."""
    made = trained(heads, group)
    execution = Execution(**{"precision": "float64", **changes.pop("execution", {})})
    words = {"channels": 1, "execution": execution, **changes}
    return Segmenter(deepcopy(made.model), recipe(heads, group), made.normaliser, **words)


def saved(folder, heads="offset", group="p4m", **changes):
    """A run on disk."""
    made = trained(heads, group)
    words = {
        "version": "0",
        "recipe": recipe(heads, group).model_dump(mode="json"),
        "classes": [],
        "image_shape": (1, SIDE, SIDE),
        "normalisation": made.normaliser.to_dict(),
    }
    return save_run(folder, made.model, RunDescription(**{**words, **changes}))


def scene(height, width):
    """Sticks side by side, cut to a size: ``[1, y, x]`` uint8."""
    found = material()
    images = [found.labelled.images[index][0] for index in found.splits.test]
    rows = [images[i : i + 3] for i in (0, 3, 6)]
    return np.block(rows)[None, :height, :width].copy()
