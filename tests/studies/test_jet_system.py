"""A study of jets in small, and isotypic train from an .npz file of jets."""

import sys

import numpy as np
import pytest
import torch
from jets import jets
from sklearn.metrics import roc_auc_score

from isotypic.cli.main import main
from isotypic.data.jets.events import Events, PairedJets
from isotypic.data.jets.sets import JetSetConfig, recognise_jets, split_jets
from isotypic.data.jets.source import MemoryJets, joined, permuted, rows_of
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
from isotypic.studies.systems.jet_judges import SEARCH, outranked
from isotypic.studies.systems.jet_sources import load_jets
from isotypic.studies.systems.jets import ELEMENTS, JetSystem, permutation_error
from isotypic.studies.systems.system import Job
from isotypic.tasks.clustering.embedding import embed, of_particles
from isotypic.tasks.clustering.loss import mass_class
from isotypic.tasks.clustering.schedule import ClusterTraining
from isotypic.tasks.recipe import read_recipe, recipe_names, recipe_of, with_request

SUPERVISED = {"pretext": "label", "pretraining": 12, "joint": 0, "batch_size": 32}
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
    done = finished[2]
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
    with pytest.raises(RequestError, match=r"expected a run of classification at .*, received one of clustering"):
        load_run(finished[1])


def test_a_study_runs_and_reports(file, tmp_path):
    raw = settings(file, "jets", pretraining=2, joint=1)
    models = {name: raw["study"]["models"][name] for name in ("paper", "bare k-means", "padding pooled")}
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
    assert plan.recipe_for(plan.cells[2]).model.pooling is Pooling.PLACES
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "clustering accuracy" in page
    assert page.count("data:image/png") == 6, "space, spectra and course of both declared arms"


def main_to_the_end():
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


def test_the_command_line_trains_and_evaluates(file, tmp_path, monkeypatch, capsys):
    words = ["train", "ucluster", "--data", str(file), "--out", str(tmp_path / "run")]
    for key, value in {**BUDGET, "pretraining": 1, "joint": 1}.items():
        words += ["--set", f"training.{key}={value}"]
    monkeypatch.setattr(sys, "argv", ["isotypic", *words])
    main_to_the_end()
    assert "change their cluster under some element" in capsys.readouterr().out
    assert (tmp_path / "run" / "weights.safetensors").is_file()
    monkeypatch.setattr(sys, "argv", ["isotypic", "evaluate", str(tmp_path / "run"), "--part", "validation"])
    main_to_the_end()
    said = capsys.readouterr().out
    assert "0 jets change their cluster" in said
    assert "cluster 0:" in said


def test_the_presets_are_those_of_the_spec():
    assert {"ucluster", "ucluster-author", "jets"} <= set(recipe_names())
    paper, author = (recipe_of(read_recipe(name)).training for name in ("ucluster", "ucluster-author"))
    assert (paper.pretraining, paper.joint, paper.batch_size) == (20, 100, 1024)
    assert (paper.beta, paper.gamma, paper.alpha, paper.alpha_step) == (10, 2, 1, 2)
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
        load_jets(JetSetConfig(path=path), tmp_path)


def test_what_is_no_file_of_jets_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"expected an .npz file of jets at None, found none; give --data PATH"):
        load_jets(JetSetConfig(), tmp_path)
    with pytest.raises(RequestError, match=r"expected an .npz file of jets, or a folder of shards, found nothing"):
        recognise_jets(tmp_path / "no.npz")
    with pytest.raises(RequestError, match="unknown data set 'arrys': did you mean 'arrays'"):
        load_jets(JetSetConfig(dataset="arrys"), tmp_path)


def search(count=400, seed=0, share=0.1):
    """Events of two jets; the signal has another mass, and prongs."""
    kinds = jets(2 * count, 8, seed=seed)
    first, second = (rows_of(kinds, np.arange(i, 2 * count, 2)) for i in range(2))
    signal = torch.arange(count) < share * count
    which = [torch.where(signal, 2, 0), torch.where(signal, 1, 0)]
    found = []
    for part, wanted in zip((first, second), which, strict=True):
        pool = {kind: torch.nonzero(part.label == kind)[:, 0] for kind in range(3)}
        found.append(rows_of(part, np.array([int(pool[int(k)][i % len(pool[int(k)])]) for i, k in enumerate(wanted)])))
    one, two = found
    return Events(
        torch.cat([one.features, two.features], 1),
        torch.cat([one.mask, two.mask], 1),
        signal.long(),
        one.mass,
        torch.arange(count),
        torch.arange(16)[None].ge(8).long().expand(count, 16).contiguous(),
        torch.stack([one.mass, two.mass], 1),
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What clusters of particles' classes, and a supervised network, find of a signal."""
    events = MemoryJets(search(share=0.3))
    config = JetSetConfig(test_fraction=0.3, validation_fraction=0.2)
    material = split_jets("events", SEARCH, events, config)
    done = {}
    for name, model, training in (
        ("clusters", {"output": "particle", "clusters": 4}, {**BUDGET, "pretraining": 4, "joint": 2}),
        ("supervised", {"family": "deepsets"}, SUPERVISED),
    ):
        raw = {"name": name, "task": "clustering", "model": {"family": "ucluster"} | model, "training": training}
        recipe = recipe_of(raw)
        system = system_of(recipe)
        job = Job(recipe, material, system.subset(material, len(material.train), 0), None, seed=0)
        done[name] = system.run(job, tmp_path_factory.mktemp(name))
    return material, done


def test_a_search_is_measured_by_the_signal(found):
    material, done = found
    about = JetSystem().describe(recipe_of({"name": "x", "task": "clustering"}), material)
    assert about.measure.name == "AUC of the signal"
    for one in done.values():
        figures = one.outcome.tests["upright"].figures
        assert one.predictions.scores[0].mean() == pytest.approx(figures["AUC of the signal"])
        assert len(one.predictions.images) == int((joined(material.test.batches(0, 100)).label == 1).sum())
        assert one.outcome.equivariance_error < 1e-10
        assert one.outcome.figures["1 / background at 50% of the signal"] >= 1
        assert set(about.further) <= figures.keys()
    assert done["supervised"].outcome.tests["upright"].figures["AUC of the signal"] > 0.75


def test_the_area_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels = (rng.random(200) < 0.2).astype(int)
    scores = (rng.normal(size=200) + labels).round(1)
    assert outranked(scores, labels).mean() == pytest.approx(roc_auc_score(labels, scores))


def test_every_particle_has_the_class_of_its_own_jet():
    events = search(40)
    classes = of_particles(events, ClusterTraining())
    assert torch.equal(classes[:, 0], mass_class(events.masses[:, 0]))
    assert torch.equal(classes[:, 15], mass_class(events.masses[:, 1]))
    moved = permuted(events)
    assert torch.equal(of_particles(moved, ClusterTraining()).sort(1)[0], classes.sort(1)[0])
    assert not torch.equal(moved.jet, events.jet)
    assert isinstance(joined([events, events]), Events)


def test_jets_two_by_two_are_events():
    single = jets(8, 10)
    twins = rows_of(single, np.arange(8))
    twins.label[1::2] = twins.label[::2]
    source = PairedJets(MemoryJets(twins))
    (events,) = source.batches(0, 100)
    assert (len(source), len(events.row)) == (4, 4)
    assert torch.equal(events.features[1, 10:], twins.features[3])
    assert torch.equal(events.mass_of_each[:, [0, 10]], twins.mass.view(4, 2))
    assert [len(one.row) for one in source.batches(0, 3)] == [3, 1]
    with pytest.raises(RequestError, match="expected jets two by two"):
        next(PairedJets(MemoryJets(jets(7))).batches(0, 4))
