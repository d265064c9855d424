"""FROC by the rules of LUNA16: every rule on a case computed by hand, and the curve against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotypic.errors import RequestError
from isotypic.metrics.froc import MISSED, RATES, Between, Curve, Findings, Judged, Marks, bootstrap, judge


def marks(*rows):
    """Rows of scan, x and probability; y and z are 0."""
    scans, x, probability = zip(*rows, strict=True) if rows else ((), (), ())
    return Marks(np.array(scans, str), on_a_line(x), np.array(probability, float))


def findings(*rows):
    """Rows of scan, x and diameter."""
    scans, x, diameter = zip(*rows, strict=True) if rows else ((), (), ())
    return Findings(np.array(scans, str), on_a_line(x), np.array(diameter, float))


def on_a_line(x):
    return np.array([[value, 0.0, 0.0] for value in x]).reshape(-1, 3)


def judged(*parts, **how):
    found = judge(*parts, **how)
    return found.nodule_probability.tolist(), found.false_probability.tolist()


class TestRules:
    """A nodule of 6 mm at 0 in scan a."""

    nodule = findings(("a", 0, 6))

    def test_a_hit_lies_less_than_the_radius_away(self):
        assert judged(marks(("a", 2.99, 0.9)), self.nodule) == ([0.9], [])
        assert judged(marks(("a", 3.0, 0.9)), self.nodule) == ([MISSED], [0.9])

    def test_distance_is_of_all_three_axes(self):
        away = Marks(np.array(["a", "a"]), np.array([[2.0, 2.0, 1.0], [1.7, 1.7, 1.7]]), np.array([0.9, 0.8]))
        assert judged(away, self.nodule) == ([0.8], [0.9]), "3 mm and 2.94 mm"

    def test_a_diameter_below_zero_is_ten_millimetres(self):
        unmeasured = findings(("a", 0, -1))
        assert judged(marks(("a", 4.9, 0.9)), unmeasured) == ([0.9], [])
        assert judged(marks(("a", 5.1, 0.9)), unmeasured) == ([MISSED], [0.9])

    def test_the_highest_probability_is_kept_and_further_hits_cost_nothing(self):
        assert judged(marks(("a", 1, 0.2), ("a", 0, 0.7), ("a", 2, 0.4)), self.nodule) == ([0.7], [])

    def test_a_mark_in_another_scan_hits_nothing(self):
        assert judged(marks(("b", 0, 0.9)), self.nodule) == ([MISSED], [0.9])

    def test_a_hit_on_what_is_excluded_is_dropped(self):
        excluded = findings(("a", 20, 6))
        assert judged(marks(("a", 21, 0.9), ("a", 30, 0.5)), self.nodule, excluded) == ([MISSED], [0.5])
        assert judged(marks(("a", 21, 0.9), ("a", 30, 0.5)), self.nodule) == ([MISSED], [0.9, 0.5]), "the control"

    def test_a_nodule_beside_what_is_excluded_is_hit(self):
        assert judged(marks(("a", 1, 0.9)), self.nodule, findings(("a", 2, 6))) == ([0.9], [])

    def test_a_mark_may_hit_two_nodules(self):
        assert judged(marks(("a", 2, 0.9)), findings(("a", 0, 6), ("a", 4, 6))) == ([0.9, 0.9], [])

    def test_the_hundred_most_probable_marks_of_a_scan_count(self):
        many = [("a", 50 + i, 0.5 + i / 1000) for i in range(100)]
        assert judged(marks(("a", 0, 0.4), *many), self.nodule)[0] == [MISSED]
        assert judged(marks(("a", 0, 0.4), *many[1:]), self.nodule)[0] == [0.4]
        assert judged(marks(("a", 0, 0.4), *many), self.nodule, most=101)[0] == [0.4]
        apart = [(f"b{i}", *rest) for i, (_, *rest) in enumerate(many)]
        assert judged(marks(("a", 0, 0.4), *apart), self.nodule)[0] == [0.4], "of each scan"

    def test_missed_nodules_and_empty_scans_stay_in_the_denominators(self):
        found = judge(
            marks(("a", 0, 0.9), ("a", 50, 0.8)), findings(("a", 0, 6), ("c", 0, 6)), scans=("a", "b", "c", "d")
        )
        curve = found.curve()
        assert curve.sensitivity.tolist() == [0, 0.5, 0.5]
        assert curve.rate.tolist() == [0, 0, 0.25]
        assert found.found == 1


class TestByHand:
    """Two scans, three nodules: .9 found, .6 found, one missed; false positives .8, .7, .5, .4."""

    found = judge(
        marks(("a", 0, 0.9), ("b", 0, 0.6), ("a", 50, 0.8), ("b", 50, 0.7), ("a", 60, 0.5), ("b", 60, 0.4)),
        findings(("a", 0, 6), ("b", 0, 6), ("b", 20, 6)),
    )

    def test_the_curve(self):
        curve = self.found.curve()
        assert curve.threshold.tolist() == [np.inf, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
        assert curve.rate.tolist() == [0, 0, 0.5, 1, 1, 1.5, 2]
        assert curve.sensitivity * 3 == pytest.approx([0, 1, 1, 1, 2, 2, 2])

    def test_the_cpm(self):
        """At 1/8, 1/4, 1/2: 1/3; at 1 and beyond: 2/3."""
        curve = self.found.curve()
        for between in Between:
            assert curve.at(RATES, between) == pytest.approx([1 / 3] * 3 + [2 / 3] * 4)
            assert curve.cpm(between) == pytest.approx((3 / 3 + 8 / 3) / 7)

    def test_between_two_points(self):
        """From 1/3 at a rate of 1/2 to 2/3 at 1."""
        curve = self.found.curve()
        assert curve.at([0.6, 0.9], Between.LINEAR) == pytest.approx([1 / 3 + 0.2 / 3, 1 / 3 + 0.8 / 3])
        assert curve.at([0.6, 0.9], Between.NEAREST) == pytest.approx([1 / 3, 2 / 3])

    def test_probabilities_that_are_equal_are_one_point(self):
        tied = judge(marks(("a", 0, 0.5), ("a", 50, 0.5)), findings(("a", 0, 6)))
        curve = tied.curve()
        assert (curve.rate.tolist(), curve.sensitivity.tolist()) == ([0, 1], [0, 1])

    def test_a_scan_that_counts_twice(self):
        """Scan a twice: 1 + 1 of 2 + 2 nodules above .8, and two false positives in three scans."""
        curve = self.found.curve([2, 1])
        assert curve.sensitivity[1] == pytest.approx(2 / 4)
        assert curve.rate[2] == pytest.approx(2 / 3)


points = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9])), max_size=25
)
bodies = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.sampled_from([3, 8, -1])), max_size=6)


@settings(max_examples=60, deadline=None)
@given(points, bodies, bodies)
def test_the_curve_is_its_definition(rows, nodules, excluded):
    found = judge(marks(*rows), findings(*nodules), findings(*excluded), scans="abc")

    def near(row, body):
        return row[0] == body[0] and abs(row[1] - body[1]) < (10 if body[2] < 0 else body[2]) / 2

    best = [max((row[2] for row in rows if near(row, body)), default=MISSED) for body in nodules]
    false = [row[2] for row in rows if not any(near(row, body) for body in [*nodules, *excluded])]
    curve = found.curve()
    for threshold, rate, sensitivity in zip(curve.threshold, curve.rate, curve.sensitivity, strict=True):
        assert rate == pytest.approx(sum(p >= threshold for p in false) / 3)
        if nodules:
            assert sensitivity == pytest.approx(sum(p >= threshold for p in best) / len(best))
        else:
            assert np.isnan(sensitivity)


def random_case(scans=20, seed=0):
    generator = np.random.default_rng(seed)
    names = [f"s{i}" for i in range(scans)]
    nodules = [(name, 10 * k, 6) for name in names for k in range(generator.integers(0, 4))]
    hits = [(name, x, float(p)) for (name, x, _), p in zip(nodules, generator.beta(4, 2, len(nodules)), strict=True)]
    misses = [(generator.choice(names), 100 + i, float(p)) for i, p in enumerate(generator.beta(2, 4, 60))]
    kept = [row for row in hits if generator.random() < 0.8]
    return names, marks(*kept, *misses), findings(*nodules)


def test_parts_may_be_judged_apart():
    names, found, nodules = random_case()
    whole = judge(found, nodules, scans=names)
    halves = [judge(part_of(found, half), part_of(nodules, half), scans=half) for half in (names[:7], names[7:])]
    added = (halves[0] + halves[1]).curve()
    assert np.array_equal(added.rate, whole.curve().rate)
    assert np.array_equal(added.sensitivity, whole.curve().sensitivity)
    with pytest.raises(RequestError, match="expected other scans to add, received 's0' twice"):
        halves[0] + halves[0]


def part_of(points, names):
    rows = np.isin(points.scan, names)
    return type(points)(*(value[rows] for value in vars(points).values()))


class TestBootstrap:
    names, found, nodules = random_case(40)

    def test_it_is_that_of_scans_drawn_again(self):
        """The figures of scans that are written down as often as they are drawn."""
        whole = judge(self.found, self.nodules, scans=self.names)
        intervals = bootstrap(whole, seed=3, resamples=25)
        generator, cpms = np.random.default_rng(3), []
        for _ in range(25):
            drawn = [self.names[i] for i in generator.integers(0, 40, 40)]
            parts = [judge(part_of(self.found, [n]), part_of(self.nodules, [n]), scans=[n]) for n in drawn]
            copies = [Judged((f"{i}",), *list(vars(part).values())[1:5]) for i, part in enumerate(parts)]
            cpms.append(sum(copies[1:], copies[0]).curve().cpm())
        assert intervals.cpm == pytest.approx(tuple(np.percentile(cpms, (2.5, 97.5))))
        assert intervals.used == 25

    def test_it_holds_the_figure_and_comes_again(self):
        whole = judge(self.found, self.nodules, scans=self.names)
        intervals = bootstrap(whole, seed=0)
        low, high = intervals.cpm
        assert low < whole.curve().cpm() < high
        assert 0.02 < high - low < 0.4
        assert np.array_equal(bootstrap(whole, seed=0).sensitivity, intervals.sensitivity)
        assert not np.array_equal(bootstrap(whole, seed=1).sensitivity, intervals.sensitivity)

    def test_draws_without_a_nodule_are_left_out(self):
        one = judge(marks(("a", 0, 0.9)), findings(("a", 0, 6)), scans=("a", "b", "c"))
        intervals = bootstrap(one, seed=0, resamples=200)
        assert 100 < intervals.used < 180, "(2/3)^3 of them have none"
        assert intervals.cpm == (1.0, 1.0)

    def test_without_any_nodule_there_is_none(self):
        with pytest.raises(RequestError, match="expected a nodule in some scan"):
            bootstrap(judge(marks(("a", 0, 0.9)), Findings.none()), seed=0)


@given(points, bodies, bodies)
def test_what_the_nodules_add_is_the_sensitivity(rows, nodules, excluded):
    if not nodules:
        return
    found = judge(marks(*rows), findings(*nodules), findings(*excluded), scans="abc")
    assert found.detected().mean() == pytest.approx(found.curve().cpm(), abs=1e-12)
    for rate in (0.0, 0.3, 1.0, 50.0):
        assert found.detected([rate]).mean() == pytest.approx(found.curve().at([rate])[0], abs=1e-12)


def test_what_a_nodule_adds_by_hand():
    """Found from 0, 1 and 2 false positives in two scans, and never: rates of 0, 1/2 and 1."""
    found = judge(
        marks(("a", 0, 0.9), ("a", 500, 0.8), ("a", 10, 0.7), ("b", 500, 0.6), ("b", 0, 0.5)),
        findings(("a", 0, 6), ("a", 10, 6), ("b", 0, 6), ("b", 50, 6)),
        scans=("a", "b"),
    )
    rates = [1.0, 1.0, 1.0, 1.0]
    assert found.detected(rates).tolist() == [1.0, 1.0, 1.0, 0.0]
    assert found.detected([0.75]).tolist() == [1.0, 1.0, 0.5, 0.0], "half of the way from 1/2 to 1"
    assert found.detected([0.25]).tolist() == [1.0, 0.5, 0.0, 0.0]


def test_no_mark_at_all():
    curve = judge(marks(), findings(("a", 0, 6))).curve()
    assert (curve.rate.tolist(), curve.sensitivity.tolist(), curve.cpm()) == ([0], [0], 0.0)
    assert isinstance(curve, Curve)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: marks(("a", np.nan, 0.5)), "expected marks with finite numbers"),
        (lambda: findings(("a", 0, np.inf)), "expected findings with finite numbers"),
        (lambda: Marks(np.array(["a"]), np.zeros((1, 2)), np.ones(1)), r"positions \[1, 2\]"),
        (lambda: judge(marks(("x", 0, 0.5)), Findings.none(), scans=["a"]), r"in the 1 scans, received 'x' \(1 such\)"),
        (lambda: judge(marks(), Findings.none()), "expected the names of different scans, received 0"),
        (lambda: judge(marks(), Findings.none(), scans=["a", "a"]), "received 2, 1 different"),
        (lambda: judge(marks(("a", 0, 0.5)), Findings.none(), most=0), "at least one mark a scan, received 0"),
    ],
)
def test_what_cannot_be_judged_is_refused(attempt, message):
    with pytest.raises(RequestError, match=message):
        attempt()
