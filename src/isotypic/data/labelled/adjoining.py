"""Tiles of one larger photograph, found by their edges.

Published sets are often cut from larger photographs without a word of it: the 500 files of BBBC038 that ours were
tested on are pieces of about 260. An object on the cut then lies in two files, and a split by file would train on
one half of it and test on the other.

Two images of one size adjoin where the last column of one continues in the first column of the other, or the last row
in the first row: of all edges the two are each other's best match, their correlation is above 0.9, and they differ
on average by less than a quarter of their standard deviation. A chance match joins two photographs that a split could
have parted, which costs nothing; measured with edges reversed, about one in thirty is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from isotypic.data.labelled.ragged import Ragged

_CORRELATION = 0.9
_DIFFERENCE = 0.25
_BLOCK = 1024
"""Edges that are compared with all others at once."""

Edge = Callable[[np.ndarray], np.ndarray]

_SEAMS: tuple[tuple[Edge, Edge], ...] = (
    (lambda image: image[:, :, -1], lambda image: image[:, :, 0]),
    (lambda image: image[:, -1], lambda image: image[:, 0]),
)
"""The edges that meet, beside each other and one below the other."""


def whole_photographs(images: Ragged) -> NDArray[np.int64]:
    """Return for every image ``[C, y, x]`` the number of the larger photograph that it is a piece of.

    Returns:
        ``[N]``, numbered from 0; an image that adjoins no other is a photograph by itself.

    >>> wide = np.random.default_rng(0).integers(0, 255, (1, 8, 48)).astype(np.uint8)
    >>> whole = wide.repeat(2, axis=2)
    >>> pieces = [whole[:, :, :33], whole[:, :, 33:66], np.rot90(whole[:, :, 63:], 2, axes=(1, 2))]
    >>> whole_photographs(Ragged.of(pieces)).tolist()
    [0, 0, 1]
    """
    pairs = np.array([pair for rows in _by_size(images) for pair in _seams(images, rows)]).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(images),) * 2)
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _by_size(images: Ragged) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of the images of every size."""
    _, of = np.unique(images.shapes, axis=0, return_inverse=True)
    for number in range(of.max(initial=-1) + 1):
        yield np.flatnonzero(of == number)


def _seams(images: Ragged, rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of adjoining images among those at some rows, which have one size."""
    for last, first in _SEAMS:
        ends, starts = (
            np.stack([edge(images[row]).ravel() for row in rows]).astype(np.float32) for edge in (last, first)
        )
        for i, j in _continued(ends, starts):
            yield int(rows[i]), int(rows[j])


def _continued(ends: NDArray[np.float32], starts: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Yield which end ``[n, values]`` goes on in which start of another image."""
    after, before = _best(ends, starts), _best(starts, ends)
    for i, (j, correlation) in enumerate(after):
        close = 2 * abs(ends[i] - starts[j]).mean() < _DIFFERENCE * (ends[i].std() + starts[j].std())
        if correlation > _CORRELATION and before[j][0] == i and close:
            yield i, j


def _best(some: NDArray[np.float32], others: NDArray[np.float32]) -> list[tuple[int, float]]:
    """Return for every edge that of another image that it correlates with best, and how well."""
    one, other = _standard(some), _standard(others)
    found: list[tuple[int, float]] = []
    for start in range(0, len(one), _BLOCK):
        correlation = one[start : start + _BLOCK] @ other.T
        block = np.arange(len(correlation))
        correlation[block, start + block] = -2  # an image does not go on in itself
        best = correlation.argmax(1)
        found += zip(best.tolist(), correlation[block, best].tolist(), strict=True)
    return found


def _standard(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return edges without their mean and of length one; a flat edge becomes zeros."""
    centred = edges - edges.mean(1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
