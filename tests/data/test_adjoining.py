"""Laws of finding the pieces of one larger photograph."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from isotypic.data.catalogue import load_labelled
from isotypic.data.config import SegmentationDataConfig
from isotypic.data.labelled import adjoining
from isotypic.data.labelled.adjoining import whole_photographs
from isotypic.data.labelled.ragged import Ragged
from isotypic.data.splits import split_labelled

SIDE = 120


def photograph(seed, rows=2, columns=3, channels=1):
    """A smooth photograph with a little noise, in pieces, row by row."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.random((channels, rows * SIDE, columns * SIDE)), (0, 6, 6))
    levels = 200 * (smooth - smooth.min()) / np.ptp(smooth) + rng.normal(0, 1, smooth.shape)
    whole = levels.clip(0, 255).astype(np.uint8)
    return [piece for row in np.split(whole, rows, 1) for piece in np.split(row, columns, 2)]


@pytest.mark.parametrize("block", [2, 1024])
@pytest.mark.parametrize("channels", [1, 3])
def test_pieces_are_put_together(channels, block, monkeypatch):
    monkeypatch.setattr(adjoining, "_BLOCK", block)
    pieces = [piece for seed in range(4) for piece in photograph(seed, channels=channels)]
    order = np.random.default_rng(0).permutation(len(pieces))
    found = whole_photographs(Ragged.of([pieces[i] for i in order]))
    assert np.array_equal(found[:, None] == found, order[:, None] // 6 == order // 6)


@pytest.mark.parametrize("move", [lambda p: p[:, ::-1, ::-1], lambda p: p[:, ::-1], lambda p: p.transpose(0, 2, 1)])
def test_moved_pieces_do_not_go_on_in_each_other(move):
    pieces = [move(piece) if i % 2 else piece for i, piece in enumerate(photograph(0, 1, 3))]
    assert len(set(whole_photographs(Ragged.of(pieces)).tolist())) > 1


def test_noise_flat_edges_and_other_sizes_are_photographs_by_themselves():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (1, SIDE, SIDE), np.uint8) for _ in range(20)]
    flat = [np.full((1, SIDE, SIDE), 9, np.uint8)] * 5
    larger = [np.pad(piece, ((0, 0), (0, 1), (0, 0)), "edge") for piece in photograph(0, 1, 2)[:1]]
    images = noise + flat + larger + photograph(0, 1, 2)[1:]
    assert whole_photographs(Ragged.of(images)).tolist() == list(range(len(images)))


@pytest.mark.slow
def test_no_seam_of_bbbc038_crosses_its_split(real, tmp_path):
    config = SegmentationDataConfig(dataset="bbbc038", path=real("bbbc038.zip"), colour="grey")
    labelled = load_labelled(config, tmp_path)
    whole, splits = whole_photographs(labelled.images), split_labelled(labelled, config)
    parts = [set(whole[rows].tolist()) for rows in (splits.train, splits.validation, splits.test)]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    assert 200 < len(set(whole.tolist())) < 300 < len(labelled)
    assert 40 <= len(splits.test) <= 60
