"""A trained segmenter: one call from an image of any kind and size to labels.

The way of an image: its channels become those of the training images (:mod:`isotypic.inference.intake`), its levels are
normalised as in training, for every type of values at its own depth, its pixels are brought to the pixel size of the
training images where both are known, or by a factor that is given (:mod:`isotypic.inference.rescaling`), the network
runs over it tile by tile (:mod:`isotypic.inference.tiling`), and its outputs become labels
(:mod:`isotypic.inference.grouping.pixels`). Every step commutes with the symmetries of the pixel grid, so the labels
of a turned image are the turned labels if the network commutes with the group: exactly in float64, in float32 but for
the few pixels where rounding decides.

Memory, beside that of the file's reader: :meth:`Tiling.working_bytes` and the network's own for a tile; labels, and 5
bytes a pixel more while offsets are grouped. Outputs larger than 256 MiB lie in a file while they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isotypic.data.normalisation import Normalisation, Normaliser
from isotypic.data.readers.micrograph import Micrograph, PixelSize
from isotypic.data.readers.pixels import Pixels
from isotypic.data.readers.resampling import Resampled
from isotypic.errors import RequestError, unknown
from isotypic.inference.grouping.pixels import Output, group_pixels
from isotypic.inference.intake import Image, as_micrograph, with_channels
from isotypic.inference.labels import Labels
from isotypic.inference.rescaling import MOST, factor_between, labels_at, rescaled_size
from isotypic.inference.run import load_segmentation_run
from isotypic.inference.tiling import Progress, TileRule, tiled
from isotypic.models.heads import DenseNetwork, split_heads
from isotypic.ops.device import torch_device
from isotypic.ops.layout import channels_last
from isotypic.tasks.recipe import SegmentationRecipe
from isotypic.tasks.training import keep_freed_memory

_LARGEST_SEED = 1 - 2.0**-16
"""Weights of tiles add up to one and a rounding more, and a probability may not."""


class Precision(str, Enum):
    """Of the network's arithmetic."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @classmethod
    def named(cls, name: str) -> Precision:
        """Return a precision by its name.

        Raises:
            RequestError: there is no such precision.
        """
        known = [each.value for each in cls]
        if name not in known:
            raise unknown("precision", str(name), known)
        return cls(name)

    @property
    def dtype(self) -> torch.dtype:
        """The type of torch."""
        return torch.float32 if self is Precision.FLOAT32 else torch.float64


@dataclass(frozen=True)
class Execution:
    """Where and how a network runs over an image.

    Attributes:
        tile: most pixels of a tile along an axis; a smaller image is one tile.
        margin: pixels at an inner edge of a tile that are not used, at best the reach of the network; None for an
            eighth of the tile.
        precision: of the arithmetic.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        scratch: folder for outputs that do not fit into memory; default the system's folder for temporary files.

    Raises:
        RequestError: there is no such precision.
    """

    tile: int = 512
    margin: int | None = None
    precision: Precision = Precision.FLOAT32
    device: str = "cpu"
    scratch: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", Precision.named(self.precision))

    def rule(self, stride: int) -> TileRule:
        """Return how images are cut for a network of a stride.

        Raises:
            RequestError: the tile leaves no pixels beside the overlap.
        """
        margin = self.tile // 8 if self.margin is None else self.margin
        return TileRule(self.tile, stride, margin, max(self.tile // 16, 1))


class Segmenter:
    """Finds instances, or boundaries, in images.

    Args:
        model: the network; it is moved to the device and its precision, and stays there, in evaluation mode.
        recipe: says what its outputs are and how they become labels.
        normaliser: what images go through first.
        channels: of the training images; None takes images as they are.
        pixel_size: side of a pixel of the training images in micrometres, or None where it is not known.
        execution: where and how the network runs.

    Raises:
        RequestError: there is no such device, or the tiles are too small.
    """

    def __init__(
        self,
        model: DenseNetwork,
        recipe: SegmentationRecipe,
        normaliser: Normaliser,
        *,
        channels: int | None = None,
        pixel_size: float | None = None,
        execution: Execution = Execution(),
    ) -> None:
        self.recipe, self.normaliser = recipe, normaliser
        self.channels, self.pixel_size, self.execution = channels, pixel_size, execution
        self.rule, self.device = execution.rule(model.stride), torch_device(execution.device)
        self.model = model.to(self.device, execution.precision.dtype).eval()
        keep_freed_memory()

    @classmethod
    def load(cls, run: Path | str | None = None, execution: Execution = Execution()) -> Segmenter:
        """Return the segmenter of a run.

        Args:
            run: the run's folder, or the name of one that comes with the package; None for the package's ``nuclei``.
            execution: where and how the network runs.

        Raises:
            RequestError: there is no such run, or it is none of a segmenter, or there is no such device.
        """
        found = load_segmentation_run(run)
        return cls(
            found.model,
            found.recipe,
            found.normaliser,
            channels=found.image_shape[0],
            pixel_size=found.pixel_size,
            execution=execution,
        )

    def __call__(
        self,
        image: Image,
        *,
        channel: int | str | None = None,
        pixel_size: PixelSize | None = None,
        rescale: bool = True,
        scale: float | None = None,
        progress: Progress | None = None,
    ) -> Labels:
        """Return what is found in an image.

        Args:
            image: an array ``[y, x]``, ``[C, y, x]`` or ``[y, x, C]`` of booleans, 8 or 16 bits or floats, a path, or a
                :class:`~isotypic.data.readers.micrograph.Micrograph`.
            channel: the one to use, by its name or its number from 0; None uses all.
            pixel_size: of the image, in place of what the file says.
            rescale: bring the image to the pixel size of the training images, where both are known and differ by more
                than a twentieth; the labels have the size of the image in any case.
            scale: enlarge the image by this factor instead, whatever the pixel sizes: 0.5 where objects are twice as
                large, in pixels, as in the training images.
            progress: called with the tiles done and all tiles after each one.

        Raises:
            RequestError: the image cannot be read, its axes or channels are ambiguous, it is smaller than one stride
                of the network, or the factor is beyond 16.
        """
        micrograph = as_micrograph(image, pixel_size)
        pixels = with_channels(micrograph, self.channels, channel)
        factor = self._factor(micrograph, rescale) if scale is None else _checked(scale)
        try:
            return Labels.of(self._found(pixels, factor, progress), micrograph)
        except RequestError as error:
            raise RequestError(f"{micrograph.source}: {error}") from error

    def labels(self, pixels: Pixels) -> NDArray[np.int32]:
        """Return the labels ``[y, x]`` of an image ``[C, y, x]`` that has the channels of the training images."""
        return self._group(self.outputs(pixels))

    def outputs(self, pixels: Pixels, progress: Progress | None = None) -> Output:
        """Return what the heads say of an image, ``[K, y, x]``: seeds as probabilities, all else as it is.

        Args:
            pixels: ``[C, y, x]`` with the channels of the training images, of booleans, integers or floats.
            progress: called with the tiles done and all tiles after each one.

        Raises:
            RequestError: the image is smaller than one stride of the network, or of other values or channels.
        """
        if len(pixels.shape) != 3:
            raise RequestError(f"expected an image [C, y, x], received {list(pixels.shape)}")
        return self._run(pixels, self.normaliser.for_image(pixels), progress)

    def _factor(self, micrograph: Micrograph, rescale: bool) -> float:
        return factor_between(micrograph.source, micrograph.pixel_size, self.pixel_size) if rescale else 1.0

    def _found(self, pixels: Pixels, factor: float, progress: Progress | None) -> NDArray[np.int32]:
        """Return the labels of an image that is enlarged by a factor on the way."""
        if factor == 1:
            return self._group(self.outputs(pixels, progress))
        size = pixels.shape[1], pixels.shape[2]
        resampled = Resampled(pixels, rescaled_size(size, factor))
        output = self._run(resampled, self.normaliser.for_image(pixels), progress)
        return labels_at(self._group(output), size)

    def _run(self, pixels: Pixels, normalisation: Normalisation, progress: Progress | None) -> Output:
        _, height, width = pixels.shape
        if min(height, width) < self.model.stride:
            raise RequestError(
                f"expected an image of at least {self.model.stride} pixels a side for this network, received "
                f"{height} x {width}: enlarge it, or pad it"
            )
        tiling = self.rule.over((height, width))
        network = partial(self._network, normalisation)
        return tiled(network, pixels, tiling, scratch=self.execution.scratch, progress=progress)

    def _network(self, normalisation: Normalisation, tile: Tensor) -> Tensor:
        image = normalisation.apply(tile.to(self.execution.precision.dtype))
        output: Tensor = self.model(channels_last(image.to(self.device)))  # as in training
        heads = split_heads(output, self.model.heads)
        if "seed" in heads:
            # Before tiles are blended: the mean of probabilities is one, and needs no further array.
            heads["seed"].sigmoid_().clamp_(max=_LARGEST_SEED)
        return output

    def _group(self, output: Output) -> NDArray[np.int32]:
        return group_pixels(output, self.recipe.model.heads, self.recipe.grouping)


def _checked(scale: float) -> float:
    if not 1 / MOST <= scale <= MOST:
        raise RequestError(f"expected a scale from {1 / MOST:g} to {MOST:g}, received {scale:g}")
    return scale
