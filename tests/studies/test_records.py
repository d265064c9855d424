"""What a study records, and its folder."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from isotypic.errors import RequestError
from isotypic.studies.folder import StudyRecords, read_record, read_study, table, write_record, write_study
from isotypic.studies.predictions import Predictions, read_predictions
from isotypic.studies.records import (
    ArmRef,
    Cell,
    Cost,
    Curves,
    Measure,
    Outcome,
    Question,
    Record,
    Scores,
    StudyInfo,
    slug,
)

ELEMENTS = ("0°", "90°")
SCORES = Scores(figures={"accuracy": 0.75, "AUC": None, "sensitivity": 0.7}, confusion=[[2, 1], [0, 1]])
ARMS = [ArmRef(model=model, augmentation="none") for model in ("CNN", "p4 G-CNN")]
CELL = Cell(model="p4 G-CNN", augmentation="none", size=100, seed=0)


def curves(**changed):
    fields = {
        "score": "accuracy",
        "step": [1],
        "train_loss": [float("nan")],
        "train_score": [0.5],
        "validation_loss": [1],
        "validation_score": [0],
    }
    return Curves(**{**fields, **changed})


def outcome(**changed):
    fields = {
        "group": "C4",
        "train": SCORES,
        "tests": {"rotated": SCORES, "upright": SCORES},
        "per_rotation": {"0°": 0.75, "90°": 0.5},
        "changed_images": 1,
        "overfitting_ratio": 1.1,
        "curves": curves(),
        "cost": Cost(parameters=10, train_seconds=1.5, steps=1, latency_ms=0.2),
        "equivariance_error": 1e-15,
    }
    return Outcome(**{**fields, **changed})


def done(cell=CELL):
    return Record(cell=cell, status="done", outcome=outcome())


def predictions(images=(0, 1, 1, 0), scores=((1, 0.8, 0, 1), (1, 0.3, 0, 1))):
    return Predictions(np.array(images), ELEMENTS, np.array(scores, dtype=float))


def info(**changed):
    fields = {
        "name": "tiny",
        "title": "Tiny",
        "description": "A study of two cells.",
        "question": Question(
            built_in=ArmRef(model="p4 G-CNN", augmentation="none"),
            augmented=ArmRef(model="CNN", augmentation="none"),
        ),
        "measure": Measure(name="accuracy", better="is more accurate", prediction="class"),
        "models": ["CNN", "p4 G-CNN"],
        "augmentations": ["none"],
        "sizes": [100],
        "seeds": [0],
        "classes": ["a", "b"],
        "data": {},
        "settings": {},
        "environment": {},
    }
    return StudyInfo(**{**fields, **changed})


def write_cells(folder, cells, each=predictions):
    for cell in cells:
        write_record(folder / "cells" / cell.identifier, done(cell), each())


def test_what_is_written_is_read(tmp_path):
    write_record(tmp_path, done(), predictions())
    assert read_record(tmp_path).model_dump_json() == done().model_dump_json()
    stored = read_predictions(tmp_path)
    assert stored.elements == ELEMENTS
    np.testing.assert_array_equal(stored.scores, predictions().scores)
    np.testing.assert_array_equal(stored.images, predictions().images)


def test_images_may_be_told_apart_by_their_names(tmp_path):
    names = ("a.png", "b.png", "ç.png", "a long name.png")
    write_record(tmp_path, done(), predictions(images=names))
    assert tuple(read_predictions(tmp_path).images) == names


def test_of_drawn_elements_the_upright_one_is_none_of_the_rotated():
    scores = np.array([[1, 0, 1, 1], [0, 0, 1, 0]], dtype=float)
    drawn, whole = (Predictions(np.arange(4), ELEMENTS, scores, drawn) for drawn in (True, False))
    assert drawn.of("rotated").tolist() == [0, 0, 1, 0]
    assert drawn.of("upright").tolist() == whole.of("upright").tolist() == [1, 0, 1, 1]
    assert whole.of("rotated").tolist() == [0.5, 0, 1, 0.5]


def test_parts_and_wholes_come_back_and_no_part_exceeds_its_whole(tmp_path):
    counts = np.array([[[[1, 2]], [[0, 0]]], [[[2, 2]], [[3, 7]]]], dtype=float)
    write_record(tmp_path, done(), Predictions(np.arange(2), ELEMENTS, counts, drawn=True))
    stored = read_predictions(tmp_path)
    assert stored.drawn
    assert np.array_equal(stored.of("rotated"), counts[1])
    with pytest.raises(RequestError, match=r"expected the measure of every image in \[0, 1\], received 2"):
        Predictions(np.arange(2), ELEMENTS, counts[..., ::-1])


def test_a_diverged_loss_survives_the_round_trip(tmp_path):
    write_record(tmp_path, done())
    assert np.isnan(read_record(tmp_path).outcome.curves.train_loss[0])


@pytest.mark.parametrize(("caption", "pictures"), [("one row", {"examples": "one row"}), (None, {})])
def test_a_record_of_before_pictures_had_names_has_one(caption, pictures, tmp_path):
    write_record(tmp_path, done())
    raw = json.loads((tmp_path / "record.json").read_text())
    del raw["outcome"]["pictures"]
    (tmp_path / "record.json").write_text(json.dumps({**raw, "outcome": {**raw["outcome"], "examples": caption}}))
    found = read_record(tmp_path)
    assert found.outcome.pictures == pictures
    write_record(tmp_path, found)
    assert read_record(tmp_path).outcome.pictures == pictures
    with pytest.raises(ValidationError, match="samples"):
        Outcome.model_validate({**raw["outcome"], "samples": caption})


def test_the_record_is_written_last(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_record(tmp_path, done(), predictions())
    assert list(tmp_path.iterdir()) == []


def test_an_image_counts_by_its_mean_over_the_elements():
    np.testing.assert_allclose(predictions().of("rotated"), [1, 0.55, 0, 1])
    np.testing.assert_allclose(predictions().of("upright"), [1, 0.8, 0, 1])


def test_predictions_of_another_shape_are_refused():
    with pytest.raises(RequestError, match=r"images \(3,\), scores \(2, 4\) for 2 elements"):
        predictions(images=(0, 1, 1))


@pytest.mark.parametrize("wrong", [1.01, -0.1, float("nan")])
def test_a_measure_outside_its_range_is_refused(wrong):
    with pytest.raises(RequestError, match=rf"measure of every image in \[0, 1\], received {wrong}"):
        predictions(scores=((1, 1, 1, 1), (1, 1, wrong, 1)))


def test_identifiers_are_unique_over_the_grid():
    study = info(models=["CNN", "p4 G-CNN"], augmentations=["none", "rot90"], sizes=[50, 100], seeds=[0, 1])
    names = [cell.identifier for cell in study.cells()]
    assert len(set(names)) == len(names) == 16


GRID = {"models": ["CNN", "p4 G-CNN"], "augmentations": ["none", "rot90"], "sizes": [50, 100], "seeds": [0, 1]}
LISTED = [ArmRef(model="CNN", augmentation="rot90"), *reversed(ARMS)]


def test_the_grid_is_the_listed_arms_in_their_order():
    study = info(**GRID, arms=LISTED)
    assert list(dict.fromkeys(cell.arm for cell in study.cells())) == LISTED
    assert len(set(study.cells())) == len(study.cells()) == 12
    assert type(study).model_validate_json(study.model_dump_json()).cells() == study.cells()


def test_a_file_without_arms_is_of_every_model_with_every_augmentation(tmp_path):
    stored = json.loads(info(**GRID).model_dump_json())
    del stored["arms"]
    (tmp_path / "study.json").write_text(json.dumps(stored))
    assert read_study(tmp_path) == info(**GRID)
    assert len(read_study(tmp_path).cells()) == 16
    assert read_study(tmp_path) != info(**GRID, arms=LISTED)


def test_cells_of_arms_that_are_not_listed_are_neither_missing_nor_read(tmp_path):
    whole, part = info(**GRID), info(**GRID, arms=LISTED)
    others = [cell for cell in whole.cells() if cell.arm not in LISTED]
    write_cells(tmp_path, whole.cells())
    for study, expected in ((part, part.cells()), (whole, whole.cells())):
        write_study(tmp_path, study)
        loaded = StudyRecords.load(tmp_path)
        assert sorted((record.cell for record in loaded.records), key=str) == sorted(expected, key=str)
        assert loaded.missing() == []
    assert len(others) == 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"models": ["p4 G-CNN", "p4 g cnn", "CNN"]}, "different folder names"),
        ({"sizes": [100, 50]}, "sizes must ascend"),
        ({"models": ["p4 G-CNN"]}, "unknown arm in study.question 'CNN'"),
        ({"arms": ARMS[:1]}, "expected an arm with every model, received none with 'p4 G-CNN'"),
        ({"arms": [*ARMS, *ARMS]}, "expected every arm of the study once, received 'CNN' again"),
        ({"arms": [*ARMS, ArmRef(model="CNN", augmentation="d4")]}, "unknown augmentation in study.arms 'd4'"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_an_inconsistent_study_is_refused(changed, message):
    with pytest.raises(ValidationError, match=message):
        info(**changed)


@pytest.mark.parametrize(
    "fields",
    [{"status": "done"}, {"status": "failed"}, {"status": "failed", "error": "x", "outcome": outcome()}],
)
def test_a_contradictory_record_is_refused(fields):
    with pytest.raises(ValidationError, match="needs"):
        Record(cell=CELL, **fields)


def test_another_schema_is_refused():
    with pytest.raises(ValidationError, match="schema_version 3: this isotypic reads 2"):
        Record(schema_version=3, cell=CELL, status="failed", error="x")


def test_files_of_the_first_schema_are_refused_by_their_version(tmp_path):
    text = "schema_version 1: this isotypic reads 2; run the study again in another folder"
    old = {**json.loads(done().model_dump_json()), "schema_version": 1}
    old["outcome"]["disagreeing_images"] = old["outcome"].pop("changed_images")
    (tmp_path / "record.json").write_text(json.dumps(old))
    with pytest.raises(RequestError, match=text) as caught:
        read_record(tmp_path)
    assert "disagreeing_images\n" not in str(caught.value)
    study = json.loads(info().model_dump_json(exclude={"schema_version", "measure"}))
    (tmp_path / "study.json").write_text(json.dumps(study))
    with pytest.raises(RequestError, match=text):
        read_study(tmp_path)


def test_curves_of_unequal_length_are_refused():
    with pytest.raises(ValidationError, match="one entry a recording"):
        curves(step=[1, 2])


def test_curves_without_a_score_say_so(tmp_path):
    nothing = [float("nan")]
    assert not curves(train_score=nothing, validation_score=nothing).scored
    assert curves(train_score=nothing).scored
    write_record(tmp_path, Record(cell=CELL, status="done", outcome=outcome(curves=curves(train_score=nothing))))
    assert np.isnan(read_record(tmp_path).outcome.curves.train_score[0])


def test_long_names_are_cut_and_stay_apart():
    names = [slug("steerable " * 30 + end) for end in "ab"]
    assert max(map(len, names)) <= 60
    assert names[0] != names[1]


def test_a_name_without_letters_is_refused():
    with pytest.raises(RequestError, match="no letter or digit"):
        slug("→")


def test_loading_tells_done_failed_and_missing_apart(tmp_path):
    study = info(seeds=[0, 1])
    write_study(tmp_path, study)
    cells = study.cells()
    write_cells(tmp_path, cells[:2])
    write_record(tmp_path / "cells" / cells[2].identifier, Record(cell=cells[2], status="failed", error="no"))
    outside = Cell(model="CNN", augmentation="none", size=100, seed=9)
    write_cells(tmp_path, [outside])
    loaded = StudyRecords.load(tmp_path)
    arm = ArmRef(model="CNN", augmentation="none")
    assert [record.cell for record in loaded.done(arm)] == cells[:2]
    assert [record.cell for record in loaded.failed()] == [cells[2]]
    assert loaded.missing() == [cells[3]]
    assert list(loaded.scores(arm, 100, "rotated")) == [0, 1]
    np.testing.assert_allclose(loaded.scores(arm, 100, "upright")[1], [1, 0.8, 0, 1])


def test_cells_tested_on_different_images_are_refused(tmp_path):
    study = info()
    write_study(tmp_path, study)
    write_cells(tmp_path, study.cells()[:1])
    write_cells(tmp_path, study.cells()[1:], lambda: predictions(images=(1, 1, 1, 0)))
    with pytest.raises(RequestError, match="tested on different images"):
        StudyRecords.load(tmp_path)


def test_no_study_and_no_record_are_said(tmp_path):
    with pytest.raises(RequestError, match=r"holds no study\.json"):
        StudyRecords.load(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(RequestError, match=r"record\.json cannot be read as Record"):
        read_record(tmp_path)
    (tmp_path / "predictions.npz").write_text("not an archive")
    with pytest.raises(RequestError, match="cannot be read as predictions"):
        read_predictions(tmp_path)


def test_the_table_has_a_row_a_cell():
    rows = table([done(), Record(cell=CELL, status="failed", error="no memory")], "accuracy")
    assert list(rows["status"]) == ["done", "failed"]
    assert rows.loc[0, "rotated_accuracy"] == 0.75
    assert rows.loc[0, "accuracy at 90°"] == 0.5
    assert rows.loc[0, "parameters"] == 10
    assert np.isnan(rows.loc[1, "rotated_accuracy"])
    assert rows.loc[1, "error"] == "no memory"


def test_the_table_speaks_of_the_measure_and_holds_every_figure():
    scores = Scores(figures={"Dice": 0.8, "AP at IoU .5": None})
    measured = outcome(train=scores, tests={"rotated": scores}, figures={"differing pixels (%)": 0.25})
    rows = table([Record(cell=CELL, status="done", outcome=measured)], "Dice")
    assert rows.loc[0, "rotated_dice"] == 0.8
    assert rows.loc[0, "rotated_ap at iou .5"] is None
    assert rows.loc[0, "dice at 90°"] == 0.5
    assert rows.loc[0, "differing pixels (%)"] == 0.25
    assert not [column for column in rows.columns if "accuracy" in column]
