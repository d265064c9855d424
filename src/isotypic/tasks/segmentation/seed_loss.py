"""The loss of offsets, bandwidths and seeds: every pixel points to the centre of its instance, and says how well.

For instance k with centre ``C_k``, pixel i at ``x_i`` with offset ``o_i`` and log bandwidth ``b_i``:

* ``sigma_k = exp(mean of b_i over k)``, ``phi_k(i) = exp(-|x_i + o_i - C_k|^2 / (2 sigma_k^2))``;
* overlap: the Lovász hinge of the Jaccard loss of ``phi_k > 1/2`` against the pixels of k, over the whole image;
* bandwidth: the variance of ``b_i`` over k;
* seed: ``(s_i - phi_k(i))^2`` inside (the target without gradient) and ``s_i^2`` outside, s the sigmoid of the logit.

Overlap and bandwidth are means over the instances of an image, then over images (0 for an image without instances).
The loss is invariant: labels and scalar heads may be moved by any symmetry of the grid, and the offsets as vectors.

Sources:
    D. Neven, B. De Brabandere, M. Proesmans, L. Van Gool, Instance Segmentation by Jointly Optimizing Spatial
    Embeddings and Clustering Bandwidth, CVPR 2019, arXiv 1906.11109. M. Lalit, P. Tomancak, F. Jug, Embedding-based
    Instance Segmentation in Microscopy, MIDL 2021, arXiv 2101.10033. M. Berman, A. Rannen Triki, M. B. Blaschko, The
    Lovász-Softmax Loss, CVPR 2018, arXiv 1705.08790.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from isotypic.configuration import Config
from isotypic.tasks.segmentation.instances import Centre, Instances, heads_for, instances_of

AT_ONCE = 2**19
"""Pairs of an instance and a pixel that are looked at together; what bounds the memory of the loss."""

NEGLIGIBLE = 1e-4
"""A pixel outside an instance with a smaller phi is left out: the loss falls by at most twice this."""

LARGEST_LOG = 10.0
"""Bandwidths are kept between ``exp(-10)`` and ``exp(10)`` pixels, where float32 has squares and inverses of them."""


class SeedLossConfig(Config):
    """Centres and weights of the seed loss."""

    centre: Centre = Field(Centre.CENTROID, description="where the pixels of an instance point: centroid or medoid")
    overlap_weight: float = Field(1.0, ge=0, description="of the Lovász hinge")
    bandwidth_weight: float = Field(0.4, ge=0, description="of the variance of the log bandwidth within an instance")
    seed_weight: float = Field(1.0, ge=0, description="of the regression of the seeds")
    foreground_weight: float = Field(10.0, ge=0, description="of a foreground pixel's seed against a background one's")


def seed_loss(
    output: Mapping[str, Tensor],
    labels: Tensor,
    config: SeedLossConfig = SeedLossConfig(),  # noqa: B008 - frozen
) -> dict[str, Tensor]:
    """Return the loss of a batch, ``"total"``, and its parts before weighting.

    Any number of instances an image, none among them. Beside the heads it holds at most :data:`AT_ONCE` pairs of an
    instance and a pixel (or one instance, where an image has more pixels), at most 400 bytes each in float32; the
    rest is computed again on the way back.

    Args:
        output: the heads ``offset [B, 2, y, x]`` in pixels, ``bandwidth [B, 1, y, x]``, the logarithm of pixels, and
            ``seed [B, 1, y, x]``, a logit.
        labels: integers ``[B, y, x]``, 0 for background.
        config: centres and weights.

    Returns:
        Scalars ``total``, ``overlap``, ``bandwidth``, ``seed``.

    Raises:
        RequestError: a missing head, or one of another size than the labels.
    """
    offset, bandwidth, seed = heads_for(labels, output, "offset", "bandwidth", "seed")
    instances = instances_of(labels)
    logs = instances.pixels(bandwidth).squeeze(1)
    means = instances.means(logs)
    targets = _Targets.of(offset, instances, means, config.centre)
    parts = {
        "overlap": instances.mean_of_images(targets.overlaps()),
        "bandwidth": instances.mean_of_images(instances.means((logs - means[instances.member]).square())),
        "seed": _seed(seed, targets.inside().detach(), instances, config.foreground_weight),
    }
    weights = (config.overlap_weight, config.bandwidth_weight, config.seed_weight)
    total = sum(weight * part for weight, part in zip(weights, parts.values(), strict=True))
    return {"total": torch.as_tensor(total), **parts}


def lovasz_jaccard(errors: Tensor, inside: Tensor, segment: Tensor, segments: int) -> Tensor:
    """Return the Lovász extension of the Jaccard loss of several sets at once, ``[segments]``.

    If M is the set of wrong pixels and S the true set, the Jaccard loss is ``|M| / |S u M|``. With the pixels of one
    set in falling order of error, its extension is the sum of each error times the rise of the loss when that pixel
    joins M.

    Args:
        errors: ``[P]``, at least 0.
        inside: ``[P]``, whether the pixel is in the true set of its segment.
        segment: ``[P]``, which set the pixel is judged for; every set has a pixel inside.
        segments: how many sets.

    >>> lovasz_jaccard(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([True, True, False]), torch.tensor([0, 0, 0]), 1)
    tensor([0.6667])
    """
    order = errors.detach().argsort(descending=True)
    order = order[segment[order].argsort(stable=True)]
    errors, inside, segment = errors[order], inside[order].long(), segment[order]
    size = torch.bincount(segment, minlength=segments)
    true = torch.zeros_like(size).index_add(0, segment, inside)
    wrong = torch.arange(1, len(segment) + 1, device=segment.device) - (size.cumsum(0) - size)[segment]
    missed = inside.cumsum(0) - (true.cumsum(0) - true)[segment]
    union = true[segment] + wrong - missed
    # In float64: neighbouring losses of large sets differ by little.
    rise = wrong.double() / union - (wrong - 1).double() / (union - 1 + inside)
    return errors.new_zeros(segments).index_add(0, segment, errors * rise.to(errors.dtype))


@dataclass(frozen=True)
class _Targets:
    """Where the pixels of a batch point, and what they are pulled to.

    Attributes:
        points: ``[B, y x, 2]``, position plus offset.
        centres: ``[K, 2]``.
        sigma: ``[K]``.
        instances: the pixels of every instance.
    """

    points: Tensor
    centres: Tensor
    sigma: Tensor
    instances: Instances

    @classmethod
    def of(cls, offset: Tensor, instances: Instances, logs: Tensor, centre: Centre) -> _Targets:
        axes = [torch.arange(n, dtype=offset.dtype, device=offset.device) for n in offset.shape[2:]]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        points = (grid + offset).flatten(2).movedim(1, 2)
        sigma = logs.clamp(-LARGEST_LOG, LARGEST_LOG).exp()
        return cls(points, instances.centres(centre).to(offset.dtype), sigma, instances)

    def inside(self) -> Tensor:
        """Return phi of every foreground pixel for its own instance, ``[P]``."""
        points = self.points.flatten(0, 1).index_select(0, self.instances.pixel)
        return _phi(points, self.centres, self.sigma, self.instances.member)

    def overlaps(self) -> Tensor:
        """Return the Lovász hinge of every instance, ``[K]``, some instances at a time."""
        step = max(1, AT_ONCE // self.points.shape[1])
        owner = self.instances.owner.view(self.points.shape[:2])
        done = [
            checkpoint(self._some, owner, slice(first, first + step), use_reentrant=False, preserve_rng_state=False)
            for first in range(0, len(self.centres), step)
        ]
        return torch.cat([self.points.new_zeros(0), *done])

    def _some(self, owner: Tensor, some: slice) -> Tensor:
        """Return the Lovász hinge of consecutive instances.

        The hinge of the logit ``2 phi - 1`` is ``2 phi`` outside and ``2 (1 - phi)`` inside.
        """
        image, centres, sigma = self.instances.image[some], self.centres[some], self.sigma[some]
        with torch.no_grad():
            inside = owner[image] == torch.arange(some.start, some.start + len(image), device=image.device)[:, None]
            apart = (self.points[image] - centres[:, None]).square().sum(2)
            near = apart < -2 * math.log(NEGLIGIBLE) * sigma.square()[:, None]
            which, pixel = (inside | near).nonzero(as_tuple=True)
            inside = inside[which, pixel]
        points = self.points.flatten(0, 1).index_select(0, image[which] * self.points.shape[1] + pixel)
        phi = _phi(points, centres, sigma, which)
        return lovasz_jaccard(2 * torch.where(inside, 1 - phi, phi), inside, which, len(image))


def _phi(points: Tensor, centres: Tensor, sigma: Tensor, which: Tensor) -> Tensor:
    """Return ``exp(-|p - C|^2 / (2 sigma^2))`` of every point for one of the centres, ``[P]``."""
    apart = (points - centres.index_select(0, which)) / sigma.index_select(0, which)[:, None]
    return (-0.5 * apart.square().sum(1)).exp()


def _seed(seed: Tensor, target: Tensor, instances: Instances, foreground: float) -> Tensor:
    """Return the weighted squared error of the seeds, mean over all pixels."""
    probability = seed.sigmoid().flatten()
    aim = torch.zeros_like(probability).index_copy(0, instances.pixel, target)
    weight = torch.ones_like(probability).index_fill(0, instances.pixel, foreground)
    return (weight * (probability - aim).square()).mean()
