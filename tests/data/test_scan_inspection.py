"""What is said of scans is what their headers and tables say, and what training then does with them."""

import json
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from scans import DIRECTIONS, LUNA, image, scan_of, voxels, write_luna, write_series, write_table

from isotypic.data.catalogue import holds_scans, list_candidates, load_candidates, recognise_either
from isotypic.data.config import CandidateDataConfig
from isotypic.data.inspection.candidates import inspect_candidates
from isotypic.data.inspection.scans import inspect_scans
from isotypic.data.readers import scan as reader
from isotypic.data.readers.scan import read_header, read_scan
from isotypic.data.scans.candidates import Points
from isotypic.data.scans.geometry import Geometry
from isotypic.data.scans.patches import Lattice
from isotypic.data.splits import split
from isotypic.errors import RequestError
from isotypic.inference.findings import reached
from isotypic.tasks.detection import DetectionMaterial

LATTICE = Lattice((4, 5, 5), (1.25, 0.9, 0.9))
FRACTIONS = {"test_fraction": 0.34, "validation_fraction": 0.5}
PARTS = {"test_subsets": [1, 3], "validation_subsets": [2]}


@pytest.fixture
def folder(tmp_path):
    write_luna(tmp_path / "luna")
    return tmp_path / "luna"


def config(folder, **changes):
    given = {"size": LATTICE.size, "spacing": LATTICE.spacing, **FRACTIONS, **changes}
    return CandidateDataConfig(path=folder, **given)


def inspected(folder, progress=None, **changes):
    wanted = config(folder, **changes)
    listing = list_candidates(wanted, folder.parent / "cache")
    return inspect_candidates(listing, split(listing, wanted), wanted, reached, progress)


def rewrite(folder, name, direction="identity", spacing=(0.7, 0.7, 1.5), seed=1):
    path = folder / f"subset{LUNA[name][0]}" / f"{name}.mhd"
    sitk.WriteImage(image(voxels((9, 14, 12), seed), direction, spacing), str(path))


class TestHeaders:
    @pytest.mark.parametrize("suffix", [".mhd", ".mha", ".nii", ".nii.gz", ".nrrd"])
    def test_a_header_is_that_of_the_whole_scan_and_no_voxel_is_read(self, tmp_path, suffix, monkeypatch):
        whole = []
        for number, direction in enumerate(DIRECTIONS):
            sitk.WriteImage(image(voxels(), direction), str(tmp_path / f"{number}{suffix}"))
            whole.append(read_scan(tmp_path / f"{number}{suffix}"))
        for name in ("voxels_of", "_length"):
            monkeypatch.setattr(reader, name, lambda *given: pytest.fail("voxels were read"))
        if suffix in (".mhd", ".nii"):
            monkeypatch.setattr(reader, "_length", lambda path: path.stat().st_size)
        for number, scan in enumerate(whole):
            found = read_header(tmp_path / f"{number}{suffix}")
            assert (found.name, found.shape) == (scan.name, scan.voxels.shape)
            assert found.value_type == "16-bit signed integer"
            for what in ("origin", "spacing", "direction"):
                assert np.array_equal(getattr(found.geometry, what), getattr(scan.geometry, what))

    def test_that_of_a_series_is_too_with_values_as_they_are_rescaled(self, tmp_path):
        write_series(tmp_path / "a", voxels((5, 6, 7)), [(0, 0, 2.5 * i) for i in range(5)])
        found, scan = read_header(tmp_path / "a"), read_scan(tmp_path / "a")
        assert (found.name, found.shape) == (scan.name, (5, 6, 7))
        assert np.allclose(found.geometry.steps, scan.geometry.steps)
        assert "integer" in found.value_type

    @pytest.mark.parametrize(
        ("direction", "wanted"),
        [
            ("identity", (False, False, False)),
            ("flipped in the plane", (True, False, False)),
            ("flipped along z", (True, False, False)),
            ("axes exchanged", (True, True, False)),
            ("oblique", (False, False, True)),
            ("oblique and flipped", (True, False, True)),
        ],
    )
    def test_how_axes_lie_is_said_whatever_the_spacing(self, direction, wanted):
        for spacing in ((1, 1, 1), (0.5, 0.7, 6)):
            assert Geometry((1, 2, 3), spacing, DIRECTIONS[direction]).orientation == wanted

    def test_a_sheared_volume_is_oblique_and_rounding_is_not(self):
        sheared, rounded = np.eye(3), np.eye(3)
        sheared[:, 2] = (0, 0.6, 0.8)
        rounded[:, 2] = (0, 1e-5, 1)
        lies = [Geometry((0, 0, 0), (1, 1, 1), matrix).orientation.oblique for matrix in (sheared, rounded)]
        assert lies == [True, False]

    def test_scans_without_candidates(self, tmp_path):
        steps = []
        for number, direction in enumerate(DIRECTIONS):
            found = image(voxels((4 + number, 6, 5), number), direction, (0.5, 0.6, 1 + number))
            (tmp_path / "all" / str(number)).mkdir(parents=True)
            sitk.WriteImage(found, str(tmp_path / "all" / str(number) / "a.nii.gz"))
        seen = inspect_scans(tmp_path / "all", lambda *step: steps.append(step)).headers
        assert (seen.scans, seen.sizes) == (6, ((4, 6, 5), (9, 6, 5)))
        assert np.allclose(seen.spacings, ((1, 0.6, 0.5), (6, 0.6, 0.5)))
        assert np.allclose(seen.extents, ((4, 3.6, 2.5), (54, 3.6, 2.5)))
        assert (seen.flipped, seen.exchanged, seen.oblique) == (4, 1, 2)
        assert steps == [(done, 6) for done in range(1, 7)]
        alone = inspect_scans(tmp_path / "all" / "4" / "a.nii.gz")
        assert (alone.name, alone.headers.oblique, alone.warnings) == ("a.nii.gz", 1, [])

    def test_a_copy_has_another_name_and_one_that_differs_in_its_voxels_or_its_place_is_none(self, tmp_path):
        for name, seed, origin in (("a", 0, (1, 2, 3)), ("b", 0, (1, 2, 3)), ("c", 1, (1, 2, 3)), ("d", 0, (1, 2, 4))):
            sitk.WriteImage(image(voxels(seed=seed), origin=origin), str(tmp_path / f"{name}.mhd"))
        found = inspect_scans(tmp_path)
        assert found.copies.images == 2
        assert [re.findall(r"\w\.mhd", name)[0] for name in found.copies.examples[0]] == ["a.mhd", "b.mhd"]
        assert found.warnings == ["2 scans are copies of each other under several names"]

    def test_series_below_a_folder_are_scans(self, tmp_path):
        for uid in ("1.1", "1.2"):
            write_series(tmp_path / "all" / uid, voxels((3, 4, 4)), [(0, 0, i) for i in range(3)], uid)
        assert inspect_scans(tmp_path / "all").headers.scans == 2
        assert holds_scans(tmp_path / "all")
        (tmp_path / "all" / "a.png").touch()
        assert not holds_scans(tmp_path / "all"), "a folder of images"


class TestCandidates:
    def test_counts_are_those_of_the_tables(self, folder):
        write_table(
            folder / "annotations_excluded.csv", [("1.3.6.1", 1, 2, 3, -1), ("1.3.6.2", 1, 2, 3, 4)], "diameter_mm"
        )
        seen = inspected(folder, **PARTS)
        counts = {
            name: (part.scans, part.without_nodule, part.nodules, part.missed, part.positive, part.others)
            for name, part in seen.parts.items()
        }
        assert counts == {
            "train": (1, 0, 2, 0, 2, 4), "validation": (1, 0, 2, 0, 2, 4), "test": (2, 0, 4, 2, 2, 4)
        }  # fmt: skip
        assert [part.excluded for part in seen.parts.values()] == [1, 0, 1]
        assert all(part.given for part in seen.parts.values())
        assert seen.headers.sizes == ((9, 14, 12), (9, 14, 12))
        assert (seen.headers.flipped, seen.headers.oblique) == (1, 1)
        assert seen.diameters == (6.5, 6.5, 6.5)
        assert json.loads(json.dumps(seen.to_dict()))["parts"]["test"]["ceiling"] == 0.5

    @pytest.mark.parametrize(
        "changes", [{}, {"split_seed": 3}, PARTS, {"test_subsets": [1]}, {"negatives": 2, **PARTS}], ids=str
    )
    def test_the_parts_are_those_of_training(self, folder, changes):
        wanted = config(folder, **changes)
        whole = load_candidates(wanted, folder.parent / "cache")
        splits, listed = split(whole.patches, wanted), list_candidates(wanted, folder)
        mine, material = split(listed, wanted), DetectionMaterial(whole.with_parts(splits, wanted), splits)
        seen = inspected(folder, **changes)
        assert sum(part.scans for part in seen.parts.values()) == len(whole.scans)
        assert sum(part.nodules for part in seen.parts.values()) == len(whole.nodules), "each counts in some part"
        for name, part in seen.parts.items():
            rows = getattr(splits, name)
            assert np.array_equal(getattr(mine, name), rows)
            scans = material.scans_of(rows)
            assert part.scans == len(scans)
            assert part.nodules == np.isin(whole.nodules.scan, scans).sum()
            assert part.positive + part.others == len(rows)
        assert seen.reaching == whole.outside > 0

    def test_other_seeds_make_other_parts(self, folder):
        wanted = [config(folder, split_seed=seed) for seed in range(6)]
        assert len({tuple(split(list_candidates(one, folder), one).test.tolist()) for one in wanted}) > 1

    def test_no_scan_is_opened(self, folder, monkeypatch):
        monkeypatch.setattr(reader, "voxels_of", lambda *given: pytest.fail("voxels were read"))
        steps = []
        inspected(folder, lambda *step: steps.append(step))
        assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert not (folder.parent / "cache").exists()

    def test_a_whole_set_has_no_warning_but_of_the_nodules_that_nothing_hits(self, folder):
        assert inspected(folder, **PARTS).warnings == [
            "no candidate hits 2 nodules, 2 of them in the test: whatever is trained, its sensitivity there is 50.0% "
            "at most"
        ]
        shutil.rmtree(folder / "subset3")
        write_table(
            folder / "CSVFILES" / "annotations.csv", nodules_in(folder, "1.3.6.1", "1.3.6.2", "1.3.6.3"), "diameter_mm"
        )
        assert inspected(folder, **{**PARTS, "test_subsets": [1]}).warnings == []

    def test_a_nodule_without_a_candidate_in_its_scan_is_missed_in_some_part(self, folder):
        seen = inspected(folder)
        assert seen.without_candidate == ["1.3.6.4"]
        assert sum(part.missed for part in seen.parts.values()) == 2
        assert any("no candidate hits 2 nodules" in warning for warning in seen.warnings)

    def test_points_in_scans_without_a_file_are_a_warning(self, folder):
        for table, value in ((folder / "candidates_V2.csv", 0), (folder / "CSVFILES" / "annotations.csv", 5.5)):
            table.write_text(table.read_text() + f"9.9,1,2,3,{value}\n")
        seen = inspected(folder, **PARTS)
        assert seen.absent == {"9.9": 2}
        assert seen.warnings[0] == (
            "2 points lie in 1 scan (9.9) without a file: add the files, as training refuses such points unless --set "
            "data.missing=skip leaves them out"
        )
        assert seen.headers.scans == 4
        assert seen.diameters == (6.5, 6.5, 6.5)
        assert inspected(folder, **PARTS, missing="skip").warnings[0].startswith("2 points lie in 1 scan (9.9)")

    def test_a_scan_in_which_nothing_lies_is_a_warning(self, folder):
        sitk.WriteImage(image(voxels(seed=9)), str(folder / "subset0" / "5.5.mhd"))
        seen = inspected(folder, **PARTS)
        assert seen.empty == ["5.5"]
        assert seen.warnings[0].startswith("neither candidate nor nodule lies in 1 scan (5.5)")
        assert seen.parts["train"].scans == 2

    @pytest.mark.parametrize("name", ["1.3.6.1", "1.3.6.3"], ids=["flipped", "oblique"])
    def test_with_another_direction_points_lie_outside(self, folder, name):
        assert inspected(folder, **PARTS).outside == {}
        rewrite(folder, name, "identity" if name == "1.3.6.1" else "flipped in the plane")
        seen = inspected(folder, **PARTS)
        assert list(seen.outside) == [name]
        assert any(f"outside 1 scan ({name})" in warning for warning in seen.warnings)
        assert "nan" not in str(seen.to_dict())

    def test_a_coarse_scan_is_a_warning_of_twice_the_spacing_along_any_axis_of_the_world(self, folder):
        rewrite(folder, "1.3.6.2", "axes exchanged", (2.6, 0.7, 0.7))
        rewrite(folder, "1.3.6.4", "identity", (0.7, 0.7, 2.4))
        assert inspected(folder, **PARTS).coarse == ["1.3.6.2"]
        assert inspected(folder, **PARTS, spacing=(1.4, 1.4, 1.4)).coarse == []

    def test_a_copy_of_a_scan_across_parts_is_a_warning(self, folder):
        rewrite(folder, "1.3.6.4", seed=1)
        seen = inspected(folder, test_subsets=[0, 3], validation_subsets=[2])
        assert seen.copies.examples == [["1.3.6.2 (train)", "1.3.6.4 (test)"]]
        assert seen.warnings[-1].startswith("2 scans have a copy in another part of the split")
        rewrite(folder, "1.3.6.4", seed=5)
        assert inspected(folder, **PARTS).copies.images == 0

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda f: (f / "subset1" / "1.3.6.2.raw").unlink(), "the file of its voxels, 1.3.6.2.raw, is missing"),
            (lambda f: (f / "subset1" / "1.3.6.2.raw").write_bytes(b"a"), "cut short: its header says 3024 bytes, rec"),
            (lambda f: (f / "subset1" / "1.3.6.2.mhd").write_text("a"), "1.3.6.2.mhd: cannot be read as a scan ("),
            (lambda f: (f / "CSVFILES" / "annotations.csv").unlink(), "no annotations.csv; expected it in the folder"),
            (
                lambda f: write_table(f / "candidates_V2.csv", [("a", 1, 2, 3, 1)], "class"),
                "none of the 1 points lies in one of the 4 scans; the first is of 'a', and no file is named so",
            ),
        ],
    )
    def test_what_is_wrong_is_one_line(self, folder, spoil, message):
        spoil(folder)
        with pytest.raises(RequestError, match=re.escape(message)) as caught:
            inspected(folder)
        assert "\n" not in str(caught.value)


def nodules_in(folder, *names):
    lines = (folder / "CSVFILES" / "annotations.csv").read_text().splitlines()[1:]
    return [line.split(",") for line in lines if line.split(",")[0] in names]


def points(*rows):
    scan, *numbers = zip(*rows, strict=True)
    return Points(np.array(scan), np.array(numbers[:3], float).T, np.array(numbers[3], float))


class TestReached:
    def test_a_nodule_is_hit_within_half_of_its_diameter_and_in_its_own_scan(self):
        nodules = points(("b", 0, 0, 0, 6), ("a", 0, 0, 0, 6), ("b", 50, 0, 0, -1), ("c", 9, 9, 9, 4))
        for at, wanted in ((2.99, [True, False, False, False]), (3.0, [False] * 4)):
            assert reached(points(("b", at, 0, 0, 0), ("d", 9, 9, 9, 1)), nodules).tolist() == wanted
        assert reached(points(("b", 54.9, 0, 0, 0)), nodules).tolist() == [False, False, True, False]

    def test_more_candidates_than_the_scorer_takes_of_a_scan_all_count(self):
        far = [("a", 100 + place, 0, 0, 0) for place in range(150)]
        assert reached(points(*far, ("a", 0, 0, 1, 0)), points(("a", 0, 0, 0, 6))).tolist() == [True]

    def test_without_nodules_or_candidates(self):
        one = points(("a", 0, 0, 0, 6))
        assert reached(one, Points.none()).tolist() == []
        assert reached(Points.none(), one).tolist() == [False]


def test_the_folder_is_recognised_and_its_scans_alone_are_not_it(folder):
    assert recognise_either(folder) == "luna16"
    assert not holds_scans(folder)
    (folder / "candidates_V2.csv").unlink()
    assert holds_scans(folder)
    assert holds_scans(folder / "subset0" / "1.3.6.1.mhd")
    assert scan_of(image(voxels())).geometry.orientation == (False, False, False)
