"""Augmentations by name: what may happen to the images of a training batch, and how likely.

A name stands for one change, or for those of a published report; ``d4+light+elastic`` makes several, from left to
right. What each one does, how far it goes and how likely it is stands in :data:`MOVES`, :data:`WARPS`,
:data:`PHOTOMETRIC` and :data:`REPORTS`, and with pictures in docs/augmentation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn

from isotypic.data.augmentations.moves import (
    RandomAngle,
    RandomElement,
    RandomMirrors,
    RandomMove,
    as_they_are,
    check_batch,
)
from isotypic.data.augmentations.photometry import Change, OfLevels, blur, in_turn, light, lose_pixels, one_of, stain
from isotypic.data.augmentations.volumes import noise, pose
from isotypic.data.augmentations.warps import elastic, shear, turn
from isotypic.data.normalisation import Normalisation
from isotypic.errors import RequestError, unknown


class Sometimes(nn.Module):
    """Make a change of every image of a batch with a probability; in eval mode nothing changes.

    Images that are not drawn stay as they are to the bit. A change is made in float32 or wider and without gradients.

    Args:
        change: of images ``[B, C, *space]``, each by its own draws.
        probability: of the change, for each image on its own.
        axes: of space: 2 of images, 3 of volumes.
    """

    def __init__(self, change: Change, probability: float = 1.0, axes: int = 2) -> None:
        super().__init__()
        self.change, self.probability, self.axes = change, probability, axes

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the changed images.

        Args:
            images: ``[B, C, *space]`` float, normalised.

        Raises:
            RequestError: the shape is another.
        """
        check_batch(images, self.axes)
        if not self.training:
            return images
        rows = (torch.rand(len(images)) < self.probability).nonzero().flatten().to(images.device)
        if not len(rows):
            return images
        some = len(rows) < len(images)
        wide = (images[rows] if some else images).to(torch.promote_types(images.dtype, torch.float32))
        with as_they_are(images):
            changed = self.change(wide).to(images.dtype)
        return images.index_copy(0, rows, changed) if some else changed


class Pairwise(nn.Module):
    """Move the images and the label images of a batch by the same draws.

    Args:
        moving: what draws and moves; None changes nothing.
    """

    def __init__(self, moving: RandomMove | None) -> None:
        super().__init__()
        self.moving = moving

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moved images and labels.

        Args:
            images: ``[B, C, H, W]`` float.
            labels: ``[B, H, W]`` integer.

        Raises:
            RequestError: the shapes do not fit.
        """
        check_batch(images)
        if labels.shape != (len(images), *images.shape[2:]):
            raise RequestError(
                f"expected labels {[len(images), *images.shape[2:]]} for these images, received {list(labels.shape)}"
            )
        if self.moving is None or not self.training:
            return images, labels
        drawn = self.moving.draw(images)
        return self.moving.move(images, drawn), self.moving.move_labels(labels, drawn)


@dataclass(frozen=True)
class Chance:
    """A change with its probability.

    Attributes:
        change: of images, or of levels.
        probability: for each image.
        colours: whether it needs red, green and blue.
    """

    change: Change
    probability: float = 1.0
    colours: bool = False


MOVES: Mapping[str, Callable[[], RandomMove]] = MappingProxyType(
    {
        "rot90": partial(RandomElement, "p4"),
        "flips": partial(RandomElement, "pmm"),
        "d4": partial(RandomElement, "p4m"),
        "rotate": RandomAngle,
        "flips25": partial(RandomMirrors, 0.25),
        "flips30": partial(RandomMirrors, 0.3),
    }
)
"""What moves pixels, and can move labels with them."""

WARPS: Mapping[str, Chance] = MappingProxyType(
    {
        "tilt45": Chance(partial(turn, degrees=45.0)),
        "tilt90": Chance(partial(turn, degrees=90.0), 0.3),
        "shear": Chance(partial(shear, degrees=45.0, shift=0.1), 0.3),
        "elastic": Chance(partial(elastic, displacement=1.5, width=4.0)),
    }
)
"""What resamples images and reflects them at their border."""

_LIGHT = partial(light, exposure=0.5, contrast=0.5)
_STAIN = partial(stain, hue=0.05, saturation=0.5)
_BLUR = partial(blur, least=0.1, most=1.5)
_JITTER = (partial(light, exposure=0.25, contrast=0.25), partial(stain, hue=0.04, saturation=0.25))

PHOTOMETRIC: Mapping[str, Chance] = MappingProxyType(
    {
        "light": Chance(_LIGHT),
        "stain": Chance(_STAIN, colours=True),
        "blur": Chance(_BLUR),
        "jitter": Chance(partial(in_turn, changes=_JITTER), 0.3, colours=True),
        "appearance": Chance(
            partial(one_of, changes=(_LIGHT, partial(in_turn, changes=(_STAIN, _BLUR)))), 0.5, colours=True
        ),
        "lost-pixels": Chance(partial(lose_pixels, most=0.2)),
    }
)
"""What changes levels in 0..1."""

REPORTS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "inception": ("tilt45", "flips30", "shear", "jitter"),
        "pathology": ("tilt90", "flips25", "appearance", "lost-pixels", "elastic"),
    }
)
"""What the capstone report on PatchCamelyon did for its Inception network and for its own networks, in its order."""

AUGMENTATIONS: Sequence[str] = ("none", *MOVES, *WARPS, *PHOTOMETRIC, *REPORTS)
"""The names of all augmentations of images."""

IN_SPACE: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "rot90": partial(RandomElement, "C4", 3),
        "flips": partial(RandomMirrors, 0.5, 3),
        "d4": partial(RandomElement, "D4", 3),
        "d4h": partial(RandomElement, "D4h", 3),
        "o": partial(RandomElement, "O", 3),
        "oh": partial(RandomElement, "Oh", 3),
        "pose": partial(Sometimes, partial(pose, shift=2.0, zoom=0.2), axes=3),
        "noise": partial(Sometimes, partial(noise, most=0.1), axes=3),
    }
)
"""What may happen to volumes; rot90 turns them about z, and the groups are those of :mod:`isotypic.groups` in space."""

REPORTS_IN_SPACE: Mapping[str, Sequence[str]] = MappingProxyType({"nodules": ("flips", "pose", "noise")})
"""What Winkels and Cohen did for candidates of nodules: turns in the plane, flips, small shifts, zooms, noise."""

VOLUME_AUGMENTATIONS: Sequence[str] = ("none", *IN_SPACE, *REPORTS_IN_SPACE)
"""The names of all augmentations of volumes."""


def parts_of(name: str, axes: int = 2) -> list[str]:
    """Return the single changes that a name stands for, in their order.

    >>> parts_of("d4+inception"), parts_of("none"), parts_of("nodules", axes=3)
    (['d4', 'tilt45', 'flips30', 'shear', 'jitter'], [], ['flips', 'pose', 'noise'])

    Args:
        name: of one augmentation, or of several with "+".
        axes: of space: 2 of images, 3 of volumes.

    Raises:
        RequestError: there is no such augmentation, or one comes twice.
    """
    offered, reports = (VOLUME_AUGMENTATIONS, REPORTS_IN_SPACE) if axes == 3 else (AUGMENTATIONS, REPORTS)
    parts: list[str] = []
    for word in name.split("+"):
        if word not in offered:
            raise unknown("augmentation of volumes" if axes == 3 else "augmentation", word, offered)
        parts += reports.get(word, [] if word == "none" else [word])
    if len(set(parts)) < len(parts) or ("none" in name.split("+") and name != "none"):
        raise RequestError(f"{name!r} has an augmentation twice, or none beside another")
    return parts


def augmentation(name: str, normalisation: Normalisation | None = None, axes: int = 2) -> nn.Module:
    """Return an augmentation of normalised batches by its name, or of several names with "+".

    Args:
        name: such as ``"d4"`` or ``"d4+light"``; of :data:`AUGMENTATIONS`, or :data:`VOLUME_AUGMENTATIONS`.
        normalisation: of the images; needed by what changes levels.
        axes: of space: 2 of images, 3 of volumes.

    Raises:
        RequestError: there is no such augmentation, or it cannot be made of such images.
    """
    made = [IN_SPACE[part]() if axes == 3 else _single(part, normalisation) for part in parts_of(name, axes)]
    return made[0] if len(made) == 1 else nn.Sequential(*made)


def pair_augmentation(name: str) -> Pairwise:
    """Return an augmentation of images with their label images: none or one of :data:`MOVES`.

    Warps are none: what they reflect into an image would be an object twice under one number.

    Raises:
        RequestError: there is no such augmentation, or it does not move labels.
    """
    parts_of(name)
    if name != "none" and name not in MOVES:
        raise RequestError(
            f"augmentation {name!r} does not move label images: for segmentation take one of none, {', '.join(MOVES)}, "
            "and intensity for changes of grey levels"
        )
    return Pairwise(MOVES[name]() if name in MOVES else None)


def _single(name: str, normalisation: Normalisation | None) -> nn.Module:
    if name in MOVES:
        return MOVES[name]()
    if name in WARPS:
        return Sometimes(WARPS[name].change, WARPS[name].probability)
    chance = PHOTOMETRIC[name]
    if normalisation is None:
        raise RequestError(f"augmentation {name!r} changes levels in 0..1 and needs the normalisation of the images")
    channels = len(normalisation.mean)
    if chance.colours and channels != 3:
        grey = ", ".join(other for other, found in PHOTOMETRIC.items() if not found.colours)
        raise RequestError(
            f"augmentation {name!r} changes hue and saturation and needs images of 3 channels, these have {channels}: "
            f"take {grey}, or moves and warps"
        )
    return Sometimes(OfLevels(chance.change, normalisation), chance.probability)
