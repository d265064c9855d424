"""What a cell on spherical images shows: spheres, seen from where the image is, with what was found on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor
from scipy.spatial.transform import Rotation

from isotypic.data.image_set import full_scale
from isotypic.data.sphere.points import turned_back
from isotypic.data.sphere.samples import Sampled
from isotypic.data.sphere.view import FROM_SOUTH, following, seen
from isotypic.inference.sphere_evaluation import SphereClassified, found_classes
from isotypic.studies.systems.png import COLOURS, INK, MARK
from isotypic.studies.systems.sheet import LINE, MARGIN, Bytes, Sheet, Words
from isotypic.tasks.session import Trained
from isotypic.tasks.sphere.session import SphereMaterial

SIDE, SHOWN = 170, 8
"""Pixels across a sphere, and spheres a row."""

_STEP, _BELOW = 178, 10
_NIGHT, _DIMMEST = "#20262e", 0.55
_CLASS_COLOURS = (_NIGHT, *COLOURS, "#F5F5F5", "#8C564B", "#7FD4A8")


class _Spheres:
    """Some test images of different classes, as they are and turned.

    Args:
        material: all images.
        rows: the test images.
    """

    def __init__(self, material: SphereMaterial, rows: np.ndarray) -> None:
        labels = material.images.labels[rows]
        order = np.argsort([np.count_nonzero(labels[:i] == label) for i, label in enumerate(labels)], kind="stable")
        self.material, self.places = material, order[:SHOWN]
        upright, turned = (material.samples(rows, turned=turned) for turned in (False, True))
        self.rotations = turned.rotations(self.places) or Rotation.identity(len(self.places))
        self.upright, self.turned = upright.images(self.places), turned.images(self.places)
        self.white = full_scale(Sampled(upright))
        self.labels = labels[self.places]

    def views(self) -> list[Rotation]:
        """Return the views of the turned images."""
        return [following(turn) for turn in self.rotations]

    def grey(self, images: np.ndarray, views: Sequence[Rotation]) -> list[Bytes]:
        """Return pictures of images."""
        shades = images[:, :3] if images.shape[1] == 3 else images.mean(1, keepdims=True).repeat(3, 1)
        low = np.array(ImageColor.getrgb(_NIGHT))[:, None, None]
        lit = low + (255 - low) * np.clip(shades / self.white, 0, 1)
        return [_ball(each, view) for each, view in zip(lit, views, strict=True)]


class SegmentedSpheres(_Spheres):
    """Images, the truth, what was found, and what was found in the turned images.

    Args:
        material: all images.
        rows: the test images.
        trained: the network.
    """

    def __init__(self, material: SphereMaterial, rows: np.ndarray, trained: Trained) -> None:
        super().__init__(material, rows)
        self.truth = material.samples(rows, turned=False).classes(self.places)
        self.found, found = (
            found_classes(trained.model, images, trained.normalisation) for images in (self.upright, self.turned)
        )
        self.back = turned_back(found, self.rotations)

    @property
    def caption(self) -> str:
        """What the picture shows, without a full stop."""
        return (
            "upright test images, one of a class before a second, seen from the south pole: the image, the classes of "
            "its points, those that were found; then the image turned at random, seen from where it has gone, and what "
            "was found in it, turned back. A network that commutes with rotations finds the same in both. A colour is "
            "a class"
        )

    def write(self, path: Path) -> Path:
        """Draw the rows as PNG.

        Raises:
            ImportError: matplotlib is not installed.
            OSError: the file cannot be written.
        """
        south = [FROM_SOUTH] * len(self.places)
        sheet = Sheet()
        _row(sheet, "Image", self.grey(self.upright, south))
        _row(sheet, "Truth", [_ball(_coloured(each), FROM_SOUTH) for each in self.truth])
        _row(sheet, "Found", [_ball(_coloured(each), FROM_SOUTH) for each in self.found])
        _row(sheet, "The image turned", self.grey(self.turned, self.views()))
        _row(sheet, "Found there, turned back", [_ball(_coloured(each), FROM_SOUTH) for each in self.back])
        return sheet.write(path)


class ClassifiedSpheres(_Spheres):
    """Images as they are and turned, with the classes that they were given.

    Args:
        material: all images.
        rows: the test images.
        on_test: what the classifier did with all of them.
    """

    def __init__(self, material: SphereMaterial, rows: np.ndarray, on_test: SphereClassified) -> None:
        super().__init__(material, rows)
        self.given = on_test.probabilities.argmax(2).numpy()[:, self.places]

    @property
    def caption(self) -> str:
        """What the picture shows, without a full stop."""
        return (
            "upright test images, one of a class before a second, seen from the south pole, and the same turned at "
            "random, seen from where they have gone. Below an image: true class → predicted class"
        )

    def write(self, path: Path) -> Path:
        """Draw the rows as PNG.

        Raises:
            ImportError: matplotlib is not installed.
            OSError: the file cannot be written.
        """
        sheet = Sheet()
        _row(sheet, "As they are", self.grey(self.upright, [FROM_SOUTH] * len(self.places)), self._said(0))
        _row(sheet, "Turned", self.grey(self.turned, self.views()), self._said(1))
        return sheet.write(path)

    def _said(self, test: int) -> list[Words]:
        classes = self.material.images.classes
        pairs = zip(self.labels, self.given[test], strict=True)
        return [Words(f"{classes[t]} → {classes[f]}", INK if t == f else MARK, across="center") for t, f in pairs]


def _row(sheet: Sheet, name: str, pictures: Sequence[Bytes], words: Sequence[Words] = ()) -> None:
    top = sheet.bottom + (_BELOW if sheet.bottom else 0)
    sheet.say(Words(name, bold=True), MARGIN, top)
    for place, picture in enumerate(pictures):
        sheet.put(picture, MARGIN + place * _STEP, top + LINE + 2)
    below = sheet.bottom
    for place, said in enumerate(words):
        sheet.say(said, MARGIN + place * _STEP + SIDE // 2, below)


def _coloured(classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the colours ``[3, 2 b, 2 b]`` of classes; there are as many as digits and one for the background."""
    palette = np.array([ImageColor.getrgb(colour) for colour in _CLASS_COLOURS], dtype=np.float64)
    return np.moveaxis(palette[np.where(classes > 0, (classes - 1) % (len(palette) - 1) + 1, 0)], -1, 0)


def _ball(colours: NDArray[np.floating], view: Rotation) -> Bytes:
    """Return the picture ``[SIDE, SIDE, 3]`` of a sphere of colours ``[3, 2 b, 2 b]``, darker at its edge."""
    shown, facing = seen(colours, view, SIDE)
    lit = shown * (_DIMMEST + (1 - _DIMMEST) * facing)
    return np.rint(np.moveaxis(np.where(facing > 0, lit, 255.0), 0, -1)).astype(np.uint8)
