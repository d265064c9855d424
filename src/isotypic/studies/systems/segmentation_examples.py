"""What a cell of a segmentation study shows: a few test images, what was found in them, and what a move changes.

The images are chosen by their place, before anything is known of them, and by failure: the first and the middle test
image, the same ones in every cell of a study, and of the others the one with the lowest score.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from isotypic.groups.finite import FiniteGroup
from isotypic.inference.labels import Labels as Regions
from isotypic.inference.segmentation_evaluation import ALL, Found, Sample, SegmentedImage
from isotypic.inference.writers.overlay import picture
from isotypic.metrics.instances import agreeing_pairs, hit_pairs, renamed
from isotypic.metrics.overlap import Labels
from isotypic.studies.systems.overlays import Bytes, Instances, Panel, Row, darkness, spread_colours, write_overlays
from isotypic.studies.systems.png import GREYS, can_draw

MOVED = 1
"""The element whose effect is shown."""

_RULES = (
    "the only test image",
    "all test images",
    "the first and the middle test image, and of the others the one with the lowest {measure}",
)
"""Which images are shown, where there are one, two or more."""

_INSTANCES = (
    "Colours: a true instance and the predicted one that it meets with an intersection over union above one half; "
    "greys: instances that meet none so"
)
_BOUNDARIES = "Prediction: the probability of the boundary, white 0 and black 1"
_DIFFERENCE = "Red: pixels whose {what} when the image is moved by {element} and the prediction is moved back"
_FAINT = 0.15
_LONGEST_NAME = 24


class Examples:
    """Sees every test image and keeps those that are shown.

    Args:
        images: how many will be seen.
        group: its element :data:`MOVED` is the move that is shown; the trivial group has none.
        measure: what the scores are called.
    """

    def __init__(self, images: int, group: FiniteGroup, measure: str) -> None:
        self.measure = measure
        self.element = group.describe(MOVED) if group.order > MOVED else None
        self._places = {images // 2: "middle", 0: "first"}
        self._seen = 0
        self._by_place: dict[str, SegmentedImage] = {}
        self._lowest: SegmentedImage | None = None

    def see(self, image: SegmentedImage) -> None:
        """Keep an image if it is one of those to show: itself, and what was found upright and once moved."""
        kept = replace(image, found=image.found[: MOVED + 1])
        if self._seen in self._places:
            self._by_place[self._places[self._seen]] = kept
        elif self._lowest is None or image.scores[0] < self._lowest.scores[0]:
            self._lowest = kept
        self._seen += 1

    @property
    def chosen(self) -> dict[str, SegmentedImage]:
        """The images that are shown, by what they are called beside the picture."""
        return self._by_place | ({} if self._lowest is None else {"lowest score": self._lowest})

    @property
    def caption(self) -> str | None:
        """What the picture shows, without a full stop; None where there is no image, or nothing to draw with."""
        if not self._by_place or not can_draw():
            return None
        said = [_RULES[len(self.chosen) - 1].format(measure=self.measure)]
        said += [_BOUNDARIES if self._of_boundaries else _INSTANCES]
        if self.element is not None:
            what = "class changes" if self._of_boundaries else "instance changes, whatever it is called,"
            said += [_DIFFERENCE.format(what=what, element=self.element)]
        return ". ".join(said)

    def write(self, path: Path) -> Path:
        """Draw the images as PNG, a row each.

        Raises:
            RequestError: no image was seen.
            ImportError: matplotlib is not installed.
            OSError: the file cannot be written.
        """
        columns = ["image", "truth", "prediction"]
        if self.element is not None:
            columns += [f"image moved by {self.element},\nprediction moved back", "pixels that differ"]
        return write_overlays(columns, [self._row(name, image) for name, image in self.chosen.items()], path)

    @property
    def _of_boundaries(self) -> bool:
        return any(image.found[0].boundary is not None for image in self.chosen.values())

    def _row(self, name: str, image: SegmentedImage) -> Row:
        panels = [Panel(_shown(image.sample)), *(_boundaries(image) if self._of_boundaries else _instances(image))]
        notes = [_about(image.sample), *self._notes(image)]
        noted = tuple(replace(panel, note=note) for panel, note in zip(panels, notes, strict=True))
        height, width = image.sample.labels.shape
        return Row(name, (height, width), noted)

    def _notes(self, image: SegmentedImage) -> list[str]:
        """Return what stands below truth, predictions and difference."""
        truth = image.sample.labels
        true = f"boundary: {(truth > 0).mean():.1%}" if self._of_boundaries else f"instances: {_count(truth):,}"
        scores = [f"{self.measure}: {score:.3f}" for score in image.scores[: len(image.found)]]
        if not self._of_boundaries:
            counts = [f"found: {_count(found.labels):,}" for found in image.found]
            scores = [f"{count}\n{score}" for count, score in zip(counts, scores, strict=True)]
        return [true, *scores, *(_difference(image) for _ in image.found[MOVED:])]


def _instances(image: SegmentedImage) -> list[Panel]:
    """Return truth, predictions and difference; true and predicted instances that are one have one colour."""
    truth, labels = image.sample.labels, [found.labels for found in image.found]
    prediction = renamed(truth, labels[0], hit_pairs)
    moved = [renamed(prediction, each, agreeing_pairs) for each in labels[MOVED:]]
    colours = _colours(truth, prediction)
    panels = [Panel(instances=Instances(each, colours)) for each in (truth, prediction, *moved)]
    faint = Instances(prediction, strength=_FAINT)
    return panels + [Panel(instances=faint, marks=prediction != each) for each in moved]


def _colours(truth: Labels, prediction: Labels) -> dict[int, str]:
    """Return colours of the labels that both have, and greys of those that one has alone."""
    met = np.intersect1d(truth, prediction)
    alone = (np.where(np.isin(labels, met), 0, labels) for labels in (truth, prediction))
    missed, superfluous = (spread_colours(labels, GREYS) for labels in alone)
    return spread_colours(truth) | missed | superfluous


def _boundaries(image: SegmentedImage) -> list[Panel]:
    """Return truth, predictions and difference."""
    upright, *moved = image.found
    maps = [image.sample.labels > 0, *(_probability(found) for found in image.found)]
    panels = [Panel(darkness(each.astype(np.float64))) for each in maps]
    faint = darkness(_FAINT * upright.labels)
    return panels + [Panel(faint, marks=upright.labels != each.labels) for each in moved]


def _probability(found: Found) -> np.ndarray:
    return found.labels if found.boundary is None else found.boundary


def _shown(sample: Sample) -> Bytes:
    """Return the image as it is shown, ``[y, x, 3]``, smaller if it is large."""
    channels = tuple(map(str, range(len(sample.pixels))))
    nothing = np.zeros(sample.labels.shape, np.int32)
    return picture(Regions(nothing, sample.name, pixels=sample.pixels, channels=channels))


def _about(sample: Sample) -> str:
    height, width = sample.labels.shape
    cut = len(sample.name) > _LONGEST_NAME
    name = sample.name[: _LONGEST_NAME - 1] + "…" if cut else sample.name
    return f"{name}\n{height} × {width}{', ' if sample.kind != ALL else ''}{sample.kind}"


def _difference(image: SegmentedImage) -> str:
    differing = int(image.differing[MOVED])
    return f"differing: {differing:,}" + (f" ({differing / image.sample.labels.size:.2%})" if differing else "")


def _count(labels: Labels) -> int:
    return len(np.unique(labels[labels > 0]))
