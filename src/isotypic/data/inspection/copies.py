"""Images of the same pixels, told by a hash of 128 bits of shape and pixels.

A copy in another part of the split is a leak that no list of patients shows: a network that has learnt the image by
heart is right there. Copies of different classes contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd

_NAMED = 3
"""Groups of copies that are named, and copies of a group."""


@dataclass(frozen=True)
class Copies:
    """Images of the same pixels.

    Attributes:
        images: images that have a copy.
        across: those of them that have one in another part.
        contradicting: those of them that have one of another class.
        examples: some of the images, copies of each other, with their parts; those across parts first.
    """

    images: int
    across: int
    contradicting: int
    examples: list[list[str]]

    @property
    def warnings(self) -> list[str]:
        """What is wrong with them, a sentence each."""
        return self.said("image")

    def said(self, unit: str) -> list[str]:
        """Say what is wrong with them, by what they are called."""
        found = [
            (self.across, "a copy in another part of the split: figures there are too good"),
            (self.contradicting, "a copy of another class"),
        ]
        return [f"{_counted(count, unit)} {what}" for count, what in found if count]


def pixel_hash(image: np.ndarray) -> bytes:
    """Return what differs where shape or pixels do."""
    digest = blake2b(str(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def find_copies(hashes: Sequence[bytes], parts: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Copies:
    """Return the copies among images of which there are the hashes.

    Args:
        hashes: of every image.
        parts: ``[N]`` str.
        labels: ``[N]``, the classes; all the same where there are none.
        names: what an image is called.
    """
    table = pd.DataFrame({"hash": hashes, "part": parts, "label": labels})
    table = table[table.duplicated("hash", keep=False)]
    groups = table.groupby("hash", sort=False)
    across, contradicting = (groups[column].transform("nunique") > 1 for column in ("part", "label"))
    shown = sorted(groups.groups.values(), key=lambda rows: not across[rows[0]])[:_NAMED]
    examples = [[f"{names[row]} ({parts[row]})" for row in rows[:_NAMED]] for rows in shown]
    return Copies(len(table), int(across.sum()), int(contradicting.sum()), examples)


def _counted(count: int, unit: str) -> str:
    return f"1 {unit} has" if count == 1 else f"{count:,} {unit}s have"
