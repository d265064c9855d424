"""Splits into training, validation and test images, and nested subsets of the training images.

A split is stratified by class, and of labelled images by kind. Where the patients are known no patient is
ever in two parts: patients are dealt in a random order, each to the held-out part if that brings its class
counts nearer to the fraction asked for, and the best of several orders is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from isotypic.data.config import Fractions
from isotypic.data.image_set import PARTS
from isotypic.data.labelled.images import LabelledImages
from isotypic.errors import RequestError

_DEALS = 16
_DEALT_PATIENTS = 20_000


@dataclass(frozen=True, eq=False)
class Splits:
    """Indices of the images of each part, ascending int64; disjoint, and together all images.

    Args:
        train: images that weights are fitted to.
        validation: images that choices are made by.
        test: images that figures are reported on.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Classified(Protocol):
    """Examples with classes, an entry each: images, or candidates whose patches are not cut yet."""

    @property
    def name(self) -> str:
        """Of the set, in errors."""

    @property
    def labels(self) -> np.ndarray:
        """``[N]`` int64, the classes."""

    @property
    def subjects(self) -> np.ndarray | None:
        """``[N]``, what is kept together, or None; only equality and order count."""

    @property
    def split(self) -> np.ndarray | None:
        """``[N]`` str, the parts that the set came with, or None."""


def split(image_set: Classified, config: Fractions) -> Splits:
    """Split a set of images, keeping what split it came with and cutting the parts that it lacks.

    The test part is ``config.test_fraction`` of the training images; the validation part is
    ``config.validation_fraction`` of what then remains.

    Args:
        image_set: the images; its ``subjects`` are kept together, its ``split`` is respected.
        config: fractions and seed.

    Raises:
        RequestError: a part would be empty, or the training part would have one class only.
    """
    material = _Material(image_set.name, image_set.labels, image_set.subjects, image_set.split)
    splits = _parts(material, config)
    if len(np.unique(image_set.labels[splits.train])) < 2:
        raise RequestError(
            f"{image_set.name}: the training part would have one class only ({len(splits.train)} images); "
            "give more patients, or smaller data.test_fraction and data.validation_fraction"
        )
    return splits


def split_labelled(labelled: LabelledImages, config: Fractions) -> Splits:
    """Split labelled images as :func:`split` does, balanced over their kinds in place of classes.

    Args:
        labelled: the images; sources are kept together, their own split is respected.
        config: fractions and seed.

    Raises:
        RequestError: a part would be empty.
    """
    origins = labelled.origins
    kinds = np.zeros(len(labelled), dtype=np.int64) if origins.kinds is None else origins.kinds
    return _parts(_Material(labelled.name, kinds, origins.subjects, origins.split), config)


def split_kinds(name: str, kinds: np.ndarray, config: Fractions) -> Splits:
    """Split images that have neither sources nor a split of their own, balanced over their kinds.

    Args:
        name: what the set is called in errors.
        kinds: ``[N]``, the kind of each image.
        config: fractions and seed.

    Raises:
        RequestError: a part would be empty.
    """
    return _parts(_Material(name, kinds, None, None), config)


def by_depth(name: str, count: int, config: Fractions) -> np.ndarray:
    """Return the part of each section of a stack, ``[count]`` str: training first, then validation, then test.

    Neighbouring sections are nearly the same; a part that is one piece touches the others in one place only.

    Args:
        name: what the stack is called in errors.
        count: how many sections it has.
        config: the fractions; every part has one section at least.

    Raises:
        RequestError: there are fewer sections than parts.

    >>> from isotypic.data.config import DataConfig
    >>> by_depth("a", 6, DataConfig()).tolist()
    ['train', 'train', 'train', 'validation', 'test', 'test']
    """
    if count < len(PARTS):
        raise RequestError(f"{name}: expected at least {len(PARTS)} sections, one a part, received {count}")
    test = min(max(round(config.test_fraction * count), 1), count - 2)
    validation = min(max(round(config.validation_fraction * (count - test)), 1), count - test - 1)
    return np.repeat(PARTS, [count - test - validation, validation, test])


def nested_subsets(
    labels: np.ndarray, candidates: np.ndarray, sizes: Sequence[int], seed: int
) -> dict[int, np.ndarray]:
    """Draw training sets of several sizes, each a prefix of the next larger one, balanced over the classes.

    The candidates are put in one order, round by round: a round has one image of every class that still has
    any, the classes in random order.

    Args:
        labels: ``[N]`` the classes of all images.
        candidates: the indices to draw from.
        sizes: how many images each subset has.
        seed: of the order.

    Returns:
        For each size its indices, in the common order.

    Raises:
        RequestError: a size is larger than the candidates, or smaller than the number of their classes.
    """
    classes = len(np.unique(labels[candidates]))
    for size in sizes:
        if not classes <= size <= len(candidates):
            raise RequestError(
                f"expected training sizes from {classes} (one image a class) to {len(candidates)} "
                f"(all training images), received {size}"
            )
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(candidates)
    rounds = _rank_within_class(labels[shuffled])
    order = shuffled[np.lexsort((generator.random(len(shuffled)), rounds))]
    return {size: order[:size].copy() for size in sizes}


def with_repeats(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return rows, those of rarer classes repeated in turn until every class comes as often as the most frequent one.

    >>> with_repeats(np.array([0, 0, 0, 0, 0, 1, 1]), np.arange(7)).tolist()
    [0, 1, 2, 3, 4, 5, 6, 5, 6, 5]

    Args:
        labels: ``[N]`` the classes of all images.
        rows: which of them; they come first, in their order.
    """
    members = [rows[labels[rows] == label] for label in np.unique(labels[rows])]
    most = max(map(len, members))
    more = [np.resize(mine, most - len(mine)) for mine in members]
    return np.concatenate([rows, *more])


def _rank_within_class(labels: np.ndarray) -> np.ndarray:
    """Return how many earlier entries have the same label.

    >>> _rank_within_class(np.array([5, 7, 5, 5, 7])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels)) - np.repeat(starts, counts)
    return ranks


@dataclass(frozen=True, eq=False)
class _Material:
    """What a split is made from, one entry an image: what it is balanced over, source or None, own part or None."""

    name: str
    strata: np.ndarray
    subjects: np.ndarray | None
    split: np.ndarray | None


def _parts(material: _Material, config: Fractions) -> Splits:
    train, validation, test = _own(material)
    if not len(test):
        train, test = _cut(material, train, config.test_fraction, [config.split_seed, 0])
    if not len(validation):
        train, validation = _cut(material, train, config.validation_fraction, [config.split_seed, 1])
    return Splits(train, validation, test)


def _own(material: _Material) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the parts that the set came with; without a split everything is training."""
    if material.split is None:
        nothing = np.empty(0, dtype=np.int64)
        return np.arange(len(material.strata)), nothing, nothing
    train, validation, test = (np.flatnonzero(material.split == part) for part in PARTS)
    return train, validation, test


def _cut(material: _Material, rows: np.ndarray, fraction: float, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return what stays of some rows and what is held out of them."""
    generator = np.random.default_rng(seed)
    if material.subjects is None:
        held = _held_by_class(material.strata[rows], fraction, generator)
    else:
        held = _held_by_subject(material.strata[rows], material.subjects[rows], fraction, generator)
    if not held.any() or held.all():
        raise RequestError(
            f"{material.name}: {len(rows)} images cannot be split with the fraction {fraction:g} held out: "
            "a part would be empty; give more images or patients, or another fraction"
        )
    return rows[~held], rows[held]


def _held_by_class(labels: np.ndarray, fraction: float, generator: np.random.Generator) -> np.ndarray:
    """Return a mask with the fraction of every class, one image of it in and one out where it has two."""
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        held[rows[: min(max(round(fraction * len(rows)), 1), len(rows) - 1)]] = True
    return held


def _held_by_subject(
    labels: np.ndarray, subjects: np.ndarray, fraction: float, generator: np.random.Generator
) -> np.ndarray:
    """Return a mask that holds out whole subjects, near to the fraction of every class."""
    names, owner = np.unique(subjects, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (owner, label), 1)
    shares = counts / counts.sum(axis=0)
    deals = min(max(_DEALT_PATIENTS // max(len(names), 1), 1), _DEALS)
    dealt = [_dealt(shares, fraction, generator) for _ in range(deals)]
    return min(dealt, key=lambda held: _distance(shares[held].sum(axis=0), fraction))[owner]


def _dealt(shares: np.ndarray, fraction: float, generator: np.random.Generator) -> np.ndarray:
    """Deal subjects in a random order to the held-out part while that brings it nearer to the fraction.

    Args:
        shares: ``[subjects, classes]``, the share of each class that a subject has.
        fraction: the share of each class to hold out.
        generator: draws the order.
    """
    held = np.zeros(len(shares), dtype=bool)
    taken, left = np.zeros(shares.shape[1]), len(shares)
    for subject in generator.permutation(len(shares)):
        more = taken + shares[subject]
        if _distance(more, fraction) < _distance(taken, fraction) and left > 1:
            held[subject], taken, left = True, more, left - 1
    if not held.any() and len(shares) > 1:
        held[np.argmin(((shares - fraction) ** 2).sum(axis=1))] = True
    return held


def _distance(taken: np.ndarray, fraction: float) -> float:
    return float(((taken - fraction) ** 2).sum())
