"""Small scans in files: of any geometry, by SimpleITK, and DICOM series slice by slice."""

import locale
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from isotypic.data.readers.scan import Scan
from isotypic.data.scans.geometry import Geometry

SHAPE = (14, 26, 22)

OBLIQUE = Rotation.from_euler("zyx", (25, -10, 15), degrees=True).as_matrix()
DIRECTIONS = {
    "identity": np.eye(3),
    "flipped in the plane": np.diag((-1.0, -1, 1)),
    "flipped along z": np.diag((1.0, 1, -1)),
    "axes exchanged": np.array([[0.0, 0, 1], [-1, 0, 0], [0, 1, 0]]),
    "oblique": OBLIQUE,
    "oblique and flipped": OBLIQUE @ np.diag((1.0, -1, 1)),
}


def voxels(shape=SHAPE, seed=0):
    """Values of int16 that clip at both ends of the window."""
    return np.random.default_rng(seed).integers(-1200, 500, shape).astype(np.int16)


def image(array, direction="identity", spacing=(0.7, 0.8, 2.5), origin=(-30.0, 12.5, 40.0)):
    found = sitk.GetImageFromArray(array)
    found.SetSpacing(spacing)
    found.SetOrigin(origin)
    found.SetDirection(DIRECTIONS[direction].ravel().tolist())
    return found


def scan_of(found, name="a"):
    geometry = Geometry(found.GetOrigin(), found.GetSpacing(), found.GetDirection())
    return Scan(name, sitk.GetArrayFromImage(found), geometry)


@contextmanager
def same_locale():
    """Keep the process's locale, which SimpleITK changes to C when it writes DICOM: files are ASCII then, to Python."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


@same_locale()
def write_series(folder, array, positions, uid="1.2.3.4", orientation=(1, 0, 0, 0, 1, 0)):
    """Write slices [z, y, x] at positions (x, y, z), one file each; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    row, column = np.array(orientation, dtype=float).reshape(2, 3)
    for number, (pixels, place) in enumerate(zip(array, positions, strict=True)):
        one = sitk.GetImageFromArray(pixels[None])
        one.SetSpacing((0.7, 0.8, 1.0))
        one.SetDirection(np.column_stack([row, column, np.cross(row, column)]).ravel().tolist())
        one.SetOrigin(tuple(map(float, place)))
        tags = {
            "0008|0060": "CT",
            "0020|000e": uid,
            "0020|000d": "1.2.3",
            "0008|0018": f"{uid}.{number + 1}",
            "0020|0032": "\\".join(map(str, place)),
            "0020|0037": "\\".join(map(str, orientation)),
            "0028|1052": "-1000",
            "0028|1053": "1",
        }
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}-{number:02}.dcm"))
        writer.Execute(one)
    return folder


LUNA = {
    "1.3.6.1": (0, "flipped in the plane"),
    "1.3.6.2": (1, "identity"),
    "1.3.6.3": (2, "oblique"),
    "1.3.6.4": (3, "identity"),
}
"""Scans of a small LUNA16 by their names: subset and direction. The last has no candidate, and one nodule."""


def write_luna(folder, each=6):
    """Write a small LUNA16; return its candidates (scan, x, y, z, class) in the order of the table.

    Every third candidate is a nodule. The table is not sorted by scans.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, nodules = [], []
    for number, (name, (subset, direction)) in enumerate(LUNA.items()):
        found = image(voxels((9, 14, 12), number), direction, (0.7, 0.7, 1.5))
        (folder / f"subset{subset}").mkdir(exist_ok=True)
        sitk.WriteImage(found, str(folder / f"subset{subset}" / f"{name}.mhd"))
        index = np.random.default_rng(number).uniform((2, 3, 3), (6, 10, 8), (each, 3))
        places = scan_of(found).geometry.world_of(index).round(4).tolist()
        nodules += [(name, *place, 6.5) for place in places[::3]]
        rows += [(name, *place, int(i % 3 == 0)) for i, place in enumerate(places)] if number < 3 else []
    rows = [rows[i] for i in np.random.default_rng(9).permutation(len(rows))]
    write_table(folder / "candidates_V2.csv", rows, "class")
    write_table(folder / "CSVFILES" / "annotations.csv", nodules, "diameter_mm")
    write_table(folder / "annotations_excluded.csv", [("1.3.6.1", 1.0, 2.0, 3.0, -1)], "diameter_mm")
    return rows


def write_table(path, rows, value):
    path.parent.mkdir(exist_ok=True)
    lines = [f"seriesuid,coordX,coordY,coordZ,{value}", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
