import pytest
import torch
from torchmetrics.functional.classification import binary_accuracy, binary_auroc, binary_roc

from isotypic.errors import RequestError
from isotypic.metrics.boundary import BoundaryMetric


def pixels(seed, sharpness=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(40, 50, generator=generator) < 0.3
    noise = torch.randn(40, 50, generator=generator)
    return ((sharpness * (2.0 * truth - 1 + noise)).sigmoid().to(dtype), truth)


def scores(*images, intervals=2**16):
    metric = BoundaryMetric(intervals)
    for probability, truth in images:
        metric.update(probability, truth)
    return metric.compute()


@pytest.mark.parametrize("sharpness", [1.0, 30.0])  # at 30 half of the probabilities saturate
@pytest.mark.parametrize("intervals", [16, 2**10, 2**16])
def test_the_area_is_within_its_bound_of_the_exact_one(sharpness, intervals):
    images = [pixels(seed, sharpness) for seed in range(4)]
    result = scores(*images, intervals=intervals)
    probability, truth = (torch.cat([x.flatten() for x in part]) for part in zip(*images, strict=True))
    exact = binary_auroc(probability.double(), truth.long()).double()
    # torchmetrics integrates in float32.
    assert abs(result.auc - exact) <= result.auc_error + 1e-5
    assert result.auc_error < {16: 0.3, 2**10: 0.03, 2**16: 0.03}[intervals]


def test_the_area_of_a_confident_network_is_told_to_a_thousandth():
    probability, truth = pixels(0, 8.0)
    result = scores((probability, truth))
    assert (probability > 0.9999).double().mean() > 0.1
    assert result.auc_error < 1e-3
    assert abs(result.auc - binary_auroc(probability, truth.long())) < 1e-3


def test_few_intervals_miss_the_area_and_say_so():
    images = [pixels(0)]
    fine, coarse = scores(*images), scores(*images, intervals=2)
    assert abs(fine.auc - coarse.auc) > 0.01
    assert coarse.auc_error > 0.01 > fine.auc_error


def test_the_curve_and_the_area_are_exact_on_values_that_no_interval_mixes():
    probability, truth = pixels(1)
    probability = (probability * 255).round() / 255
    result = scores((probability, truth))
    assert float(result.auc) == pytest.approx(float(binary_auroc(probability, truth.long())), abs=1e-6)
    false, true, _ = binary_roc(probability, truth.long())
    ours = torch.stack([result.false_positive_rate, result.true_positive_rate], 1)
    for point in torch.stack([false, true], 1)[::16].double():
        assert (ours - point).abs().sum(1).min() < 1e-6
    assert (ours.diff(dim=0) >= 0).all()
    assert ours[0].tolist() == [0, 0]
    assert ours[-1].tolist() == [1, 1]


def test_accuracy_is_torchmetrics():
    images = [pixels(seed) for seed in range(3)]
    probability, truth = (torch.cat([x.flatten() for x in part]) for part in zip(*images, strict=True))
    assert float(scores(*images).accuracy) == pytest.approx(float(binary_accuracy(probability, truth.long())), abs=1e-6)


def test_the_state_is_a_sum():
    one, two, whole = BoundaryMetric(), BoundaryMetric(), scores(pixels(0), pixels(1))
    one.update(*pixels(0))
    two.update(*pixels(1))
    one.merge_state(two)
    assert all(torch.equal(a, b) for a, b in zip(whole, one.compute(), strict=True))
    assert sum(getattr(one, name).numel() for name in one._defaults) * 8 < 2**20 + 16


def test_one_class_alone_has_no_curve_but_an_accuracy():
    result = scores((torch.tensor([0.2, 0.7]), torch.tensor([0, 0])))
    assert torch.isnan(result.auc)
    assert float(result.accuracy) == 0.5


@pytest.mark.parametrize(
    ("probability", "truth", "text"),
    [
        (torch.zeros(3), torch.zeros(4), r"of one shape, received \[3\] and \[4\]"),
        (torch.tensor([0.5, 1.5]), torch.zeros(2), "probabilities from 0 to 1, received 0.5 to 1.5; apply sigmoid"),
        (torch.tensor([0.5, float("nan")]), torch.zeros(2), "probabilities from 0 to 1"),
        (torch.tensor([0.5, 0.5]), torch.tensor([0, 255]), "truth of 0 and 1, received values up to 255"),
    ],
)
def test_bad_requests(probability, truth, text):
    with pytest.raises(RequestError, match=text):
        BoundaryMetric().update(probability, truth)


def test_too_few_intervals():
    with pytest.raises(RequestError, match="at least 2 intervals of the probability, received 1"):
        BoundaryMetric(1)
