"""Studies on spherical images in small: what a cell measures, of a network with the symmetry and of one without."""

import numpy as np
import pytest
import spheres
import torch

from isotypic.cli.evaluate_sphere import evaluated_sphere
from isotypic.errors import RequestError
from isotypic.inference.run import load_sphere_run
from isotypic.inference.sphere_evaluation import classify_turned, segment_turned
from isotypic.reports.build import build_report
from isotypic.studies.folder import StudyRecords
from isotypic.studies.predictions import read_predictions, write_predictions
from isotypic.studies.runner import claim, run, write_table
from isotypic.studies.spec import make_plan, settings_of
from isotypic.studies.statistics import mean
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.sphere import MEAN_IOU
from isotypic.studies.systems.system import Job
from isotypic.tasks.sphere.session import sphere_material

SEGMENT, CLASSIFY = "sphere-segment", "sphere-classify"
CNN = ["model.family=hourglass", "model.widths={features: [8, 12], kernels: [5, 5], strides: [1, 2]}"]
LEARNING = ["training.steps=80", "training.batch_size=8", "training.learning_rate=0.01"]


def cell(folder, name, *assignments):
    recipe = spheres.recipe(name, *assignments)
    system = system_of(recipe)
    material = system.material(recipe, folder / "cache")
    job = Job(recipe, material, system.subset(material, 20, seed=1), system.moved_by(recipe, "SO(3)"), seed=1)
    return job, folder / "run", system.run(job, folder / "run")


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    return cell(tmp_path_factory.mktemp("segmented"), SEGMENT, *CNN, *LEARNING)


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    return cell(tmp_path_factory.mktemp("classified"), CLASSIFY, "augmentation=2 rotations")


def test_the_recorded_parts_make_the_measure(segmented):
    job, _, done = segmented
    found = done.predictions
    assert found.scores.shape == (2, len(job.material.images.splits.test), 10, 2)
    for test, row in (("upright", 0), ("rotated", 1)):
        figure = done.outcome.tests[test].figures[MEAN_IOU.name]
        assert mean(found.of(test)[None]) == pytest.approx(figure, rel=1e-6)
        assert np.array_equal(found.of(test), found.scores[row].astype(float)), "rotated is without the upright one"
    assert done.outcome.tests["upright"].figures[MEAN_IOU.name] > 0, "it has learned something that can be compared"


def test_predictions_come_back_as_they_were_written(segmented, tmp_path):
    _, _, done = segmented
    write_predictions(tmp_path, done.predictions)
    again = read_predictions(tmp_path)
    assert again.drawn
    assert np.array_equal(again.scores, done.predictions.scores)


def test_what_a_network_of_the_plane_finds_changes_when_the_sphere_is_turned(segmented):
    _, _, done = segmented
    assert done.outcome.changed_images is None
    assert done.outcome.equivariance_error > 1
    changed, resampled = done.outcome.figures.values()
    assert changed > resampled > 0


def test_a_network_of_the_sphere_changes_less(classified, tmp_path):
    _, _, done = classified
    control = cell(tmp_path, CLASSIFY, *CNN)[2]
    assert done.outcome.equivariance_error < 0.3 * control.outcome.equivariance_error
    assert done.outcome.cost.throughput > 0


def test_accuracy_is_recorded_image_by_image(classified):
    job, _, done = classified
    assert done.predictions.scores.shape == (2, len(job.material.images.splits.test))
    assert done.predictions.of("rotated").mean() == pytest.approx(done.outcome.tests["rotated"].figures["accuracy"])
    assert list(done.outcome.per_rotation) == ["as they are", "turned at random"]


@pytest.mark.parametrize("name", ["segmented", "classified"])
def test_a_run_comes_back_and_is_evaluated_as_it_was_tested(name, request):
    job, folder, done = request.getfixturevalue(name)
    loaded = load_sphere_run(folder)
    again = segment_turned if name == "segmented" else classify_turned
    found = again(loaded.model, job.material, job.material.images.splits.test, loaded.normalisation)
    scores = found.overlaps if name == "segmented" else found.right
    assert scores == pytest.approx(done.predictions.scores)
    table, note = evaluated_sphere(folder, job.recipe, "test", "cpu", folder.parent / "cache")
    assert table.row_count == 2
    assert "turned" in note
    with pytest.raises(RequestError, match="expected --part train"):
        evaluated_sphere(folder, job.recipe, "tset", "cpu", folder.parent / "cache")


def test_another_bandwidth_than_the_images_is_refused():
    with pytest.raises(
        RequestError, match=r"expected model.bandwidth as data.bandwidth \(6\), received 8; leave it out"
    ):
        spheres.recipe(SEGMENT, "model.bandwidth=8")
    assert spheres.recipe(SEGMENT).model.bandwidth == 6


def test_four_digits_have_no_one_class():
    assert spheres.recipe(SEGMENT, "data.digits=4").data.digits == 4
    with pytest.raises(RequestError, match=r"expected data\.digits=1 where images have one class, received 4"):
        spheres.recipe(CLASSIFY, "data.digits=4")


def test_a_group_of_the_plane_turns_no_sphere():
    with pytest.raises(RequestError, match=r"expected the group SO\(3\) to turn spherical images by, received 'p4'"):
        settings_of(spheres.raw(SEGMENT, "study.test_group=p4"))


def test_the_same_seed_gives_the_same_training(tmp_path):
    recipe = spheres.recipe(SEGMENT, *CNN, "augmentation=rotations")
    system = system_of(recipe)
    material = sphere_material(recipe, tmp_path)

    def weights(seed):
        job = Job(recipe, material, system.subset(material, 20, seed=0), system.moved_by(recipe), seed=seed)
        return torch.nn.utils.parameters_to_vector(system.train(job).model.parameters())

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("name", [SEGMENT, CLASSIFY])
def test_every_arm_of_the_recipes_is_one_that_can_be_made(name):
    recipe, spec = settings_of(spheres.raw(name))
    assert len(spec.arms_to_run()) == 11
    assert spec.question.built_in.augmentation == "none"
    assert recipe.training.optimizer == "adam"


@pytest.mark.slow
@pytest.mark.parametrize("name", [SEGMENT, CLASSIFY])
def test_a_study_ends_with_a_report(name, tmp_path):
    settings = ["study.sizes=[20, 40]", "study.seeds=1"]
    raw = spheres.raw(name, *settings)
    raw["study"]["arms"] = [arm for arm in raw["study"]["arms"] if "5" not in arm["model"] or "150k" in arm["model"]]
    raw["study"]["models"] = {arm["model"]: raw["study"]["models"][arm["model"]] for arm in raw["study"]["arms"]}
    plan = make_plan(raw, tmp_path / "cache")
    claim(tmp_path, plan.info)
    list(run(tmp_path, plan, workers=1))
    write_table(tmp_path)
    records = StudyRecords.load(tmp_path)
    assert not records.failed()
    assert "drawn at random, the same for every arm" in build_report(tmp_path).read_text()
