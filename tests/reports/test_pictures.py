"""Which pictures of the cells the page shows: of the declared arms, the first seed that left an explained one."""

from base64 import b64decode

import pytest

from isotypic.reports.findings import find
from isotypic.reports.pictures import embedded, pictures
from isotypic.studies.folder import StudyRecords, read_record, write_record

ARMS = {"p4 G-CNN": "p4-g-cnn__none", "CNN + rot90": "cnn__rot90"}


@pytest.fixture
def folder(fake_segmentation, tmp_path):
    """A study of two seeds in which every cell has left a picture of its own name."""
    study = fake_segmentation(tmp_path / "study", sizes=[100], seeds=[0, 1])
    place = study.write()
    for cell in study.info().cells():
        (place / "cells" / cell.identifier / "examples.png").write_bytes(cell.identifier.encode())
    return place


def cells(folder):
    return pictures(folder, find(StudyRecords.load(folder))).cells


def shown(folder, name="examples"):
    found = cells(folder).get(name, ())
    return {picture.name: b64decode(picture.address.split(",")[1]).decode() for picture in found}


def test_the_declared_arms_alone_show_their_first_seed(folder):
    assert shown(folder) == {name: f"{arm}__n0100__seed0" for name, arm in ARMS.items()}


def test_a_cell_that_left_no_picture_is_passed_over(folder):
    for seed in (0, 1):
        (folder / "cells" / f"cnn__rot90__n0100__seed{seed}" / "examples.png").unlink()
    (folder / "cells" / "p4-g-cnn__none__n0100__seed0" / "examples.png").unlink()
    assert shown(folder) == {"p4 G-CNN": "p4-g-cnn__none__n0100__seed1"}


def test_a_picture_that_nobody_explains_is_not_shown(folder):
    for arm in ARMS.values():
        place = folder / "cells" / f"{arm}__n0100__seed0"
        record = read_record(place)
        silent = record.outcome.model_copy(update={"pictures": {}})
        write_record(place, record.model_copy(update={"outcome": silent}))
    assert shown(folder) == {name: f"{arm}__n0100__seed1" for name, arm in ARMS.items()}


def test_the_caption_is_that_of_the_cell(folder):
    assert {picture.caption for picture in cells(folder)["examples"]} == {
        "image, truth, prediction, difference after rotation"
    }


@pytest.mark.parametrize(("name", "kind"), [("a.png", "png"), ("a.JPG", "jpeg"), ("a.svg", "svg+xml")])
def test_a_data_address_says_what_it_holds(name, kind, tmp_path):
    (tmp_path / name).write_bytes(b"picture")
    assert embedded(tmp_path, name) == f"data:image/{kind};base64,cGljdHVyZQ=="
