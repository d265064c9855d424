"""Images brought to a common range, ``(x / scale - mean) / std``: by the training set, or each by itself.

:class:`Normalisation` has one mean and deviation a channel, fitted to the training images.
:class:`Percentiles` gives every image a normalisation of its own, from its grey levels alone; their order in the
image does not matter, so it commutes with every symmetry of the pixel grid to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from isotypic.data.image_set import ImageArray, full_scale
from isotypic.data.levels import finite_strips, levels, white
from isotypic.data.readers.pixels import Pixels
from isotypic.errors import RequestError

_BLOCK_VALUES = 1 << 22
_DARKEST = 1 / 256
"""Floats in 0..1 that reach no more than this would all be black in 8 bits."""


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of red, green and blue that networks pretrained on ImageNet expect, in shares of full white."""


@dataclass(frozen=True)
class Normalisation:
    """The mean and standard deviation of each channel, in units of the full scale.

    Args:
        mean: one value a channel.
        std: one positive value a channel; 1 for a channel that is constant.
        scale: the value of full white in the stored images: 255 for uint8, 1 for floats.

    Raises:
        RequestError: the lengths differ, or a deviation or the scale is not positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean or not all(s > 0 for s in (*self.std, self.scale)):
            raise RequestError(
                "expected a mean and a positive std for each channel and a positive scale, "
                f"received mean {self.mean}, std {self.std}, scale {self.scale}"
            )

    @classmethod
    def of(cls, images: ImageArray, indices: np.ndarray | None = None) -> Normalisation:
        """Fit to images in one pass, block by block in float64, so that a memory map is never read at once.

        Blocks are merged by their means and sums of squared deviations: T. Chan, G. Golub, R. LeVeque,
        "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

        Args:
            images: ``[N, C, *space]`` uint8, float32 or float16.
            indices: the images to use (the training part); None uses all.

        Raises:
            RequestError: there are no images, or a value is not finite.
        """
        rows = np.arange(len(images)) if indices is None else np.sort(indices)
        return cls._merged(_blocks(images, rows), full_scale(images))

    @classmethod
    def of_each(cls, images: Iterable[np.ndarray], scale: float) -> Normalisation:
        """Fit to images ``[C, y, x]`` of different sizes, every pixel with the same weight; one at a time.

        Raises:
            RequestError: there are no images, or a value is not finite.
        """
        return cls._merged((image.reshape(len(image), -1).astype(np.float64) for image in images), scale)

    @classmethod
    def _merged(cls, blocks: Iterable[np.ndarray], scale: float) -> Normalisation:
        count, mean, squares = 0, np.zeros(()), np.zeros(())
        for block in blocks:
            values, centre = block.shape[1], block.mean(axis=1)
            shift, total = centre - mean, count + values
            squares = squares + ((block - centre[:, None]) ** 2).sum(axis=1) + shift**2 * (count * values / total)
            mean = mean + shift * (values / total)
            count = total
        if not count or not np.isfinite(squares).all():
            received = f"a mean of {mean}" if count else "0 images"
            raise RequestError(f"expected images with finite values, received {received}")
        std = np.sqrt(squares / count)
        std = np.where(std > 1e-9 * np.abs(mean), std, scale)
        return cls(tuple((mean / scale).tolist()), tuple((std / scale).tolist()), scale)

    def for_image(self, image: Pixels) -> Normalisation:
        """Return the normalisation of one image ``[C, y, x]``: this one, in the units of its type.

        Values of 8 bits, of 16 bits and floats in 0..1 become the same; nothing is rounded.

        Raises:
            RequestError: the type has no full scale, or floats are outside 0..1.
        """
        scale = white(image.dtype)
        if image.dtype.kind == "f":
            _refuse_beyond(image, scale)
        return replace(self, scale=scale)

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(x / scale - mean) / std``.

        Args:
            images: a batch ``[B, C, y, x]`` or ``[B, C, z, y, x]``, or one image ``[C, y, x]``; integers and
                float16, which volumes are stored in, become float32, other floats keep their type.

        Raises:
            RequestError: the number of channels is another.
        """
        signal = images.clone() if images.dtype in (torch.float32, torch.float64, torch.bfloat16) else images.float()
        mean, std = self._by_channel(signal)
        return signal.div_(std * self.scale).sub_(mean / std)

    def undo(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(x std + mean) scale``, what :meth:`apply` was given, to rounding.

        Args:
            images: float, as of :meth:`apply`.

        Raises:
            RequestError: the number of channels is another.
        """
        mean, std = self._by_channel(images)
        return images * (std * self.scale) + mean * self.scale

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for a YAML or JSON record."""
        plain = asdict(self)
        return {"mean": list(plain["mean"]), "std": list(plain["std"]), "scale": plain["scale"]}

    def _by_channel(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation as they are broadcast over images, in their type."""
        axis = 0 if images.ndim == 3 else 1
        if images.ndim not in (3, 4, 5) or images.shape[axis] != len(self.mean):
            raise RequestError(
                f"expected images [B, {len(self.mean)}, y, x], volumes [B, {len(self.mean)}, z, y, x] or one image "
                f"[{len(self.mean)}, y, x] to normalise, received {list(images.shape)}"
            )
        column = (-1, *(1,) * (images.ndim - axis - 1))
        return images.new_tensor(self.mean).reshape(column), images.new_tensor(self.std).reshape(column)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Normalisation:
        """Return what :meth:`to_dict` wrote.

        Raises:
            RequestError: a key is missing or strange, or a value is no number.
        """
        if set(record) != {"mean", "std", "scale"}:
            raise RequestError(f"expected a normalisation with mean, std and scale, received {sorted(record)}")
        try:
            mean, std = (tuple(float(value) for value in record[key]) for key in ("mean", "std"))
            return cls(mean, std, float(record["scale"]))
        except TypeError as error:
            raise RequestError(f"expected numbers in a normalisation, received {dict(record)}") from error


class Normaliser(Protocol):
    """What knows the normalisation of an image."""

    def for_image(self, image: Pixels) -> Normalisation:
        """Return the normalisation of one whole image ``[C, y, x]``, which may be larger than memory."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for a YAML or JSON record."""


@dataclass(frozen=True)
class Percentiles:
    """Stretch every image by itself: its ``low`` percentile to -1 and its ``high`` percentile to 1.

    The percentiles are of all channels together, so colours keep their hue: the least level that a share of at
    least ``low`` percent of the values does not exceed, and likewise ``high``. They are exact for every type, and
    found in bounded memory (:mod:`isotypic.data.levels`).

    The smallest range that is stretched is a share of the full scale, so that an empty image stays flat instead of
    becoming noise. With m the larger magnitude of the two percentiles, which no single hot pixel moves, full scale is

    * 255 for 8 bits and 1 for booleans;
    * for wider integers the largest number of as many bits as m has, 8 at least: a camera of 12 bits fills no 16;
    * for floats 1 where ``1/256 <= m <= 1``, else m. Floats below one grey level of 8 bits, or above white, are of
      another unit than 0..1, and an image of these times any factor that leaves it so is stretched to the same.

    Args:
        low: in percent.
        high: in percent, above ``low``.
        least: the smallest range that is stretched, as a share of the full scale.

    Raises:
        RequestError: not ``0 <= low < high <= 100``, or the least range is not positive.
    """

    low: float = 1.0
    high: float = 99.8
    least: float = 0.02

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high <= 100 and self.least > 0):
            raise RequestError(f"expected percentiles 0 <= low < high <= 100 and least > 0, received {self}")

    def for_image(self, image: Pixels) -> Normalisation:
        """Return the stretching of one whole image ``[C, y, x]`` of integers or floats.

        Raises:
            RequestError: the image is empty, or a value is not finite.
        """
        low, high = levels(image, (self.low, self.high))
        scale = _used_scale(image.dtype, max(abs(low), abs(high)))
        middle, half = (low + high) / 2 / scale, max((high - low) / scale, self.least) / 2
        return Normalisation((middle,) * image.shape[0], (half,) * image.shape[0], scale)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for a YAML or JSON record."""
        return asdict(self)


def normaliser_from(record: Mapping[str, Any]) -> Normaliser:
    """Return what :meth:`Normalisation.to_dict` or :meth:`Percentiles.to_dict` wrote.

    Raises:
        RequestError: a key is missing or strange, or a value is no number.
    """
    if set(record) != {"low", "high", "least"}:
        return Normalisation.from_dict(record)
    try:
        return Percentiles(**{key: float(value) for key, value in record.items()})
    except TypeError as error:
        raise RequestError(f"expected numbers in percentiles, received {dict(record)}") from error


def _used_scale(dtype: np.dtype, magnitude: float) -> float:
    """Return the full scale of an image whose percentiles have the larger magnitude ``magnitude``."""
    if dtype.kind == "f":
        return 1.0 if _DARKEST <= magnitude <= 1 else magnitude or 1.0
    if dtype.kind == "b" or dtype == np.uint8:
        return white(dtype)
    return float(2 ** max(int(magnitude).bit_length(), 8) - 1)


def _refuse_beyond(image: Pixels, white: float) -> None:
    for strip in finite_strips(image):
        if strip.min() < 0 or strip.max() > white:
            raise RequestError(
                f"expected floats in 0..1 to normalise as in training, received {strip.min():g}..{strip.max():g}; "
                "rescale them, save 8 or 16 bits, or train with data.normalise: image"
            )


def _blocks(images: ImageArray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield ``[C, values]`` float64 blocks of a few million values."""
    step = max(_BLOCK_VALUES // max(int(np.prod(images.shape[1:])), 1), 1)
    for start in range(0, len(rows), step):
        block = np.asarray(images[rows[start : start + step]], dtype=np.float64)
        yield np.moveaxis(block, 1, 0).reshape(images.shape[1], -1)
