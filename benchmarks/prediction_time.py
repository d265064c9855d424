"""How long trained networks take for one image, against the first of them.

    python benchmarks/prediction_time.py RUN [RUN ...] [--side 512] [--rounds 9]

A RUN is a folder of `isotypic train`, a cell of a study, or the name of a run of the package. All segment one image of
noise in turns, in one process, and every network's time is divided by that of the first in the same round: the median
of these ratios is printed, with the median time. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from isotypic.inference.segmenter import Segmenter


def seconds(segmenter: Segmenter, image: np.ndarray) -> float:
    """Return how long the network's outputs of an image take."""
    start = time.perf_counter()
    segmenter.outputs(image)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    segmenters = [Segmenter.load(run) for run in asked.runs]
    shape = segmenters[0].channels or 1, asked.side, asked.side
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for segmenter in segmenters:
        seconds(segmenter, image)  # whatever is done once
    times = np.array([[seconds(each, image) for each in segmenters] for _ in range(asked.rounds)])
    ratios, medians = np.median(times / times[:, :1], 0), np.median(times, 0)
    print("| run | seconds | against the first |\n|---|---:|---:|")
    for run, median, ratio in zip(asked.runs, medians, ratios, strict=True):
        print(f"| {run} | {median:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
