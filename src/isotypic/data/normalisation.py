"""Zero mean and unit variance per channel: ``(x / scale - mean) / std``, fitted to the training images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from isotypic.data.image_set import full_scale
from isotypic.errors import RequestError

_BLOCK_VALUES = 1 << 22


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
    def of(cls, images: np.ndarray, indices: np.ndarray | None = None) -> Normalisation:
        """Fit to images in one pass, block by block in float64, so that a memory map is never read at once.

        Blocks are merged by their means and sums of squared deviations: T. Chan, G. Golub, R. LeVeque,
        "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

        Args:
            images: ``[N, C, H, W]`` uint8 or float32.
            indices: the images to use (the training part); None uses all.

        Raises:
            RequestError: there are no images, or a value is not finite.
        """
        rows = np.arange(len(images)) if indices is None else np.sort(indices)
        count, mean, squares = 0, np.zeros(images.shape[1]), np.zeros(images.shape[1])
        for block in _blocks(images, rows):
            values, centre = block.shape[1], block.mean(axis=1)
            shift, total = centre - mean, count + values
            squares += ((block - centre[:, None]) ** 2).sum(axis=1) + shift**2 * (count * values / total)
            mean += shift * (values / total)
            count = total
        if not count or not np.isfinite(squares).all():
            raise RequestError(f"expected images with finite values, received {len(rows)} images with mean {mean}")
        scale, std = full_scale(images), np.sqrt(squares / count)
        std = np.where(std > 1e-9 * np.abs(mean), std, scale)
        return cls(tuple((mean / scale).tolist()), tuple((std / scale).tolist()), scale)

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(x / scale - mean) / std``.

        Args:
            images: ``[..., C, H, W]``; integers become float32, floats keep their type.

        Raises:
            RequestError: the number of channels is another.
        """
        if images.ndim < 3 or images.shape[-3] != len(self.mean):
            raise RequestError(
                f"expected images [..., {len(self.mean)}, H, W] to normalise, received {list(images.shape)}"
            )
        signal = images if images.is_floating_point() else images.float()
        std = signal.new_tensor(self.std)[:, None, None]
        return signal / (std * self.scale) - signal.new_tensor(self.mean)[:, None, None] / std

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for a YAML or JSON record."""
        plain = asdict(self)
        return {"mean": list(plain["mean"]), "std": list(plain["std"]), "scale": plain["scale"]}

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


def _blocks(images: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield ``[C, values]`` float64 blocks of a few million values."""
    step = max(_BLOCK_VALUES // max(int(np.prod(images.shape[1:])), 1), 1)
    for start in range(0, len(rows), step):
        block = np.asarray(images[rows[start : start + step]], dtype=np.float64)
        yield block.transpose(1, 0, 2, 3).reshape(images.shape[1], -1)
