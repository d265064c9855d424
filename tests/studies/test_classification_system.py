"""A classification study in small: what a cell measures beside accuracy, and which pictures it leaves."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as independent

from isotypic.groups import named
from isotypic.metrics.classification import roc_curve
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.classification import FILTERS
from isotypic.studies.systems.system import Job
from isotypic.tasks.recipe import recipe_of

PICTURES = {"examples": "examples.png", FILTERS: "learned-filters.png"}


@pytest.fixture
def job(small_study, tmp_path):
    """Training of a p4 network on digits, of ten classes or of two: odd or even."""

    def make(two):
        recipe = recipe_of(small_study("model.group=p4", "training.steps=12"))
        material = system_of(recipe).material(recipe, tmp_path / "cache")
        if two:
            images = replace(material.images, labels=material.images.labels % 2, classes=("even", "odd"))
            material = replace(material, images=images)
        subset = system_of(recipe).subset(material, 40, seed=3)
        return Job(recipe, material, subset, named("p4"), seed=3)

    return make


@pytest.mark.parametrize("two", [True, False])
def test_a_cell_leaves_both_pictures_and_says_what_they_are(two, job, tmp_path):
    asked = job(two)
    system = system_of(asked.recipe)
    outcome = system.run(asked, tmp_path / "cell").outcome
    assert outcome.pictures.keys() == PICTURES.keys()
    for name, file in PICTURES.items():
        assert Image.open(tmp_path / "cell" / file).format == "PNG"
        assert outcome.pictures[name].endswith(". Seed 3")
    assert (outcome.roc is not None) == two
    beside = system.describe(asked.recipe, asked.material).further
    assert beside == ("AUC", "sensitivity", "specificity")
    assert all(set(beside) < scores.figures.keys() for scores in outcome.tests.values())


def test_the_roc_curve_has_the_area_that_is_recorded(job, tmp_path):
    asked = job(True)
    outcome = system_of(asked.recipe).run(asked, tmp_path / "cell").outcome
    x, y = np.array(outcome.roc.false_positive_rate), np.array(outcome.roc.true_positive_rate)
    recorded = outcome.tests["upright"].figures["AUC"]
    assert np.trapezoid(y, x) == pytest.approx(recorded, abs=0.005)
    assert abs(np.trapezoid(1 - y, x) - recorded) > 0.02


def test_the_roc_curve_is_that_of_the_second_class():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    positive = (generator.normal(labels * 0.8, 1, 300) / 8 + 0.5).clip(0, 1).round(2)
    probabilities = torch.from_numpy(np.stack([1 - positive, positive], 1))
    x, y = roc_curve(probabilities, torch.from_numpy(labels))
    assert np.allclose(np.stack([x, y]), independent(labels, positive, drop_intermediate=False)[:2])
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(labels, positive))
    swapped = roc_curve(probabilities.flip(1), torch.from_numpy(labels))
    assert np.trapezoid(swapped[1], swapped[0]) == pytest.approx(1 - roc_auc_score(labels, positive))


def test_without_two_classes_that_have_images_there_is_no_curve():
    assert roc_curve(torch.rand(5, 3), torch.tensor([0, 1, 2, 0, 1])) is None
    assert roc_curve(torch.rand(3, 2), torch.tensor([1, 1, 1])) is None


def test_without_the_means_to_draw_there_is_no_picture(job, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    asked = job(True)
    assert system_of(asked.recipe).run(asked, tmp_path / "cell").outcome.pictures == {}
    assert {path.name for path in (tmp_path / "cell").iterdir()} == {"run.yaml", "weights.safetensors"}
