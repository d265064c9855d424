"""A large image segmented as users do it: peak memory, time, seams and symmetry of the tiling.

    python benchmarks/large_image.py --data stage1_train.zip [--run nuclei] [--side 10000] [--out large]

Test photographs of the run (those of the most frequent kind), each turned and mirrored at random, are put side by side
to one tiled TIFF. It is segmented by `isotypic segment` in a process of its own, upright and turned by 90 degrees;
both label images are compared as partitions. A piece of it is segmented in tiles and as one tile, and what differs is
counted near the seams and elsewhere. Prints one line a figure.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from isotypic.inference.grouping.pixels import group_pixels
from isotypic.inference.run import recipe_of_run
from isotypic.inference.segmenter import Execution, Segmenter
from isotypic.metrics.instances import InstanceMetric
from isotypic.metrics.overlap import Labels
from isotypic.metrics.partition import differing_pixels
from isotypic.tasks.recipe import recipe_of, with_request
from isotypic.tasks.segmentation.session import LabelledMaterial, labelled_material

CELL = 256
PIECE = 1500
NEAR = 16
"""Sides of a cell of the mosaic and of the piece, and how near a pixel is to a seam, in pixels."""


def photographs(run: str, data: Path, cache: Path) -> tuple[LabelledMaterial, list[int]]:
    """Return the material of a run and its test images of the most frequent kind that fill a cell."""
    recipe = recipe_of_run(run).model_dump(mode="json")
    material = labelled_material(recipe_of(with_request(recipe, data, [])), cache)
    origins, test = material.labelled.origins, material.splits.test
    if origins.kinds is not None:
        names, counts = np.unique(origins.kinds[test], return_counts=True)
        test = test[origins.kinds[test] == names[counts.argmax()]]
    return material, [index for index in test.tolist() if min(material.labelled.sizes[index]) >= CELL]


def mosaic(material: LabelledMaterial, indices: list[int], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its true labels, ``[side, side]`` both, of cells from the images at indices."""
    rng, cells = np.random.default_rng(0), -(-side // CELL)
    image, truth = np.empty((cells * CELL,) * 2, np.uint8), np.empty((cells * CELL,) * 2, np.int32)
    objects = 0
    for row, column in np.ndindex(cells, cells):
        index, turns, mirrored = rng.choice(indices), rng.integers(4), rng.integers(2)
        there = np.s_[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        pixels, labels = material.labelled.images[index][0], material.labelled.labels[index]
        cut = [np.rot90(part[:CELL, :CELL], turns)[:: 1 - 2 * mirrored] for part in (stretched(pixels), labels)]
        image[there], truth[there] = cut[0], np.where(cut[1] > 0, cut[1] + objects, 0)
        objects += int(labels.max())
    return image[:side, :side], truth[:side, :side]


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Return 8 bits from black to white: a slide has one exposure, photographs have many."""
    low, high = np.percentile(pixels, (1, 99.8))
    return (255 * ((pixels - low) / max(high - low, 1)).clip(0, 1)).astype(np.uint8)


@dataclass(frozen=True)
class Use:
    """What a process used: seconds by the clock, and most bytes of memory at once."""

    seconds: float
    peak: int


def segmented(image: Path, run: str, out: Path) -> tuple[Labels, Use]:
    """Run the command line on a file and return the labels it wrote."""
    command = [Path(sys.executable).with_name("isotypic"), "segment", image, "--run", run]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--out", out, "--save", "labels"])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    labels = tifffile.imread(next(out.rglob("*_labels.ome.tif")))
    return labels, Use(time.perf_counter() - start, used.ru_maxrss * 1024)


def seams(segmenter: Segmenter, side: int) -> np.ndarray:
    """Return which pixels of a square lie near the middle of an overlap of two tiles, ``[side, side]``."""
    axis = segmenter.rule.along(side)
    middles = [(end + axis.length + start) / 2 for end, start in zip(axis.origins, axis.origins[1:], strict=False)]
    near = np.zeros(side, bool)
    for middle in middles:
        near[int(middle) - NEAR : int(middle) + NEAR] = True
    return near[:, None] | near


def report(name: str, value: object) -> None:
    """Print one figure."""
    print(f"{name:>44}: {value}", flush=True)


def report_seams(image: np.ndarray, run: str) -> None:
    """Compare tiles with one tile on a piece."""
    piece = image[None, :PIECE, :PIECE]
    side = piece.shape[1]
    tiled, whole = Segmenter.load(run), Segmenter.load(run, Execution(tile=PIECE))
    outputs = [np.array(each.outputs(piece)) for each in (tiled, whole)]
    labels = [group_pixels(output, tiled.recipe.model.heads, tiled.recipe.grouping) for output in outputs]
    difference, near = abs(outputs[0] - outputs[1]).max(0), seams(tiled, side)
    report(f"piece of {side} x {side}, tiles", tiled.rule.over((side, side)).count)
    report("largest difference near seams, elsewhere", f"{difference[near].max():.2g}, {difference[~near].max():.2g}")
    report("pixels that differ from one tile's", f"{differing_pixels(*labels)} of {side * side}")
    report("nuclei in tiles, as one tile", f"{labels[0].max()}, {labels[1].max()}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", default="nuclei")
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("large"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    image, truth = mosaic(*photographs(asked.run, asked.data, asked.out / "cache"), asked.side)
    found, uses = [], []
    for name, turns in (("upright", 0), ("turned", 1)):
        path = asked.out / f"{name}.tif"
        tifffile.imwrite(path, np.ascontiguousarray(np.rot90(image, turns)), tile=(512, 512))
        labels, use = segmented(path, asked.run, asked.out / name)
        found.append(np.rot90(labels, -turns))
        uses.append(use)
    report("image", f"{asked.side} x {asked.side}, {asked.side**2 / 1e6:.0f} MB")
    report("peak memory, upright and turned", " and ".join(f"{use.peak / 1e6:.0f} MB" for use in uses))
    report("time, upright and turned", " and ".join(f"{use.seconds:.0f} s" for use in uses))
    scores = InstanceMetric()
    scores.update(truth, found[0])
    report("nuclei found, true", f"{scores.found}, {scores.true}")
    report("AP at IoU .5", f"{scores.compute().ap[0]:.3f}")
    report("pixels that differ when turned", f"{differing_pixels(*found)} of {asked.side**2}")
    report_seams(image, asked.run)


if __name__ == "__main__":
    main()
