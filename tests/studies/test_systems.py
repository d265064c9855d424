"""A task that the package has never heard of, studied in the same frame as the others."""

import numpy as np
import pandas as pd
import pytest

from isotypic.errors import RequestError
from isotypic.reports.build import build_report
from isotypic.studies.cell import run_cell
from isotypic.studies.folder import StudyRecords, cell_folder
from isotypic.studies.predictions import Predictions
from isotypic.studies.records import Cost, Curves, Measure, Outcome, Scores
from isotypic.studies.runner import claim, unfinished, write_table
from isotypic.studies.spec import make_plan
from isotypic.studies.systems import catalogue
from isotypic.studies.systems.system import Description, Drawing, Finished, StudiedSystem, captions
from isotypic.tasks.recipe import recipe_of

DICE = Measure(name="Dice", better="has a higher Dice", prediction="segmentation")
AVAILABLE, TESTED = 50, 12
DRAWN = {name: Drawing(f"of {name}", lambda path: path.write_bytes(b"picture")) for name in ("examples", "my guesses")}


class Guessing(StudiedSystem):
    """Trains nothing: its scores are drawn by the seed, and it writes down which images it was given."""

    def group(self, recipe):
        return recipe.model.group

    def material(self, recipe, cache, counted=None):
        return np.arange(AVAILABLE)

    def describe(self, recipe, material):
        return Description(DICE, {"images": len(material)}, available=len(material), further=("PQ",))

    def subset(self, material, size, seed):
        if size < 3:
            raise RequestError(f"expected at least 3 images, received {size}")
        return np.random.default_rng(seed).permutation(material)[:size]

    def train(self, job):
        return job.subset

    def test(self, job, trained):
        elements = tuple(job.group.describe(g) for g in range(job.group.order))
        scores = np.random.default_rng(job.seed).random((len(elements), TESTED))
        figures = Scores(figures={"Dice": float(scores.mean()), "PQ": 0.5})
        outcome = Outcome(
            group=job.group.name,
            train=figures,
            tests={"rotated": figures, "upright": figures},
            per_rotation=dict(zip(elements, scores.mean(1).tolist(), strict=True)),
            changed_images=TESTED,
            overfitting_ratio=1.0,
            curves=Curves(
                score="none",
                step=[1],
                train_loss=[1],
                train_score=[np.nan],
                validation_loss=[1],
                validation_score=[np.nan],
            ),
            cost=Cost(parameters=1, train_seconds=0.1, steps=1, latency_ms=0.1),
            equivariance_error=1e-15,
            pictures=captions(DRAWN, job.seed),
        )

        predictions = Predictions(np.arange(TESTED), elements, scores)
        return Finished(outcome, predictions, DRAWN)

    def save(self, folder, job, trained, finished=None):
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "subset.npy", trained)
        (folder / ("trained" if finished is None else "tested")).touch()


class Breaking(Guessing):
    """Cannot be tested."""

    def test(self, job, trained):
        raise MemoryError("no room to test")


@pytest.fixture
def guessing(monkeypatch, small_study):
    """The small digits study, its task in other hands."""
    monkeypatch.setattr(catalogue, "_SYSTEMS", {"classification": Guessing()})
    return small_study


def test_a_task_of_its_own_is_run_recorded_and_reported(guessing, tmp_path):
    plan = make_plan(guessing("study.sizes=[0.5, 1.0]"), tmp_path / "cache")
    assert plan.info.sizes == [25, 50]
    assert (plan.info.measure, plan.info.further, plan.info.classes) == (DICE, ["PQ"], [])
    folder = tmp_path / "study"
    claim(folder, plan.info)
    for cell in plan.cells:
        run_cell(folder, cell)
    assert unfinished(folder, plan.cells) == []
    assert not StudyRecords.load(folder).missing()
    assert {"rotated_dice", "dice at 90°"} <= set(pd.read_csv(write_table(folder)).columns)
    page = build_report(folder).read_text()
    assert all(
        said in page for said in ("<h2>Examples", "of examples. Seed 0.", "<h2>My guesses", "of my guesses. Seed 0.")
    )
    assert "accuracy" not in page.replace(plan.info.description, "")


def test_every_arm_gets_the_same_images_and_the_smaller_sets_lie_in_the_larger(guessing, tmp_path):
    plan = make_plan(guessing(), tmp_path / "cache")
    claim(tmp_path / "study", plan.info)
    given = {}
    for cell in plan.cells:
        run_cell(tmp_path / "study", cell)
        subset = np.load(cell_folder(tmp_path / "study", cell) / "subset.npy")
        given.setdefault((cell.size, cell.seed), []).append(set(subset.tolist()))
    assert all(subset == subsets[0] for subsets in given.values() for subset in subsets)
    assert all(given[20, seed][0] < given[40, seed][0] for seed in (0, 1))
    assert not given[20, 0][0] <= given[40, 1][0]


def test_what_was_trained_is_kept_before_it_is_tested(guessing, tmp_path, monkeypatch):
    plan = make_plan(guessing(), tmp_path / "cache")
    claim(tmp_path / "study", plan.info)
    done, broken = plan.cells[:2]
    run_cell(tmp_path / "study", done)
    assert {"trained", "tested", "examples.png", "my-guesses.png"} <= names(cell_folder(tmp_path / "study", done))
    monkeypatch.setattr(catalogue, "_SYSTEMS", {"classification": Breaking()})
    with pytest.raises(MemoryError):
        run_cell(tmp_path / "study", broken)
    assert names(cell_folder(tmp_path / "study", broken)) == {"trained", "subset.npy"}
    assert broken in unfinished(tmp_path / "study", plan.cells)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_report_says_what_every_cell_ran_on(guessing, tmp_path, monkeypatch):
    plan = make_plan(guessing(), tmp_path / "cache")
    folder = tmp_path / "study"
    claim(folder, plan.info)
    commits = iter(["abc111", *["abc222"] * (len(plan.cells) - 1)])
    monkeypatch.setattr("isotypic.studies.cell.environment", lambda: {"commit": next(commits)})
    for cell in plan.cells:
        run_cell(folder, cell)
    page = build_report(folder).read_text()
    assert f"{plan.info.environment['commit']}; abc111; abc222" in page
    monkeypatch.setattr("isotypic.studies.cell.environment", lambda: plan.info.environment)
    for cell in plan.cells:
        run_cell(folder, cell)
    assert f"{plan.info.environment['commit']}; " not in build_report(folder).read_text()


def test_sizes_are_those_that_the_material_has(guessing, tmp_path):
    with pytest.raises(RequestError, match="expected at least 3 images, received 2"):
        make_plan(guessing("study.sizes=[2, 40]"), tmp_path)
    with pytest.raises(RequestError, match="expected training sizes between 1 and the 50 training images"):
        make_plan(guessing("study.sizes=[51]"), tmp_path)


def test_another_measure_is_another_study(guessing, tmp_path):
    plan = make_plan(guessing(), tmp_path / "cache")
    claim(tmp_path / "study", plan.info)
    other = plan.info.model_copy(update={"measure": DICE.model_copy(update={"name": "PQ"})})
    with pytest.raises(RequestError, match=r"holds another study \(its measure.name is 'Dice', asked for 'PQ'\)"):
        claim(tmp_path / "study", other)


def test_a_task_without_a_system_is_refused(monkeypatch, small_study):
    monkeypatch.setattr(catalogue, "_SYSTEMS", {"guessing": Guessing()})
    with pytest.raises(RequestError, match="unknown task of a study 'classification'"):
        catalogue.system_of(recipe_of(small_study()))
