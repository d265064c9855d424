"""ROC curves as they are recorded: at the same false positive rates for every run, so that their mean can be drawn."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from isotypic.studies.records import Roc

_POINTS = 201


def resampled(false_positive_rate: Tensor, true_positive_rate: Tensor) -> Roc:
    """Return a curve at false positive rates that lie the closer, the smaller they are.

    Args:
        false_positive_rate: ``[n]``, ascending from 0 to 1.
        true_positive_rate: ``[n]``, likewise.
    """
    rates = np.linspace(0, 1, _POINTS) ** 2
    truly = np.interp(rates, false_positive_rate.numpy(), true_positive_rate.numpy())
    truly[0] = 0
    return Roc(false_positive_rate=rates.tolist(), true_positive_rate=truly.tolist())
