"""LUNA16: every candidate has the patch around its point, whatever was interrupted; wrong folders are named."""

import os
import re
import shutil
import signal
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scans import LUNA, image, voxels, write_luna, write_series, write_table

from isotypic.data.catalogue import load_candidates, recognise_candidates
from isotypic.data.config import CandidateDataConfig
from isotypic.data.readers.scan import read_scan
from isotypic.data.scans import extraction
from isotypic.data.scans.patches import Lattice, Patches
from isotypic.data.splits import split
from isotypic.errors import RequestError

LATTICE = Lattice((4, 5, 5), (1.25, 0.9, 0.9))


@pytest.fixture
def folder(tmp_path):
    write_luna(tmp_path / "luna")
    return tmp_path / "luna"


def config(folder, **changes):
    return CandidateDataConfig(path=folder, size=LATTICE.size, spacing=LATTICE.spacing, **changes)


def loaded(folder, progress=None, **changes):
    return load_candidates(config(folder, **changes), folder.parent / "cache", progress)


def rows_of(found):
    """The candidates of a set, as the table has them."""
    scans, labels = found.patches.subjects.tolist(), found.patches.labels.tolist()
    return [(scan, *place, label) for scan, place, label in zip(scans, found.position.tolist(), labels, strict=True)]


def test_candidates_patches_and_findings(tmp_path):
    rows = write_luna(tmp_path / "luna")
    assert recognise_candidates(tmp_path / "luna") == "luna16"
    found = loaded(tmp_path / "luna")
    assert rows_of(found) == rows
    assert found.patches.classes == ("other", "nodule")
    assert isinstance(found.patches.images, np.memmap)
    assert (found.patches.images.dtype, found.patches.images.shape) == (np.float16, (18, 1, *LATTICE.size))
    outside = 0
    for name, (subset, _) in list(LUNA.items())[:3]:
        mine = found.patches.subjects == name
        patches = Patches(read_scan(tmp_path / "luna" / f"subset{subset}" / f"{name}.mhd"), LATTICE)
        assert np.array_equal(found.patches.images[mine], patches.at(found.position[mine]))
        outside += patches.outside(found.position[mine]).sum()
    assert found.outside == outside
    assert 0 < outside < 18
    assert found.scans == tuple(LUNA)
    assert (len(found.nodules), set(found.nodules.value)) == (8, {6.5})
    assert (found.excluded.scan.tolist(), found.excluded.value.tolist()) == (["1.3.6.1"], [-1])
    assert (found.patches.split, found.scan_split) == (None, None)


def test_a_split_by_subsets(folder):
    found = loaded(folder, test_subsets=[1, 3], validation_subsets=[2])
    parts = dict(zip(found.patches.subjects.tolist(), found.patches.split.tolist(), strict=True))
    assert parts == {"1.3.6.1": "train", "1.3.6.2": "test", "1.3.6.3": "validation"}
    assert found.scan_split.tolist() == ["train", "test", "validation", "test"]


def test_without_subsets_the_split_is_by_scan(folder):
    found = loaded(folder, test_fraction=0.34, validation_fraction=0.5)
    splits = split(found.patches, config(folder, test_fraction=0.34, validation_fraction=0.5))
    scans = [set(found.patches.subjects[rows]) for rows in (splits.train, splits.validation, splits.test)]
    assert [len(names) for names in scans] == [1, 1, 1]


def test_some_of_the_negatives(folder):
    named = {"test_subsets": [3]}
    every, some = loaded(folder), loaded(folder, negatives=2, **named)
    assert set(rows_of(some)) < set(rows_of(every))
    for name in list(LUNA)[:3]:
        assert np.bincount(some.patches.labels[some.patches.subjects == name]).tolist() == [2, 2]
    assert rows_of(loaded(folder, negatives=2, **named)) == rows_of(some)
    others = [rows_of(loaded(folder, negatives=2, negatives_seed=seed, **named)) for seed in (1, 2, 3)]
    assert any(rows != rows_of(some) for rows in others)
    shutil.rmtree(folder / "subset1")
    fewer = rows_of(loaded(folder, negatives=2, missing="skip", **named))
    assert fewer == [row for row in rows_of(some) if row[0] != "1.3.6.2"], "the choice in a scan depends on no other"


def test_negatives_are_not_left_out_of_a_test_that_nobody_named(folder):
    with pytest.raises(RequestError, match=r"none are named: set data.test_subsets, or data.negatives=null"):
        loaded(folder, negatives=2)


def test_all_negatives_of_the_test_are_kept(folder):
    """False positives a scan are counted on them."""
    found = loaded(folder, negatives=1, test_subsets=[2])
    counts = [int((found.patches.labels[found.patches.subjects == name] == 0).sum()) for name in LUNA]
    assert counts == [1, 1, 4, 0]


def test_scans_without_a_file_are_refused_or_left_out(folder):
    shutil.rmtree(folder / "subset2")
    with pytest.raises(RequestError, match=r"no file of scan '1\.3\.6\.3', in which 8 points lie \(1 such scans\)"):
        loaded(folder)
    found = loaded(folder, missing="skip")
    assert (found.scans, len(found)) == (("1.3.6.1", "1.3.6.2", "1.3.6.4"), 12)
    assert set(found.nodules.scan) == set(found.scans)


def test_masks_of_the_same_name_are_no_scans(folder):
    before = loaded(folder)
    (folder / "seg-lungs-LUNA16").mkdir()
    sitk.WriteImage(image(voxels()), str(folder / "seg-lungs-LUNA16" / "1.3.6.2.mhd"))
    assert np.array_equal(loaded(folder).patches.images, before.patches.images)


def test_a_candidate_outside_is_padded_and_counted(folder):
    inside = loaded(folder)
    rows = [*rows_of(inside), ("1.3.6.2", 900.0, 0.0, 0.0, 0)]
    write_table(folder / "candidates_V2.csv", rows, "class")
    found = loaded(folder)
    assert found.outside == inside.outside + 1
    assert (found.patches.images[-1] == -1).all()
    assert np.array_equal(found.patches.images[:-1], inside.patches.images)


def test_patches_are_cut_once_until_something_changes(folder, monkeypatch):
    first, told = loaded(folder), []
    monkeypatch.setattr(extraction, "read_scan", told.append)
    again = loaded(folder)
    assert (again.outside, told) == (first.outside, [])
    assert np.array_equal(again.patches.images, first.patches.images)
    monkeypatch.undo()
    loaded(folder, window=(-900, 300))
    os.utime(folder / "subset1" / "1.3.6.2.raw", ns=(0, 0))
    loaded(folder)
    assert len(list((folder.parent / "cache").glob("patches-*.npy"))) == 3
    assert not list((folder.parent / "cache").glob("*.part"))


def killed(folder):
    """Load in a process that dies amid the second scan, its first patches written wrongly."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    torch.set_num_threads(1)  # a forked process has lost the others
    honest, count = extraction._cut, []

    def dying(array, what, name):
        if count:
            array[what.rows[name][:3]] = 7
            array.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        count.append(name)
        return honest(array, what, name)

    extraction._cut = dying
    loaded(folder)
    os._exit(1)


def test_a_killed_extraction_goes_on_and_leaves_no_half_patches(folder, tmp_path, monkeypatch):
    assert killed(folder) == signal.SIGKILL
    (part,) = (tmp_path / "cache").glob("patches-*.part")
    assert (np.load(part) == 7).any()
    assert not list((tmp_path / "cache").glob("*.npy"))
    read, said = [], []
    monkeypatch.setattr(extraction, "read_scan", lambda path: read.append(path.stem) or read_scan(path))
    found = loaded(folder, lambda *come: said.append(come))
    assert read == ["1.3.6.2", "1.3.6.3"]
    assert said == [(1, 3), (2, 3), (3, 3)]
    whole = load_candidates(config(folder), tmp_path / "other")
    assert np.array_equal(found.patches.images, whole.patches.images)
    assert found.outside == whole.outside


def test_lines_without_their_array_are_not_believed(folder, tmp_path):
    whole = load_candidates(config(folder), tmp_path / "other").patches.images
    assert killed(folder) == signal.SIGKILL
    (part,) = (tmp_path / "cache").glob("patches-*.part")
    part.unlink()
    assert np.array_equal(loaded(folder).patches.images, whole)
    next((tmp_path / "cache").glob("*.done")).write_text("1.3.6.1\t")
    assert np.array_equal(loaded(folder).patches.images, whole), "a line without its end"


def test_two_at_once_cut_once(folder, monkeypatch):
    read = []
    monkeypatch.setattr(extraction, "read_scan", lambda path: read.append(path.stem) or read_scan(path))
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda _: loaded(folder), range(2))
    assert np.array_equal(one.patches.images, other.patches.images)
    assert len(read) == 3


def test_a_small_disk_is_refused_before_anything_is_written(folder, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(18 * 200 - 1))
    message = r"18 patches \[1, 4, 5, 5\] need 0\.0 GB, 0\.0 GB are free; keep fewer candidates with --set data\.neg"
    with pytest.raises(RequestError, match=message):
        loaded(folder)
    assert not list((folder.parent / "cache").glob("*.part"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(18 * 200))
    assert len(loaded(folder)) == 18


def without(pattern):
    def spoil(folder):
        for path in folder.rglob(pattern):
            path.unlink()

    return spoil


def table(name, *lines):
    return lambda folder: (folder / name).write_text("\n".join(lines) + "\n")


def damaged(folder):
    path = folder / "subset1" / "1.3.6.2.raw"
    path.write_bytes(path.read_bytes()[:100])


def empty_scan(folder):
    sitk.WriteImage(image(np.full((9, 14, 12), -1024, np.int16)), str(folder / "subset1" / "1.3.6.2.mhd"))


HEADER = "seriesuid,coordX,coordY,coordZ,class"
WRONG = {
    "no scans": (without("*.mhd"), {}, "no scans; expected subset0/<seriesuid>.mhd and the like"),
    "no candidates": (without("candidates*"), {}, "no candidates_V2.csv or candidates.csv; expected it in the folder"),
    "no nodules": (without("annotations.csv"), {}, "no annotations.csv; expected it in the folder or below"),
    "no voxels": (without("1.3.6.2.raw"), {}, "1.3.6.2.mhd: the file of its voxels, 1.3.6.2.raw, is missing"),
    "voxels cut short": (damaged, {}, "1.3.6.2.mhd: cut short: its header says 3024 bytes, received 100"),
    "an empty scan": (empty_scan, {}, "1.3.6.2.mhd: all voxels are -1024"),
    "two of one scan": (
        lambda folder: shutil.copytree(folder / "subset1", folder / "subset7"),
        {},
        "two files of one scan: ",
    ),
    "two tables": (
        lambda folder: [shutil.copytree(folder / "CSVFILES", folder / "old")],
        {},
        "two tables, CSVFILES/annotations.csv and old/annotations.csv; keep one of them",
    ),
    "a missing column": (table("candidates_V2.csv", "seriesuid,coordX,coordY,class", "a,1,2,0"), {}, "'coordZ'"),
    "a class of 2": (
        table("candidates_V2.csv", HEADER, "1.3.6.1,1,2,3,1", "1.3.6.1,1,2,3,2"),
        {},
        "line 3: expected the class 0 or 1, received 2",
    ),
    "one class": (table("candidates_V2.csv", HEADER, "1.3.6.1,1,2,3,1"), {}, "one class only: all 1 images are"),
    "all scans are missing": (
        table("candidates_V2.csv", HEADER, "5.5,1,2,3,1"),
        {"missing": "skip"},
        "none of the 1 points lies in one of the 4 scans",
    ),
    "no such subset": (
        lambda folder: None,
        {"test_subsets": [8]},
        "no scans in a folder subset8; there are subset0, subset1, subset2, subset3",
    ),
    "a file": (lambda folder: [shutil.rmtree(folder), folder.write_text("a")], {}, "no such folder; expected that of"),
    "no path": (lambda folder: None, {"path": None}, "needs a path to its folder: give --data PATH"),
    "another name": (lambda folder: None, {"dataset": "luna"}, "unknown data set 'luna': did you mean 'luna16'"),
}


@pytest.mark.parametrize(("spoil", "changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_folders_are_named(folder, spoil, changes, message):
    spoil(folder)
    given = config(folder).model_copy(update=changes)
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        load_candidates(given, folder.parent / "cache")
    assert "\n" not in str(caught.value)
    assert not list((folder.parent / "cache").glob("*.npy"))


def test_excluded_findings_may_be_absent_or_none(folder):
    (folder / "annotations_excluded.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
    assert len(loaded(folder).excluded) == 0
    (folder / "annotations_excluded.csv").unlink()
    assert len(loaded(folder).excluded) == 0


@pytest.mark.parametrize("what", ["another folder", "a file", "nothing"])
def test_other_paths_are_not_recognised(tmp_path, what):
    path = tmp_path / "there"
    if what == "another folder":
        write_series(path, voxels((3, 4, 4)), [(0, 0, i) for i in range(3)])
    elif what == "a file":
        path.write_text("a")
    with pytest.raises(RequestError, match=f"expected a folder with scans and candidates_V2.csv .* received {what}"):
        recognise_candidates(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": (300, -1000)}, "window: expected (low, high) with low < high"),
        ({"test_subsets": [1, 2], "validation_subsets": [2]}, "expected different subsets, received 2 twice"),
        ({"negatives": 0}, "greater than or equal to 1"),
        ({"size": (12, 72)}, "Field required"),
        ({"spacing": (1, 0, 1)}, "greater than 0"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        CandidateDataConfig(**change)
