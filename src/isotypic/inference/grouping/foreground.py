"""Which pixels are foreground, by a rule that rounding does not sway where two logits are equal.

A network turns an image by 90 degrees and gets the same logits up to rounding. A pixel whose logits are equal, and
there are many where all units are off, would then be foreground in one direction and background in the other. So
foreground must be ahead by more than rounding can be: equal logits are background, always.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isotypic.errors import RequestError

MARGIN = 1e-4
"""How far foreground must be ahead, in logits: above the rounding of float32, below any meaning."""


def semantic_foreground(logits: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the pixels where some class is ahead of the background by more than :data:`MARGIN`.

    Args:
        logits: ``[classes, y, x]``, background first.

    Raises:
        RequestError: not three axes, or fewer than two classes.

    >>> semantic_foreground(np.array([[[0.0, 1.0, 0.0]], [[2.0, 1.0, 1e-9]]]))
    array([[ True, False, False]])
    """
    if logits.ndim != 3 or len(logits) < 2:
        raise RequestError(f"expected logits [classes, y, x] of background and more, received {list(logits.shape)}")
    return logits[1:].max(0) - logits[0] > MARGIN
