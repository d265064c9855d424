"""Detection in scans: candidates are classified, and judged scan by scan.

A classifier learns from candidates of the training scans and sees either class as often; it is chosen by a balanced
part of the validation scans' candidates, and tested on every candidate of the test scans, as the scanner and the
candidate finder give them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from isotypic.data.catalogue import load_candidates
from isotypic.data.scans.candidates import CandidateSet
from isotypic.data.splits import Splits, nested_subsets, split
from isotypic.errors import RequestError
from isotypic.tasks.recipe import DetectionRecipe
from isotypic.tasks.session import Material


@dataclass(frozen=True)
class DetectionMaterial:
    """The candidates of a recipe and their split by scan.

    Attributes:
        candidates: patches and positions, and what there is to find.
        splits: which candidates are for training, validation and test; no scan is in two parts.
        cache: where is kept what is made of them, or None.
    """

    candidates: CandidateSet
    splits: Splits
    cache: Path | None = None

    @property
    def classified(self) -> Material:
        """What a classifier is trained on: the patches, with as many validation candidates of either class."""
        patches = self.candidates.patches
        balanced = replace(self.splits, validation=_balanced(patches.labels, self.splits.validation))
        return Material(patches, balanced, self.cache)

    def scans_of(self, rows: np.ndarray) -> tuple[str, ...]:
        """Return the scans that some candidates lie in, and those of their part of a given split that have none."""
        return self.candidates.scans_of(rows)


def detection_material(
    recipe: DetectionRecipe, cache: Path, counted: Callable[[int, int], object] | None = None
) -> DetectionMaterial:
    """Load the candidates of a recipe and split them by scan; patches are kept in ``cache``.

    Args:
        recipe: says which.
        cache: a folder.
        counted: told how many scans of how many are done.

    Raises:
        RequestError: what is wrong with the data, or the test scans have no nodule.
    """
    candidates = load_candidates(recipe.data, cache, counted)
    splits = split(candidates.patches, recipe.data)
    candidates = candidates.with_parts(splits, recipe.data)
    material = DetectionMaterial(candidates, splits, cache)
    if not np.isin(candidates.nodules.scan, material.scans_of(splits.test)).any():
        raise RequestError(
            f"{candidates.patches.name}: expected a nodule in some test scan, received none in "
            f"{len(material.scans_of(splits.test))} scans; give other test scans or a larger data.test_fraction"
        )
    return material


def _balanced(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return as many rows of either class as there are of the rarer one, the same every time."""
    _, counts = np.unique(labels[rows], return_counts=True)
    size = int(counts.min()) * len(counts)
    return np.sort(nested_subsets(labels, rows, [size], seed=0)[size])
