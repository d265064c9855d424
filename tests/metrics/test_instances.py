import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.functional.detection import panoptic_quality

from isotypic.errors import RequestError
from isotypic.metrics.instances import AP_PERCENT, InstanceMetric, agreeing_pairs, hit_pairs, jaccard_sums, renamed
from isotypic.metrics.overlap import overlaps
from isotypic.metrics.partition import differing_pixels

IMAGE = arrays(np.int32, (8, 9), elements=st.sampled_from([0, 0, 1, 2, 5]))
EMPTY = np.zeros((4, 6), dtype=np.int32)
TWO = np.array([[0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0]], dtype=np.int32)


def score(*pairs):
    metric = InstanceMetric()
    for truth, prediction in pairs:
        metric.update(truth, prediction)
    return metric.compute()


def squares(seed, moved=0):
    """Rectangles on a grid, each grown and shifted by up to ``moved`` pixels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((64, 80), dtype=np.int32)
    for number, (y, x) in enumerate(np.ndindex(4, 5), 1):
        top, left, height, width = np.array([16 * y + 3, 16 * x + 3, 10, 10]) + rng.integers(-moved, moved + 1, 4)
        labels[max(top, 0) : top + height, max(left, 0) : left + width] = number
    return labels


def test_a_perfect_result_scores_one_whatever_its_numbers():
    result = score((TWO, np.where(TWO > 0, 12 - TWO, 0)))
    for figure in (result.dice, result.dice_greedy, result.pq, result.aji, *result.ap, *result.ap_by_image):
        assert float(figure) == 1.0
    assert (int(result.true), int(result.found), int(result.images)) == (2, 2, 1)


def test_dice_by_hand():
    prediction = np.where(TWO == 2, 0, TWO)
    prediction[3, 1:4] = 1
    # Instance 1: 9 of 9 and 12; instance 2: none; background: 6 shared of 9 and 12.
    wanted = (2 * 9 / 21 + 0 + 2 * 6 / 21) / 3
    assert float(score((TWO, prediction)).dice) == pytest.approx(wanted, abs=1e-15)


def test_a_superfluous_prediction_costs_dice_by_the_background_alone():
    prediction = TWO.copy()
    prediction[3, 0] = 7
    result = score((TWO, prediction))
    assert float(result.dice) == pytest.approx((2 + 2 * 8 / 17) / 3, abs=1e-15)
    assert float(result.ap[0]) == pytest.approx(2 / 3)


def test_greedy_dice_is_never_better_than_hungarian():
    truth, prediction = np.array([[1, 1, 1, 2, 2]]), np.array([[4, 3, 3, 3, 3]])
    result = score((truth, prediction))
    assert float(result.dice_greedy) == pytest.approx((2 * 2 / 7 + 0) / 2)
    assert float(result.dice) == pytest.approx((2 * 1 / 4 + 2 * 2 / 6) / 2)


@given(IMAGE, IMAGE)
@settings(max_examples=50)
def test_hungarian_is_at_least_greedy(truth, prediction):
    result = score((truth, prediction))
    assert result.dice >= result.dice_greedy - 1e-12


def test_average_precision_by_hand_and_strictly_above_the_threshold():
    truth, prediction = np.zeros((1, 40), int), np.zeros((1, 40), int)
    truth[0, :20], prediction[0, :17] = 1, 1  # 17 / 20 = .85
    truth[0, 20:30], prediction[0, 20:25] = 2, 2  # 1 / 2
    prediction[0, 38] = 3
    result = score((truth, prediction))
    hits = [int(percent * 20 < 17 * 100) for percent in AP_PERCENT]
    assert hits == [1] * 7 + [0, 0]  # neither .85 at .85 nor .5 at .5
    assert result.ap.tolist() == [hit / (2 + 3 - hit) for hit in hits]


def test_pooled_and_mean_over_images_differ():
    many, none = (squares(0), squares(0)), (squares(1), np.where(squares(1) > 3, 0, squares(1)))
    result = score(many, none)
    assert float(result.ap[0]) == pytest.approx(23 / 40)
    assert float(result.ap_by_image[0]) == pytest.approx((1 + 3 / 20) / 2)


@pytest.mark.parametrize("moved", [0, 2, 4])
def test_panoptic_quality_is_torchmetrics(moved):
    pairs = [(squares(seed), squares(seed + 50, moved)) for seed in range(3)]
    categories = [
        torch.stack([torch.as_tensor((x > 0) * 1), torch.as_tensor(x).long()], -1) for pair in pairs for x in pair
    ]
    truth, prediction = torch.stack(categories[::2]), torch.stack(categories[1::2])
    wanted = panoptic_quality(prediction, truth, things={1}, stuffs={0}, return_per_class=True).flatten()[0]
    result = score(*pairs)
    assert float(result.pq) == pytest.approx(float(wanted), abs=1e-6)  # theirs in float32
    assert moved < 4 or float(result.pq) < 0.9


def test_aggregated_jaccard_by_hand():
    truth = np.array([[1, 1, 1, 1, 2, 2, 3, 0, 0]])
    prediction = np.array([[1, 1, 1, 4, 4, 4, 0, 5, 5]])
    # 1 with 1: 3 / 4; 2 with 4: 2 / 3; 3 missed: 1; prediction 5 unused: 2.
    assert jaccard_sums(overlaps(truth, prediction)) == (5, 4 + 3 + 1 + 2)


def test_one_prediction_may_be_the_best_of_two():
    truth, prediction = np.array([[1, 1, 2, 2]]), np.array([[3, 3, 3, 3]])
    assert jaccard_sums(overlaps(truth, prediction)) == (4, 8)


@pytest.mark.parametrize(
    ("truth", "prediction", "dice", "others"),
    [(EMPTY, EMPTY, 1.0, 1.0), (EMPTY, TWO, 2 * 9 / 33, 0.0), (TWO, EMPTY, (2 * 9 / 33) / 3, 0.0)],
)
def test_empty_images(truth, prediction, dice, others):
    result = score((truth, prediction))
    assert float(result.dice) == pytest.approx(dice)
    for figure in (*result.ap, *result.ap_by_image, result.pq, result.pq_by_image, result.aji, result.aji_by_image):
        assert float(figure) == others


def test_a_background_that_neither_has_is_left_out():
    assert float(score((np.ones((2, 2), int), np.full((2, 2), 3))).dice) == 1.0


@given(IMAGE, IMAGE)
@settings(max_examples=50)
def test_renamed_instances_agree_in_as_many_pixels_as_any_names_can(reference, labels):
    names = renamed(reference, labels, agreeing_pairs)
    assert (names != reference).sum() == differing_pixels(reference, labels)
    assert differing_pixels(names, labels) == 0
    assert ((names > 0) == (labels > 0)).all()


def test_other_names_differ_in_more_pixels():
    labels = np.where(TWO > 0, 12 - TWO, 0)
    assert (labels != TWO).sum() == 15
    assert (renamed(TWO, labels, agreeing_pairs) == TWO).all()


@given(IMAGE, IMAGE)
@settings(max_examples=50)
def test_what_was_hit_has_the_name_of_a_true_instance_and_nothing_else_has(truth, prediction):
    names = renamed(truth, prediction, hit_pairs)
    found = set(np.unique(names)) - {0}
    hit = {k for k in found if 2 * ((names == k) & (truth == k)).sum() > ((names == k) | (truth == k)).sum()}
    assert found & set(np.unique(truth)) == hit
    assert len(hit) == len(hit_pairs(overlaps(truth, prediction)))


def test_states_of_two_processes_add_up_to_one():
    pairs = [(squares(seed), squares(seed + 9, 3)) for seed in range(4)]
    whole, parts = score(*pairs), [InstanceMetric(), InstanceMetric()]
    for index, pair in enumerate(pairs):
        parts[index % 2].update(*pair)
    parts[0].merge_state(parts[1])  # as the processes of a training run do, by every state's own reduction
    for name, a, b in zip(whole._fields, whole, parts[0].compute(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-14, atol=0), name
    assert not torch.allclose(whole.ap, parts[1].compute().ap)


def test_tensors_arrays_and_integer_types_are_the_same():
    prediction = squares(3, 3)
    one = score((TWO, TWO), (squares(0), prediction))
    other = score((torch.as_tensor(TWO), TWO.astype(np.uint16)), (torch.as_tensor(squares(0)).long(), prediction))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_it_resets_and_pickles():
    metric = InstanceMetric()
    metric.update(TWO, EMPTY)
    assert float(pickle.loads(pickle.dumps(metric)).compute().pq) == 0.0
    metric.reset()
    metric.update(TWO, TWO)
    assert float(metric.compute().pq) == 1.0


def test_bad_images_say_so():
    with pytest.raises(RequestError, match="of one size"):
        InstanceMetric().update(TWO, TWO[:2])
