"""A segmentation study in small: what a cell measures, that the group network is exact, that the run loads again."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import segmenters
import torch
import yaml
from laws import BROKEN, TOLERANCE
from PIL import Image

from isotypic.data.labelled.images import Origins
from isotypic.data.splits import Splits
from isotypic.groups import named
from isotypic.inference.segmentation_evaluation import Sample, evaluate_segmentation
from isotypic.inference.segmenter import Segmenter
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.segmentation_figures import DIFFERING, FOUND, SECONDS, TRUE
from isotypic.studies.systems.system import Job
from isotypic.tasks.recipe import read_recipe, recipe_of
from isotypic.tasks.segmentation.session import LabelledMaterial

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
        folder = tmp_path_factory.mktemp(group)
        made[group] = job, system.run(job, folder), system.describe(wanted, material), folder
    return made


def test_the_group_network_is_exact_and_the_plain_one_is_not(finished):
    errors = {group: done.outcome.equivariance_error for group, (_, done, *_) in finished.items()}
    assert errors["p4"] < TOLERANCE["float64"]
    assert errors["trivial"] > BROKEN
    assert finished["trivial"][1].outcome.changed_images == 3
    assert finished["trivial"][1].outcome.figures[DIFFERING] > finished["p4"][1].outcome.figures[DIFFERING]


def test_every_image_has_a_score_under_every_element(finished):
    for _, done, described, _ in finished.values():
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
def test_the_run_loads_as_a_segmenter_with_the_recorded_scores(group, finished):
    job, done, _, folder = finished[group]
    labelled, test = job.material.labelled, job.material.splits.test
    samples = [Sample(str(i), np.asarray(labelled.images[i]), np.asarray(labelled.labels[i])) for i in test]
    kind = {"heads": job.recipe.model.heads, "grouping": job.recipe.grouping, "merit": job.recipe.merit}

    def scores(segmenter):
        return evaluate_segmentation(segmenter.outputs, samples, named("trivial"), **kind).scores[0]

    assert scores(Segmenter.load(folder)) == pytest.approx(done.predictions.scores[0])
    spoilt = Segmenter.load(folder)
    with torch.no_grad():
        spoilt.model.branches[0][-1].bias += torch.tensor([-100.0, 100.0])
    assert scores(spoilt) != pytest.approx(done.predictions.scores[0])


def test_the_figures_beside_the_measure_are_those_that_were_announced(finished):
    for _, done, described, _ in finished.values():
        assert described.further == (
            "pooled AP at IoU .5",
            "pooled mean AP at IoU .5:.9",
            "PQ",
            "AJI",
            "Hungarian Dice",
        )
        for scores in done.outcome.tests.values():
            assert set(scores.figures) == {"Dice", *described.further}
            assert scores.figures["Hungarian Dice"] >= scores.figures["Dice"] - 1e-12
            assert scores.figures["pooled mean AP at IoU .5:.9"] <= scores.figures["pooled AP at IoU .5"]
        assert set(done.outcome.figures) == {DIFFERING, FOUND, TRUE, SECONDS}
        assert done.outcome.figures[TRUE] == SMALL["count"]
        assert done.outcome.figures[SECONDS] > 0


def test_a_cell_shows_a_picture_and_says_what_it_is(finished):
    job, done, _, folder = finished["trivial"]
    assert Image.open(folder / "examples.png").format == "PNG"
    assert done.outcome.pictures["examples"].endswith(f"Seed {job.seed}")
    written = yaml.safe_load((folder / "run.yaml").read_text())["figures"]
    upright = done.outcome.tests["upright"].figures
    assert {name: written[f"test {name}"] for name in upright} == upright


def of_kinds(heads, kinds, folder):
    """A little training on sticks of 48 pixels, the test images of several kinds."""
    found, raw = segmenters.material(heads), segmenters.recipe(heads, "p4").model_dump(mode="json")
    raw["training"]["steps"] = 4
    wanted = recipe_of({**raw, "merit": "auc" if heads == "boundary" else "ap50"})
    test = found.splits.test[: len(kinds)]
    names = np.full(len(found.labelled), "of training")
    names[test] = kinds
    origins = Origins(found.labelled.origins.names, kinds=names)
    splits = Splits(found.splits.train, found.splits.validation, test)
    material = LabelledMaterial(replace(found.labelled, origins=origins), splits)
    system = system_of(wanted)
    job = Job(wanted, material, splits.train[:4], named("C2"), seed=0)
    return system.run(job, folder), system.describe(wanted, material)


@pytest.mark.parametrize(
    ("heads", "first", "last"), [("offset", "pooled AP at IoU .5", "AJI"), ("boundary", "pooled AUC", "pixel accuracy")]
)
def test_kinds_of_test_images_have_a_figure_each(heads, first, last, tmp_path):
    done, described = of_kinds(heads, ["dark", "stained", "dark"], tmp_path)
    by_kind = [f"{first}, dark", f"{first}, stained"]
    assert described.further[0] == first
    assert last in described.further
    assert list(described.further[-2:]) == by_kind
    for scores in done.outcome.tests.values():
        assert set(scores.figures) == {described.measure.name, *described.further}
    assert (FOUND in done.outcome.figures) == (heads == "offset")
    assert (done.outcome.roc is None) == (heads == "offset")


def test_a_roc_curve_has_the_area_of_the_pooled_figure(tmp_path):
    done, _ = of_kinds("boundary", ["dark"] * 3, tmp_path)
    curve, recorded = done.outcome.roc, done.outcome.tests["upright"].figures["pooled AUC"]
    x, y = np.array(curve.false_positive_rate), np.array(curve.true_positive_rate)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert np.trapezoid(y, x) == pytest.approx(recorded, abs=0.01)
    assert abs(np.trapezoid(1 - y, x) - recorded) > 0.02


def test_test_images_of_one_kind_have_none(tmp_path):
    _, described = of_kinds("offset", ["dark", "dark"], tmp_path)
    assert not any("dark" in name for name in described.further)


def test_without_the_means_to_draw_a_cell_has_no_picture(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done, _ = of_kinds("offset", ["dark"], tmp_path)
    assert done.outcome.pictures == {}
    assert {path.name for path in tmp_path.iterdir()} == {"run.yaml", "weights.safetensors"}
