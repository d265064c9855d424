"""Trained segmenters on turned images: how many pixels change, beside how good the segmentation is.

    python benchmarks/segmentation_symmetry.py RUN [RUN ...] [--data PATH] [--images 8] [--group p4m]

A RUN is a folder of `isotypic train`, a cell of a study, or the name of a run of the package. Its test images are cut
to even, odd and rectangular sizes, segmented under every element of the group, whole and in tiles, in float64 and
float32, and compared as partitions with what was found upright. Two controls change one step each: tiles in equal steps
with the last one moved inwards; and, for embeddings, k-means++ on pixels in the order in which they lie. Prints
Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from isotypic.groups import FiniteGroup, named
from isotypic.inference.grouping.foreground import semantic_foreground
from isotypic.inference.run import recipe_of_run
from isotypic.inference.segmentation_evaluation import Sample
from isotypic.inference.segmenter import Execution, Segmenter
from isotypic.inference.tiling import AxisTiles, TileRule
from isotypic.metrics.instances import mean_dice
from isotypic.metrics.overlap import overlaps
from isotypic.metrics.partition import differing_when_moved
from isotypic.models.heads import HeadChoice
from isotypic.tasks.recipe import SegmentationRecipe, recipe_of, with_request
from isotypic.tasks.segmentation.session import LabelledMaterial, labelled_material

SIZES = ((112, 112), (113, 113), (96, 124), (127, 101))
TILE = 64


class OneSided(TileRule):
    """Tiles in equal steps from the first pixel on, the last one moved inwards: the usual way."""

    def along(self, size: int) -> AxisTiles:
        """Return the tiles of an axis."""
        length = self.side // self.stride * self.stride
        if size <= length:
            return super().along(size)
        step = (length - self.overlap) // self.stride * self.stride
        origins = (*range(0, size - length, step), size - length)
        return AxisTiles(size, length, origins, self.margin, self.blend)


@dataclass(frozen=True)
class Case:
    """One row of the table: what is changed, at which precision, in tiles of which side."""

    name: str
    precision: str = "float64"
    tile: int = 512
    rule: Callable[[TileRule], TileRule] = lambda rule: rule
    unsorted: bool = False


def one_sided(rule: TileRule) -> TileRule:
    """Return the usual tiles for a rule."""
    return OneSided(rule.side, rule.stride, rule.margin, rule.blend)


CASES = [
    Case("whole"),
    Case("tiled", tile=TILE),
    Case("whole", "float32"),
    Case("tiled", "float32", tile=TILE),
    Case("control: one-sided tiles", tile=TILE, rule=one_sided),
    Case("control: unsorted k-means++", "float32", unsorted=True),
]


def samples(material: LabelledMaterial, size: tuple[int, int], most: int) -> Iterator[Sample]:
    """Yield the corner of test images that are large enough and have an object there."""
    labelled, found = material.labelled, 0
    for index in material.splits.test:
        corner = (slice(None), slice(size[0]), slice(size[1]))
        image, labels = np.array(labelled.images[index][corner]), np.array(labelled.labels[index][corner[1:]])
        if image.shape[1:] == size and labels.any() and found < most:
            found += 1
            yield Sample(str(labelled.origins.names[index]), image, labels)


def unsorted_labels(output: np.ndarray, recipe: SegmentationRecipe) -> np.ndarray:
    """Return clusters of the foreground's embeddings in the order in which pixels lie."""
    foreground = semantic_foreground(output[:2])
    labels = np.zeros(foreground.shape, np.int32)
    clusters = recipe.grouping.embedding.clusters or 4
    if foreground.sum() >= clusters:
        labels[foreground] = 1 + KMeans(clusters, n_init=1, random_state=0).fit_predict(output[2:][:, foreground].T)
    return labels


def segmenting(run: Path, case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """Return what maps an image to its labels in a case."""
    segmenter = Segmenter.load(run, Execution(tile=case.tile, margin=8, precision=case.precision))
    segmenter.rule = case.rule(segmenter.rule)
    if not case.unsorted:
        return segmenter.labels
    return lambda image: unsorted_labels(segmenter.outputs(image), segmenter.recipe)


@dataclass
class Row:
    """Sums over images: of Dice coefficients, of instances found and true, of pixels that differ, worst and all."""

    images: int = 0
    dice: float = 0.0
    found: int = 0
    true: int = 0
    worst: int = 0
    fraction: float = 0.0

    def add(self, segment: Callable[[np.ndarray], np.ndarray], sample: Sample, group: FiniteGroup) -> None:
        """Segment one image under every element."""
        table = overlaps(sample.labels, segment(sample.pixels))
        differing = differing_when_moved(segment, sample.pixels, group)[1:]
        self.images += 1
        self.dice += mean_dice(table, table.best_matching(table.dice))
        self.found, self.true = self.found + len(table.predicted_sizes), self.true + len(table.true_sizes)
        self.worst = max(self.worst, int(differing.max()))
        self.fraction += float(differing.mean()) / sample.labels.size

    def __str__(self) -> str:
        means = f"{self.dice / self.images:.3f} | {self.found} of {self.true}"
        return f"{self.images} | {means} | {self.worst} | {100 * self.fraction / self.images:.4f} %"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--group", default="p4m")
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    asked = parser.parse_args()
    print("| run | case | arithmetic | images | Dice | instances found | most differing pixels | differing |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for run in asked.runs:
        recipe = recipe_of(with_request(recipe_of_run(run).model_dump(mode="json"), asked.data, []))
        material = labelled_material(recipe, asked.cache)
        for case in CASES:
            if case.unsorted and recipe.model.heads is not HeadChoice.EMBEDDING:
                continue
            segment = segmenting(run, case)
            row = Row()
            for size in SIZES:
                for sample in samples(material, size, asked.images):
                    row.add(segment, sample, named(asked.group))
            print(f"| {run.name} | {case.name} | {case.precision} | {row} |", flush=True)


if __name__ == "__main__":
    main()
