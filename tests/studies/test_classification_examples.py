"""Which test images a report shows: chosen by the probabilities alone, read when drawn, shown pixel by pixel."""

import numpy as np
import pytest
import torch
from lookalikes import name, write_pcam
from PIL import Image

from isotypic.data.image_set import ImageSet
from isotypic.data.loading import ArrayDataset
from isotypic.data.normalisation import Normalisation
from isotypic.data.readers.hdf5 import Hdf5Images
from isotypic.studies.systems.classification_examples import Examples
from isotypic.studies.systems.mosaic import columns, in_bytes, scale_of

RED = (0xD1, 0x00, 0x1F)


def image_set(labels, classes, images=None):
    labels = np.asarray(labels, dtype=np.int64)
    found = np.zeros((len(labels), 1, 8, 8), np.uint8) if images is None else images
    return ImageSet("made up", found, labels, tuple(classes))


def of_two(positive, labels, **kwargs):
    """Examples of all images, by the probability of the second class."""
    images = image_set(labels, ("alone", "touching"), **kwargs)
    return Examples(images, np.arange(len(labels)), np.stack([1 - np.array(positive), positive], 1))


def chosen(examples):
    return {kind.name: kind.shown.tolist() for kind in examples.chosen()}


def test_two_classes_have_a_row_of_either_right_and_wrong():
    examples = of_two([0.1, 0.9, 0.7, 0.2, 0.95, 0.3, 0.8], [0, 1, 1, 0, 0, 1, 0])
    assert chosen(examples) == {
        "Right and surest, true class “alone”": [0, 3],
        "Right and surest, true class “touching”": [1, 2],
        "Wrong and surest, true class “alone”": [4, 6],
        "Wrong and surest, true class “touching”": [5],
        "Least sure of the others": [],
    }


def test_all_are_counted_and_a_row_shows_what_it_has_room_for():
    generator = np.random.default_rng(0)
    positive, labels = generator.random(400), generator.integers(0, 2, 400)
    *kinds, unsure = of_two(positive, labels).chosen()
    assert sum(kind.there for kind in kinds) == 400
    assert {len(kind.shown) for kind in kinds} == {columns(8, 8)} == {9}
    assert unsure.there == 400 - 4 * 9
    shown = np.concatenate([kind.shown for kind in (*kinds, unsure)])
    assert len(set(shown.tolist())) == len(shown)
    others = np.setdiff1d(np.arange(400), np.concatenate([kind.shown for kind in kinds]))
    doubt = np.abs(positive - 0.5)
    assert unsure.shown.tolist() == others[np.argsort(doubt[others])][:9].tolist()


def test_the_surest_come_first_and_of_equally_sure_ones_the_first():
    equal = chosen(of_two([0.75] * 12, [1] * 11 + [0]))
    assert equal["Right and surest, true class “touching”"] == list(range(9))
    assert equal["Least sure of the others"] == [9, 10]
    rising = chosen(of_two(np.linspace(0.6, 0.9, 12), [1] * 11 + [0]))
    assert rising["Right and surest, true class “touching”"] == list(range(10, 1, -1))


def test_of_many_classes_none_comes_twice_before_all_have_come():
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.full(4, 0.2), 200)
    labels = np.where(generator.random(200) < 0.8, probabilities.argmax(1), 0)
    probabilities[probabilities.argmax(1) == 3, 3] += 10  # one class that it is always surest of
    examples = Examples(image_set(labels, "abcd"), np.arange(200), probabilities)
    right, wrong, unsure = examples.chosen()
    assert [kind.name for kind in (right, wrong, unsure)] == [
        "Right and surest",
        "Wrong and surest",
        "Least sure of the others",
    ]
    of_right = labels[right.shown].tolist()
    assert sorted(of_right[:4]) == sorted(of_right[4:8]) == [0, 1, 2, 3]
    sure = probabilities.max(1)
    mistaken = np.flatnonzero(probabilities.argmax(1) != labels)
    assert wrong.shown.tolist() == mistaken[np.argsort(-sure[mistaken])][:9].tolist()
    assert (right.there, wrong.there) == (200 - len(mistaken), len(mistaken))
    assert "different classes" in examples.caption
    assert "different classes" not in of_two([0.2, 0.8], [0, 1]).caption


class Asked(Hdf5Images):
    """Remembers what it was asked for."""

    asked = ()

    def __getitem__(self, rows):
        self.asked = (*self.asked, np.asarray(rows).tolist())
        return super().__getitem__(rows)


def test_lazy_images_are_matched_with_the_order_they_were_tested_in(tmp_path):
    _, labels = write_pcam(tmp_path, {"train": 40, "valid": 4, "test": 4}, tables=False, side=16)
    lazy = image_set(labels[:40], ("no", "yes"), Asked(tmp_path / name("train", "x"), "x"))
    scattered = np.random.default_rng(0).permutation(40)[:25]
    tested = ArrayDataset(lazy, scattered)
    rows = tested.indices
    assert rows.tolist() != scattered.tolist()
    truth = np.eye(2)[labels[rows]] * 0.98 + 0.01
    assert all(kind.there == 0 for kind in Examples(lazy, rows, truth).chosen() if "Wrong" in kind.name)
    assert any(kind.there for kind in Examples(lazy, scattered, truth).chosen() if "Wrong" in kind.name)
    Examples(lazy, rows, truth).write(tmp_path / "a.png")
    assert sorted(lazy.images.asked) == [[row] for row in rows]


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (40, 1), (96, 3), (300, 3)])
def test_pixels_become_squares_of_their_own_colour(side, channels, tmp_path):
    shades = np.array([[[200, 40]], [[30, 90]], [[120, 250]]], np.uint8)[:channels]
    image = shades.repeat(side, 1).repeat(side // 2, 2)
    positive = [0.9, 0.1]
    examples = of_two(positive, [1, 0], images=np.stack([image, image]))
    picture = Image.open(examples.write(tmp_path / "cell" / "examples.png"))
    assert picture.format == "PNG"
    scale = scale_of(side, side)
    drawn = side // scale.block * scale.factor
    there = {colour: number for number, colour in picture.convert("RGB").getcolors(1 << 18)}
    wanted = np.moveaxis(shades, 0, -1)[0] if channels > 1 else np.array([[255] * 3, [0] * 3])
    for colour in map(tuple, wanted.tolist()):
        if colour != (255, 255, 255):
            assert there[colour] == pytest.approx(2 * drawn * drawn / 2, rel=0.02)
    assert RED not in there


def test_a_wrong_class_is_red_and_a_kind_without_images_is_said(tmp_path):
    picture = Image.open(of_two([0.9, 0.8], [1, 0]).write(tmp_path / "a.png")).convert("RGB")
    assert RED in {colour for _, colour in picture.getcolors(1 << 16)}
    said = [words.text for words in of_two([0.99991, 0.8123], [1, 0])._words(0)]
    assert said == ["touching", "→ touching", "p > 0.999"]
    short = Examples(image_set([0, 1], "01"), np.arange(2), np.array([[0.25, 0.75], [0.3, 0.7]]))
    assert [words.text for words in short._words(0)] == ["0 → 1", "p = 0.750"]


def test_a_run_that_diverged_is_drawn(tmp_path):
    nothing = np.full((6, 2), np.nan)
    examples = Examples(image_set([0, 1] * 3, ("a", "b")), np.arange(6), nothing)
    assert examples.write(tmp_path / "a.png").is_file()
    assert examples._words(0)[-1].text == "p = nan"


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_pixels_are_those_before_normalisation(dtype):
    white = 255.0 if dtype == np.uint8 else 1.0
    stored = (np.linspace(0, 1, 3 * 64).reshape(3, 8, 8) * white).astype(dtype)
    shown = in_bytes(stored, white)
    assert np.abs(shown / 255 - np.moveaxis(stored, 0, -1) / white).max() < 1 / 255
    normalised = Normalisation((0.5,) * 3, (0.2,) * 3, white).apply(torch.from_numpy(stored)).numpy()
    assert np.abs(in_bytes(normalised, white) / 255 - np.moveaxis(stored, 0, -1) / white).max() > 0.1
