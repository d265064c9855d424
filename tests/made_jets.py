"""Small files of jets for tests: in HLS4ML's layout, from the small generator, and what may be spoilt in them."""

import h5py
import numpy as np

from isotypic.data.jets.config import JetDataConfig, JetSources
from isotypic.data.synthetic.jets import KINDS, draw
from isotypic.data.writers.jet_files import write_hls4ml
from isotypic.distributed.conversion import convert

QUIET = lambda done, total: None  # noqa: E731 (what shows no progress)


def write_source(folder, files=2, rows=1500, most=20):
    """Write files of jets of all five kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        generator = np.random.default_rng([7, number])
        kinds = generator.integers(0, len(KINDS), rows)
        write_hls4ml(folder / f"{number}.h5", *draw(kinds, generator, most), kinds)
    return folder


def shards(folder, source, **data):
    """Convert a folder of files."""
    config = JetDataConfig(**{"particles": 20, "shard_rows": 1024, "group_rows": 512, **data})
    convert(JetSources(paths=(source,), data=config), folder, QUIET)
    return folder


def rewritten(path, **datasets):
    """Change datasets of a file; None removes one."""
    with h5py.File(path, "r+") as file:
        for name, values in datasets.items():
            del file[name]
            if values is not None:
                file[name] = values


def renamed(path, old, new):
    """Change the name of a column."""
    with h5py.File(path) as file:
        key = "particleFeatureNames" if old.startswith("j1_") else "jetFeatureNames"
        names = [new if name.decode() == old else name.decode() for name in file[key][:]]
    rewritten(path, **{key: np.array(names, dtype=bytes)})
