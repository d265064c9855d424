"""Small files laid out as those of data sets that are distributed: PatchCamelyon, CIFAR."""

import gzip
import pickle
import shutil

import h5py
import numpy as np
import pandas as pd

from isotypic.data.datasets.cifar import FORMS

CIFAR_EACH = 4
"""Images of a batch."""

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


def write_cifar(folder, name, each=CIFAR_EACH):
    """Write every batch of a form; return images and labels in their order."""
    form, generator = FORMS[name], np.random.default_rng(0)
    classes = [f"class{number}" for number in range(100 if "100" in name else 10)]
    images, labels = [], []
    for file in (*form.train, form.test):
        x = generator.integers(0, 256, (each, 3072), dtype=np.uint8)
        y = generator.integers(0, len(classes), each)
        if form.header:
            header = np.zeros((each, form.header), np.uint8)
            header[:, form.labels] = y
            (folder / file).write_bytes(np.hstack([header, x]).tobytes())
        else:
            content = {b"data": x, form.labels.encode(): y.tolist(), b"batch_label": b"batch"}
            (folder / file).write_bytes(pickle.dumps(content, protocol=2))
        images.append(x.reshape(-1, 3, 32, 32))
        labels += y.tolist()
    if form.header:
        (folder / form.names).write_text("\n".join(classes) + "\n")
    else:
        key = b"label_names" if form.labels == "labels" else b"fine_label_names"
        (folder / form.names).write_bytes(pickle.dumps({key: [c.encode() for c in classes]}, protocol=2))
    return np.concatenate(images), labels
