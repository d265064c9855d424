"""A synthetic scan of lung: what lies where, and how it looks in Hounsfield units.

Lung is about -850 HU, uneven at two scales; vessels are trees that branch and taper, of random directions; tissue fills
a voxel by a share t, and the voxel has (1 - t) of the lung's value and t of 30 HU. The scanner adds noise that is
somewhat correlated within a slice. Spacing is drawn for every scan, unequal in z; one scan in four has the
x and y axes of the world turned against those of the array, as in LUNA16.

Of oriented findings each is a nodule or a distractor by a fair coin, whatever their numbers say: then a scan turned
upside down is as likely as the scan, with the kinds exchanged. If most were distractors, an invariant network could
tell a nodule as the one that is turned against its neighbours.

A scan comes from (seed, part, number) alone: what lies where by one stream of random numbers, its voxels by another, so
that the truth can be had without voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from isotypic.data.config import NodulesConfig
from isotypic.data.synthetic.findings import DIAMETERS, Finding, Kind, draw, draw_oriented
from isotypic.data.synthetic.shapes import Cone, Floats, Grid, Part, direction, fill, near_direction
from isotypic.errors import RequestError

PARTS = ("train", "test")

_PLANE_SPACING = (0.6, 0.8)
_SPACING = (1.0, 2.5)
_TURNED = 0.25

_MARGIN = 6.0
_APART = 16.0
_DRAWS = 10_000
_MISSED = 0.12
"""How far a candidate lies from the centre of its finding: standard deviation over the diameter, along an axis."""

_SIDES = (Kind.NODULE, Kind.DISTRACTOR)

_TREES = (7, 12)
_SEGMENTS = 30
_THINNEST = 0.35

_LUNG, _TISSUE = -850.0, 30.0
_TEXTURE = ((1.2, 45.0), (5.0, 35.0))
_NOISE = (20.0, 50.0)
_NOISE_BLUR = (0.0, 0.6, 0.6)


@dataclass(frozen=True, eq=False)
class Scan:
    """What lies where in one scan.

    Attributes:
        name: its unique name.
        seed: of its random numbers.
        grid: where its voxels lie.
        findings: nodules, distractors and excluded ones, in random order.
        candidates: ``[findings, 3]`` world position of a candidate for each, near its centre.
        vessels: of the lung.
    """

    name: str
    seed: tuple[int, int, int]
    grid: Grid
    findings: tuple[Finding, ...]
    candidates: Floats
    vessels: tuple[Part, ...]


def plan(config: NodulesConfig, part: int, number: int) -> Scan:
    """Return what lies where in a scan.

    Args:
        config: how large it is, how much is in it, and the seed.
        part: an index into :data:`PARTS`, whose scans are independent of each other.
        number: of the scan in its part.

    Raises:
        RequestError: there is no room for so many findings.
    """
    seed = (config.seed, part, number)
    generator = np.random.default_rng([*seed, 0])
    grid = _grid(config, generator)
    findings = _findings(config, grid, generator)
    candidates = _candidates(findings, generator)
    name = name_of(config, part, number)
    return Scan(name, seed, grid, findings, candidates, _vessels(grid, generator))


def name_of(config: NodulesConfig, part: int, number: int) -> str:
    """Return the name of a scan, such as ``train-0-00012``."""
    return f"{PARTS[part]}-{config.seed}-{number:05}"


def voxels(scan: Scan) -> NDArray[np.int16]:
    """Return the scan in Hounsfield units, ``[z, y, x]``."""
    generator = np.random.default_rng([*scan.seed, 1])
    lung = np.full(scan.grid.shape, _LUNG, dtype=np.float32)
    for size, strength in _TEXTURE:
        lung += strength * _smooth(scan.grid.shape, size / scan.grid.spacing[::-1], generator)
    tissue = tissue_of(scan)
    noise = generator.uniform(*_NOISE) * _smooth(scan.grid.shape, _NOISE_BLUR, generator)
    return np.rint(lung + tissue * (_TISSUE - lung) + noise).clip(-1024, 3071).astype(np.int16)


def tissue_of(scan: Scan) -> NDArray[np.float32]:
    """Return the share of every voxel that vessels and findings fill, ``[z, y, x]``."""
    tissue = np.zeros(scan.grid.shape, dtype=np.float32)
    for part in (*scan.vessels, *(part for finding in scan.findings for part in finding.parts)):
        fill(tissue, scan.grid, part)
    return tissue


def _grid(config: NodulesConfig, generator: np.random.Generator) -> Grid:
    plane = generator.uniform(*_PLANE_SPACING)
    spacing = np.array([plane, plane, generator.uniform(*_SPACING)])
    z, y, x = (max(round(side / step), 1) for side, step in zip(config.size, spacing[::-1], strict=True))
    low = np.array([generator.uniform(-200, 100), generator.uniform(-200, 100), generator.uniform(-400, 0)])
    sign = np.array([-1.0, -1.0, 1.0]) if generator.random() < _TURNED else np.ones(3)
    origin = low + np.where(sign < 0, (np.array([x, y, z]) - 1) * spacing, 0)
    return Grid((z, y, x), spacing, origin, sign)


def _box(grid: Grid) -> tuple[Floats, Floats]:
    """Return the lowest and the highest world position of voxels."""
    far = grid.origin + grid.step * (np.array(grid.shape[::-1]) - 1)
    return np.minimum(grid.origin, far), np.maximum(grid.origin, far)


def _findings(config: NodulesConfig, grid: Grid, generator: np.random.Generator) -> tuple[Finding, ...]:
    counts = {
        Kind.NODULE: config.nodules,
        Kind.DISTRACTOR: config.distractors,
        Kind.EXCLUDED: config.excluded,
    }
    kinds = [kind for kind, (low, high) in counts.items() for _ in range(generator.integers(low, high + 1))]
    shape = draw
    if config.oriented:
        shape = draw_oriented
        kinds = [kind if kind is Kind.EXCLUDED else _SIDES[int(generator.integers(2))] for kind in kinds]
    order = generator.permutation(len(kinds))
    centres = _centres(len(kinds), grid, generator)
    return tuple(shape(kinds[i], centre, generator) for i, centre in zip(order, centres, strict=True))


def _centres(count: int, grid: Grid, generator: np.random.Generator) -> Floats:
    """Return world positions ``[count, 3]`` that are apart from each other and from the border.

    Raises:
        RequestError: there is no room for so many.
    """
    low, high = _box(grid)
    found = np.empty((0, 3))
    for _ in range(_DRAWS):
        if len(found) == count:
            return found
        place = generator.uniform(low + _MARGIN, np.maximum(high - _MARGIN, low + _MARGIN))
        if (np.linalg.norm(found - place, axis=1) >= _APART).all():
            found = np.vstack([found, place])
    raise RequestError(
        f"expected room for {count} findings that are {_APART:g} mm apart, found it for {len(found)}; ask for fewer "
        "with data.nodules.distractors, or for larger scans with data.nodules.size"
    )


def _candidates(findings: Sequence[Finding], generator: np.random.Generator) -> Floats:
    """Return places ``[findings, 3]`` near the centres, less than half a diameter away."""
    sizes = np.array([DIAMETERS[0] if finding.diameter < 0 else finding.diameter for finding in findings])
    away = np.clip(generator.normal(size=(len(findings), 3)), -2, 2) * _MISSED * sizes[:, None]
    return np.array([finding.centre for finding in findings]).reshape(-1, 3) + away


def _vessels(grid: Grid, generator: np.random.Generator) -> tuple[Part, ...]:
    return tuple(part for _ in range(generator.integers(*_TREES)) for part in _tree(grid, generator))


def _tree(grid: Grid, generator: np.random.Generator) -> list[Part]:
    """Return a tree of vessels that starts somewhere in the scan, in any direction."""
    low, high = _box(grid)
    growing = [(generator.uniform(low, high), direction(generator), generator.uniform(1.5, 3.0))]
    density = generator.uniform(0.7, 1.0)
    parts: list[Part] = []
    while growing and len(parts) < _SEGMENTS:
        start, towards, radius = growing.pop(0)
        end = start + generator.uniform(5, 11) * towards
        thinner = radius * generator.uniform(0.85, 0.97)
        parts.append(Part(Cone(start, end, (radius, thinner)), density))
        if thinner < _THINNEST or (end < low - 5).any() or (end > high + 5).any():
            continue
        branches = 2 if generator.random() < 0.35 else 1
        spread, keep = (0.5, 0.82) if branches == 2 else (0.2, 1.0)
        growing += [(end, near_direction(towards, spread, generator), keep * thinner) for _ in range(branches)]
    return parts


def _smooth(
    shape: tuple[int, int, int], blur: Floats | tuple[float, ...], generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return noise ``[z, y, x]`` of unit variance, blurred by so many voxels along every axis."""
    noise = gaussian_filter(generator.standard_normal(shape, dtype=np.float32), blur, mode="wrap", truncate=3)
    return noise / noise.std()
