"""A study of jets in small, and isotypic train from an .npz file of jets."""

import sys

import numpy as np
import pytest
import torch
from jets import jets

from isotypic.cli.main import main
from isotypic.data.jet_sets import JetDataConfig, load_jets, recognise_jets
from isotypic.errors import RequestError
from isotypic.inference.run import load_clusters, load_run
from isotypic.metrics.clustering import ClusterTable
from isotypic.models.clouds import Pooling
from isotypic.reports.build import build_report
from isotypic.studies.cell import run_cell
from isotypic.studies.folder import StudyRecords
from isotypic.studies.runner import claim
from isotypic.studies.spec import make_plan
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.jets import ELEMENTS, JetSystem, permutation_error
from isotypic.studies.systems.system import Job
from isotypic.tasks.embedding import embed
from isotypic.tasks.recipe import read_recipe, recipe_names, recipe_of, with_request

BUDGET = {"pretraining": 3, "joint": 4, "batch_size": 64, "snapshots": 3}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Jets in an .npz file."""
    made = jets(260, 12)
    path = tmp_path_factory.mktemp("jets") / "jets.npz"
    np.savez(path, **{name: value.numpy() for name, value in vars(made).items()}, classes=np.array(["W", "Z", "top"]))
    return path


def settings(file, recipe="ucluster", **training):
    raw = with_request(read_recipe(recipe), file, [])
    return {**raw, "training": {**raw["training"], **BUDGET, **training}}


@pytest.fixture(scope="module")
def finished(file, tmp_path_factory):
    """A trained cell: the job, its folder, and what it measured."""
    recipe = recipe_of(settings(file))
    system = system_of(recipe)
    assert isinstance(system, JetSystem)
    material = system.material(recipe, tmp_path_factory.mktemp("cache"))
    job = Job(recipe, material, system.subset(material, 150, seed=1), None, seed=1)
    folder = tmp_path_factory.mktemp("cell")
    return job, folder, system.run(job, folder)


def test_the_measure_is_the_accuracy_of_the_whole_test_set(finished):
    job, folder, done = finished
    figures = done.outcome.tests["upright"].figures
    network, recipe, classes = load_clusters(folder)
    assert classes == ("W", "Z", "top")
    space = embed(network, job.material.test, recipe.training)
    table = ClusterTable.of(space.clusters(network.centroids), space.label.numpy(), (3, 3))
    assert figures["clustering accuracy"] == pytest.approx(table.accuracy)
    assert done.predictions.scores[0].mean() == pytest.approx(table.accuracy)
    assert np.trace(done.outcome.tests["upright"].confusion) == round(table.accuracy * table.total)
    assert figures["k-means on the mass"] > 0.6, "the masses of the test jets are 5 GeV wide"


def test_no_order_of_the_particles_changes_it(finished):
    job, folder, done = finished
    assert done.predictions.elements == ELEMENTS
    assert done.outcome.changed_images == 0
    assert done.outcome.equivariance_error < 1e-10


def test_a_network_that_looks_at_the_order_is_told_from_it(finished):
    """The control: it sees the first particles alone."""
    job, folder, _ = finished
    network, *_ = load_clusters(folder)

    class First(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, features, mask):
            return self.network(features[:, :4], mask[:, :4])

    few = next(iter(job.material.test.batches(0, 20)))
    assert permutation_error(network, few) < 1e-10
    assert permutation_error(First(), few) > 1e-3


def test_it_leaves_pictures_and_describes_itself(finished):
    job, folder, done = finished
    assert done.outcome.pictures.keys() == {"space", "spectra", "course"}
    assert all((folder / f"{name}.png").stat().st_size > 1000 for name in done.outcome.pictures)
    about = JetSystem().describe(job.recipe, job.material)
    assert set(about.further) <= done.outcome.tests["upright"].figures.keys()
    assert (about.available, about.classes) == (len(job.material.train), ("W", "Z", "top"))
    assert len(done.outcome.curves.step) == 7


def test_a_smaller_training_set_lies_within_the_larger(finished):
    job, _, _ = finished
    small, large = (JetSystem().subset(job.material, size, seed=3) for size in (20, 90))
    assert set(small) < set(large)
    assert len(large) == 90


def test_a_run_of_clusters_is_not_taken_for_a_classifier(finished):
    with pytest.raises(RequestError, match="expected a run of classification at .*, received one of clustering"):
        load_run(finished[1])


def test_a_study_runs_and_reports(file, tmp_path):
    raw = settings(file, "jets", pretraining=2, joint=1)
    models = {name: raw["study"]["models"][name] for name in ("paper", "bare k-means", "padding pooled", "supervised")}
    models["supervised"] = {"training": {"pretext": "label", "pretraining": 3, "joint": 0}}
    raw["study"] = {**raw["study"], "models": models, "seeds": 1}
    plan = make_plan(raw, tmp_path / "cache")
    claim(tmp_path, plan.info)
    for cell in plan.cells:
        run_cell(tmp_path, cell)
    records = {record.cell.model: record for record in StudyRecords.load(tmp_path).records}
    assert records.keys() == models.keys()
    bare = records["bare k-means"].outcome
    assert bare.cost.steps < records["paper"].outcome.cost.steps
    assert bare.tests["upright"].figures["clustering accuracy"] > 1 / 3
    supervised = records["supervised"].outcome.tests["upright"].figures
    assert supervised["clustering accuracy"] == pytest.approx(supervised["accuracy of classes"], abs=0.3)
    assert plan.recipe_for(plan.cells[2]).model.pooling is Pooling.PLACES
    assert "clustering accuracy" in build_report(tmp_path).read_text(encoding="utf-8")


def test_the_command_line_trains(file, tmp_path, monkeypatch, capsys):
    words = ["train", "ucluster", "--data", str(file), "--out", str(tmp_path / "run")]
    for key, value in {**BUDGET, "pretraining": 1, "joint": 1}.items():
        words += ["--set", f"training.{key}={value}"]
    monkeypatch.setattr(sys, "argv", ["isotypic", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "clustering accuracy" in capsys.readouterr().out.replace("\n", " ")
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def test_the_presets_are_those_of_the_spec():
    assert {"ucluster", "ucluster-author", "jets"} <= set(recipe_names())
    paper, author = (recipe_of(read_recipe(name)).training for name in ("ucluster", "ucluster-author"))
    assert (paper.pretraining, paper.joint, paper.batch_size, paper.beta, paper.alpha, paper.alpha_step) == (
        20,
        100,
        1024,
        10,
        1,
        2,
    )
    assert (author.alpha_step, author.batch_size) == (5, 512)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mass": None}, "expected an array 'mass', found features, mask, label"),
        ({"label": np.full(260, 3)}, "expected labels from 0 to 2 for W, Z, top, received 3 to 3"),
        ({"mass": np.full(260, np.nan)}, "received 260 others, the first is row 0"),
    ],
)
def test_wrong_files_are_refused(file, change, said, tmp_path):
    with np.load(file) as stored:
        arrays = {**stored, **change}
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(RequestError, match=said):
        load_jets(JetDataConfig(path=path), tmp_path)


def test_what_is_no_file_of_jets_is_refused(tmp_path):
    with pytest.raises(RequestError, match="expected an .npz file of jets at None, found none; give --data PATH"):
        load_jets(JetDataConfig(), tmp_path)
    with pytest.raises(RequestError, match="expected an .npz file of jets, found nothing"):
        recognise_jets(tmp_path / "no.npz")
    with pytest.raises(RequestError, match="unknown data set 'arrys': did you mean 'arrays'"):
        load_jets(JetDataConfig(dataset="arrys"), tmp_path)
