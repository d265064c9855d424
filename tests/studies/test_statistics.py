import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from isotypic.errors import RequestError
from isotypic.studies.statistics import (
    Worth,
    label_worth,
    label_worth_interval,
    mean,
    mean_interval,
    monotone,
    overall_difference,
    paired_bootstrap,
    resampled_means,
)

STUDIES = 300


def simulated(generator, spread, seeds=8, images=150, truth=0.02):
    """Differences truth + seed effect + image effect + rest, with the given standard deviations."""
    of_seed, of_image, rest = spread
    return (
        truth
        + generator.normal(0, of_seed, (seeds, 1))
        + generator.normal(0, of_image, (1, images))
        + generator.normal(0, rest, (seeds, images))
    )


def covered(interval, truth=0.02):
    return interval.low <= truth <= interval.high


def coverage(spread, interval_of):
    generator = np.random.default_rng(0)
    return np.mean([covered(interval_of(simulated(generator, spread))) for _ in range(STUDIES)])


@pytest.mark.parametrize("spread", [(0.005, 0.25, 0.1), (0.02, 0.2, 0.1), (0.05, 0.2, 0.1)])
def test_the_interval_covers_the_truth(spread):
    assert 0.9 <= coverage(spread, lambda d: mean_interval(d, resamples=500)) <= 0.995


def test_resampling_images_alone_does_not_cover_the_truth():
    images_alone = coverage((0.05, 0.2, 0.1), lambda d: mean_interval(d.mean(0, keepdims=True), resamples=500))
    assert images_alone < 0.8


def test_the_standard_error_of_one_factor_is_the_textbook_one():
    values = np.random.default_rng(1).normal(size=40)
    images = resampled_means(values[None, :], resamples=20000).std()
    seeds = resampled_means(values[:, None], resamples=20000).std()
    textbook = values.std(ddof=1) / np.sqrt(len(values))
    assert images == pytest.approx(textbook, rel=0.03)
    assert seeds == pytest.approx(textbook, rel=0.03)


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(2)
    hard = generator.normal(0, 0.3, (1, 300))
    a, b = (hard + generator.normal(shift, 0.05, (4, 300)) for shift in (0.82, 0.80))
    paired = paired_bootstrap(a, b)
    unpaired = paired_bootstrap(a, b[:, generator.permutation(300)])
    assert not paired.contains_zero
    assert unpaired.contains_zero
    assert paired.estimate == pytest.approx(unpaired.estimate)


def test_equal_arms_differ_by_nothing_and_unequal_ones_do():
    generator = np.random.default_rng(3)
    a, b, better = (generator.random((4, 400)) < rate for rate in (0.8, 0.8, 0.95))
    assert paired_bootstrap(a, b).contains_zero
    assert paired_bootstrap(a, a) == paired_bootstrap(b, b)
    assert not paired_bootstrap(better, a).contains_zero


def test_exchanging_the_arms_changes_the_sign():
    generator = np.random.default_rng(4)
    a, b = generator.random((2, 4, 50))
    forward, backward = paired_bootstrap(a, b), paired_bootstrap(b, a)
    assert forward.estimate == pytest.approx(-backward.estimate)
    assert forward.low == pytest.approx(-backward.high)


def test_overall_is_the_mean_over_the_sizes():
    generator = np.random.default_rng(5)
    a, b = generator.random((2, 3, 4, 50))
    found = overall_difference(list(a), list(b))
    assert found.estimate == pytest.approx((a - b).mean())
    constant = overall_difference([a[0] * 0 + 0.9, a[0] * 0 + 0.7], [a[0] * 0 + 0.5] * 2)
    np.testing.assert_allclose([constant.estimate, constant.low, constant.high], 0.3)


def test_a_single_seed_gives_an_interval_over_images():
    interval = mean_interval(np.random.default_rng(6).random((1, 200)) < 0.8)
    assert interval.low < interval.estimate < interval.high


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7, 3.0])
def test_label_worth_inverts_a_logarithmic_law(factor):
    sizes = [100, 200, 400, 800, 1600]
    accuracy = 0.2 + 0.05 * np.log2(sizes)
    built_in = 0.2 + 0.05 * np.log2(400 * factor)
    assert label_worth(sizes, accuracy, built_in, 400).factor == pytest.approx(factor)
    assert label_worth(sizes, accuracy, built_in, 200).factor != pytest.approx(factor)


def test_label_worth_says_where_the_sizes_end():
    sizes, accuracy = [100, 300, 1000], [0.7, 0.8, 0.9]
    assert label_worth(sizes, accuracy, 0.91, 100) == Worth(10.0, "at least")
    assert label_worth(sizes, accuracy, 0.69, 200) == Worth(0.5, "at most")
    assert label_worth(sizes, accuracy, 0.7, 100) == Worth(1.0)
    assert label_worth(sizes, accuracy, 0.9, 1000) == Worth(1.0)


def test_label_worth_makes_the_curve_monotone_first():
    dented = label_worth([100, 200, 400], [0.6, 0.5, 0.8], 0.675, 100)
    smooth = label_worth([100, 200, 400], [0.55, 0.55, 0.8], 0.675, 100)
    assert dented == smooth
    assert dented.factor == pytest.approx(2 * 2**0.5)


def test_the_monotone_curve_is_the_isotonic_regression():
    curves = np.random.default_rng(8).random((50, 6))
    expected = [isotonic_regression(curve) for curve in curves]
    np.testing.assert_allclose(monotone(curves), expected, atol=1e-12)
    assert np.abs(np.maximum.accumulate(curves, axis=1) - expected).max() > 0.1


def test_label_worth_interval_holds_the_truth_and_not_a_wrong_one():
    generator = np.random.default_rng(7)
    sizes, hits = [100, 200, 400, 800], []
    rates = 0.3 + 0.05 * np.log2(sizes)
    for _ in range(40):
        augmented = [generator.random((4, 400)) < rate for rate in rates]
        built_in = generator.random((4, 400)) < 0.3 + 0.05 * np.log2(400)
        worth = label_worth_interval(sizes, augmented, built_in, 200, resamples=200)
        hits.append([worth.low.factor <= truth <= worth.high.factor for truth in (2.0, 0.4)])
    right, wrong = np.mean(hits, axis=0)
    assert right >= 0.85
    assert wrong <= 0.3


def test_a_censored_end_stays_censored():
    ones, halves = np.ones((2, 10)), np.full((2, 10), 0.5)
    worth = label_worth_interval([100, 200], [halves, halves], ones, 100, resamples=50)
    assert worth.estimate == worth.low == worth.high == Worth(2.0, "at least")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([1.0, 0.0]), r"must be \[seeds, images\] or .* and not empty, got the shape \(2,\)"),
        (lambda: mean_interval(np.zeros((0, 3))), "not empty"),
        (lambda: paired_bootstrap(np.ones((2, 3)), np.ones((2, 4))), r"got \(2, 3\) and \(2, 4\)"),
        (lambda: overall_difference([], []), "the same sizes, got 0 and 0"),
        (lambda: overall_difference([np.ones((2, 3)), np.ones((1, 3))], [np.ones((2, 3))] * 2), "at every size"),
        (lambda: label_worth([200, 100], [0.1, 0.2], 0.1, 100), "each ascending size"),
        (lambda: label_worth([100, 200], [0.1], 0.1, 100), "each ascending size"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(RequestError, match=message):
        call()


def counted(generator, seeds, images, rate):
    """Parts and wholes [seeds, images, classes, 2] of two classes, of which an image has one."""
    whole = generator.integers(5, 30, (seeds, images, 2)) * (np.arange(2) == generator.integers(0, 2, (images, 1)))
    return np.stack([generator.binomial(whole, rate), whole], -1).astype(float)


def test_a_mean_ratio_is_made_of_the_sums():
    scores = np.array([[[[1, 2], [0, 0]], [[3, 3], [1, 4]]]], dtype=float)
    assert mean(scores) == pytest.approx((4 / 5 + 1 / 4) / 2)
    assert mean_interval(scores).estimate == mean(scores)


def test_one_class_of_wholes_of_one_is_the_plain_mean():
    plain = np.random.default_rng(7).random((3, 40))
    ratios = np.stack([plain, np.ones_like(plain)], -1)[:, :, None]
    assert resampled_means(ratios) == pytest.approx(resampled_means(plain))
    other = np.random.default_rng(8).random((3, 40))
    pair = np.stack([other, np.ones_like(other)], -1)[:, :, None]
    found, expected = paired_bootstrap(ratios, pair), paired_bootstrap(plain, other)
    assert [found.estimate, found.low, found.high] == pytest.approx([expected.estimate, expected.low, expected.high])


def test_the_interval_of_a_mean_ratio_covers_the_truth():
    generator = np.random.default_rng(5)
    hits = [covered(mean_interval(counted(generator, 4, 100, 0.7), resamples=400), 0.7) for _ in range(150)]
    assert np.mean(hits) > 0.9


def test_mean_ratios_are_paired_and_compared_over_the_sizes():
    generator = np.random.default_rng(6)
    a, b = (counted(generator, 3, 80, rate) for rate in (0.8, 0.6))
    assert not paired_bootstrap(a, b).contains_zero
    assert paired_bootstrap(a, a).low == paired_bootstrap(a, a).high == 0
    overall = overall_difference([a, a], [b, b])
    assert overall.estimate == pytest.approx(mean(a) - mean(b))
    worth = label_worth_interval([100, 200], [b, a], a, at_size=100)
    assert worth.estimate.factor == pytest.approx(2)
