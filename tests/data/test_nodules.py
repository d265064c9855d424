"""Synthetic scans with nodules: the layout of LUNA16, the same from the same seed, and nothing but shape to go by."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from isotypic.data.config import NodulesConfig
from isotypic.data.synthetic import chest, nodules
from isotypic.data.synthetic.chest import plan, tissue_of, voxels
from isotypic.data.synthetic.findings import DIAMETERS, Kind, draw, draw_oriented
from isotypic.data.synthetic.nodules import ANNOTATIONS, CANDIDATES, EXCLUDED, write
from isotypic.data.synthetic.shapes import Grid, fill
from isotypic.errors import RequestError

sitk = pytest.importorskip("SimpleITK", reason="needs the extra volumes")

SMALL = {"size": (32, 48, 48), "nodules": (1, 2), "distractors": (2, 3), "excluded": (1, 1)}


def config(**changes):
    return NodulesConfig(**{**SMALL, "scans": 11, "test_scans": 2, **changes})


def made(folder, **changes):
    calls = []
    before = write(config(**changes), folder, lambda done, total: calls.append((done, total)))
    return before, calls


def table(folder, name):
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def place(row):
    return [float(row[f"coord{axis}"]) for axis in "XYZ"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("nodules")
    assert made(root) == (0, [(n, 13) for n in range(14)])
    return root


class TestFolder:
    def test_the_layout_is_that_of_luna16(self, folder):
        scans = sorted(path.relative_to(folder).as_posix() for path in folder.glob("subset*/*.mhd"))
        assert scans == sorted(
            [f"subset{n % 9}/train-0-{n:05}.mhd" for n in range(11)] + [f"subset9/test-0-{n:05}.mhd" for n in range(2)]
        )
        assert all((folder / scan).with_suffix(".raw").is_file() for scan in scans)
        assert not list(folder.rglob(".*"))
        names = {Path(scan).stem for scan in scans}
        for name, last in ((ANNOTATIONS, "diameter_mm"), (EXCLUDED, "diameter_mm"), (CANDIDATES, "class")):
            rows = table(folder, name)
            assert list(rows[0]) == ["seriesuid", "coordX", "coordY", "coordZ", last]
            assert {row["seriesuid"] for row in rows} == names
        nodule = [row for row in table(folder, CANDIDATES) if row["class"] == "1"]
        assert len(nodule) == len(table(folder, ANNOTATIONS))
        assert {float(row["diameter_mm"]) == -1 for row in table(folder, EXCLUDED)} == {True, False}

    def test_positions_fall_on_the_nodules_however_the_scan_lies(self, folder):
        turned, beside = set(), []
        for path in sorted(folder.glob("subset*/*.mhd")):
            image = sitk.ReadImage(str(path))
            pixels, inside = sitk.GetArrayFromImage(image), []
            direction = np.array(image.GetDirection()).reshape(3, 3)
            turned.add(direction[0, 0])
            assert direction.tolist() == np.diag([direction[0, 0], direction[0, 0], 1]).tolist()
            for row in table(folder, ANNOTATIONS):
                if row["seriesuid"] == path.stem:
                    x, y, z = image.TransformPhysicalPointToIndex(place(row))
                    inside.append(pixels[z, y, x])
                    beside.append(pixels[z, -1 - y, -1 - x])
            assert min(inside) > -650, path
        assert np.median(beside) < -650, "the control"
        assert turned == {1, -1}

    def test_candidates_hit_their_nodules(self, folder):
        for candidate in table(folder, CANDIDATES):
            distances = [
                np.linalg.norm(np.subtract(place(row), place(candidate))) / (float(row["diameter_mm"]) / 2)
                for row in table(folder, ANNOTATIONS)
                if row["seriesuid"] == candidate["seriesuid"]
            ]
            assert (min(distances) < 1) == (candidate["class"] == "1")

    def test_the_seed_gives_every_byte_and_a_larger_set_keeps_its_scans(self, folder, tmp_path):
        few = {"scans": 3, "test_scans": 1}
        made(tmp_path / "few", **few)
        made(tmp_path / "other", **few, seed=1)
        small, large = contents(tmp_path / "few"), contents(folder)
        scans = [name for name in small if name.startswith("subset")]
        assert len(scans) == 8
        assert all(small[name] == large[name] for name in scans)
        for name in (ANNOTATIONS, EXCLUDED, CANDIDATES):
            assert set(small[name].splitlines()) < set(large[name].splitlines())
        other = contents(tmp_path / "other")
        assert not {other[name] for name in other if name.endswith(".raw")} & {large[name] for name in scans}

    def test_what_was_killed_goes_on_and_a_set_can_be_enlarged(self, folder, tmp_path, monkeypatch):
        def killed(scan):
            if scan.name == "train-0-00002":
                raise KeyboardInterrupt
            return voxels(scan)

        with monkeypatch.context() as patched:
            patched.setattr(nodules, "voxels", killed)
            with pytest.raises(KeyboardInterrupt):
                made(tmp_path, scans=3, test_scans=1)
        assert not (tmp_path / CANDIDATES).exists()
        (tmp_path / "subset2/.train-0-00002").mkdir(parents=True)
        (tmp_path / "subset2/.train-0-00002/train-0-00002.raw").write_bytes(b"half")
        (tmp_path / "subset2/train-0-00002.raw").write_bytes(b"the header is missing")
        states = {path: path.stat().st_mtime_ns for path in tmp_path.glob("subset*/*.mhd")}
        assert made(tmp_path, scans=3, test_scans=1) == (2, [(2, 4), (3, 4), (4, 4)])
        assert made(tmp_path)[0] == 4
        assert {path: path.stat().st_mtime_ns for path in states} == states
        assert contents(tmp_path) == contents(folder)
        assert made(tmp_path) == (13, [(13, 13)])

    def test_tables_do_not_outlive_the_scans_that_they_name(self, tmp_path, monkeypatch):
        made(tmp_path, scans=1, test_scans=1)
        monkeypatch.setattr(nodules, "voxels", lambda scan: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path, scans=2, test_scans=1)
        assert not list(tmp_path.glob("*.csv"))

    def test_wrong_requests_are_refused(self, folder, tmp_path):
        def refused(message, where, **changes):
            before = contents(folder)
            with pytest.raises(RequestError, match=message):
                made(where, **changes)
            assert contents(folder) == before

        refused(
            "holds 1 scans more than are asked for, subset1/train-0-00010 is one; ask for as many", folder, scans=10
        )
        refused("the folder holds files of another request", folder, seed=1)
        (tmp_path / "taken").write_text("a file")
        refused("expected a folder to write to", tmp_path / "taken")
        room = r"expected room for 4\d findings that are 16 mm apart, found it for \d+; ask for fewer"
        refused(room, tmp_path / "full", distractors=(40, 40))
        with pytest.raises(ValidationError, match=r"nodules: expected the least before the most, received \[3, 1\]"):
            NodulesConfig(nodules=(3, 1))

    def test_a_disk_that_is_full_is_said(self, tmp_path, monkeypatch):
        def full(scan):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(nodules, "voxels", full)
        with pytest.raises(RequestError, match=r"No space left on device.*the same command goes on from there"):
            made(tmp_path)


class TestScans:
    def test_scans_look_like_lung(self):
        drawn = [plan(config(), 0, number) for number in range(6)]
        for scan in drawn:
            pixels, tissue = voxels(scan), tissue_of(scan)
            assert pixels.dtype == np.int16
            assert np.median(pixels) == pytest.approx(-850, abs=60)
            assert 40 < pixels[tissue == 0].std() < 110
            assert pixels[tissue > 0.9].mean() > -200
        spacing = np.stack([scan.grid.spacing for scan in drawn])
        assert (spacing[:, 0] == spacing[:, 1]).all()
        assert 0.6 <= spacing[:, 0].min() < spacing[:, 0].max() <= 0.8
        assert 1 <= spacing[:, 2].min() < spacing[:, 2].max() <= 2.5
        shape = drawn[0].grid.shape
        assert np.abs(np.array(shape) * drawn[0].grid.spacing[::-1] - (32, 48, 48)).max() < 2.5

    def test_findings_keep_their_distance_and_their_sizes(self):
        scan = plan(NodulesConfig(), 0, 0)
        centres = np.stack([finding.centre for finding in scan.findings])
        apart = np.linalg.norm(centres[:, None] - centres, axis=2)[np.triu_indices(len(centres), 1)]
        assert apart.min() >= chest._APART
        kinds = [finding.kind for finding in scan.findings]
        assert kinds != sorted(kinds), "their order tells nothing"
        sizes = [finding.diameter for finding in scan.findings if finding.kind is not Kind.EXCLUDED]
        assert DIAMETERS[0] <= min(sizes) < max(sizes) <= DIAMETERS[1]

    def test_the_parts_are_different_scans(self):
        one, other = (voxels(plan(config(), part, 0)) for part in (0, 1))
        assert one.shape != other.shape or (one != other).any()


CUBE = Grid((32, 32, 32), np.ones(3), np.full(3, -15.5), np.ones(3))


def drawn_alone(how, kind, count, seed):
    """Findings of one kind, each alone in a cube: how much tissue is where."""
    generator = np.random.default_rng(seed)
    cubes = np.zeros((count, *CUBE.shape), np.float32)
    for cube in cubes:
        for part in how(kind, np.zeros(3), generator).parts:
            fill(cube, CUBE, part)
    return cubes


def moments(cubes):
    """Sizes and shapes of findings: tissue, mean of the core, second moment, elongation, dipole along z."""
    x, y, z = (np.broadcast_to(c, CUBE.shape).reshape(-1) for c in CUBE.mesh((slice(None),) * 3))
    radius, flat = np.sqrt(x**2 + y**2 + z**2), cubes.reshape(len(cubes), -1)
    near = flat * (radius < 10)
    total = near.sum(axis=1)
    places = np.stack([x, y, z])
    second = np.einsum("ni,ai,bi->nab", near, places, places) / total[:, None, None]
    values = np.linalg.eigvalsh(second)
    return {
        "tissue": total,
        "all": flat.sum(axis=1),
        "ball": flat[:, radius < 6].mean(axis=1),
        "roundness": values[:, 0] / values[:, 2],
        "dipole": near @ z / total,
    }


def auc(first, second, name):
    return roc_auc_score([0] * len(first[name]) + [1] * len(second[name]), np.concatenate([first[name], second[name]]))


@pytest.fixture(scope="module")
def free():
    return [moments(drawn_alone(draw, kind, 100, 0)) for kind in (Kind.DISTRACTOR, Kind.NODULE)]


@pytest.fixture(scope="module")
def oriented():
    return [moments(drawn_alone(draw_oriented, kind, 40, 0)) for kind in (Kind.DISTRACTOR, Kind.NODULE)]


def test_an_oriented_scan_turned_upside_down_is_as_likely():
    """The kinds are drawn one by one, so that no neighbour tells anything; in other scans nodules are rare."""
    shares = []
    for oriented in (True, False):
        kinds = [f.kind for n in range(8) for f in plan(NodulesConfig(oriented=oriented), 0, n).findings]
        nodules, distractors = kinds.count(Kind.NODULE), kinds.count(Kind.DISTRACTOR)
        shares.append(nodules / (nodules + distractors))
    assert shares[0] == pytest.approx(0.5, abs=0.12)
    assert shares[1] < 0.2, "the control"
    generator = np.random.default_rng(0)
    tails = [draw_oriented(Kind.EXCLUDED, np.zeros(3), generator).parts[1].solid.end[2] > 0 for _ in range(20)]
    assert 4 < sum(tails) < 16


class TestFindings:
    def test_grey_tells_little_and_shape_tells_much(self, free):
        for name in ("tissue", "all", "ball"):
            assert abs(auc(*free, name) - 0.5) < 0.12, name
        assert auc(*free, "roundness") > 0.8, "the control"

    def test_no_direction_tells_anything(self, free):
        assert abs(auc(*free, "dipole") - 0.5) < 0.12

    def test_of_oriented_findings_the_direction_tells_all_and_nothing_else_does(self, oriented):
        assert auc(*oriented, "dipole") == 1, "the control"
        for name in ("tissue", "all", "ball", "roundness"):
            assert auc(*oriented, name) == pytest.approx(0.5, abs=0.01), name

    def test_oriented_kinds_are_mirrors_of_each_other(self):
        """The same draws give a distractor that is the nodule turned upside down, and no other turn of it."""
        nodule, distractor = (drawn_alone(draw_oriented, kind, 20, 5) for kind in (Kind.NODULE, Kind.DISTRACTOR))
        assert np.allclose(nodule[:, ::-1], distractor, atol=1e-6)
        assert np.abs(nodule - distractor).max() > 0.5, "the control"
        assert np.abs(nodule.swapaxes(1, 3) - distractor).max() > 0.5

    def test_free_kinds_are_no_mirrors(self):
        nodule, distractor = (drawn_alone(draw, kind, 20, 5) for kind in (Kind.NODULE, Kind.DISTRACTOR))
        assert np.abs(nodule[:, ::-1] - distractor).max() > 0.5

    def test_a_nodule_has_about_the_volume_of_its_ball(self):
        generator = np.random.default_rng(3)
        ratios = []
        for _ in range(60):
            cube, found = np.zeros(CUBE.shape, np.float32), draw(Kind.NODULE, np.zeros(3), generator)
            for part in found.parts:
                fill(cube, CUBE, part._replace(density=1.0))
            x, y, z = CUBE.mesh((slice(None),) * 3)
            near = x**2 + y**2 + z**2 < (0.65 * found.diameter) ** 2
            ratios.append(cube[near].sum() / (np.pi / 6 * found.diameter**3))
        assert np.median(ratios) == pytest.approx(1, abs=0.2)

    def test_excluded_findings_are_small_or_not_agreed_upon(self):
        generator = np.random.default_rng(0)
        sizes = [draw(Kind.EXCLUDED, np.zeros(3), generator).diameter for _ in range(20)]
        assert {size == -1 for size in sizes} == {True, False}
        assert all(size == -1 or 2 <= size <= 3 for size in sizes)
