"""A training by processes that torchrun starts, for test_ranks.py: what they learn goes to a file."""

import sys

import numpy as np
import torch

from isotypic.data.image_set import ImageSet
from isotypic.data.splits import Splits
from isotypic.tasks.ranks import leads
from isotypic.tasks.recipe import recipe_of
from isotypic.tasks.session import Material, train

MODELS = {
    "plain": {"family": "allconv", "group": "p4", "stages": [8, 8], "convolutions": 1, "dropout": [], "hidden": 8},
    "norm": {"family": "convnet", "group": "p4", "stages": [[4], [4]]},
}

CASES = (("plain", "plain", None), ("in parts", "plain", 2), ("norm", "norm", None))


def learn(model, **training):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 1, 12, 12), dtype=np.uint8)
    images = ImageSet("set", pixels, np.random.default_rng(1).integers(0, 2, 30), ("a", "b"))
    parts = Splits(np.arange(20), np.arange(20, 26), np.arange(26, 30))
    budget = {"steps": 7, "batch_size": 8, "evaluations": 3, "optimizer": "sgd", "learning_rate": 0.02, **training}
    recipe = recipe_of({"name": "two", "model": MODELS[model], "training": budget})
    return train(recipe, Material(images, parts), parts.train, seed=1)


if __name__ == "__main__":
    learned = {name: learn(model, micro_batch=size) for name, model, size in CASES}
    if leads():
        torch.save({name: (one.model.state_dict(), vars(one.curves)) for name, one in learned.items()}, sys.argv[1])
