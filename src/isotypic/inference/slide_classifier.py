"""A trained classifier on whole slides.

The way of a slide: it is made small and its tissue found (:mod:`isotypic.inference.tissue`), a grid is laid over it at
the microns per pixel that are asked for (:mod:`isotypic.inference.patches`), patches with little tissue are left out,
the network runs over the others batch by batch, and what it says becomes a map (:mod:`isotypic.inference.heat_map`).
Every step commutes with the symmetries of the pixel grid, so the map of a turned slide is the turned map if the network
is invariant: to rounding in float64.

Memory beside that of the file's reader and of the network: a batch of patches and the strip of the slide that it is cut
from, and for the map 16 samples a patch, or one a pixel of a picture of 1024 pixels where that is more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isotypic.data.channels import converted
from isotypic.data.readers.pixels import Pixels
from isotypic.data.readers.slide import Slide
from isotypic.errors import RequestError, unknown
from isotypic.inference.heat_map import HeatMap
from isotypic.inference.patches import PatchGrid, batches
from isotypic.inference.run import Run
from isotypic.inference.segmenter import Precision
from isotypic.inference.tiling import Progress
from isotypic.inference.tissue import thumbnail, tissue
from isotypic.ops.device import torch_device

_SPECK = 0.25
"""A piece of tissue, or a hole, that has less than this share of a patch's area is removed."""


@dataclass(frozen=True)
class SlideExecution:
    """Where and how a network runs over a slide.

    Attributes:
        overlap: share of a patch's side that neighbours have in common, at least.
        tissue: least share of a patch that is tissue; with 0 all patches are classified.
        batch_size: patches that go through the network at a time.
        precision: of the arithmetic.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Raises:
        RequestError: a number is out of range, or there is no such precision.
    """

    overlap: float = 0.0
    tissue: float = 0.25
    batch_size: int = 64
    precision: Precision = Precision.FLOAT32
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1 or not 0 <= self.tissue <= 1 or self.batch_size < 1:
            raise RequestError(
                "expected an overlap from 0 to below 1, a share of tissue from 0 to 1 and batches of at least 1, "
                f"received {self.overlap:g}, {self.tissue:g} and {self.batch_size}"
            )
        object.__setattr__(self, "precision", Precision.named(self.precision))


class SlideClassifier:
    """Classifies the patches of slides.

    Args:
        run: a trained classifier; its network is moved to the device and the precision, and stays there.
        positive: the class that heat maps show; None for the second of two.
        execution: where and how the network runs.

    Raises:
        RequestError: there is no such class or device, the classes are not two and none is chosen, or the run is of
            volumes.
    """

    def __init__(self, run: Run, positive: str | None = None, execution: SlideExecution = SlideExecution()) -> None:
        self.run, self.execution = run, execution
        if len(run.image_shape) != 3:
            raise RequestError(f"expected a run of images for slides, received one of volumes {list(run.image_shape)}")
        self._patch: tuple[int, int] = (run.image_shape[1], run.image_shape[2])
        self.positive = _positive(run.classes, positive)
        run.model.to(torch_device(execution.device), execution.precision.dtype).eval()

    def __call__(self, slide: Slide, microns: float | None = None, progress: Progress | None = None) -> HeatMap:
        """Return what the network says of a slide.

        Args:
            slide: with the channels of the training images, or colours for grey.
            microns: the side of a pixel of the training images in micrometres; None takes the finest level as it is.
            progress: called with the patches done and all patches after each batch.

        Raises:
            RequestError: the slide cannot be read, has other channels, does not say its pixel size, or is smaller than
                a patch.
        """
        try:
            size = slide.size if microns is None else slide.size_at(microns)
            grid = PatchGrid.over(size, self._patch, self.execution.overlap)
            picture = thumbnail(slide.level_for(grid.map_size), grid.map_size)
            found = tissue(picture, self._speck(grid))
            wanted = grid.covered(found) >= self.execution.tissue
            said = self._probabilities(slide, grid, wanted, progress)
        except RequestError as error:
            if slide.source in str(error):
                raise
            raise RequestError(f"{slide.source}: {error}") from error
        shown = found if self.execution.tissue else np.ones_like(found)
        return HeatMap(
            slide.source, self.run.classes, self.positive, grid, said, picture, shown, slide.size, slide.microns
        )

    def _speck(self, grid: PatchGrid) -> float:
        """Return how many samples of the map are too few for tissue."""
        sides = (axis.side * m / axis.size for axis, m in zip((grid.rows, grid.columns), grid.map_size, strict=True))
        return _SPECK * float(np.prod(list(sides)))

    def _probabilities(
        self, slide: Slide, grid: PatchGrid, wanted: np.ndarray, progress: Progress | None
    ) -> np.ndarray:
        """Return the probabilities ``[rows, columns, classes]``, NaN where no patch is wanted."""
        normalisation = self.run.normalisation.for_image(slide.levels[0])
        pixels, count = self._pixels(slide, grid.size), int(wanted.sum())
        found = np.full((*grid.shape, len(self.run.classes)), np.nan)
        done = 0
        for batch in batches(pixels, grid, wanted, self.execution.batch_size):
            found[tuple(batch.places.T)] = self.run.classified(batch.pixels, normalisation).numpy()
            done += len(batch.places)
            if progress is not None:
                progress(done, count)
        return found

    def _pixels(self, slide: Slide, size: tuple[int, int]) -> Pixels:
        pixels = converted(slide.at(size), slide.axes, self.run.image_shape[0])
        if pixels is None:
            raise RequestError(
                f"expected {self.run.image_shape[0]} channels as in training, received {slide.levels[0].shape[0]}"
            )
        return pixels


def _positive(classes: tuple[str, ...], name: str | None) -> int:
    if name is None and len(classes) == 2:
        return 1
    if name is None:
        raise RequestError(
            f"expected the class to show by --class (positive=), one of {', '.join(classes)}; of two classes it is the "
            "second"
        )
    if name not in classes:
        raise unknown("class", name, classes)
    return classes.index(name)
