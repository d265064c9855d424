"""Figures whose axes depend on what is in them: ROC curves and the names of the elements."""

from dataclasses import replace

import numpy as np
import pytest

from isotypic.reports.figures import _corner_floor, measure_by_rotation, roc_curves
from isotypic.reports.findings import find
from isotypic.reports.page import render
from isotypic.reports.pictures import Pictures
from isotypic.studies.folder import StudyRecords
from isotypic.studies.records import Roc

RATES = np.linspace(0, 1, 21)


def curve(power):
    """A curve of area 1 / (1 + power)."""
    return Roc(false_positive_rate=RATES.tolist(), true_positive_rate=(RATES**power).tolist())


@pytest.fixture
def findings(fake_study, tmp_path):
    """A study of two classes."""
    study = fake_study(tmp_path, sizes=[100, 300], seeds=[0], classes=["normal", "tumour"])
    return find(StudyRecords.load(study.write()))


def with_curves(findings, roc):
    """The same findings, every run with a curve."""
    records = [
        record.model_copy(update={"outcome": record.outcome.model_copy(update={"roc": roc})})
        for record in findings.study.records
    ]
    return replace(findings, study=replace(findings.study, records=tuple(records)))


def test_curves_are_drawn_where_there_are_some_and_the_page_names_the_positive_class(findings):
    assert roc_curves(findings) == ""
    assert "ROC" not in render(findings, Pictures())
    page = render(with_curves(findings, curve(0.2)), Pictures())
    assert "<h2>ROC curves</h2>" in page
    assert "ranked by the probability of “tumour”" in page


def test_the_corner_reaches_down_to_the_curves():
    assert _corner_floor([[curve(0.05)], []]) == pytest.approx(0.55)
    assert _corner_floor([[curve(0.05)], [curve(1)]]) == 0
    assert _corner_floor([[curve(0.5)]]) == pytest.approx(0.2)


@pytest.mark.parametrize(("names", "upwards"), [(("0°", "90°", "180°", "270°"), 0), (("mirror 270°",) * 8, 16)])
def test_long_names_of_elements_stand_upright(names, upwards, findings):
    study = findings.study
    predictions = {
        cell: replace(each, elements=names, scores=np.resize(each.scores, (len(names), len(each.images))))
        for cell, each in study.predictions.items()
    }
    drawn = measure_by_rotation(replace(findings, study=replace(study, predictions=predictions)))
    assert drawn.count("rotate(-90") == 1 + upwards  # and the label of the vertical axis
