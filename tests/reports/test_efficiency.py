"""What every arm is worth in labels, how fast it comes to the same loss, and the page of a study of detection."""

import re

import numpy as np
import pytest

from isotypic.reports.build import build_report
from isotypic.reports.findings import find
from isotypic.reports.froc import froc_curves, froc_table, one_curve
from isotypic.reports.notation import duration
from isotypic.reports.tables import efficiency_table, pace_table, time_table, worth_table
from isotypic.studies.folder import StudyRecords


@pytest.fixture(scope="module")
def findings(study_folder):
    return find(StudyRecords.load(study_folder))


def rows(table):
    return {row.name: [entry.value for entry in row.entries] for row in table.rows}


def test_every_arm_but_the_augmented_one_is_measured_against_it(findings):
    found = rows(efficiency_table(findings))
    assert found.keys() == {"CNN", "p4 G-CNN", "p4 G-CNN + rot90"}
    question = [row.entries[0].value for row in worth_table(findings).rows]
    assert found["p4 G-CNN"] == question, "the arm of the question has the worth of the question"
    assert found["CNN"] != question


def test_with_two_arms_or_one_size_there_is_no_table(fake_study, tmp_path):
    for number, grid in enumerate(({"sizes": [100]}, {"augmentations": ["rot90"]})):
        study = fake_study(tmp_path / str(number), seeds=[0, 1], **grid)
        assert efficiency_table(find(StudyRecords.load(study.write()))).rows == ()


def test_the_pace_is_the_first_step_at_the_best_loss_of_the_augmented_arm(findings):
    """Steps of 50 images: of 100 images a step is half an epoch."""
    augmented, target = findings.primary.b, []
    for outcome in findings.outcomes(augmented, 100):
        target.append(min(outcome.curves.validation_loss))
    for arm in findings.arms:
        for pace, outcome in zip(findings.paces(arm, 100), findings.outcomes(arm, 100), strict=True):
            losses = np.array(outcome.curves.validation_loss)
            there = np.flatnonzero(losses <= np.mean(target))
            wanted = outcome.curves.step[there[0]] / 2 if len(there) else None
            assert pace.epochs == wanted
            assert pace.seconds == pytest.approx(outcome.cost.train_seconds / 750)


def test_runs_that_never_come_there_are_counted(fake_study, tmp_path):
    study = fake_study(tmp_path, sizes=[100], seeds=[0, 1])
    finished = study.finished

    def hopeless(cell):
        record, predictions = finished(cell)
        if cell.seed == 0 and cell.model == "p4 G-CNN":
            curves = record.outcome.curves
            higher = curves.model_copy(update={"validation_loss": [10 + loss for loss in curves.validation_loss]})
            record = record.model_copy(update={"outcome": record.outcome.model_copy(update={"curves": higher})})
        return record, predictions

    study.finished = hopeless
    found = find(StudyRecords.load(study.write()))
    notes = {row.name: row.entries[0].note for row in pace_table(found).rows}
    assert notes["p4 G-CNN"].startswith("1 of 2 never, ")
    assert "never" not in notes["CNN"]
    times = {row.name: row.entries[0] for row in time_table(found).rows}
    assert times["p4 G-CNN"].note == "1 of 2 never"
    assert times["CNN"].note == ""


def test_the_time_to_the_same_loss_is_that_of_the_epochs(findings):
    arm = findings.primary.b
    paces = findings.paces(arm, 100)
    seconds = np.median([pace.epochs * pace.seconds for pace in paces if pace.epochs is not None])
    shown = {row.name: row.entries[0].value for row in time_table(findings).rows}
    assert shown[arm.label] == duration(seconds)


def test_without_the_size_of_a_batch_there_is_no_pace(fake_study, tmp_path):
    study = fake_study(tmp_path, sizes=[100], seeds=[0])
    info = study.info()
    study.info = lambda: info.model_copy(update={"settings": {}})
    assert pace_table(find(StudyRecords.load(study.write()))).rows == ()


@pytest.fixture(scope="module")
def nodules(fake_detection, tmp_path_factory):
    return fake_detection(tmp_path_factory.mktemp("nodules"), sizes=[100, 300], seeds=[0, 1]).write()


def test_the_page_of_a_study_of_detection_speaks_of_nodules_and_candidates(nodules):
    page = build_report(nodules).read_text(encoding="utf-8")
    assert "FROC curves" in re.findall(r"<h2>([^<]*)</h2>", page)
    assert "averaged over training sets of 100 and 300 candidates" in page
    assert "On the rotated test nodules" in page
    assert "AUC of candidates on the training candidates" in page
    assert not re.search("test images|training images|labelled images", page)


def test_the_froc_table_has_both_readings_and_the_interval_of_a_run(nodules):
    findings = find(StudyRecords.load(nodules))
    (first, *_) = froc_table(findings, 300).rows
    line, nearest, interval = (float(entry.value) for entry in first.entries)
    outcomes = findings.outcomes(findings.arms[0], 300)
    assert line == pytest.approx(100 * np.mean([o.froc.cpm for o in outcomes]), abs=0.06)
    assert nearest < line
    low, high = map(float, first.entries[2].note.split(" to "))
    assert low < interval < high


def test_curves_are_drawn_where_there_are_some(nodules, findings):
    assert froc_curves(findings) == ""
    assert "false positives a scan" in froc_curves(find(StudyRecords.load(nodules)))
    froc = find(StudyRecords.load(nodules)).outcomes(findings.arms[0], 300)[0].froc
    assert "CPM 50 %" in one_curve(froc, "CPM 50 %")
