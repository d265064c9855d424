"""Running, killing, resuming and refusing studies, with real worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from isotypic.errors import RequestError
from isotypic.inference.run import load_run
from isotypic.reports.build import build_report
from isotypic.studies.cell import run_cell
from isotypic.studies.folder import StudyRecords, cell_folder, read_record, read_study
from isotypic.studies.predictions import read_predictions
from isotypic.studies.runner import LOCK_FILE, claim, run, unfinished, write_table
from isotypic.studies.spec import make_plan, plan_from
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.workers import Ended, run_cells
from isotypic.tasks.recipe import read_recipe, with_request

SMALL = [
    "training.steps=6",
    "training.evaluations=3",
    "model.stages=[[4], [4]]",
    "study.sizes=[20, 40]",
    "study.seeds=2",
]
TIMES = ["train_seconds", "latency_ms"]


def figures(folder):
    """The study's table without what a clock measured."""
    return pd.read_csv(write_table(folder)).drop(columns=TIMES)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small study, run to its end in two processes."""

    small = [
        "training.steps=6",
        "training.evaluations=3",
        "model.stages=[[4], [4]]",
        "study.sizes=[20, 40]",
        "study.seeds=2",
    ]
    folder = tmp_path_factory.mktemp("study")
    plan = make_plan(with_request(read_recipe("digits"), None, small), folder / "cache")
    claim(folder, plan.info)
    events = list(run(folder, plan, workers=2))
    return folder, plan, events


def test_every_cell_ends_once_and_is_recorded(finished):
    folder, plan, events = finished
    ended = [event.cell for event in events if isinstance(event, Ended)]
    assert sorted(ended, key=str) == sorted(plan.cells, key=str)
    assert not unfinished(folder, plan.cells)
    assert len(figures(folder)) == 16
    assert not list(folder.glob("cells/*/.*"))


def test_the_group_network_does_not_change_under_the_group(finished):
    folder, plan, _ = finished
    for cell in plan.cells:
        outcome = read_record(cell_folder(folder, cell)).outcome
        assert list(outcome.per_rotation) == ["0°", "90°", "180°", "270°"]
        if cell.model == "p4 G-CNN":
            assert outcome.changed_images == 0
            assert outcome.equivariance_error < 1e-10
            assert len(set(outcome.per_rotation.values())) == 1
        else:
            assert outcome.changed_images > 0
            assert outcome.equivariance_error > 1e-3


def test_a_cell_is_a_run_that_predicts_what_was_recorded(finished):
    folder, plan, _ = finished
    data = system_of(plan.recipe).material(plan.recipe, folder / "cache")
    images, labels = (array[data.splits.test] for array in (data.images.images, data.images.labels))
    upright = set()
    for cell in plan.cells:
        trained, recorded = load_run(cell_folder(folder, cell)), read_predictions(cell_folder(folder, cell))
        assert np.array_equal(recorded.images, labels)
        assert np.array_equal(recorded.scores[0], trained.probabilities(images).argmax(1).numpy() == labels)
        upright.add(recorded.scores[0].tobytes())
    assert len(upright) > 1, "all runs say the same: this test could not tell them apart"


def test_the_same_cell_gives_the_same_figures(finished, tmp_path):
    folder, plan, _ = finished
    claim(tmp_path, plan.info)
    again, before = run_cell(tmp_path, plan.cells[3]), read_record(cell_folder(folder, plan.cells[3]))
    assert again.outcome.tests == before.outcome.tests
    assert again.outcome.curves == before.outcome.curves


def test_a_killed_study_resumes_to_the_same_table(finished, tmp_path):
    """SIGKILL half-way; the second run does only what is missing, and the table is that of the whole run."""
    whole, _, _ = finished
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "isotypic.cli.main", "study", "digits", "--out", str(folder), "--workers", "2"]
    command += [word for assignment in SMALL for word in ("--set", assignment)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for(lambda: len(list(folder.glob("cells/*/record.json"))) >= 4)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/record.json")}
    assert 4 <= len(before) < 16
    time.sleep(1.0)
    before |= {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/record.json") if path not in before}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    pd.testing.assert_frame_equal(figures(folder), figures(whole))
    assert (folder / "report.html").exists()


def _wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the study did not get going"
        time.sleep(0.02)


def test_two_processes_do_not_run_one_study(finished, tmp_path):
    _, plan, _ = finished
    claim(tmp_path, plan.info)
    with FileLock(tmp_path / LOCK_FILE), pytest.raises(RequestError, match="another process runs this study"):
        next(run(tmp_path, plan, workers=1))


def test_workers_take_no_more_threads_than_allowed(finished, tmp_path, monkeypatch):
    _, plan, _ = finished
    claim(tmp_path, plan.info)
    asked = []
    monkeypatch.setattr(
        "isotypic.studies.runner.run_cells", lambda *_, threads, **__: asked.append(threads) or iter(())
    )
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for allowed, workers in ((8, 2), (3, 2), (8, 16)):
        monkeypatch.setattr("torch.get_num_threads", lambda allowed=allowed: allowed)
        list(run(tmp_path, plan, workers=workers))
    assert asked == [4, 3, 1]


def test_a_cell_that_fails_is_recorded_and_the_others_go_on(finished, tmp_path):
    _, plan, _ = finished
    claim(tmp_path, plan.info)
    outside, inside = plan.cells[0].model_copy(update={"size": 99999}), plan.cells[1]
    events = list(run_cells(tmp_path, [outside, inside], workers=1, threads=1, device="cpu"))
    assert [event.error is None for event in events if isinstance(event, Ended)] == [False, True]
    record = read_record(cell_folder(tmp_path, outside))
    assert record.status == "failed"
    assert "RequestError: expected training sizes from 10" in record.error
    assert unfinished(tmp_path, [outside, inside]) == [outside]


def test_a_worker_that_dies_costs_one_cell(finished, tmp_path):
    _, plan, _ = finished
    claim(tmp_path, plan.info)
    events, killed = [], False
    for event in run(tmp_path, plan, workers=1):
        if not killed:
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            os.kill(int(workers[-1]), signal.SIGKILL)
            killed = True
        if isinstance(event, Ended):
            events.append(event)
            if len(events) == 3:
                break
    assert "SIGKILL" in events[0].error
    assert [event.error for event in events[1:]] == [None, None]


def test_folders_of_others_are_refused(finished, tmp_path, small_study):
    folder, plan, _ = finished
    claim(folder, plan.info)
    other = make_plan(small_study("training.steps=7"), tmp_path / "cache")
    with pytest.raises(
        RequestError, match=r"holds another study \(its training.steps is 6, asked for 7\); give another --out"
    ):
        claim(folder, other.info)
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(RequestError, match=r"expected an empty folder or this study at .*, found 'photo.png'"):
        claim(tmp_path, other.info)
    assert not (tmp_path / "study.json").exists()


def test_other_words_are_the_same_study(tmp_path, small_study):
    folder = tmp_path / "study"
    for words in (["title=First", "description=as drafted"], ["title=Second", "description=as corrected"]):
        claim(folder, make_plan(small_study(*words), tmp_path / "cache").info)
    stored = read_study(folder)
    assert (stored.title, stored.description) == ("Second", "as corrected")
    claim(folder, plan_from(stored).info)


def arms(*labels):
    """An assignment of the digits study's arms."""
    known = {
        f"{model}{suffix}": f"{{model: {model}, augmentation: {augmentation}}}"
        for model in ("CNN", "p4 G-CNN")
        for augmentation, suffix in (("none", ""), ("rot90", " + rot90"))
    }
    return f"study.arms=[{', '.join(known[label] for label in labels)}]"


THREE = ("CNN", "CNN + rot90", "p4 G-CNN")


def test_listed_arms_are_run_and_reported(tmp_path, small_study):
    plan = make_plan(small_study(arms(*THREE), "study.sizes=[20]", "study.seeds=1"), tmp_path / "cache")
    folder = tmp_path / "study"
    claim(folder, plan.info)
    assert [cell.arm.label for cell in unfinished(folder, plan.cells)] == list(THREE)
    for cell in plan.cells:
        run_cell(folder, cell)
    assert not unfinished(folder, plan.cells)
    assert list(figures(folder)["model"]) == ["CNN", "CNN", "p4 G-CNN"]
    assert sorted(path.name for path in (folder / "cells").iterdir()) == sorted(c.identifier for c in plan.cells)
    assert "3 of 3 cells recorded" in build_report(folder).read_text()


def test_other_arms_are_another_study(tmp_path, small_study):
    plan = make_plan(small_study(arms(*THREE)), tmp_path / "cache")
    claim(tmp_path / "study", plan.info)
    claim(tmp_path / "study", make_plan(small_study(arms(*THREE)), tmp_path / "cache").info)
    for other in ("study.arms=null", arms(*reversed(THREE)), arms(*THREE, "p4 G-CNN + rot90")):
        changed = make_plan(small_study(other), tmp_path / "cache")
        with pytest.raises(RequestError, match=r"its arms is \['CNN', 'CNN \+ rot90', 'p4 G-CNN'\], asked for \['"):
            claim(tmp_path / "study", changed.info)


def test_a_folder_from_before_arms_could_be_listed_goes_on(tmp_path, small_study):
    plan = make_plan(small_study(), tmp_path / "cache")
    claim(tmp_path / "study", plan.info)
    stored = json.loads((tmp_path / "study" / "study.json").read_text())
    del stored["arms"], stored["settings"]["study"]["arms"]
    (tmp_path / "study" / "study.json").write_text(json.dumps(stored))
    claim(tmp_path / "study", plan.info)
    assert plan_from(read_study(tmp_path / "study")).cells == plan.cells
    listed = make_plan(small_study(arms(*THREE)), tmp_path / "cache")
    with pytest.raises(RequestError, match="holds another study"):
        claim(tmp_path / "study", listed.info)


def test_a_folder_from_before_a_figure_was_shown_goes_on_and_shows_it(tmp_path, small_study):
    plan = make_plan(small_study(), tmp_path / "cache")
    claim(tmp_path / "study", plan.info.model_copy(update={"further": []}))
    claim(tmp_path / "study", plan.info)
    assert read_study(tmp_path / "study").further == ["AUC", "sensitivity", "specificity"]


def test_a_folder_from_before_a_setting_was_there_goes_on(tmp_path, small_study):
    plan = make_plan(small_study(), tmp_path / "cache")
    claim(tmp_path / "study", plan.info)
    stored = json.loads((tmp_path / "study" / "study.json").read_text())
    assert stored["settings"]["model"].pop("dropout") == 0
    (tmp_path / "study" / "study.json").write_text(json.dumps(stored))
    claim(tmp_path / "study", plan.info)
    other = make_plan(small_study("model.dropout=0.5"), tmp_path / "cache")
    with pytest.raises(RequestError, match=r"its model.dropout is 0.0, asked for 0.5"):
        claim(tmp_path / "study", other.info)


def test_records_load_as_a_study(finished):
    folder, _, _ = finished
    study = StudyRecords.load(folder)
    assert not study.missing()
    assert not study.failed()
