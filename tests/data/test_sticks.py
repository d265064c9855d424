import numpy as np
import pytest
from pydantic import ValidationError

from isotypic.data.catalogue import load_labelled
from isotypic.data.config import SegmentationDataConfig, SticksConfig
from isotypic.data.synthetic.sticks import _scattered, draw
from isotypic.errors import RequestError

FEW = {"train_images": 6, "validation_images": 2, "test_images": 3}


def load(tmp_path, **sticks):
    return load_labelled(SegmentationDataConfig(sticks={**FEW, **sticks}), tmp_path)


class Scripted:
    """A generator that gives the centres and angles of a list and keeps the ranges that it was asked for."""

    def __init__(self, *sticks):
        self.values = [value for row, column, degrees in sticks for value in ((row, column), degrees)]
        self.ranges = []

    def integers(self, low, high, count=None):
        self.ranges.append((low, high))
        return self.values.pop(0)

    def uniform(self, low, high):
        return high


def visible(labels, count):
    return np.bincount(labels.reshape(-1), minlength=count + 1)[1:]


def test_one_stick_is_a_rectangle_with_an_outline():
    for degrees, size in ((0, (15, 90)), (90, (90, 15))):
        generator = Scripted((100, 120, degrees))
        image, labels = draw(SticksConfig(count=1), generator)
        rows, columns = np.nonzero(labels)
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == size
        assert (labels == 1).sum() == 15 * 90
        assert (image[0][labels == 1] == 128).sum() == 11 * 86
        assert (image[0][labels == 1] == 0).sum() == 15 * 90 - 11 * 86
        assert (image[0][labels == 0] == 255).all()
        assert abs(rows.mean() - 100) <= 0.5
        assert abs(columns.mean() - 120) <= 0.5
        assert generator.ranges == [(30, 225), (0, 180)]


@pytest.mark.parametrize("degrees", range(0, 180, 7))
def test_any_angle_has_the_area_and_the_direction(degrees):
    _, labels = draw(SticksConfig(count=1), Scripted((128, 128, degrees)))
    assert abs((labels == 1).sum() / (15 * 90) - 1) < 0.02
    rows, columns = np.nonzero(labels)
    values, vectors = np.linalg.eigh(np.cov(columns, -rows))
    direction = np.rad2deg(np.arctan2(vectors[1, 1], vectors[0, 1])) % 180
    assert min(abs(direction - degrees), 180 - abs(direction - degrees)) < 1
    assert values[1] / values[0] == pytest.approx((90 / 15) ** 2, rel=0.05)


def test_later_sticks_cover_earlier_ones():
    one, other = (100, 100, 0), (100, 100, 90)
    _, labels = draw(SticksConfig(count=2), Scripted(one, other))
    assert visible(labels, 2).tolist() == [15 * 90 - 15 * 15, 15 * 90]
    _, swapped = draw(SticksConfig(count=2), Scripted(other, one))
    assert labels[100, 100] == swapped[100, 100] == 2
    assert labels[100, 140] == 1
    assert swapped[100, 140] == 2


def test_sticks_that_leave_the_image_are_cut_off():
    _, labels = draw(SticksConfig(count=1), Scripted((30, 30, 0)))
    assert labels.shape == (256, 256)
    assert (labels == 1).sum() == 15 * (90 - 15)


def test_every_stick_is_seen_since_images_are_drawn_again():
    config = SticksConfig(count=12)
    drawn_once = [_scattered(config, np.random.default_rng(seed))[1] for seed in range(60)]
    assert min(visible(labels, 12).min() for labels in drawn_once) < 400
    assert min(visible(draw(config, np.random.default_rng(seed))[1], 12).min() for seed in range(60)) >= 400


def test_the_seed_gives_the_pixels_and_the_parts_do_not_depend_on_each_other(tmp_path):
    one, same, other, longer = (load(tmp_path, **change) for change in ({}, {}, {"seed": 1}, {"train_images": 9}))
    assert np.array_equal(one.images.values, same.images.values)
    assert np.array_equal(one.labels.values, same.labels.values)
    assert not np.array_equal(one.images.values, other.images.values)
    tests = [np.concatenate([s.images[i] for i in np.flatnonzero(s.origins.split == "test")]) for s in (one, longer)]
    assert np.array_equal(*tests)
    assert len({image.tobytes() for image in one.images}) == len(one) == 11


def test_lengths_colours_and_sizes(tmp_path):
    scaled = load(tmp_path, size=64, length=(80, 100), fill="random")
    assert scaled.images[0].shape == (3, 64, 64)
    assert min(visible(labels, 4).min() for labels in scaled.labels) >= 400 / 16
    colours = {tuple(scaled.images[i][:, scaled.labels[i] == n].max(axis=1)) for i in range(6) for n in range(1, 5)}
    assert len(colours) > 20
    areas = [
        int((draw(SticksConfig(count=1, length=(80, 100)), np.random.default_rng(s))[1] > 0).sum()) for s in range(40)
    ]
    assert min(areas) < max(areas) <= 15 * 101 * 1.02
    grey = load(tmp_path, size=64)
    assert set(np.unique(grey.images.values)) == {0, 128, 255}


def test_wrong_requests_are_refused(tmp_path):
    with pytest.raises(RequestError, match="no drawing of 1000 shows 25 pixels of each of 64 sticks; ask for fewer"):
        draw(SticksConfig(count=64, size=64), np.random.default_rng(0))
    with pytest.raises(RequestError, match="made from a seed and reads no path"):
        load_labelled(SegmentationDataConfig(path=tmp_path), tmp_path)
    with pytest.raises(RequestError, match=r"has the colours of data\.sticks\.fill"):
        load_labelled(SegmentationDataConfig(colour="rgb"), tmp_path)
    with pytest.raises(ValidationError, match=r"length: expected a range within 15\.\.256"):
        SticksConfig(length=(100, 80))
