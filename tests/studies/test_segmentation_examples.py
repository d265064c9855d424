"""What a cell shows: which images, what is drawn of them, and what the caption promises."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.inference.segmentation_evaluation import Found, Sample, SegmentedImage
from isotypic.studies.systems.overlays import Panel, Row, darkness, spread_colours, write_overlays
from isotypic.studies.systems.png import COLOURS, GREYS, MARK
from isotypic.studies.systems.segmentation_examples import Examples

RED = tuple(bytes.fromhex(MARK[1:]))
TRUTH = np.zeros((40, 60), dtype=np.int32)
TRUTH[4:16, 4:20], TRUTH[4:16, 20:40], TRUTH[24:36, 10:50] = 5, 2, 9


def segmented(name, score, moved=None, boundary=False, upright=False):
    """An image that is black, so that its panel is found again in the picture."""
    other = TRUTH if moved is None else moved
    found = [other if upright else TRUTH, other]
    maps = [labels.astype(float) if boundary else None for labels in (np.minimum(labels, 1) for labels in found)]
    pair = tuple(Found(labels, probability) for labels, probability in zip(found, maps, strict=True))
    differing = np.array([0, int((found[0] != found[1]).sum())])
    sample = Sample(name, np.zeros((1, *TRUTH.shape), np.uint8), TRUTH)
    return SegmentedImage(sample, pair, np.array([score, score]), differing, 0.1)


def seen(*images, group="p4"):
    examples = Examples(len(images), named(group), "Dice")
    for image in images:
        examples.see(image)
    return examples


def panels(path):
    """The number of black panels of images, one below the other, in the first column."""
    picture = np.asarray(Image.open(path).convert("L"))
    black = (picture < 10).sum(1) > picture.shape[1] / 10
    return int((np.diff(black.astype(int), prepend=0) == 1).sum())


def colours(path):
    picture = Image.open(path)
    assert picture.format == "PNG"
    return {colour for _, colour in picture.convert("RGB").getcolors(256)}


def has(colour, found):
    """Whether a colour is among others, up to the rounding of what is drawn."""
    wanted = np.array([*bytes.fromhex(colour[1:])])
    return any(np.abs(wanted - other).max() <= 2 for other in found)


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([0.5], {"first": "0"}),
        ([0.5, 0.4], {"first": "0", "middle": "1"}),
        ([0.1, 0.9, 0.2, 0.1, 0.8], {"first": "0", "middle": "2", "lowest score": "3"}),
        ([0.1, 0.4, 0.2, 0.9, 0.4], {"first": "0", "middle": "2", "lowest score": "1"}),
    ],
)
def test_the_rule_chooses_by_place_and_by_failure(scores, wanted):
    examples = seen(*(segmented(str(place), score) for place, score in enumerate(scores)))
    assert {reason: image.sample.name for reason, image in examples.chosen.items()} == wanted


def test_no_more_than_what_is_shown_is_kept():
    whole = segmented("a", 0.5)
    many = SegmentedImage(whole.sample, whole.found * 4, np.zeros(8), np.zeros(8, int), 0.1)
    examples = seen(*[many] * 9, group="p4m")
    assert len(examples.chosen) == 3
    assert all(len(image.found) == 2 for image in examples.chosen.values())


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_picture_has_a_row_for_every_image_that_is_shown(count, tmp_path):
    examples = seen(*(segmented(f"{place}.png", 0.5) for place in range(count)))
    path = examples.write(tmp_path / "cell" / "examples.png")
    assert panels(path) == len(examples.chosen) == min(count, 3)
    assert path.stat().st_size < 400_000


@pytest.mark.parametrize("boundary", [False, True])
def test_a_single_differing_pixel_is_marked_and_none_where_none_differs(boundary, tmp_path):
    moved = TRUTH.copy()
    moved[30, 55] = 9
    same = seen(segmented("a", 0.5, boundary=boundary)).write(tmp_path / "same.png")
    other = seen(segmented("a", 0.5, moved, boundary)).write(tmp_path / "other.png")
    assert RED in colours(other)
    assert RED not in colours(same)


def test_the_trivial_group_moves_nothing(tmp_path):
    image = segmented("a", 0.5)
    still = seen(replace(image, found=image.found[:1]), group="trivial")
    assert panels(still.write(tmp_path / "still.png")) == 1
    assert "moved" not in still.caption
    wide = [Image.open(each.write(tmp_path / "a.png")).size for each in (still, seen(image))]
    assert wide[0][1] > wide[1][1]  # three columns in place of five: larger panels


def test_other_names_are_no_difference(tmp_path):
    renamed = np.where(TRUTH > 0, 12 - TRUTH, 0).astype(np.int32)
    assert RED not in colours(seen(segmented("a", 0.5, renamed)).write(tmp_path / "a.png"))


def test_the_caption_says_rule_measure_and_move():
    three = seen(*(segmented(str(place), 0.5) for place in range(3))).caption
    assert "the first and the middle test image, and of the others the one with the lowest Dice" in three
    assert "instance changes" in three
    assert "moved by 90°" in three
    assert "the only test image" in seen(segmented("a", 0.5)).caption
    assert "probability" in seen(segmented("a", 0.5, boundary=True)).caption


def test_where_there_is_nothing_there_is_no_picture(tmp_path, monkeypatch):
    assert seen().caption is None
    with pytest.raises(RequestError, match="expected rows of 5 panels to draw, received no row"):
        seen().write(tmp_path / "a.png")
    assert seen(segmented("a", 0.5)).caption is not None
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert seen(segmented("a", 0.5)).caption is None
    assert list(tmp_path.iterdir()) == []


def test_rows_that_do_not_fit_the_columns_are_refused(tmp_path):
    with pytest.raises(RequestError, match=r"expected rows of 2 panels to draw, received \[1\]"):
        write_overlays(["a", "b"], [Row("first", (4, 4), (Panel(),))], tmp_path / "a.png")


def test_neighbours_differ_in_colour():
    mosaic = np.random.default_rng(0).integers(1, 40, (12, 15)).repeat(4, 0).repeat(4, 1)
    labels = np.zeros_like(mosaic)
    for number, (y, x) in enumerate(np.ndindex(6, 6), 1):
        labels[8 * y + 1 : 8 * y + 8, 10 * x + 1 : 10 * x + 10] = number
    chosen = spread_colours(labels)
    assert set(chosen) == set(range(1, 37))
    assert all(chosen[k] != chosen[k + 1] for k in range(1, 36) if k % 6)
    assert all(chosen[k] != chosen[k + 6] for k in range(1, 31))
    assert set(chosen.values()) == set(COLOURS)
    few = spread_colours(np.where(labels <= len(COLOURS), labels, 0))
    assert len(set(few.values())) == len(few) == len(COLOURS)
    assert spread_colours(np.zeros((3, 3), int)) == {}


def test_matched_instances_share_a_colour_and_others_are_grey(tmp_path):
    def drawn(found, name):
        return colours(seen(segmented("a", 0.5, found, upright=True)).write(tmp_path / name))

    of_nine, grey = spread_colours(TRUTH)[9], GREYS[0]
    found, lost = drawn(np.where(TRUTH == 9, 77, TRUTH), "found.png"), drawn(TRUTH * (TRUTH != 9), "lost.png")
    assert has(of_nine, found)
    assert not has(grey, found)
    assert not has(of_nine, lost)
    assert has(grey, lost)


def test_a_large_noisy_picture_is_written_with_fewer_colours(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 600), dtype=np.uint8)
    rows = [Row("noise", noise.shape, (Panel(noise), Panel(darkness(noise / 255))))] * 2
    assert len(colours(write_overlays(["a", "b"], rows, tmp_path / "noise.png"))) <= 32
    assert len(colours(write_overlays(["a", "b"], [rows[0]], tmp_path / "one.png"))) <= 256
