"""From patches to slides and patients."""

import math

import numpy as np
import pytest

from isotypic.errors import RequestError
from isotypic.inference.slide_scores import (
    Aggregate,
    Scoring,
    patient_by_name,
    patient_by_pattern,
    patient_by_table,
    patient_table,
    read_patches,
    slide_table,
)

CLASSES = ("normal", "tumour")
PATCHES = np.array([0.1, 0.95, 0.2, 0.6, 0.3, 0.4, 0.5, 0.0, 0.0, 0.85])


@pytest.mark.parametrize(
    ("words", "score", "name"),
    [
        ({}, 0.95, "tumour"),
        ({"share": 0.2}, 0.9, "tumour"),
        ({"share": 1.0}, PATCHES.mean(), "normal"),
        ({"aggregate": Aggregate.MAXIMUM}, 0.95, "tumour"),
        ({"aggregate": Aggregate.MAXIMUM, "threshold": 0.96}, 0.95, "normal"),
        ({"aggregate": "area"}, 0.4, "normal"),
        ({"aggregate": "area", "threshold": 0.3}, 0.6, "tumour"),
        ({"classes": ("a", "b", "c"), "positive": 2}, 0.95, "c"),
        ({"classes": ("a", "b", "c"), "positive": 2, "threshold": 0.99}, 0.95, "not c"),
    ],
)
def test_scores(words, score, name):
    scoring = Scoring(**{"classes": CLASSES, **words})
    for order in (PATCHES, PATCHES[::-1]):
        assert scoring.score(order) == pytest.approx(score)
    assert scoring.class_of(scoring.score(PATCHES)) == name


@pytest.mark.parametrize("aggregate", list(Aggregate))
def test_no_tissue_no_score(aggregate):
    scoring = Scoring(CLASSES, aggregate=aggregate)
    assert math.isnan(scoring.score(np.array([])))
    assert scoring.class_of(math.nan) == ""


def test_tables_of_slides_and_patients():
    scoring = Scoring(CLASSES, aggregate=Aggregate.MAXIMUM)
    found = {"a/1.tif": np.array([0.2]), "a/2.tif": np.array([0.7]), "b/1.tif": np.array([]), "c.tif": np.array([0.4])}
    slides = slide_table(found, scoring, patient_by_name)
    assert list(slides.columns) == ["file", "patient", "patches", "score", "class"]
    assert slides["class"].tolist() == ["normal", "tumour", "", "normal"]
    patients = patient_table(slides, scoring).set_index("patient")
    assert patients["class"].to_dict() == {"a": "tumour", "b": "", "c": "normal"}
    assert patients["slides"].to_dict() == {"a": 2, "b": 1, "c": 1}
    assert patients.score["a"] == 0.7
    assert math.isnan(patients.score["b"])
    assert len(patient_table(slides[:0], scoring)) == 0


def test_patients(tmp_path):
    assert patient_by_pattern(r"^([A-Z]+)-")("TCGA-01.svs") == "TCGA"
    with pytest.raises(RequestError, match=r"x.svs: expected a name in which '.*' finds the patient"):
        patient_by_pattern("[0-9]")("x.svs")
    with pytest.raises(RequestError, match=r"--patient-pattern to be a regular expression, received '\('"):
        patient_by_pattern("(")
    table = tmp_path / "patients.csv"
    table.write_text("file,patient\na.svs,007\nb.svs,8\n")
    assert patient_by_table(table)("a.svs") == "007"
    with pytest.raises(RequestError, match=r"patients.csv: expected a row for the slide c.svs"):
        patient_by_table(table)("c.svs")
    table.write_text("file,patient\na.svs,007\na.svs,8\n")
    with pytest.raises(RequestError, match=r"lists 'a.svs' twice"):
        patient_by_table(table)
    table.write_text("file,person\na.svs,007\n")
    with pytest.raises(RequestError, match="unknown column 'patient'"):
        patient_by_table(table)


def test_patches_are_read_by_place(tmp_path):
    (tmp_path / "p.csv").write_text("x,y,width,height,microns,x,y\n0,0,32,32,,0.25,0.75\n")
    assert read_patches(tmp_path / "p.csv", ("x", "y"), 1).tolist() == [0.75]
    for broken in ("x\n1\n", ""):
        (tmp_path / "p.csv").write_text(broken)
        with pytest.raises(RequestError, match=r"p.csv: .*remove it"):
            read_patches(tmp_path / "p.csv", ("x", "y"), 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"aggregate": "tops"}, "unknown aggregate 'tops': did you mean 'top'"),
        ({"threshold": 1.2}, "expected a threshold from 0 to 1 and a share above 0 to 1, received 1.2 and 0.1"),
        ({"share": 0.0}, "received 0.5 and 0"),
    ],
)
def test_impossible_scores(words, message):
    with pytest.raises(RequestError, match=message):
        Scoring(CLASSES, **words)
