"""The 1,797 handwritten digits of 8×8 pixels that come with scikit-learn.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, doi 10.24432/C50P49 (its test part). The sixteen grey levels 0..16 become 0..255.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from isotypic.data.config import DataConfig
from isotypic.data.image_set import ImageSet
from isotypic.data.preparation import prepare
from isotypic.errors import RequestError


def load(config: DataConfig, cache: Path) -> ImageSet:
    """Return the digits ``[1797, 1, 8, 8]`` (or as ``config`` prepares them), classes "0" to "9".

    Args:
        config: gives ``resize`` and ``colour``.
        cache: not needed here.

    Raises:
        RequestError: a path is given; this set comes with scikit-learn and would ignore it.
    """
    if config.path is not None:
        raise RequestError(
            f"the data set 'digits' comes with scikit-learn and reads no path, received {config.path}; "
            "leave data.path out or name another set with --set data.dataset=..."
        )
    levels, labels = load_digits(return_X_y=True)
    images = np.rint(levels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    classes = tuple(str(digit) for digit in range(10))
    return ImageSet("digits", prepare(images, config), labels.astype(np.int64), classes)
