"""As many examples of either of two classes at every level of a number, so that it tells nothing of the class."""

from __future__ import annotations

import numpy as np


def of_equal_values(labels: np.ndarray, values: np.ndarray, levels: int, generator: np.random.Generator) -> np.ndarray:
    """Return which examples are taken: drawn at random, as many of class 0 as of class 1 at every level of a number.

    Args:
        labels: ``[N]``, 0 or 1.
        values: ``[N]``, such as the mean grey level.
        levels: how many groups of equal size the examples are cut into, by their values.
        generator: draws.

    Returns:
        Their places, ascending.

    >>> labels, values = np.array([0, 0, 1, 1, 0, 1]), np.array([1, 2, 3, 7, 8, 9])
    >>> taken = of_equal_values(labels, values, 2, np.random.default_rng(0))
    >>> labels[taken].tolist().count(0), labels[taken].tolist().count(1)
    (2, 2)
    """
    chosen: list[int] = []
    for group in np.array_split(np.argsort(values, kind="stable"), levels):
        classes = [group[labels[group] == label] for label in (0, 1)]
        count = min(map(len, classes))
        for members in classes:
            chosen += generator.choice(members, count, replace=False).tolist() if count else []
    return np.array(sorted(chosen), dtype=np.int64)
