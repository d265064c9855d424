"""Small files laid out as PatchCamelyon's."""

import gzip
import shutil

import h5py
import numpy as np
import pandas as pd

COUNTS = {"train": 150, "valid": 40, "test": 30}


def name(part, key):
    return f"camelyonpatch_level_2_split_{part}_{key}.h5"


def write_pcam(folder, counts=COUNTS, tables=True, side=96):
    """Write the three parts; return images [N, H, W, C] and labels of all, part by part."""
    generator = np.random.default_rng(0)
    images, labels = [], []
    for number, (part, count) in enumerate(counts.items()):
        x = generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        y = generator.integers(0, 2, count, dtype=np.uint8)
        with h5py.File(folder / name(part, "x"), "w") as file:
            file.create_dataset("x", data=x, chunks=(min(16, count), side, side, 3))
        with h5py.File(folder / name(part, "y"), "w") as file:
            file["y"] = y.reshape(-1, 1, 1, 1)
        if tables:
            slides = [f"camelyon16_{part}_{number}{i % 3}" for i in range(count)]
            rows = {"coord_y": range(count), "coord_x": range(count), "center_tumor_patch": y.astype(bool)}
            table = pd.DataFrame({**rows, "tumor_patch": True, "wsi": slides})
            table.to_csv(folder / f"camelyonpatch_level_2_split_{part}_meta.csv")
        images.append(x)
        labels.append(y)
    return np.concatenate(images), np.concatenate(labels)


def pack(path):
    with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    path.unlink()
