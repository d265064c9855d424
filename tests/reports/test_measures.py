"""Studies that are decided by another measure than accuracy: the same page, in the measure's words."""

import re

import pytest

from isotypic.reports.build import build_report
from isotypic.reports.figures import learning_curves
from isotypic.reports.findings import find
from isotypic.reports.matrices import confusion_matrices
from isotypic.reports.tables import further_tables
from isotypic.reports.verdict import judge
from isotypic.studies.folder import StudyRecords


def found(study):
    return find(StudyRecords.load(study.write()))


def headings(page):
    return re.findall(r"<h2>([^<]*)</h2>", page)


def test_the_page_speaks_of_its_measure_alone(fake_segmentation, fake_study, tmp_path):
    small = {"sizes": [100, 300], "seeds": [0, 1]}
    page = build_report(fake_segmentation(tmp_path / "dice", **small).write()).read_text(encoding="utf-8")
    assert not re.search("accura|predicted class|change class", page, re.IGNORECASE)
    assert "the p4\u00a0G-CNN has a higher Dice than the CNN\u00a0+\u00a0rot90 by" in page
    assert "change segmentation when rotated" in page
    assert headings(page) == [
        "Dice",
        "Dice against training-set size",
        "What the symmetry is worth in labels",
        "Data efficiency of every arm",
        "Learning curves",
        "Overfitting",
        "Dice under each rotation",
        "Further figures",
        "Cost",
        "Epochs to the same loss",
        "How exact the symmetry is",
        "Paired comparisons",
        "Settings",
        "How to read this",
    ]
    other = build_report(fake_study(tmp_path / "accuracy", **small).write()).read_text(encoding="utf-8")
    assert re.search("accura|predicted class|change class", other, re.IGNORECASE)


def test_a_name_keeps_its_capitals(fake_segmentation, tmp_path):
    study = fake_segmentation(tmp_path, sizes=[100], seeds=[0])
    info = study.info()
    named = info.measure.model_copy(update={"name": "AP at IoU .5", "better": "has a higher AP at IoU .5"})
    study.info = lambda: info.model_copy(update={"measure": named, "further": []})
    page = build_report(study.write()).read_text(encoding="utf-8")
    assert headings(page)[:2] == ["AP at IoU .5", "AP at IoU .5 of every arm"]
    assert "has a higher AP at IoU .5 than" in page


def test_the_verdict_rests_on_the_measure_of_every_image(fake_segmentation, tmp_path):
    findings = found(fake_segmentation(tmp_path, sizes=[100], seeds=[0, 1]))
    scores = {
        arm: [findings.study.scores(arm, 100, "rotated")[seed].mean() for seed in (0, 1)]
        for arm in (findings.primary.a, findings.primary.b)
    }
    gain = sum(scores[findings.primary.a]) / 2 - sum(scores[findings.primary.b]) / 2
    assert findings.primary.overall.estimate == pytest.approx(gain)
    assert 0.05 < gain < 0.15
    assert judge(findings).headline == "Building the symmetry in was better."


def test_without_classes_there_is_no_confusion(fake_segmentation, fake_study, tmp_path):
    small = {"sizes": [100], "seeds": [0]}
    assert confusion_matrices(found(fake_segmentation(tmp_path / "a", **small)), 100) == ""
    assert "predicted class" in confusion_matrices(found(fake_study(tmp_path / "b", **small)), 100)


def test_without_scores_the_learning_curves_show_the_loss_alone(fake_segmentation, tmp_path):
    small = {"sizes": [100], "seeds": [0]}
    drawn = {
        scored: learning_curves(found(fake_segmentation(tmp_path / str(scored), scored=scored, **small)))
        for scored in (True, False)
    }
    assert "foreground Dice (%)" in drawn[True]
    assert "foreground Dice (%)" not in drawn[False]
    assert all(">loss<" in figure for figure in drawn.values())
    assert not re.search(r"\bnan\b", drawn[False], re.IGNORECASE)


def test_further_figures_are_means_over_the_seeds(fake_segmentation, fake_study, tmp_path):
    small = {"sizes": [100], "seeds": [0, 1]}
    rotated, upright, runs = further_tables(found(fake_segmentation(tmp_path / "a", **small)), 100)
    assert (rotated.title, upright.title) == ("Rotated test images", "Upright test images")
    assert rotated.columns == ("AP at IoU .5", "PQ")
    assert [entry.value for entry in rotated.rows[0].entries] == ["50.0", "–"]
    assert runs.columns == ("differing pixels (%)",)
    assert {row.name: row.entries[0].value for row in runs.rows} == {
        "CNN": "0.255",
        "CNN + rot90": "0.255",
        "p4 G-CNN": "0",
        "p4 G-CNN + rot90": "0",
    }
    assert further_tables(found(fake_study(tmp_path / "b", **small)), 100) == []


def test_examples_of_the_declared_arms_are_shown_at_the_largest_size(fake_segmentation, tmp_path):
    study = fake_segmentation(tmp_path, sizes=[100, 300], seeds=[0, 1])
    folder = study.write()
    for cell in study.info().cells():
        (folder / "cells" / cell.identifier / "examples.png").write_bytes(cell.identifier.encode())
    (folder / "cells" / "p4-g-cnn__none__n0300__seed0" / "examples.png").unlink()
    page = build_report(folder).read_text(encoding="utf-8")
    shown = re.findall(r'src="data:image/png;base64,([^"]*)"', page)
    assert [_decoded(text) for text in shown] == ["p4-g-cnn__none__n0300__seed1", "cnn__rot90__n0300__seed0"]
    assert "p4 G-CNN, 300 training images: image, truth, prediction, difference after rotation." in page
    assert headings(page)[1] == "Examples"


def _decoded(text):
    from base64 import b64decode

    return b64decode(text).decode()
