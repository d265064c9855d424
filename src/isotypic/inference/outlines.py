"""The outlines of labelled regions along the edges of their pixels: rings of corners that enclose just those pixels.

Pixel (r, c) is the square ``[c, c+1] x [r, r+1]`` of the plane (x, y), y downwards. Every side of a pixel whose
neighbour has another label is an edge, directed so that its own pixel lies on the right as seen on the screen; the next
edge is found at its end, turning so that pixels that share no more than a corner stay apart. Rings are the cycles of
this permutation. A ring that meets itself is cut there, so every ring is simple: an outer one has positive area in the
coordinates (x, y), a hole a negative one. Rasterising the polygons of a region (outer ring less holes, pixels by their
centres) gives back exactly its pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_STEPS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
"""(row, column) along the top, right, bottom and left side of a pixel; the step before it leads out of the pixel."""

_CORNERS = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
"""Where each side starts."""

_STRIP = 256
"""Rows of the label image that are compared with their neighbours at a time."""


@dataclass(frozen=True, eq=False)
class Polygon:
    """A connected part of a region (pixels joined by their sides).

    Attributes:
        ring: the corners ``[n, 2]`` of the outer ring, int64 (x, y), not closed.
        holes: rings of the same kind.
    """

    ring: np.ndarray
    holes: tuple[np.ndarray, ...] = ()


def outlines(labels: np.ndarray) -> dict[int, tuple[Polygon, ...]]:
    """Return the polygons of every region, in the order of the labels.

    Args:
        labels: ``[y, x]`` of integers, 0 the background.

    >>> outlines(np.array([[0, 7, 7]]))[7][0].ring.tolist()
    [[1, 0], [3, 0], [3, 1], [1, 1]]
    """
    rings: dict[tuple[int, int], list[np.ndarray]] = {}
    for label, part, ring in _rings(labels):
        rings.setdefault((label, part), []).append(ring)
    polygons: dict[int, list[Polygon]] = {}
    for (label, _), around in rings.items():
        polygons.setdefault(label, []).append(_polygon(around))
    return {label: tuple(polygons[label]) for label in sorted(polygons)}


def _rings(labels: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield label, connected part and corners ``[n, 2]`` of every simple ring."""
    rows, columns, side = _edges(labels)
    following = _following(labels, rows, columns, side)
    order, ends = _cycles(following)
    parts = _parts(order, ends, side)
    before = np.empty_like(following)
    before[following] = np.arange(len(following))
    turns = side != side[before]
    corners = np.stack([rows, columns], 1) + _CORNERS[side]
    found = labels[rows, columns]
    for part, (start, stop) in zip(parts.tolist(), pairwise((0, *ends)), strict=True):
        walk = order[start:stop]
        points = corners[walk[turns[walk]]]
        for ring in _simple(points[:, 0] * (labels.shape[1] + 1) + points[:, 1]):
            yield int(found[walk[0]]), part, np.stack([ring % (labels.shape[1] + 1), ring // (labels.shape[1] + 1)], 1)


def _edges(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, column and side of every edge, ordered by them."""
    height = len(labels)
    parts = []
    for first in range(0, height, _STRIP):
        last = min(first + _STRIP, height)
        above, below = min(first, 1), min(height - last, 1)
        strip = np.pad(labels[first - above : last + below], ((1 - above, 1 - below), (1, 1)))
        inner = strip[1:-1, 1:-1]
        sides = [(inner != _beside(strip, side)) & (inner != 0) for side in range(4)]
        row, column, side = np.nonzero(np.stack(sides, -1))
        parts.append((row + first, column, side))
    rows, columns, side = (np.concatenate(part) for part in zip(*parts, strict=True))
    return rows, columns, side


def _beside(strip: np.ndarray, side: int) -> np.ndarray:
    """Return the labels across one side of every inner pixel."""
    down, right = _STEPS[side - 1]
    return strip[1 + down : len(strip) - 1 + down, 1 + right : strip.shape[1] - 1 + right]


def _following(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return the number of the edge that follows each edge."""
    pixel = np.stack([rows, columns], 1)
    ahead = pixel + _STEPS[side]
    across = ahead + _STEPS[side - 1]
    own = labels[rows, columns]
    straight = _label_at(labels, ahead) == own
    left = straight & (_label_at(labels, across) == own)
    target = np.where(left[:, None], across, np.where(straight[:, None], ahead, pixel))
    turned = (side + np.where(left, -1, np.where(straight, 0, 1))) % 4
    width = labels.shape[1]
    return np.searchsorted((rows * width + columns) * 4 + side, (target[:, 0] * width + target[:, 1]) * 4 + turned)


def _label_at(labels: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Return the labels of pixels ``[n, 2]``, 0 outside the image."""
    inside = np.all((pixel >= 0) & (pixel < labels.shape), axis=1)
    row, column = np.where(inside[:, None], pixel, 0).T
    return np.where(inside, labels[row, column] if labels.size else 0, 0)


def _cycles(following: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the numbers of a permutation cycle by cycle, and where each cycle ends."""
    steps = following.tolist()
    seen = bytearray(len(steps))
    order: list[int] = []
    ends: list[int] = []
    for start in range(len(steps)):
        edge = start
        while not seen[edge]:
            seen[edge] = 1
            order.append(edge)
            edge = steps[edge]
        if len(order) > (ends[-1] if ends else 0):
            ends.append(len(order))
    return np.array(order, dtype=np.int64), ends


def _parts(order: np.ndarray, ends: list[int], side: np.ndarray) -> np.ndarray:
    """Return the number of the connected part that every cycle bounds.

    Edges are ordered by row and column, so the left and the right ends of the runs of pixels along the rows come in one
    order, and the cycles at both ends of a run bound one part. A hole has a run on its left, which begins at another
    hole farther left or at the outer cycle: so every hole is joined to that.
    """
    cycle = np.empty_like(order)
    cycle[order] = np.repeat(np.arange(len(ends)), np.diff([0, *ends]))
    left, right = cycle[side == 3], cycle[side == 1]
    runs = coo_array((np.ones(len(left)), (left, right)), shape=(len(ends), len(ends)))
    parts: np.ndarray = connected_components(runs, directed=False)[1]
    return parts


def _simple(points: np.ndarray) -> list[np.ndarray]:
    """Cut a closed walk of points, a number each, wherever it meets itself."""
    if len(np.unique(points)) == len(points):
        return [points]
    rings: list[list[int]] = []
    walk: list[int] = []
    place: dict[int, int] = {}
    for point in points.tolist():
        if point in place:
            ring = walk[place[point] :]
            rings.append(ring)
            del walk[place[point] :]
            for left in ring:
                del place[left]
        place[point] = len(walk)
        walk.append(point)
    return [np.array(ring, dtype=np.int64) for ring in (*rings, walk)]


def _polygon(rings: list[np.ndarray]) -> Polygon:
    """Return the polygon of the rings around one connected part."""
    areas = [_area(ring) for ring in rings]
    (outer,) = (ring for ring, area in zip(rings, areas, strict=True) if area > 0)
    return Polygon(outer, tuple(ring for ring, area in zip(rings, areas, strict=True) if area < 0))


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
