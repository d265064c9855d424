"""Tables of points are read to the last digit and refused by line; a set of candidates knows its scans."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotypic.data.image_set import ImageSet
from isotypic.data.scans.candidates import CLASS, CLASSES, DIAMETER, CandidateSet, Points, read_points, write_points
from isotypic.errors import RequestError

HEADER = "seriesuid,coordX,coordY,coordZ,class\n"


@pytest.fixture
def table(tmp_path):
    def write(text):
        (tmp_path / "candidates.csv").write_text(text)
        return tmp_path / "candidates.csv"

    return write


def test_points_are_read_in_the_order_of_the_table(table):
    found = read_points(table(HEADER + "1.3.6.2,-12.5,3,1e2,1\n1.3.6.10, 0.25 ,-0,7.125,0\n"), CLASS)
    assert found.scan.tolist() == ["1.3.6.2", "1.3.6.10"]
    assert found.position.tolist() == [[-12.5, 3, 100], [0.25, 0, 7.125]]
    assert found.value.tolist() == [1, 0]
    assert found[np.array([False, True])].scan.tolist() == ["1.3.6.10"]


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    return tmp_path_factory.mktemp("marks") / "marks.csv"


@settings(max_examples=20)
@given(rows=st.lists(st.tuples(st.sampled_from(["1.3.6.2", "1.3.6.10", "01"]), *[FINITE] * 4), min_size=1, max_size=9))
def test_what_is_written_is_read_to_the_last_digit(marks, rows):
    numbers = np.array([row[1:] for row in rows])
    points = Points(np.array([row[0] for row in rows]), numbers[:, :3], numbers[:, 3])
    assert write_points(marks, points).read_text().startswith("seriesuid,coordX,coordY,coordZ,probability\n")
    again = read_points(marks, "probability")
    for name in ("scan", "position", "value"):
        assert np.array_equal(getattr(again, name), getattr(points, name))


WRONG = {
    "a column is missing": ("seriesuid,coordX,coordY,class\n1,2,3,0\n", "unknown column 'coordZ': did you mean 'coord"),
    "no class": ("seriesuid,coordX,coordY,coordZ\n1,2,3,4\n", "unknown column 'class'"),
    "no rows": (HEADER, "the table has no rows; expected one row a point"),
    "nothing": ("", "cannot be read as a CSV file"),
    "no number": (HEADER + "a,1,2,3,0\na,1,two,3,0\n", "line 3: expected a number in column 'coordY', received 'two'"),
    "NaN": (HEADER + "a,1,nan,3,0\n", "line 2: expected a number in column 'coordY', received 'nan' (1 such)"),
    "infinite": (HEADER + "a,1,2,inf,0\n", "line 2: expected a number in column 'coordZ', received 'inf'"),
    "an empty cell": (HEADER + "a,1,2,,0\n", "line 2 has an empty cell in column 'coordZ'"),
    "no scan": (HEADER + ",1,2,3,0\n", "line 2 has an empty cell in column 'seriesuid'"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_wrong_tables_are_refused_by_line(table, text, message):
    path = table(text)
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        read_points(path, CLASS)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_table_without_rows_where_that_is_sensible(table):
    found = read_points(table(HEADER.replace("class", DIAMETER)), DIAMETER, least=0)
    assert (len(found), found.position.shape) == (0, (0, 3))


SCANS = np.array(["a", "a", "b", "b"])
IMAGES = ImageSet("lungs", np.zeros((4, 1, 2, 3, 3), np.float16), np.array([0, 1, 1, 0]), CLASSES, subjects=SCANS)
WHOLE = {
    "patches": IMAGES,
    "position": np.zeros((4, 3)),
    "nodules": Points(np.array(["c"]), np.zeros((1, 3)), np.ones(1)),
    "excluded": Points.none(),
    "scans": ("a", "b", "c"),
    "outside": 0,
}


def test_a_set_of_candidates():
    found = CandidateSet(**WHOLE, scan_split=np.array(["train", "test", "test"]))
    assert len(found) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": np.zeros((3, 3))}, "expected a position (x, y, z) [4, 3] a patch, received [3, 3]"),
        ({"scans": ("a", "b", "c", "a")}, "expected the names of different scans"),
        ({"scans": ("a", "c")}, "'b' is not among its 2 scans"),
        ({"scans": ("a", "b")}, "'c' is not among its 2 scans"),
        ({"scan_split": np.array(["train"])}, "expected a part a scan [3]"),
        ({"scan_split": np.array(["train", "dev", "test"])}, "received 'dev'"),
        ({"patches": ImageSet("lungs", IMAGES.images, IMAGES.labels, CLASSES)}, "expected the scan of every patch"),
    ],
)
def test_sets_that_disagree_are_refused(change, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        CandidateSet(**WHOLE | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": np.zeros((1, 2))}, "received [1], [1, 2] and [1]"),
        ({"value": np.zeros(2)}, "received [1], [1, 3] and [2]"),
        ({"value": np.array([np.nan])}, "expected points with finite numbers, received NaN or infinity"),
    ],
)
def test_points_that_disagree_are_refused(change, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        Points(**{"scan": np.array(["a"]), "position": np.zeros((1, 3)), "value": np.zeros(1)} | change)
