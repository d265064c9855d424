"""Patches of mitochondria and of what is none: centred, in one block each, and of equal means."""

import io
from itertools import combinations

import numpy as np
import pytest
import tifffile
from scipy.ndimage import label as components
from sklearn.metrics import roc_auc_score

from isotypic.data.catalogue import load, recognise
from isotypic.data.config import DataConfig, MitochondriaConfig
from isotypic.data.datasets.mitochondria import cut, patches, points
from isotypic.data.matching import of_equal_values
from isotypic.data.splits import split
from isotypic.errors import RequestError

CONFIG = MitochondriaConfig(size=(4, 8, 8), shrink=1, thickness=2, blocks=2, apart=2, away=4, most=20, levels=4)


def volume(shape=(8, 48, 48)):
    """Dark noise with one bright ball in three of the four blocks; the balls are what is sought."""
    generator = np.random.default_rng(0)
    z, y, x = np.ogrid[tuple(slice(side) for side in shape)]
    inside = np.zeros(shape, bool)
    for centre in ((4, 12, 12), (4, 36, 12), (3, 34, 36)):
        inside |= (2 * (z - centre[0])) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 36
    grey = generator.integers(60, 140, shape) + np.linspace(-30, 30, shape[2]).astype(int) + 20 * inside
    return grey.clip(0, 255).astype(np.uint8), inside


GREY, INSIDE = volume()


def centre(patch):
    return tuple(first + side // 2 for first, side in zip(patch.corner, CONFIG.size, strict=True))


class TestPatches:
    def test_the_class_is_that_of_the_central_voxel(self):
        found = list(patches(GREY, INSIDE, CONFIG))
        assert {INSIDE[centre(patch)] == bool(patch.label) for patch in found} == {True}
        places = np.argwhere(INSIDE) * (2, 1, 1)
        for patch in found:
            if not patch.label:
                assert np.linalg.norm(places - np.multiply(centre(patch), (2, 1, 1)), axis=1).min() >= CONFIG.away

    def test_no_voxel_is_in_two_blocks(self):
        found = list(patches(GREY, INSIDE, CONFIG))
        owner = np.full(GREY.shape, "", dtype="<U12")
        for patch in found:
            voxels = cut(owner, patch, CONFIG.size)
            assert voxels.shape == CONFIG.size
            assert set(np.unique(voxels)) <= {"", patch.block}
            voxels[:] = patch.block
        assert set(np.unique(owner)) == {"", "block 0-0", "block 1-0", "block 1-1"}, "where there are both classes"

    def test_every_block_has_as_many_of_either_class_and_points_are_apart(self):
        found = list(patches(GREY, INSIDE, CONFIG))
        for block in {patch.block for patch in found}:
            labels = [patch.label for patch in found if patch.block == block]
            assert 2 * sum(labels) == len(labels) > 4
            for kind in (0, 1):
                mine = [centre(patch) for patch in found if (patch.block, patch.label) == (block, kind)]
                nearest = min(np.linalg.norm(np.subtract(*pair) * (2, 1, 1)) for pair in combinations(mine, 2))
                assert nearest >= CONFIG.apart

    def test_the_seed_chooses(self):
        one, same, other = (list(patches(GREY, INSIDE, CONFIG.model_copy(update={"seed": seed}))) for seed in (0, 0, 1))
        assert one == same != other

    def test_without_mitochondria_there_are_no_patches(self):
        assert list(patches(GREY, np.zeros_like(INSIDE), CONFIG)) == []
        assert list(patches(GREY, np.ones_like(INSIDE), CONFIG)) == []

    def test_blocks_smaller_than_a_patch_are_refused(self):
        with pytest.raises(
            RequestError, match=r"patch of \[4, 8, 8\] voxels \(z, y, x\), received \[8, 6, 6\]; ask for"
        ):
            list(patches(GREY, INSIDE, CONFIG.model_copy(update={"blocks": 8})))
        with pytest.raises(RequestError, match=r"received \[3, 24, 24\]"):
            list(patches(GREY[:3], INSIDE[:3], CONFIG))


class TestPoints:
    def test_all_the_room_is_used(self):
        """No voxel is left that lies far enough from every point."""
        scale = np.array([2.0, 1, 1])
        found = points(INSIDE.astype(int), scale, 3, None, np.random.default_rng(0))
        away = np.linalg.norm((np.argwhere(INSIDE)[:, None] - found) * scale, axis=2)
        assert (away.min(axis=1) < 3).all()
        between = np.linalg.norm((found[:, None] - found) * scale, axis=2)[np.triu_indices(len(found), 1)]
        assert between.min() >= 3
        assert INSIDE[tuple(found.T)].all()

    def test_large_objects_have_no_more_than_so_many(self):
        numbered, count = components(INSIDE)
        found = points(numbered, np.ones(3), 1, 7, np.random.default_rng(0))
        assert np.bincount(numbered[tuple(found.T)]).tolist() == [0, *[7] * count]
        assert len(points(numbered, np.ones(3), 1, None, np.random.default_rng(0))) == INSIDE.sum(), "the control"


def test_values_tell_nothing_after_matching():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 600)
    values = generator.normal(labels)
    assert roc_auc_score(labels, values) > 0.7, "the control"
    taken = of_equal_values(labels, values, 16, np.random.default_rng(1))
    assert abs(roc_auc_score(labels[taken], values[taken]) - 0.5) < 0.05
    assert 2 * labels[taken].sum() == len(taken) == len(set(taken.tolist())) > 150


def tiff(pixels):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="minisblack")
    return buffer.getvalue()


@pytest.fixture
def sections(png):
    """The files of the stack at twice the size, with soft edges in a mask."""
    files = {}
    for z, (grey, inside) in enumerate(zip(GREY, INSIDE, strict=True)):
        mask = np.kron(inside, np.full((2, 2), 255)).astype(np.uint8)
        mask[0, 0] = 40
        files[f"top/raw/{z:02}.tif"] = tiff(np.kron(grey, np.ones((2, 2), np.uint8)))
        files[f"top/mitochondria/{z:02}.png"] = png(mask)
    return files


def request(path, **changes):
    return DataConfig(
        dataset="mitochondria", path=path, mitochondria=CONFIG.model_copy(update={"shrink": 2, **changes})
    )


class TestSet:
    @pytest.mark.parametrize("name", ["em", "em.zip"])
    def test_folders_and_archives(self, sections, place, tmp_path, name):
        path = place(name, sections)
        assert recognise(path) == "mitochondria"
        found = load(request(path), tmp_path)
        assert (found.name, found.classes) == ("em", ("other", "mitochondrion"))
        assert (found.shape, found.images.dtype) == ((1, 4, 8, 8), np.uint8)
        wanted = list(patches(GREY, INSIDE, CONFIG))
        np.testing.assert_array_equal(found.images[:, 0], [cut(GREY, patch, CONFIG.size) for patch in wanted])
        assert found.labels.tolist() == [patch.label for patch in wanted]
        assert found.subjects.tolist() == [patch.block for patch in wanted]

    def test_wrong_stacks_are_refused(self, sections, place, png, tmp_path):
        def refused(message, name, changes, **config):
            files = {file: content for file, content in {**sections, **changes}.items() if content is not None}
            with pytest.raises(RequestError, match=message):
                load(request(place(f"{name}.zip", files), **config), tmp_path)

        refused(r"'03' is in raw and not in mitochondria \(1 such\)", "a", {"top/mitochondria/03.png": None})
        refused("no folder nuclei and no file nuclei.tif", "b", {}, labels="nuclei")
        small = png(np.zeros((40, 96), np.uint8))
        refused(
            r"sections or masks of different sizes: \(20, 48\) and \(48, 48\)", "c", {"top/mitochondria/03.png": small}
        )
        refused(r"02\.tif: the image file is empty", "d", {"top/raw/02.tif": b""})
        nothing = {name: png(np.zeros((96, 96), np.uint8)) for name in sections if name.endswith(".png")}
        refused("no block has patches of both classes at equal levels; ask for fewer", "e", nothing)
        with pytest.raises(RequestError, match="'mitochondria' needs a path to its folder or zip archive"):
            load(DataConfig(dataset="mitochondria"), tmp_path)

    @pytest.mark.slow
    def test_the_real_sections(self, real, tmp_path):
        config = DataConfig(dataset="mitochondria", path=real("em-vnc.zip"))
        found = load(config, tmp_path)
        assert found.shape == (1, 8, 64, 64)
        assert 2 * found.labels.sum() == len(found) > 300
        means = found.images.reshape(len(found), -1).mean(axis=1)
        assert abs(roc_auc_score(found.labels, means) - 0.5) < 0.05
        parts = split(found, config)
        blocks = [set(found.subjects[rows]) for rows in (parts.train, parts.validation, parts.test)]
        assert all(blocks)
        assert not any(one & other for one, other in combinations(blocks, 2))
