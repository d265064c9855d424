"""A study of detection in small: what a cell measures is the CPM, nodule by nodule, of all candidates."""

import warnings
from dataclasses import replace

import detectors
import numpy as np
import pytest
import torch

from isotypic.groups import named
from isotypic.inference.detection_evaluation import DetectionEvaluation, evaluate_detection
from isotypic.inference.run import load_detector
from isotypic.metrics.froc import Findings, Marks, judge
from isotypic.studies.systems import detection
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.detection import DetectionSystem, at_rate, froc_of
from isotypic.studies.systems.system import Job

D4H = named("D4h", 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A trained cell: the job, its folder, and what it measured."""
    recipe = detectors.recipe()
    material = detectors.material(recipe)
    system = system_of(recipe)
    assert isinstance(system, DetectionSystem)
    job = Job(recipe, material, system.subset(material, 40, seed=1), D4H, seed=1)
    folder = tmp_path_factory.mktemp("cell")
    return job, folder, system.run(job, folder)


def test_it_learns_and_the_measure_is_the_cpm(finished):
    job, _, done = finished
    figures = done.outcome.tests["upright"].figures
    assert figures["CPM"] > 0.9
    assert done.predictions.scores[0].mean() == pytest.approx(figures["CPM"])
    assert done.outcome.froc.cpm == pytest.approx(figures["CPM"])
    assert done.outcome.froc.cpm_interval[0] <= figures["CPM"] <= done.outcome.froc.cpm_interval[1]
    nodules = job.material.candidates.nodules
    assert len(done.predictions.images) == np.isin(nodules.scan, job.material.scans_of(job.material.splits.test)).sum()


def test_no_element_of_the_group_changes_it(finished):
    _, _, done = finished
    assert done.outcome.equivariance_error < 1e-10
    assert np.ptp(list(done.outcome.per_rotation.values())) == 0
    assert done.outcome.changed_images == 0


def test_every_cell_describes_itself(finished):
    job, _, done = finished
    about = DetectionSystem().describe(job.recipe, job.material)
    assert (about.measure.name, about.measure.unit, about.measure.sample) == ("CPM", "nodule", "candidate")
    assert set(about.further) <= done.outcome.tests["upright"].figures.keys()
    assert about.data["test candidates"].endswith("scans")
    assert at_rate(0.5) in about.further


def test_training_is_balanced_and_so_is_what_it_is_chosen_by(finished):
    job, _, _ = finished
    labels = job.material.candidates.patches.labels
    assert labels[job.subset].mean() == 0.5
    assert labels[job.material.classified.splits.validation].mean() == 0.5
    assert labels[job.material.splits.test].mean() < 0.4, "the test is not: as the scanner gives them"


def test_of_all_candidates_either_class_is_seen_as_often(finished, monkeypatch):
    job, _, _ = finished
    seen = []
    monkeypatch.setattr(detection, "train", lambda recipe, material, rows, **_: seen.append(rows))
    every = job.material.splits.train
    DetectionSystem().train(replace(job, subset=every))
    labels = job.material.candidates.patches.labels
    assert labels[seen[0]].mean() == 0.5
    assert labels[every].mean() < 0.4
    assert set(seen[0]) == set(every)


def test_the_run_is_loaded_as_one_of_detection(finished):
    job, folder, done = finished
    run = load_detector(folder)
    found = evaluated(job, run.model, run.normalisation)
    assert found.detected.mean(1)[0] == pytest.approx(done.outcome.froc.cpm)


def evaluated(job, model, normalisation, rows=None):
    rows = job.material.splits.test if rows is None else rows
    return evaluate_detection(model, job.material, rows, normalisation, D4H)


def test_a_network_without_the_symmetry_is_told_from_it(finished):
    """The control: the same figures, of a plain network."""
    job, _, _ = finished
    recipe = detectors.recipe(model={**job.recipe.model.model_dump(), "group": "trivial"})
    system = system_of(recipe)
    noisy = replace(job, recipe=recipe, material=detectors.material(recipe, noise=1.5))
    trained = system.train(noisy)
    done = system.test(noisy, trained)
    assert done.outcome.equivariance_error > 1e-3
    assert np.ptp(list(done.outcome.per_rotation.values())) > 0


@pytest.mark.parametrize(("group", "warned"), [("O", True), ("D4h", False)])
def test_a_group_that_mixes_axes_of_different_spacing_is_warned_of(finished, group, warned):
    job, _, _ = finished
    model = {**job.recipe.model.model_dump(), "group": group, "pools": [[2, 2, 2], [2, 2, 2]]}
    recipe = detectors.recipe(model=model, training={"steps": 1, "batch_size": 2, "evaluations": 1})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        system_of(recipe).train(replace(job, recipe=recipe))
    assert any("mixes axes of different spacing" in str(each.message) for each in said) == warned


def judged_by_hand(probability, scans):
    """All candidates of the test as marks, by the metric alone."""
    found = detectors.candidates()
    rows = np.isin(found.patches.subjects, scans)
    marks = Marks(found.patches.subjects[rows], found.position[rows], probability[rows])
    there = np.isin(found.nodules.scan, scans)
    nodules = Findings(found.nodules.scan[there], found.nodules.position[there], found.nodules.value[there])
    kept = np.isin(found.excluded.scan, scans)
    excluded = Findings(found.excluded.scan[kept], found.excluded.position[kept], found.excluded.value[kept])
    return judge(marks, nodules, excluded, scans=scans)


class Says(torch.nn.Module):
    """Gives the probabilities that it was told, in the order in which it is asked."""

    def __init__(self, probability):
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1))
        self.answers = iter(np.tile(probability, D4H.order))

    def forward(self, x):
        one = torch.tensor([next(self.answers) for _ in range(len(x))])
        return torch.stack([torch.log1p(-one), torch.log(one)], 1).float()


def test_candidates_are_judged_scan_by_scan_with_what_is_excluded(finished):
    job, _, _ = finished
    rng = np.random.default_rng(3)
    probability = rng.uniform(0.05, 0.95, len(job.material.candidates))
    rows = np.arange(len(probability))
    scans = job.material.scans_of(rows)
    normalisation = load_detector(finished[1]).normalisation
    found = evaluate_detection(Says(probability), job.material, rows, normalisation, named("trivial", 3))
    by_hand = judged_by_hand(probability, scans)
    assert isinstance(found, DetectionEvaluation)
    assert found.upright.curve().cpm() == pytest.approx(by_hand.curve().cpm(), abs=1e-6)
    assert len(found.upright.false_probability) == detectors.SCANS * detectors.OTHERS - 1, "one lies on the excluded"


def test_a_froc_curve_is_recorded_at_rising_rates(finished):
    _, _, done = finished
    froc = done.outcome.froc
    assert (np.diff(froc.false_positives) > 0).all()
    assert froc.false_positives[0] == pytest.approx(0.125)
    assert len(froc.intervals) == 7
    job, folder, _ = finished
    run = load_detector(folder)
    assert froc_of(evaluated(job, run.model, run.normalisation).upright) == froc, "the bootstrap has a fixed seed"
