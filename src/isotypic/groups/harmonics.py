"""Steerable kernels: circular harmonics on rings that intertwine two representations.

A kernel ``k: R^2 -> Hom(V_in, V_out)`` makes an equivariant convolution exactly when
``k(g x) = rho_out(g) k(x) rho_in(g)^-1`` for every g. Points are ``x = r (cos t, sin t)`` in array axis order
``(y, x)``, so that a rotation by alpha takes t to t + alpha and the left-right flip takes it to -t. The harmonics
``Y_m(t) = (cos m t, sin m t)`` turn among themselves, ``Y_m(g t) = D_m(g) Y_m(t)``, and a kernel
``k(x) = sum_a A_a Y_m,a(t) w(r)`` obeys the constraint exactly when A is an invariant vector of
``rho_out (x) rho_in (x) D_m``. That is solved pair of irreps by pair of irreps:

* finite groups: the projector on the invariant vectors is the mean over the group;
* SO(2): ``k(t) = R(f_out t) K R(f_in t)^T`` with any matrix K, which has the frequencies f_out - f_in and
  f_out + f_in only;
* O(2): those of them that the left-right flip F keeps, ``F_out K F_in = K``, half as many.

Radial profiles are Gaussian rings; the highest frequency grows with the radius, so that nothing aliases, and is zero
at the centre. Every step (projection, Gram-Schmidt in a fixed order) depends on the input alone and not on the
linear algebra library: the basis is what saved coefficients refer to.

Source:
    M. Weiler, G. Cesa, General E(2)-Equivariant Steerable CNNs, NeurIPS 2019, arXiv 1911.08251;
    M. Weiler, F. Hamprecht, M. Storath, Learning Steerable Filters for Rotation Equivariant CNNs, CVPR 2018,
    arXiv 1711.07289.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from isotypic.errors import RequestError
from isotypic.groups.circle import AnyIrrep, AnyRepresentation, Frequency, components, turn
from isotypic.groups.finite import TOLERANCE, FiniteGroup, Floats
from isotypic.groups.irreps import Irrep

INDEPENDENT = 0.1
"""A sampled element is kept when this part of its norm, or more, is not spanned by those before it."""

_FLIP = np.diag([1.0, -1.0])
_QUARTER = np.array([[0.0, -1.0], [1.0, 0.0]])

Kernel = tuple[int, int]


@dataclass(frozen=True)
class Rings:
    """Where the harmonics live: Gaussian rings one sample apart, each with its band limit.

    Attributes:
        width: standard deviation of a ring, in samples. Near 0.43 the corners of a square kernel get the weights
            that make the sampled kernel isotropic: there the error under 45 degrees is least, for every size from 3
            to 7, and several times less than at 0.6.
        cutoff: highest angular frequency for each sample of radius: ``m <= cutoff * r``.
    """

    width: float = 0.43
    cutoff: float = 2.0

    def __post_init__(self) -> None:
        if self.width <= 0 or self.cutoff < 0:
            raise RequestError(
                f"expected rings of positive width and a cutoff of at least 0, received {self.width} and {self.cutoff}"
            )

    def radii(self, kernel: Kernel) -> Floats:
        """Return the radii, from the centre out to the middle of the kernel's far edge."""
        reach = (max(kernel) - 1) / 2
        return np.arange(reach % 1, reach + 1)

    def waves(self, kernel: Kernel) -> tuple[tuple[float, int], ...]:
        """Return ``(radius, frequency)`` of every harmonic, from the centre out and from low to high."""
        return tuple(
            (float(r), m) for r in self.radii(kernel) for m in range(int(np.floor(self.cutoff * r + TOLERANCE)) + 1)
        )


def grid_points(kernel: Kernel) -> Floats:
    """Return the positions ``[K, 2]`` of a kernel's samples about its centre, ``(y, x)``, row by row."""
    axes = (np.arange(size) - (size - 1) / 2 for size in kernel)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def harmonics(points: Floats, kernel: Kernel, rings: Rings) -> Floats:
    """Evaluate every harmonic on every ring, ``[A, P]``.

    Args:
        points: ``[P, 2]``, any positions ``(y, x)`` about the centre, in samples.
        kernel: the kernel's size, which says how many rings there are.
        rings: the radial profile.

    Returns:
        ``exp(-(|x| - r)^2 / 2 width^2) Y_m(t)``, one row for m = 0 and two (cosine, sine) for m > 0, in the order
        of ``rings.waves``; zero at the centre for m > 0.
    """
    radius, angle = np.hypot(*points.T), np.arctan2(points[:, 1], points[:, 0])
    rows = []
    for r, m in rings.waves(kernel):
        profile = np.exp(-((radius - r) ** 2) / (2 * rings.width**2)) * ((radius > TOLERANCE) | (m == 0))
        rows += [profile * np.cos(m * angle)] + ([profile * np.sin(m * angle)] if m else [])
    return np.stack(rows)


def angular_action(group: FiniteGroup, frequency: int) -> Floats:
    """Return ``D_m(g)``, ``[|G|, n, n]`` with n = 1 for m = 0 and 2 otherwise: ``Y_m(g t) = D_m(g) Y_m(t)``."""
    if frequency == 0:
        return np.ones((group.order, 1, 1))
    angles = np.arctan2(group.matrices[:, 1, 0], group.matrices[:, 0, 0])
    mirrored = np.linalg.det(group.matrices) < 0
    turns = np.stack([turn(frequency * angle) for angle in angles])
    return np.where(mirrored[:, None, None], turns @ _FLIP, turns)


@cache
def solutions(out: AnyIrrep, into: AnyIrrep, frequency: int) -> Floats:
    """Return all kernels of one angular frequency between two irreps, ``[b, d_out, d_in, n]``, orthonormal.

    The kernel of solution A is ``sum_a A[..., a] Y_m,a(t)``.

    Args:
        out: irrep of the output field.
        into: irrep of the input field, of the same group.
        frequency: m.
    """
    if isinstance(out, Irrep) and isinstance(into, Irrep):
        return _finite_solutions(out, into, frequency)
    if isinstance(out, Frequency) and isinstance(into, Frequency) and out.group == into.group:
        return _circle_solutions(out, into, frequency)
    raise RequestError(f"expected irreps of one group, received {out.group.name} and {into.group.name}")


@cache
def kernel_coefficients(out: AnyRepresentation, into: AnyRepresentation, kernel: Kernel, rings: Rings) -> Floats:
    """Return the basis of all steerable kernels between two representations, ``[B, n_out, n_in, A]``.

    Element b is the kernel ``x -> coefficients[b] @ harmonics(x)``. Sampled on the grid the elements are orthogonal
    and of squared norm n_out: each gives an output channel, on average, the gain one. Elements that the grid
    cannot tell from the others (:data:`INDEPENDENT`) are left out. Linear combinations of kernels obey the
    constraint, so the basis obeys it everywhere in the plane and not only on the grid.

    Args:
        out: the representation of an output field.
        into: the representation of an input field.
        kernel: samples of the kernel along y and x.
        rings: the radial profile.
    """
    blocks = []
    for out_irrep, outs in components(out):
        for in_irrep, ins in components(into):
            pair = _pair_coefficients(out_irrep, in_irrep, kernel, rings)
            block = np.einsum("uio,bijx,vjn->uvbonx", outs, pair, ins)
            blocks.append(block.reshape(-1, *block.shape[3:]))
    basis = np.concatenate(blocks) * np.sqrt(out.dimension)
    basis.flags.writeable = False
    return basis


def sample(coefficients: Floats, points: Floats, kernel: Kernel, rings: Rings) -> Floats:
    """Evaluate a basis at any points: ``[B, n_out, n_in, P]``."""
    return coefficients @ harmonics(points, kernel, rings)


def orthonormal(vectors: Iterable[Floats], keep: float) -> Iterator[tuple[int, Floats]]:
    """Orthonormalise vectors in their order, leaving out what nearly depends on those before (Gram-Schmidt).

    Args:
        vectors: of one size.
        keep: the least part of a vector's norm that must be new.

    Yields:
        The index of a vector that was kept, and its orthonormalised self.
    """
    known: Floats | None = None
    for index, vector in enumerate(vectors):
        rest = vector
        for _ in range(2):  # twice is enough for orthogonality to rounding
            rest = rest if known is None else rest - (known @ rest) @ known
        norm, whole = float(np.linalg.norm(rest)), float(np.linalg.norm(vector))
        if norm > max(keep * whole, TOLERANCE):
            known = rest[None] / norm if known is None else np.concatenate([known, rest[None] / norm])
            yield index, rest / norm


def _finite_solutions(out: Irrep, into: Irrep, frequency: int) -> Floats:
    """Project the unit vectors on the invariant subspace, and keep the independent ones."""
    angular = angular_action(out.group, frequency)
    shape = (out.dimension, into.dimension, angular.shape[1])
    projector = np.einsum("gab,gcd,gef->acebdf", out.matrices, into.matrices, angular) / out.group.order
    columns = projector.reshape(np.prod(shape), -1).T
    kept = [vector for _, vector in orthonormal(columns, TOLERANCE**0.5)]
    return np.stack(kept).reshape(-1, *shape) if kept else np.empty((0, *shape))


def _circle_solutions(out: Frequency, into: Frequency, frequency: int) -> Floats:
    """Write ``R(f_out t) K R(f_in t)^T`` as ``A_cos cos m t + A_sin sin m t``: its values at t = 0 and pi / 2m."""
    f, g = out.frequency, into.frequency
    if f and g:
        turning, mirroring = (np.eye(2), _QUARTER), (_FLIP, _QUARTER @ _FLIP)
        starts = [*(turning if abs(f - g) == frequency else ()), *(mirroring if f + g == frequency else ())]
    else:
        starts = list(np.eye(out.dimension * into.dimension).reshape(-1, out.dimension, into.dimension))
        starts = starts if f + g == frequency else []
    if out.group.mirrors:
        starts = [start for start in starts if np.array_equal(out.flip @ start @ into.flip, start)]
    angles = (0.0, np.pi / (2 * frequency)) if frequency else (0.0,)
    kernels = [[out.matrix(t) @ start @ into.matrix(t).T for t in angles] for start in starts]
    shape = (len(starts), len(angles), out.dimension, into.dimension)
    found = np.array(kernels).reshape(shape).transpose(0, 2, 3, 1)
    return found / np.sqrt((found**2).sum(axis=(1, 2, 3), keepdims=True))


@cache
def _pair_coefficients(out: AnyIrrep, into: AnyIrrep, kernel: Kernel, rings: Rings) -> Floats:
    """Return the basis between two irreps ``[B, d_out, d_in, A]``, orthonormal when sampled on the grid."""
    waves = rings.waves(kernel)
    table = harmonics(grid_points(kernel), kernel, rings)
    places = np.cumsum([0] + [1 + (m > 0) for _, m in waves])
    raw = np.zeros((0, out.dimension, into.dimension, len(table)))
    for (_, m), start, stop in zip(waves, places[:-1], places[1:], strict=True):
        found = solutions(out, into, m)
        block = np.zeros((len(found), *raw.shape[1:]))
        block[..., start:stop] = found
        raw = np.concatenate([raw, block])
    if not len(raw):
        return raw
    sampled = (raw @ table).reshape(len(raw), -1)
    kept = list(orthonormal(sampled, INDEPENDENT))
    chosen = [index for index, _ in kept]
    # The orthonormal samples are combinations of the chosen ones: the same combination of coefficients.
    mix = np.stack([vector for _, vector in kept]) @ np.linalg.pinv(sampled[chosen])
    return np.tensordot(mix, raw[chosen], axes=1)
