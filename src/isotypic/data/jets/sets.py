"""Sets of jets for training, validation and test, and the ``data`` section of a recipe that names one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from isotypic.configuration import Config
from isotypic.data.config import Fraction
from isotypic.data.jets.batch import Jets
from isotypic.data.jets.source import JetSource, MemoryJets
from isotypic.errors import RequestError

PARTICLES = ("W", "Z", "top")


class JetSetConfig(Config):
    """The ``data`` section of a recipe for jets; an unknown key or a value out of range is refused."""

    dataset: str = Field("arrays", description="name of the data set: arrays, an .npz file, or shards")
    path: Path | None = Field(None, description="where the data set lies (a file or a folder)")
    particles: int | None = Field(None, ge=1, le=1024, description="the first so many of every jet; none: all")
    test_fraction: Fraction = Field(0.2, description="share of all jets that goes to a test set made here")
    validation_fraction: Fraction = Field(
        0.1, description="share of the jets outside the test set that goes to a validation set made here"
    )
    split_seed: int = Field(0, ge=0, description="seed of the split; other seeds leave the split as it is")


@dataclass(frozen=True)
class JetSets:
    """Jets for training, validation and test.

    Attributes:
        name: what the set is called.
        classes: the particles that jets come from, in the order of their labels.
        train: in an order that depends on the epoch.
        validation: likewise, or in one order.
        test: likewise.
        reordered: the training jets in the order of a seed, where they are not in memory.
    """

    name: str
    classes: tuple[str, ...]
    train: JetSource
    validation: JetSource
    test: JetSource
    reordered: Callable[[int], JetSource] | None = None


def load_arrays(config: JetSetConfig, cache: Path) -> JetSets:
    """Load an ``.npz`` file with ``features [n, P, 8]``, ``mask [n, P]``, ``label [n]`` and ``mass [n]``.

    It may have ``row [n]``, numbers of the jets, and ``classes``, their names in the order of the labels.

    Raises:
        RequestError: there is no such file, an array is missing, or the jets are not sound.
    """
    arrays = _read(config.path)
    rows = arrays.get("row", np.arange(len(arrays["label"])))
    jets = Jets(
        torch.from_numpy(arrays["features"][:, : config.particles].astype(np.float32)),
        torch.from_numpy(arrays["mask"][:, : config.particles].astype(bool)),
        torch.from_numpy(arrays["label"].astype(np.int64)),
        torch.from_numpy(arrays["mass"].astype(np.float32)),
        torch.from_numpy(rows.astype(np.int64)),
    )
    classes = tuple(map(str, arrays.get("classes", np.array(PARTICLES))))
    if jets.label.min() < 0 or jets.label.max() >= len(classes):
        raise RequestError(
            f"{config.path}: expected labels from 0 to {len(classes) - 1} for {', '.join(classes)}, received "
            f"{int(jets.label.min())} to {int(jets.label.max())}"
        )
    return split_jets(str(config.path), classes, MemoryJets(jets), config)


def split_jets(name: str, classes: tuple[str, ...], jets: MemoryJets, config: JetSetConfig) -> JetSets:
    """Split jets at random, the same every time.

    Raises:
        RequestError: too few of them for three parts.
    """
    order = np.random.default_rng(config.split_seed).permutation(len(jets))
    test = round(config.test_fraction * len(jets))
    validation = round(config.validation_fraction * (len(jets) - test))
    if min(test, validation, len(jets) - test - validation) < 1:
        raise RequestError(f"{name}: expected enough jets for training, validation and test, received {len(jets)}")
    parts = np.split(order, [test, test + validation])
    tested, validated, trained = (jets.select(np.sort(part)) for part in parts)
    return JetSets(name, classes, trained, validated, tested)


def recognise_jets(path: Path) -> str:
    """Return the name of the data set of jets that reads a path: an ``.npz`` file, or a folder of shards.

    Raises:
        RequestError: nothing is there, or a file of another kind.
    """
    if path.is_dir():
        return "shards"
    if path.is_file() and path.suffix.lower() == ".npz":
        return "arrays"
    found = "another" if path.exists() else "nothing"
    raise RequestError(f"{path}: expected an .npz file of jets, or a folder of shards, found {found}")


def _read(path: Path | None) -> dict[str, Any]:
    if path is None or not path.is_file():
        raise RequestError(f"expected an .npz file of jets at {path}, found none; give --data PATH")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (OSError, ValueError) as problem:
        raise RequestError(f"{path} cannot be read as an .npz file of jets: {problem}") from problem
    missing = [name for name in ("features", "mask", "label", "mass") if name not in arrays]
    if missing:
        raise RequestError(f"{path}: expected an array {missing[0]!r}, found {', '.join(arrays) or 'none'}")
    return arrays
