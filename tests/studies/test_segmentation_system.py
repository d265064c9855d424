"""A segmentation study in small: what a cell measures, that the group network is exact, that the run loads again."""

import numpy as np
import pytest
import torch
from laws import BROKEN, TOLERANCE

from isotypic.groups import named
from isotypic.inference.segmentation_evaluation import evaluate_segmentation
from isotypic.inference.segmenter import Segmenter
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.segmentation import DIFFERING
from isotypic.studies.systems.system import Job
from isotypic.tasks.recipe import read_recipe, recipe_of

SMALL = {"size": 64, "count": 2, "train_images": 8, "validation_images": 2, "test_images": 3}


def recipe(group):
    raw = read_recipe("sticks")
    raw["data"]["sticks"] = SMALL
    raw["model"] |= {"group": group, "stages": [4, 8], "head_width": 4}
    raw["training"] |= {"steps": 4, "batch_size": 4, "evaluations": 2}
    raw["grouping"] = {"embedding": {"method": "k-means", "clusters": 2}}
    return recipe_of(raw)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    made = {}
    for group in ("trivial", "p4"):
        wanted = recipe(group)
        system = system_of(wanted)
        material = system.material(wanted, tmp_path_factory.mktemp("cache"))
        subset = system.subset(material, 6, seed=0)
        job = Job(wanted, material, subset, named("p4"), seed=0)
        made[group] = job, system.run(job), system.describe(wanted, material)
    return made


def test_the_group_network_is_exact_and_the_plain_one_is_not(finished):
    errors = {group: done.outcome.equivariance_error for group, (_, done, _) in finished.items()}
    assert errors["p4"] < TOLERANCE["float64"]
    assert errors["trivial"] > BROKEN
    assert finished["trivial"][1].outcome.changed_images == 3
    assert finished["trivial"][1].outcome.figures[DIFFERING] > finished["p4"][1].outcome.figures[DIFFERING]


def test_every_image_has_a_score_under_every_element(finished):
    for _, done, described in finished.values():
        assert done.predictions.scores.shape == (4, 3)
        assert described.measure.name == "Dice"
        assert described.available == 8
        upright = done.outcome.tests["upright"].figures["Dice"]
        assert upright == pytest.approx(done.predictions.scores[0].mean())


def test_smaller_subsets_lie_within_larger_ones(finished):
    job, *_ = finished["p4"]
    system = system_of(job.recipe)
    small, large = (set(system.subset(job.material, size, seed=3)) for size in (3, 7))
    assert small < large
    assert large <= set(job.material.splits.train)


@pytest.mark.parametrize("group", ["trivial", "p4"])
def test_the_run_loads_as_a_segmenter_with_the_recorded_scores(group, finished, tmp_path):
    job, done, _ = finished[group]
    done.save(tmp_path)
    labelled, test = job.material.labelled, job.material.splits.test
    samples = [(str(i), np.asarray(labelled.images[i]), np.asarray(labelled.labels[i])) for i in test]
    kind = {"heads": job.recipe.model.heads, "grouping": job.recipe.grouping, "merit": job.recipe.merit}

    def scores(segmenter):
        return evaluate_segmentation(segmenter.outputs, samples, named("trivial"), **kind).scores[0]

    assert scores(Segmenter.load(tmp_path)) == pytest.approx(done.predictions.scores[0])
    spoilt = Segmenter.load(tmp_path)
    with torch.no_grad():
        spoilt.model.branches[0][-1].bias += torch.tensor([-100.0, 100.0])
    assert scores(spoilt) != pytest.approx(done.predictions.scores[0])
