"""Instances from offsets, bandwidths and a seed map: every pixel points somewhere, and a good seed says where to.

Pixel i at ``x_i`` points to ``e_i = x_i + o_i``. An object with centre C and bandwidth sigma has

    ``phi(i) = exp(-|e_i - C|^2 / (2 sigma^2))``, members where ``phi > 1/2``.

1. **Objects** are found greedily: the best seed that no proposal has covered yet gives ``C = e`` and its own sigma. The
   proposal settles: C and log sigma become the means over the members, as in training, until the members stay the
   same. It is an object if it has enough members that no earlier object has, and these are enough of all; either way
   its members are no seeds any more. Equal seeds come at once; of their proposals those that would shut each other out
   settle as one, from the mean of all their members.
2. **Pixels** join the object with the largest phi above one half. Those that two objects claim equally join neither.

Published is the rule without settling, pixels going to whoever comes first or last. Then the result hangs on the order
of seeds, and a turned image changes it wherever seeds are equal up to rounding: saturated maps, symmetric objects. Here
seeds are compared in 1024 steps, then by the length of their offset; what is still equal is a symmetry of the image or
of an object, and is treated at once. Step 2 knows no order. **What remains**: seeds or pixels that differ by no more
than the rounding does, without any symmetry (in float32 a few pixels; settling forgives most of it), and more than 1024
seeds in a row that differ by as little, as in very large or constant images: they come one by one.

Memory: 4 bytes a pixel of the foreground, 4 bytes a candidate seed and a byte a pixel of the image, then 4 bytes of
labels; never more than 9 bytes a pixel beside the inputs, which may lie on disk (``numpy.memmap``), one strip of rows,
and the free candidates that agree in seed to 1/1024 and in length of offset to 1/4 pixel. The order of the strips is
that of the pixels, so their height changes nothing. Time: two passes to sort the foreground by the place it points to
and two for the candidates, then for every proposal the pixels that point to its neighbourhood, however far they are.

Sources:
    D. Neven, B. De Brabandere, M. Proesmans, L. Van Gool, Instance Segmentation by Jointly Optimizing Spatial
    Embeddings and Clustering Bandwidth, CVPR 2019, arXiv 1906.11109. M. Lalit, P. Tomancak, F. Jug, Embedding-based
    Instance Segmentation in Microscopy, MIDL 2021, arXiv 2101.10033.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from isotypic.errors import RequestError
from isotypic.inference.grouping.buckets import Buckets, Indices, bucketed
from isotypic.inference.grouping.pointing import CLAIM, Floats, Maps, Pointing, Proposal
from isotypic.tasks.segmentation.grouping import SeedConfig

_LEVELS = 1024
"""Steps of the seed; in the last are all that saturate."""

_LENGTHS, _STEP = 256, 1 / 4
"""Steps of the length of an offset, and how many pixels each is, in the first sort of the candidates."""

_AT_ONCE = 4096
"""Candidates that are looked up together, at least."""

_MOST_EQUAL = 1024
"""Equal seeds that may be treated at once."""

_FREE, _COVERED, _TAKEN = 0, 1, 2
"""No proposal has the pixel; one has that was no object; an object has it."""

_TIE = 1e-5
"""Claims ``|e - C|^2 / sigma^2`` (at most ``2 log 2``) and lengths in pixels that differ by less are equal."""


def cluster_seeds(
    seed: NDArray[np.floating],
    offset: NDArray[np.floating],
    bandwidth: NDArray[np.floating],
    config: SeedConfig = SeedConfig(),  # noqa: B008 - frozen
    *,
    rows: int = 256,
    out: NDArray[np.int32] | None = None,
) -> NDArray[np.int32]:
    """Return the instances of an image, ``[y, x]``, 0 for background, numbered from 1 in the order they were found.

    Args:
        seed: ``[y, x]``, probabilities.
        offset: ``[2, y, x]``, (y, x) in pixels.
        bandwidth: ``[y, x]``, natural logarithm of pixels.
        config: thresholds.
        rows: how many rows are read at a time; changes memory alone.
        out: where to put the labels, ``[y, x]`` of int32, such as a file on disk; default: new.

    Raises:
        RequestError: the sizes do not fit, a seed is no probability, or an offset or bandwidth of the foreground is not
            finite.
    """
    # As plain arrays: a memmap makes a new memmap of every index. Nothing is copied.
    maps = Maps(np.asarray(seed), np.asarray(offset), np.asarray(bandwidth), config.foreground, rows)
    pointing = Pointing(maps)
    proposals = _objects(pointing, _candidates(maps, config.seed), config)
    labels = _output(seed.shape, out)
    _claim(pointing, proposals, labels.reshape(-1))
    _renumber(labels, len(proposals), config.minimum_size, rows)
    return labels


def _rank(maps: Maps, pixels: Indices) -> tuple[Indices, Floats]:
    """Return what decides between seeds, the smaller the better: steps below saturation, and length of the offset."""
    level = np.minimum(maps.seeds(pixels) * _LEVELS, _LEVELS - 1).astype(np.int64)
    return _LEVELS - 1 - level, np.hypot(*maps.offsets(pixels))


def _candidates(maps: Maps, threshold: float) -> Buckets:
    """Return the pixels that may start an object by their rank, lengths in steps."""

    def strips() -> Iterator[tuple[Indices, Indices]]:
        for pixels, seed in maps.strips():
            able = pixels[seed > threshold]
            level, length = _rank(maps, able)
            yield able, level * _LENGTHS + np.minimum(length / _STEP, _LENGTHS - 1).astype(np.int64)

    return bucketed(strips, _LEVELS * _LENGTHS, maps.seed.size)


def _in_order(maps: Maps, candidates: Buckets, state: NDArray[np.uint8], *, together: bool) -> Iterator[Indices]:
    """Yield the candidates that are free when their turn comes, the best first, sorted exactly within whole keys.

    With ``together`` equal candidates that point near each other come at once, else all come one by one.
    """
    ends = candidates.starts[1:]
    first = 0
    while first < len(ends):
        last = min(int(np.searchsorted(ends, candidates.starts[first] + _AT_ONCE)), len(ends) - 1)
        pixels = candidates.between(first, last)
        pixels = pixels[state[pixels] == _FREE]
        level, length = _rank(maps, pixels)
        order = np.lexsort((length, level))
        better = (np.diff(level[order]) > 0) | (np.diff(length[order]) > _TIE) | (not together)
        for run in _runs(pixels[order], better):
            for equals in [run] if len(run) < 2 else _neighbours(maps, run):
                free = equals[state[equals] == _FREE]
                if len(free):
                    yield free
        first = last + 1


def _runs(pixels: Indices, better: NDArray[np.bool_]) -> Iterator[Indices]:
    """Yield runs of pixels that are not better than the next, one by one where too many are equal."""
    for start, stop in pairwise([0, *(np.flatnonzero(better) + 1).tolist(), len(pixels)]):
        whole = stop - start <= _MOST_EQUAL
        yield from [pixels[start:stop]] if whole else pixels[start:stop, None]


def _neighbours(maps: Maps, equals: Indices) -> Iterator[Indices]:
    """Yield pixels in groups whose proposals may come to share members: they point within twice their reach."""
    pairs = _touching(maps.points(equals).T, 2 * CLAIM**0.5 * np.exp(maps.logs(equals)))
    yield from (equals[part] for part in _linked(len(equals), pairs))


def _touching(centres: Floats, radii: Floats) -> Indices:
    """Return the pairs of discs that touch, ``[n, 2]``."""
    pairs = cKDTree(centres).query_pairs(2 * radii.max(), output_type="ndarray")
    apart = np.hypot(*(centres[pairs[:, 0]] - centres[pairs[:, 1]]).T)
    return pairs[apart <= radii[pairs].sum(1)]


def _linked(count: int, pairs: Indices) -> Iterator[Indices]:
    """Yield the numbers below ``count`` in groups, those of a group being linked by pairs ``[n, 2]``."""
    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(count, count))
    groups, part = connected_components(graph, directed=False)
    yield from (np.flatnonzero(part == number) for number in range(groups))


def _objects(pointing: Pointing, candidates: Buckets, config: SeedConfig) -> list[Proposal]:
    state = np.zeros(pointing.maps.seed.size, dtype=np.uint8)
    found = []
    for equals in _in_order(pointing.maps, candidates, state, together=config.settling > 0):
        for proposal, members in _proposals(pointing, equals, config):
            fresh = np.count_nonzero(state[members] != _TAKEN)
            accepted = fresh >= config.minimum_size and fresh > config.fresh * len(members)
            state[members] = _TAKEN if accepted else np.maximum(state[members], _COVERED)
            if accepted:
                found.append(proposal)
        state[equals] = np.maximum(state[equals], _COVERED)
    return found


def _proposals(pointing: Pointing, equals: Indices, config: SeedConfig) -> Iterator[tuple[Proposal, Indices]]:
    """Yield the settled proposals of equal seeds with their members, rivals settled as one."""
    settled = (_settled(pointing, pixel, config.settling) for pixel in equals[:, None])
    if len(equals) == 1:
        yield from settled
        return
    different = list(dict.fromkeys(proposal for proposal, _ in settled))
    for rivals in _rivals(pointing, different, config.fresh):
        members = np.unique(np.concatenate([pointing.members(proposal)[0] for proposal in rivals]))
        yield (rivals[0], members) if len(rivals) == 1 else _settled(pointing, members, config.settling)


def _rivals(pointing: Pointing, proposals: list[Proposal], fresh: float) -> Iterator[list[Proposal]]:
    """Yield proposals in groups, those of a group being linked by pairs of which one would shut out the other."""
    y, x, sigma = np.array(proposals).T
    near = _touching(np.stack([y, x], 1), CLAIM**0.5 * sigma)
    shut = [_shut_out(pointing, proposals[i], proposals[j], fresh) for i, j in near]
    yield from ([proposals[i] for i in part] for part in _linked(len(proposals), near[np.array(shut, bool)]))


def _shut_out(pointing: Pointing, one: Proposal, other: Proposal, fresh: float) -> bool:
    """Whether too few members of one proposal are free where another has taken its own."""
    (members, _), (rest, _) = pointing.members(one), pointing.members(other)
    return len(np.intersect1d(members, rest)) >= (1 - fresh) * min(len(members), len(rest))


def _settled(pointing: Pointing, start: Indices, steps: int) -> tuple[Proposal, Indices]:
    """Return the proposal of some pixels and its members, after at most so many steps."""
    proposal = pointing.maps.mean(start)
    members, _ = pointing.members(proposal)
    for _ in range(steps):
        if not len(members):
            break
        before = members
        proposal = pointing.maps.mean(members)
        members, _ = pointing.members(proposal)
        if np.array_equal(before, members):
            break
    return proposal, members


def _claim(pointing: Pointing, proposals: list[Proposal], labels: NDArray[np.int32]) -> None:
    """Give every pixel the object with the best claim, 1 .. K; negative where the best claim is held by two."""
    # Object 0 is the background, infinitely far from everything.
    table = np.array([(np.inf, np.inf, 1.0), *proposals])
    for number, proposal in enumerate(proposals, 1):
        pixels, claims = pointing.members(proposal)
        owner = abs(labels[pixels])
        rival = pointing.maps.claims(pixels, *table[owner].T)
        labels[pixels[claims < rival - _TIE]] = number
        equal = abs(claims - rival) <= _TIE
        labels[pixels[equal]] = -owner[equal]


def _output(shape: tuple[int, ...], out: NDArray[np.int32] | None) -> NDArray[np.int32]:
    if out is None:
        return np.zeros(shape, dtype=np.int32)
    if out.shape != shape or out.dtype != np.int32 or not out.flags.c_contiguous:
        raise RequestError(
            f"expected out to be contiguous {list(shape)} of int32, received {list(out.shape)} of {out.dtype}"
        )
    out[...] = 0
    return out


def _renumber(labels: NDArray[np.int32], objects: int, minimum: int, rows: int) -> None:
    """Drop what is tied or has become too small, and close the gaps."""
    strips = [labels[first : first + rows] for first in range(0, len(labels), rows)]
    sizes = np.zeros(objects + 1, dtype=np.int64)
    for strip in strips:
        np.maximum(strip, 0, out=strip)
        sizes += np.bincount(strip.ravel(), minlength=objects + 1)
    kept = sizes >= minimum
    kept[0] = False
    numbers = np.where(kept, kept.cumsum(), 0).astype(np.int32)
    for strip in strips:
        strip[...] = numbers[strip]
