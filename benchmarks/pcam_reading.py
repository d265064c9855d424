"""Images a second from files like PatchCamelyon's: the loader, and a file opened for every image.

    python benchmarks/pcam_reading.py [--rows 262144] [--batches 100]

Writes a training part of full shape whose first images are random and whose others are empty (so that it takes little
space on disk), and reads shuffled batches of 64 in turns: by the loader with 0, 2 and 4 workers, normalised; and, the
way of the report, by opening the file, reading one image and closing it, image by image. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch

from isotypic.data.image_set import ImageSet
from isotypic.data.loading import ArrayDataset, Normalised, loader
from isotypic.data.normalisation import Normalisation
from isotypic.data.readers.hdf5 import Hdf5Images
from isotypic.tasks.training import keep_freed_memory

BATCH, SIDE, WRITTEN = 64, 96, 8192
NORMALISATION = Normalisation((0.5,) * 3, (0.25,) * 3, 255.0)


def write(path: Path, rows: int) -> None:
    """Write a training part ``x [rows, 96, 96, 3]``."""
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (rows, SIDE, SIDE, 3), np.uint8, chunks=(BATCH, SIDE, SIDE, 3))
        images = np.random.default_rng(0).integers(0, 256, (min(rows, WRITTEN), SIDE, SIDE, 3), np.uint8)
        x[: len(images)] = images


def by_the_loader(images: ImageSet, workers: int) -> Iterator[int]:
    """Yield the size of every batch."""
    part = ArrayDataset(images, np.arange(len(images)))
    for batch, _ in Normalised(loader(part, BATCH, shuffle=True, seed=0, workers=workers), NORMALISATION):
        yield len(batch)


def by_opening(path: Path, rows: int) -> Iterator[int]:
    """Yield 1 for every image, read from a file that is opened for it and closed again."""
    for row in np.random.default_rng(0).permutation(rows):
        with h5py.File(path, "r") as file:
            image = np.asarray(file["x"][row])
        NORMALISATION.apply(torch.from_numpy(image.transpose(2, 0, 1)))
        yield 1


def speed(read: Iterator[int], images: int) -> float:
    """Return images a second, the first tenth not counted: workers and caches start in it."""
    done, start, skipped = 0, 0.0, 0
    for count in read:
        done += count
        if not start and done >= images // 10:
            start, skipped = time.perf_counter(), done
        if done >= images:
            break
    return (done - skipped) / (time.perf_counter() - start)


def main() -> None:
    """Time each way in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=262_144)
    parser.add_argument("--batches", type=int, default=100)
    asked = parser.parse_args()
    keep_freed_memory()  # as training does
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        write(path, asked.rows)
        images = ImageSet("like pcam", Hdf5Images(path, "x"), np.arange(asked.rows) % 2, ("normal", "tumor"))
        ways: dict[str, Callable[[], float]] = {
            f"loader, {workers} workers": lambda workers=workers: speed(
                by_the_loader(images, workers), asked.batches * BATCH
            )
            for workers in (0, 2, 4)
        }
        ways["a file opened for every image"] = lambda: speed(by_opening(path, asked.rows), asked.batches * BATCH // 8)
        found = {name: median(way() for _ in range(3)) for name, way in ways.items()}
    print("| way | images a second | ratio |\n|---|---:|---:|")
    for name, rate in found.items():
        print(f"| {name} | {rate:,.0f} | {rate / found['a file opened for every image']:.1f} |")


if __name__ == "__main__":
    main()
