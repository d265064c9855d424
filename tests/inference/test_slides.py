"""Slides: the map of a turned slide is the turned map; glass is left out; memory is that of a batch."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from laws import BROKEN, TOLERANCE
from PIL import Image
from slides import SIDE, classifier, slide, write_slide

from isotypic.data.readers.slide import Slide, open_slide
from isotypic.errors import RequestError
from isotypic.inference.heat_map import smaller
from isotypic.inference.patches import AxisPatches, PatchGrid, batches
from isotypic.inference.slide_classifier import SlideClassifier, SlideExecution
from isotypic.inference.tissue import thumbnail, tissue
from isotypic.inference.writers.slide_files import save_slide, slide_files

EXACT = SlideExecution(overlap=0.3, precision="float64", batch_size=7)
PIXELS = slide(230, 171)
MOVES = [(turns, flip) for flip in (False, True) for turns in range(4)]


def moved(image, turns, flip):
    return np.rot90(image[::-1] if flip else image, turns)


def in_memory(pixels):
    return Slide("memory", (np.moveaxis(pixels, -1, 0),), "YXS")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {group: classifier(tmp_path_factory.mktemp(group), group) for group in ("p4m", "trivial")}


class TestSymmetry:
    def error(self, run, folder, microns):
        """The largest difference of the map of a turned slide from the turned map, over its deviation."""
        network, worst = SlideClassifier(run, execution=EXACT), 0.0
        upright = network(open_slide(write_slide(folder / "a.ome.tif", PIXELS, levels=1)), microns)
        assert 3 < len(upright.scores) < np.prod(upright.grid.shape)
        for turns, flip in MOVES:
            turned = moved(PIXELS, turns, flip)
            found = network(open_slide(write_slide(folder / "b.ome.tif", turned, levels=1)), microns)
            wanted = moved(upright.grid.mean(upright.probabilities[..., 1]), turns, flip)
            np.testing.assert_array_equal(found.tissue, moved(upright.tissue, turns, flip))
            image = found.grid.mean(found.probabilities[..., 1])
            if image.shape != wanted.shape or (np.isnan(image) != np.isnan(wanted)).any():
                return np.inf
            worst = max(worst, np.nanmax(abs(image - wanted)) / np.nanstd(wanted))
        return worst

    @pytest.mark.parametrize("microns", [None, 0.8], ids=["stored", "resampled"])
    def test_the_map_of_a_turned_slide_is_the_turned_map(self, runs, tmp_path, microns):
        assert self.error(runs["p4m"], tmp_path, microns) < TOLERANCE["float64"]

    def test_an_ordinary_network_has_other_maps(self, runs, tmp_path):
        assert self.error(runs["trivial"], tmp_path, None) > BROKEN

    def test_a_grid_from_zero_in_equal_steps_has_other_maps(self, runs, tmp_path, monkeypatch):
        def one_sided(size, side, step):
            return AxisPatches(size, side, (*range(0, size - side, step), size - side))

        monkeypatch.setattr(AxisPatches, "along", one_sided)
        assert self.error(runs["p4m"], tmp_path, None) > BROKEN


class TestGrid:
    @pytest.mark.parametrize("side", [8, 9])
    @pytest.mark.parametrize("step", [2, 5, 8])
    def test_patches_are_the_same_backwards_and_cover(self, side, step):
        for size in range(side, 60):
            axis = AxisPatches.along(size, side, step)
            assert sorted(size - side - o for o in axis.origins) == list(axis.origins)
            assert (axis.origins[0], axis.origins[-1]) == (0, size - side)
            assert all(0 < gap <= step for gap in np.diff(axis.origins))
            for samples in (size, -(-size // 3)):
                cover = axis.cover(samples).toarray()
                np.testing.assert_array_equal(cover[::-1, ::-1], cover)
                assert cover.sum(1).min() > 0

    def test_the_mean_of_patches_is_that_of_those_above_a_sample(self):
        grid = PatchGrid.over((40, 24), (16, 16), 0.5)
        values = np.random.default_rng(0).uniform(size=grid.shape)
        values[0, 0] = np.nan
        found = grid.mean(values)
        for y, x in ((0, 20), (20, 12), (39, 0)):
            above = [
                values[i, j]
                for i, top in enumerate(grid.rows.origins)
                for j, left in enumerate(grid.columns.origins)
                if top <= y + 0.5 <= top + 16 and left <= x + 0.5 <= left + 16
            ]
            assert found[y, x] == pytest.approx(np.nanmean(above), abs=1e-15)
        assert np.isnan(found[0, 0])
        assert grid.map_size == (40, 24)

    def test_batches_hold_the_patches_and_read_no_more(self):
        class Watched:
            shape, dtype, read = (3, 230, 171), np.dtype(np.uint8), []

            def __getitem__(self, window):
                found = np.moveaxis(PIXELS, -1, 0)[window]
                self.read.append(found.shape)
                return found

        grid = PatchGrid.over((230, 171), (16, 16), 0.25)
        wanted = np.random.default_rng(0).uniform(size=grid.shape) < 0.6
        seen, watched = np.zeros(grid.shape, bool), Watched()
        for batch in batches(watched, grid, wanted, 5):
            assert len(batch.places) <= 5
            for (i, j), patch in zip(batch.places, batch.pixels, strict=True):
                top, left = grid.rows.origins[i], grid.columns.origins[j]
                np.testing.assert_array_equal(patch, np.moveaxis(PIXELS, -1, 0)[:, top : top + 16, left : left + 16])
                seen[i, j] = True
        np.testing.assert_array_equal(seen, wanted)
        assert max(width for _, _, width in watched.read) <= 5 * 16

    @pytest.mark.parametrize(
        ("size", "overlap", "message"),
        [
            ((64, 15), 0.0, "expected a slide of at least 16 x 16 pixels, the network's input, received 64 x 15"),
            ((64, 64), 1.0, "expected an overlap from 0 to below 1, received 1"),
        ],
    )
    def test_impossible_grids(self, size, overlap, message):
        with pytest.raises(RequestError, match=message):
            PatchGrid.over(size, (16, 16), overlap)


class TestTissue:
    def shares(self, pixels):
        found = tissue(np.moveaxis(pixels, -1, 0), 20)
        return found.mean(), found

    def test_stained_tissue_on_glass(self):
        share, found = self.shares(PIXELS)
        truth = PIXELS[..., 1] < 200
        assert (found == truth).mean() > 0.98
        assert 0.25 < share < 0.35

    def test_slides_without_tissue_and_without_glass(self):
        assert self.shares(slide(200, 200, tissue=0))[0] == 0
        assert self.shares(slide(200, 200, tissue=1))[0] > 0.99
        assert self.shares(np.full((50, 50, 3), 240, np.uint8))[0] == 0

    def test_what_was_not_scanned_is_black_and_no_tissue(self):
        pixels = PIXELS.copy()
        pixels[:60] = (3, 0, 2)
        found = self.shares(pixels)[1]
        assert not found[:58].any()
        np.testing.assert_array_equal(found[70:], self.shares(PIXELS)[1][70:])

    @pytest.mark.parametrize("light", [True, False], ids=["on white", "on black"])
    def test_grey_slides(self, light):
        truth = PIXELS[..., 1] < 200
        noise = np.random.default_rng(0).normal(0, 3, truth.shape)
        grey = np.where(truth, 120, 240 if light else 8) + noise
        found = tissue(grey[None].clip(0, 255).astype(np.uint8), 20)
        assert (found == truth).mean() > 0.99

    def test_specks_and_small_holes_go(self):
        pixels = np.full((80, 80, 3), 243, np.uint8)
        pixels[20:60, 20:60] = (190, 110, 165)
        pixels[30:33, 30:33], pixels[5:8, 5:8] = 243, (190, 110, 165)
        wanted = np.zeros((80, 80), bool)
        wanted[20:60, 20:60] = True
        np.testing.assert_array_equal(self.shares(pixels)[1], wanted)

    def test_a_thumbnail_is_read_in_strips(self, monkeypatch):
        level = np.moveaxis(PIXELS, -1, 0)
        whole = thumbnail(level, (50, 41))
        monkeypatch.setattr("isotypic.inference.tissue._STRIP_VALUES", 1)
        np.testing.assert_array_equal(thumbnail(level, (50, 41)), whole)
        np.testing.assert_array_equal(thumbnail(level.astype(np.uint16) * 257, (50, 41)), whole)


def test_levels_and_depths_of_a_slide_give_about_the_same(runs, tmp_path):
    """Without a pyramid, in 16 bits, or twice as fine: the same tissue is looked at through the same network."""
    network = SlideClassifier(runs["p4m"], execution=EXACT)
    upright = network(in_memory(PIXELS))
    sixteen = network(in_memory(PIXELS.astype(np.uint16) * 257))
    np.testing.assert_allclose(sixteen.probabilities, upright.probabilities, rtol=1e-12)
    fine = write_slide(tmp_path / "a.ome.tif", np.kron(PIXELS, np.ones((2, 2, 1), np.uint8)), levels=1, microns=0.25)
    doubled = network(open_slide(fine), 0.5)
    assert doubled.grid == upright.grid
    np.testing.assert_allclose(doubled.scores.mean(), upright.scores.mean(), rtol=0.05)  # resampling smooths


def test_patches_are_those_that_the_run_classifies(runs):
    network = SlideClassifier(runs["p4m"], execution=EXACT)
    found = network(in_memory(PIXELS))
    for row in found.patches().head(3).itertuples():
        x, y = int(row.x), int(row.y)
        patch = np.moveaxis(PIXELS[y : y + SIDE, x : x + SIDE], -1, 0)
        assert row.tumour == pytest.approx(float(runs["p4m"].probabilities(patch[None])[0, 1]), abs=1e-12)
    assert len(found.patches()) == len(found.scores)


def test_progress_and_the_share_of_tissue(runs):
    heard = []
    every = SlideClassifier(runs["p4m"], "normal", SlideExecution(tissue=0, batch_size=20))
    found = every(in_memory(PIXELS), progress=lambda done, total: heard.append((done, total)))
    count = int(np.prod(found.grid.shape))
    assert heard[-1] == (count, count)
    assert [done for done, _ in heard[:-1]] == list(range(20, count, 20))
    assert np.isfinite(found.image).all()
    np.testing.assert_allclose(found.probabilities.sum(-1), 1, rtol=1e-6)
    assert found.positive == 0


class TestFiles:
    @pytest.fixture
    def heat(self, runs, tmp_path):
        path = write_slide(tmp_path / "a.ome.tif", slide(700, 900, seed=3))
        return SlideClassifier(runs["p4m"])(open_slide(path))

    def test_what_is_written(self, heat, tmp_path):
        save_slide(heat, tmp_path / "out" / "a")
        files = slide_files(tmp_path / "out" / "a")
        with tifffile.TiffFile(files["heatmap"]) as file:
            levels = file.series[0].levels
            np.testing.assert_array_equal(levels[0].asarray(), heat.image)
            assert [level.shape for level in levels] == [(700, 900), (350, 450), (175, 225)]
            assert levels[0].keyframe.is_tiled
            assert 'PhysicalSizeX="0.5"' in file.ome_metadata
        picture = np.asarray(Image.open(files["overlay"]))
        assert picture.shape[0] == 700
        assert picture.shape[1] > 900
        glass, above = ~heat.tissue[:600], np.moveaxis(heat.thumbnail, 0, -1)[:600]  # below is the bar
        np.testing.assert_array_equal(picture[:600, :900][glass], above[glass])
        assert (picture[:600, :900][~glass] != above[~glass]).any()
        assert list(pd.read_csv(files["patches"]).columns) == [
            "x",
            "y",
            "width",
            "height",
            "microns",
            "normal",
            "tumour",
        ]
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(p.name for p in files.values())

    def test_a_full_disk_leaves_the_old_file(self, heat, tmp_path, monkeypatch):
        def full(self, *args, **words):
            raise OSError(28, "No space left on device")

        path = slide_files(tmp_path / "a")["heatmap"]
        path.write_bytes(b"the old one")
        monkeypatch.setattr(tifffile.TiffWriter, "write", full)
        with pytest.raises(RequestError, match=r"a_heatmap.ome.tif: cannot be written .No space left on device.*stays"):
            save_slide(heat, tmp_path / "a")
        assert path.read_bytes() == b"the old one"
        assert not list(tmp_path.glob(".*"))

    def test_smaller_maps_keep_what_is_unknown_and_symmetric(self):
        image = np.random.default_rng(0).uniform(size=(37, 22))
        image[:20, :9] = np.nan
        small = smaller(image, (19, 11))
        assert np.isnan(small[:9, :4]).all()
        assert np.isfinite(small[11:]).all()
        np.testing.assert_allclose(smaller(image[::-1], (19, 11)), small[::-1], rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "call", "message"),
    [
        ({}, lambda run: SlideClassifier(run, "tumor"), "unknown class 'tumor': did you mean 'tumour'"),
        ({"classes": "abc"}, SlideClassifier, "expected the class to show by --class .*one of a, b, c; of two"),
        ({}, lambda run: SlideExecution(tissue=2), "a share of tissue from 0 to 1 .*received 0, 2 and 64"),
        ({}, lambda run: SlideExecution(precision="half"), "unknown precision 'half'"),
        ({}, lambda run: SlideClassifier(run)(in_memory(PIXELS[:20])), "memory: expected a slide of at least 32 x 32"),
        (
            {},
            lambda run: SlideClassifier(run)(in_memory(PIXELS[..., :2])),
            "memory: expected 3 channels as in training, received 2",
        ),
        (
            {},
            lambda run: SlideClassifier(run)(in_memory(PIXELS), 0.5),
            "memory: expected a slide that says its microns",
        ),
    ],
)
def test_bad_requests(tmp_path, changes, call, message):
    with pytest.raises(RequestError, match=message):
        call(classifier(tmp_path, **changes))
