"""Scans of every format are what was written, with their geometry; what cannot be right is refused by name."""

import gzip
import locale
import re
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from scans import DIRECTIONS, image, scan_of, voxels, write_series

from isotypic.data.readers.scan import SUFFIXES, read_scan, scan_state
from isotypic.errors import RequestError

SLICES = voxels((6, 9, 8))
EVEN = [(-10.0, 5.0, 30 + 2.5 * i) for i in range(6)]


def same_geometry(one, other):
    return all(np.allclose(getattr(one, name), getattr(other, name)) for name in ("origin", "spacing", "direction"))


def refused(path, message, **how):
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        read_scan(path, **how)
    assert str(caught.value).startswith(str(path)) or "slices of different" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("direction", ["flipped in the plane", "oblique"])
def test_voxels_and_geometry_of_every_format(tmp_path, suffix, direction):
    written = image(voxels(), direction)
    sitk.WriteImage(written, str(tmp_path / f"1.3.6{suffix}"))
    found = read_scan(tmp_path / f"1.3.6{suffix}")
    assert found.name == "1.3.6"
    assert found.voxels.dtype == np.int16
    assert np.array_equal(found.voxels, voxels())
    assert np.allclose(found.geometry.steps, scan_of(written).geometry.steps, atol=1e-5)
    assert np.allclose(found.geometry.origin, written.GetOrigin(), atol=1e-5)


@pytest.mark.parametrize("folded", [False, True], ids=["in order", "backwards"])
def test_a_dicom_series_is_sorted_by_place(tmp_path, folded):
    order = slice(None, None, -1 if folded else 1)
    write_series(tmp_path / "ct", SLICES[order], EVEN[order])
    (tmp_path / "ct" / "readme.txt").write_text("about the scan")
    found = read_scan(tmp_path / "ct")
    assert found.name == "1.2.3.4"
    assert np.array_equal(found.voxels, SLICES)
    assert same_geometry(found.geometry, scan_of(image(SLICES, origin=EVEN[0])).geometry)


def test_the_slices_of_a_tilted_gantry_lie_where_they_say(tmp_path):
    places = [(-10.0, 5 + 0.5 * i, 30 + 2.5 * i) for i in range(6)]
    write_series(tmp_path, SLICES, places)
    found = read_scan(tmp_path)
    starts = found.geometry.world_of([(i, 0, 0) for i in range(6)])
    assert np.allclose(starts, places)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    assert abs(scan_of(reader.Execute()).geometry.world_of((5, 0, 0)) - places[5]).max() > 2, "as ITK reads it"


def test_one_of_two_series_is_chosen_by_name(tmp_path):
    write_series(tmp_path, SLICES, EVEN, uid="1.2.3.5")
    write_series(tmp_path, SLICES + 1, EVEN, uid="1.2.3.6")
    refused(tmp_path, "2 DICOM series; name one with series=: 1.2.3.5, 1.2.3.6")
    refused(tmp_path, "unknown series '1.2.3.7'", series="1.2.3.7")
    assert np.array_equal(read_scan(tmp_path, series="1.2.3.6").voxels, SLICES + 1)


def without_the_third():
    return np.delete(SLICES, 2, 0), EVEN[:2] + EVEN[3:]


def moved(number, place):
    return SLICES, [place if i == number else other for i, other in enumerate(EVEN)]


SERIES = {
    "a slice is missing": (
        without_the_third(),
        "slices are missing: 5 mm between 1.2.3.4-01.dcm and 1.2.3.4-02.dcm, 2.5 mm elsewhere",
    ),
    "a slice is beside its place": (
        moved(3, (-10.0, 5.0, 38.2)),
        "the slices are unevenly far apart: 3.2 mm between 1.2.3.4-02.dcm and 1.2.3.4-03.dcm, 2.5 mm elsewhere",
    ),
    "two at one place": (moved(4, EVEN[3]), "two slices at one place, between"),
    "all at one place": ((SLICES, EVEN[:1] * 6), "two slices at one place, between"),
}


@pytest.mark.parametrize(("series", "message"), SERIES.values(), ids=SERIES)
def test_a_broken_series_is_refused_with_its_gap(tmp_path, series, message):
    refused(write_series(tmp_path, *series), message)


def test_a_damaged_slice_is_refused_wherever_it_lies(tmp_path):
    write_series(tmp_path, SLICES, EVEN)
    last = tmp_path / "1.2.3.4-05.dcm"
    last.write_bytes(last.read_bytes()[:200])
    refused(tmp_path, "1.2.3.4-05.dcm cannot be read as DICOM (1 such); fetch it again")


def test_slices_that_differ_are_refused(tmp_path):
    write_series(tmp_path / "sizes", SLICES[:3], EVEN[:3])
    write_series(tmp_path / "sizes", SLICES[:1, :7], EVEN[4:5])  # in place of the first slice
    refused(tmp_path / "sizes", "slices of different sizes: ")
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", "no DICOM series in this folder")
    write_series(tmp_path / "one", SLICES[:1], EVEN[:1])
    refused(tmp_path / "one", "expected a volume of two voxels at least along z, y and x, received [1, 9, 8]")


def written(array, name):
    return lambda folder: sitk.WriteImage(image(array), str(folder / name))


def cut(name, kept=0.5, of=None):
    """A file of which a share is kept."""

    def spoil(folder):
        written(voxels(), name)(folder)
        path = folder / (of or name)
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])

    return spoil


def without_voxels(folder):
    written(voxels(), "a.mhd")(folder)
    (folder / "a.raw").unlink()


def filled(value, name="a.mha", at=None):
    array = voxels().astype(np.float32)
    array[at if at is not None else ...] = value
    return written(array, name)


def repacked(folder):
    """A packed file that is whole, of a volume that is not."""
    cut("a.nii")(folder)
    (folder / "a.nii.gz").write_bytes(gzip.compress((folder / "a.nii").read_bytes()))


def four_axes(folder):
    sitk.WriteImage(sitk.JoinSeries([image(voxels()), image(voxels())]), str(folder / "a.nii"))


def colours(folder):
    sitk.WriteImage(sitk.Compose([image(voxels())] * 3), str(folder / "a.mha"))


WRONG = {
    "not there": ("a.mhd", lambda folder: None, "no such file"),
    "another format": ("a.png", lambda folder: (folder / "a.png").touch(), "expected a scan: one of .mhd, .mha, .nii,"),
    "voxels are missing": ("a.mhd", without_voxels, "the file of its voxels, a.raw, is missing"),
    "voxels cut short": (
        "a.mhd",
        cut("a.mhd", of="a.raw"),
        "a.mhd: cut short: its header says 16016 bytes, received 8008",
    ),
    "no header": ("a.mhd", cut("a.mhd", 0), "cannot be read as a scan (Unable to determine ImageIO reader for"),
    "mha cut short": ("a.mha", cut("a.mha"), "cannot be read as a scan ("),
    "nrrd cut short": ("a.nrrd", cut("a.nrrd"), "cannot be read as a scan (Read: Error reading"),
    "nifti cut short": ("a.nii", cut("a.nii"), "cut short: its header says 16368 bytes, received 8184"),
    "packed nifti cut short": ("a.nii.gz", cut("a.nii.gz"), "cut short or damaged ("),
    "short nifti packed": ("a.nii.gz", repacked, "cut short: its header says 16368 bytes, received 8184"),
    "NaN": ("a.mha", filled(np.nan, at=(3, slice(2), 1)), "2 of 8008 voxels are NaN or infinite; repair the scan"),
    "infinite": ("a.mha", filled(-np.inf, at=(3, 2, 1)), "1 of 8008 voxels are NaN or infinite"),
    "constant": ("a.mha", filled(-1024), "all voxels are -1024: the scan is empty"),
    "four axes": ("a.nii", four_axes, "expected a volume (x, y, z), received 4 axes of [22, 26, 14, 2] voxels"),
    "a plane": ("a.nii", lambda f: sitk.WriteImage(image(voxels())[:, :, 2], str(f / "a.nii")), "received 2 axes"),
    "colours": ("a.mha", colours, "expected one number a voxel, received 3; save one channel of it"),
    "complex": ("a.mha", written(voxels().astype(np.complex64), "a.mha"), "expected one number a voxel, received 2"),
}


@pytest.mark.parametrize(("name", "make", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_right_is_refused(tmp_path, name, make, message):
    make(tmp_path)
    refused(tmp_path / name, message)


def test_the_state_changes_with_the_voxels_beside_the_header(tmp_path):
    written(voxels(), "a.mhd")(tmp_path)
    before = scan_state(tmp_path / "a.mhd")
    assert scan_state(tmp_path / "a.mhd") == before
    (tmp_path / "a.raw").write_bytes((tmp_path / "a.raw").read_bytes() + b"0")
    assert scan_state(tmp_path / "a.mhd") != before
    (tmp_path / "a.raw").unlink()
    with pytest.raises(RequestError, match=r"the file of its voxels, a\.raw, is missing"):
        scan_state(tmp_path / "a.mhd")


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    written(voxels(), "a.nii")(tmp_path)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    refused(tmp_path / "a.nii", "scans need the extra volumes: pip install isotypic[volumes]")
    refused(tmp_path, "scans need the extra volumes")


def test_directions_are_proper_or_not():
    assert {round(np.linalg.det(direction)) for direction in DIRECTIONS.values()} == {1, -1}


def test_reading_leaves_the_locale_of_the_process_alone(tmp_path):
    before = locale.setlocale(locale.LC_ALL)
    read_scan(write_series(tmp_path / "series", SLICES, EVEN))
    assert locale.setlocale(locale.LC_ALL) == before
