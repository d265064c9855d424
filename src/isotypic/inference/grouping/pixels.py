"""From what a segmenter says of every pixel to labels, as its heads ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from isotypic.inference.grouping.clustering import cluster_embeddings
from isotypic.inference.grouping.foreground import semantic_foreground
from isotypic.inference.grouping.seeds import cluster_seeds
from isotypic.models.heads import HeadChoice
from isotypic.tasks.segmentation.grouping import GroupingConfig

Output = NDArray[np.floating]

_ROWS = 256
"""Rows that are read at a time where the output may lie on disk."""


def group_pixels(output: Output, heads: HeadChoice, config: GroupingConfig) -> NDArray[np.int32]:
    """Return the labels of an image, ``[y, x]``: instances from 1, or for boundary heads 1 on the boundary.

    Memory beside the output, which may lie on disk (``numpy.memmap``): 4 bytes a pixel for the labels, 9 with offset
    heads (:mod:`isotypic.inference.grouping.seeds`), and with embedding heads what the clustering takes of the
    foreground.

    Args:
        output: ``[K, y, x]``, the channels of the heads as :meth:`Segmenter.outputs` gives them: logits, embeddings,
            offsets and logarithms of bandwidths as they are, and seeds as probabilities.
        heads: what the channels are.
        config: how they become instances.
    """
    return _WAYS[heads](output, config)


def boundary_probability(output: Output) -> NDArray[np.float64]:
    """Return the probability of the boundary, ``[y, x]``, from the logits of inside and boundary ``[2, y, x]``."""
    apart = (output[1] - output[0]).astype(np.float64)
    return 0.5 + 0.5 * np.tanh(0.5 * apart)


def _by_embedding(output: Output, config: GroupingConfig) -> NDArray[np.int32]:
    return cluster_embeddings(output[2:], _foreground(output[:2]), config.embedding)


def _by_offset(output: Output, config: GroupingConfig) -> NDArray[np.int32]:
    return cluster_seeds(output[3], output[:2], output[2], config.offset)


def _by_class(output: Output, config: GroupingConfig) -> NDArray[np.int32]:
    return _foreground(output).astype(np.int32)


def _foreground(logits: Output) -> NDArray[np.bool_]:
    strips = [logits[:, top : top + _ROWS] for top in range(0, logits.shape[1], _ROWS)]
    return np.concatenate([semantic_foreground(strip) for strip in strips])


_WAYS: dict[HeadChoice, Callable[[Output, GroupingConfig], NDArray[np.int32]]] = {
    HeadChoice.EMBEDDING: _by_embedding,
    HeadChoice.OFFSET: _by_offset,
    HeadChoice.BOUNDARY: _by_class,
}
