"""A temperature makes probabilities as often right as they say; no threshold does better on validation images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve
from torch.nn.functional import cross_entropy

from isotypic.errors import RequestError
from isotypic.metrics.calibration import Calibration, calibrated, fitted_temperature, youden_threshold


def drawn(count=4000, temperature=1.0, seed=0):
    """Logits whose probabilities at a temperature are those by which the labels were drawn."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 2, generator=generator)
    truth = (logits / temperature).softmax(1)[:, 1]
    return logits, (torch.rand(count, generator=generator) < truth).long()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found(temperature):
    logits, labels = drawn(temperature=temperature)
    found = fitted_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.1)
    best = cross_entropy(logits.double() / found, labels)
    for other in (0.9 * found, 1.1 * found):
        assert cross_entropy(logits.double() / other, labels) > best


def test_images_without_errors_say_nothing_about_the_temperature():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    assert fitted_temperature(logits, torch.tensor([0, 1])) == 1
    assert fitted_temperature(logits, torch.tensor([1, 1])) != 1


def j(scores, labels, threshold):
    called = (scores >= threshold).double()
    return float(called[labels == 1].mean() - called[labels == 0].mean())


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=30))
def test_no_threshold_has_a_larger_j(cases):
    scores = torch.tensor([score / 20 for score, _ in cases], dtype=torch.float64)
    labels = torch.tensor([int(label) for _, label in cases])
    if len(labels.unique()) < 2:
        return
    found = j(scores, labels, youden_threshold(scores, labels))
    assert found >= max(j(scores, labels, t) for t in np.arange(-0.025, 1.1, 0.05)) - 1e-12
    fall, rise, _ = roc_curve(labels, scores)
    assert found == pytest.approx((rise - fall).max(), abs=1e-12)


def test_of_many_thresholds_the_middle_of_the_widest_interval_is_taken():
    labels = torch.tensor([0, 0, 1, 1])
    assert youden_threshold(torch.tensor([0.0, 0.2, 0.8, 1.0]), labels) == pytest.approx(0.5)
    tied = torch.tensor([0.1, 0.2, 0.3, 0.9])  # J is the same from .1 to .2 and from .3 to .9
    assert youden_threshold(tied, torch.tensor([0, 1, 0, 1])) == pytest.approx(0.6)


def test_calibration_of_two_classes_alone():
    logits, labels = drawn(temperature=2.0)
    found = calibrated(logits, labels)
    assert found.temperature == pytest.approx(2, rel=0.1)
    assert found.threshold == pytest.approx(0.5, abs=0.1)
    assert calibrated(torch.randn(5, 3), torch.arange(5) % 3) is None
    assert calibrated(logits, torch.zeros(4000, dtype=torch.long)) is None
    assert calibrated(logits.log_softmax(1), labels).temperature == pytest.approx(found.temperature, rel=1e-5)


def test_probabilities():
    logits = torch.tensor([[0.0, math.log(9)]])
    assert Calibration().probabilities(logits)[0, 1] == pytest.approx(0.9)
    assert Calibration(temperature=2).probabilities(logits)[0, 1] == pytest.approx(0.75)
    with pytest.raises((RequestError, ValueError), match="threshold"):
        Calibration(threshold=1.5)
