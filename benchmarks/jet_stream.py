"""Peak memory, time and file size of converting and streaming jets, for two numbers of them.

    python benchmarks/jet_stream.py [--jets 50000 500000] [--batch 1024] [--processes 1 2]

Writes files like HLS4ML's (100 particles; the jets of one small set again and again, with other row numbers), converts
them, and reads one epoch for one process and as the first of two, each in a process of its own. Memory is what that
process took at most beyond what it held after its imports and a run on 2,000 jets. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from isotypic.bench.memory import peak
from isotypic.data.jets.config import JetDataConfig, JetSources
from isotypic.data.synthetic.jets import draw
from isotypic.data.writers.jet_files import write_hls4ml
from isotypic.distributed.conversion import convert
from isotypic.distributed.stream import ShardedJets

FILE, SMALL = 10_000, 2_000


def write(folder: Path, jets: int) -> None:
    """Write files of at most 10,000 jets of g, q, w, z and t."""
    folder.mkdir()
    count = min(FILE, jets)
    kinds = np.arange(count) % 5
    first = write_hls4ml(folder / "00000.h5", *draw(kinds, np.random.default_rng(0)), kinds)
    for number in range(1, jets // count):
        (folder / f"{number:05}.h5").write_bytes(first.read_bytes())


def converted(source: Path, folder: Path) -> Callable[[], object]:
    """Return what converts a folder of files."""
    sources = JetSources(paths=(source,), data=JetDataConfig())
    return lambda: convert(sources, folder, lambda done, total: None)


def streamed(folder: Path, batch: int, world: int) -> Callable[[], object]:
    """Return what reads one epoch as the first of several processes."""
    return lambda: sum(len(jets.row) for jets in ShardedJets(folder).batches(0, batch, 0, world))


def measured(order: dict[str, str | int]) -> dict[str, float]:
    """Return megabytes and seconds of one call, after a small one of the same kind."""
    root = Path(str(order["root"]))

    def call(name: str, out: str) -> Callable[[], object]:
        if order["what"] == "convert":
            return converted(root / f"{name}-source", root / out)
        return streamed(root / name, int(order["batch"]), int(order["world"]))

    call("small", "warm")()
    large, start = call(str(order["name"]), str(order["name"])), time.perf_counter()
    found = peak(large)
    return {"MB": float("nan") if found is None else found / 1e6, "s": time.perf_counter() - start}


def in_a_process(**order: str | int) -> dict[str, float]:
    """Measure in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", json.dumps(order)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def main() -> None:
    """Make the jets, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jets", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measured(json.loads(asked.measure))))
        return
    print("| what | jets | MB at most | s | MB of files |\n|---|---:|---:|---:|---:|")
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "small-source", SMALL)
        converted(root / "small-source", root / "small")()
        for jets in asked.jets:
            name = str(jets)
            write(root / f"{name}-source", jets)
            shutil.rmtree(root / "warm", ignore_errors=True)
            found = {"convert": in_a_process(what="convert", root=folder, name=name)}
            for world in asked.processes:
                what = f"stream, process 1 of {world}"
                found[what] = in_a_process(what="stream", root=folder, name=name, batch=asked.batch, world=world)
            size = sum(path.stat().st_size for path in (root / name).glob("*.parquet")) / 1e6
            for what, one in found.items():
                print(f"| {what} | {jets:,} | {one['MB']:.0f} | {one['s']:.0f} | {size:.0f} |")


if __name__ == "__main__":
    main()
