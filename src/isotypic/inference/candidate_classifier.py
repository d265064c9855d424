"""Candidates in a scan classified by a trained detector: patches cut around points of the world, and probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isotypic.data.readers.scan import Scan
from isotypic.data.scans.candidates import Points
from isotypic.data.scans.geometry import Floats
from isotypic.data.scans.patches import Lattice, Patches
from isotypic.errors import RequestError
from isotypic.inference.run import Run, load_detector
from isotypic.ops.device import torch_device
from isotypic.tasks.recipe import DetectionRecipe

_BATCH = 64


@dataclass(frozen=True)
class CandidateClassifier:
    """A detector, ready for scans.

    Attributes:
        run: the trained network; its recipe says of which patches.
    """

    run: Run[DetectionRecipe]

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> CandidateClassifier:
        """Load a run of detection onto a device.

        Raises:
            RequestError: there is no such run, or no such device.
        """
        run = load_detector(folder)
        run.model.to(torch_device(device))
        return cls(run)

    def __call__(self, scan: Scan, position: Floats) -> tuple[NDArray[np.float64], int]:
        """Return the probability ``[n]`` of what is looked for at some points, and how many patches reach outside.

        Args:
            scan: the volume; it is held once more as floats.
            position: ``[n, 3]`` world points (x, y, z) in millimetres.
        """
        data = self.run.recipe.data
        patches = Patches(scan, Lattice(data.size, data.spacing), data.window)
        parts = [position[start : start + _BATCH] for start in range(0, len(position), _BATCH)]
        found = [self.run.classified(patches.at(part))[:, 1].double().numpy() for part in parts]
        outside = int(patches.outside(position).sum()) if len(position) else 0
        return np.concatenate(found) if found else np.zeros(0), outside


def of_scan(candidates: Points, name: str) -> Points:
    """Return the candidates of a scan.

    Raises:
        RequestError: there are none.
    """
    mine = candidates[candidates.scan == name]
    if not len(mine):
        others = sorted(set(candidates.scan.tolist()))
        raise RequestError(
            f"expected candidates of the scan {name!r}, received those of {len(others)} others, {others[0]!r} among "
            "them; the column seriesuid names a scan as its file is named, without the suffix"
        )
    return mine
