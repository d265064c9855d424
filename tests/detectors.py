"""A detector in small: candidates in scans whose nodules are bright balls, and a recipe that finds them."""

import numpy as np

from isotypic.data.image_set import ImageSet
from isotypic.data.scans.candidates import CandidateSet, Points
from isotypic.data.splits import split
from isotypic.tasks.detection import DetectionMaterial
from isotypic.tasks.recipe import recipe_of

SIZE = (4, 12, 12)
SCANS, NODULES, OTHERS = 24, 2, 4


def recipe(**changes):
    raw = {
        "name": "balls",
        "task": "detection",
        "data": {"size": list(SIZE), "spacing": [2.0, 1.0, 1.0], "test_fraction": 0.3, "validation_fraction": 0.2},
        "model": {"family": "voxelnet", "group": "D4h", "channels": [4, 4, 8], "pools": [[1, 2, 2], [2, 2, 2]]},
        "training": {"steps": 60, "batch_size": 16, "evaluations": 3, "learning_rate": 0.01},
    }
    return recipe_of({**raw, **changes})


def candidates(noise=0.5):
    """Scans of two nodules of 6 mm and four other places, 50 mm apart along x; one excluded finding in the first."""
    rng = np.random.default_rng(0)
    names = [f"scan{number:02}" for number in range(SCANS)]
    scan = np.repeat(names, NODULES + OTHERS)
    labels = np.tile([1] * NODULES + [0] * OTHERS, SCANS)
    position = np.zeros((len(scan), 3))
    position[:, 0] = np.tile(50.0 * np.arange(NODULES + OTHERS), SCANS)
    grids = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SIZE), indexing="ij")
    ball = (grids[0] * 2) ** 2 + grids[1] ** 2 + grids[2] ** 2 < 9
    patches = rng.normal(0, noise, (len(scan), 1, *SIZE)) + labels[:, None, None, None, None] * ball
    images = ImageSet("balls", patches.astype(np.float16), labels, ("other", "nodule"), subjects=scan)
    found = labels == 1
    nodules = Points(scan[found], position[found], np.full(found.sum(), 6.0))
    excluded = Points(scan[2:3], position[2:3], np.array([-1.0]))
    return CandidateSet(images, position, nodules, excluded, tuple(names), 0)


def material(wanted=None, **how):
    wanted = wanted or recipe()
    found = candidates(**how)
    return DetectionMaterial(found, split(found.patches, wanted.data))
