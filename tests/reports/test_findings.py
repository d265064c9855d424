import numpy as np
import pytest

from isotypic.errors import RequestError
from isotypic.reports.build import build_report
from isotypic.reports.findings import find
from isotypic.reports.tables import comparison_tables, cost_table, key_figures, measure_tables
from isotypic.reports.verdict import judge
from isotypic.studies.folder import StudyRecords


@pytest.fixture(scope="module")
def findings(study_folder):
    return find(StudyRecords.load(study_folder))


def judged(fake_study, tmp_path, skip=(), failed=(), **grid):
    findings = find(StudyRecords.load(fake_study(tmp_path, **grid).write(skip, failed)))
    return findings, judge(findings)


def spaces(text):
    return text.replace("\u00a0", " ")


def test_the_verdict_names_the_winner_and_the_interval(findings):
    verdict, overall = judge(findings), findings.primary.overall
    assert verdict.headline == "Building the symmetry in was better."
    assert "the p4 G-CNN is more accurate than the CNN + rot90 by" in spaces(verdict.sentence)
    assert f"95 % interval {100 * overall.low:.1f} to {100 * overall.high:.1f}" in verdict.sentence
    assert "needs about" in verdict.worth
    assert verdict.caveats == ()


def test_augmentation_may_win(fake_study, tmp_path):
    _, verdict = judged(fake_study, tmp_path, advantage=-0.6)
    assert verdict.headline == "Augmenting the data was better."
    assert "the CNN + rot90 is more accurate than the p4 G-CNN by" in spaces(verdict.sentence)


@pytest.mark.parametrize(("advantage", "winner"), [(0.75, "p4 G-CNN"), (-2.5, "CNN")])
def test_a_question_without_augmentation_names_its_networks(fake_study, tmp_path, advantage, winner):
    _, verdict = judged(fake_study, tmp_path, advantage=advantage, augmentations=["none"])
    assert spaces(verdict.headline) == f"The {winner} was better."
    page = spaces(build_report(tmp_path).read_text())
    assert "uilding the symmetry in" not in page
    assert "ugment" not in verdict.headline + verdict.sentence + verdict.worth


def test_no_difference_is_said_as_such(fake_study, tmp_path):
    findings, verdict = judged(fake_study, tmp_path, advantage=-0.2)
    assert findings.primary.overall.contains_zero
    assert verdict.headline == "No difference was found."
    assert "the interval contains zero" in verdict.sentence


def test_gaps_are_left_out_and_said(fake_study, tmp_path):
    findings, verdict = judged(fake_study, tmp_path, skip=(5, 20), failed=(13,))
    assert "of 48 cells: 1 failed, 2 not run yet" in verdict.caveats[0]
    assert "2 of 4 seeds" in verdict.caveats[1]
    assert findings.primary.seeds == (2, 3)
    assert "(3 of 4 seeds)" in str(measure_tables(findings))


def test_without_common_cells_there_is_no_verdict(fake_study, tmp_path):
    findings, verdict = judged(fake_study, tmp_path, sizes=[100], seeds=[0], skip=(1,))
    assert verdict.headline == "There is no verdict yet."
    assert "have no finished cell in common" in verdict.sentence
    assert key_figures(findings) == []


def test_one_size_and_one_seed_are_said(fake_study, tmp_path):
    findings, verdict = judged(fake_study, tmp_path, sizes=[300], seeds=[0])
    assert verdict.worth == ""
    assert "with 300 training images" in verdict.sentence
    assert "single seed" in verdict.caveats[0]
    assert comparison_tables(findings)[0].columns == ("n = 300",)


def test_a_study_without_a_finished_cell_is_refused(fake_study, tmp_path):
    study = fake_study(tmp_path, sizes=[100], seeds=[0])
    with pytest.raises(RequestError, match="has no finished cell yet"):
        find(StudyRecords.load(study.write(skip=range(4))))


def test_means_are_those_of_the_records(findings):
    study = findings.study
    for (test, arm, size), mean in findings.means.items():
        stored = [record.outcome.tests[test].figures["accuracy"] for record in study.done(arm, size)]
        assert mean.interval.estimate == pytest.approx(np.mean(stored))


def test_the_best_of_every_column_is_marked(findings):
    for table in measure_tables(findings):
        for column in zip(*(row.entries for row in table.rows), strict=True):
            best = max(float(entry.value) for entry in column)
            assert all(entry.best == (float(entry.value) == best) for entry in column)


def test_the_declared_comparison_comes_first_and_once(findings):
    rows = comparison_tables(findings)[0].rows
    assert [row.declared for row in rows] == [True] + [False] * 5
    assert rows[0].name == "p4 G-CNN minus CNN + rot90"


def test_a_grid_with_gaps_is_complete_and_in_its_own_order(fake_study, six_arms, tmp_path):
    small = {**six_arms, "sizes": [100, 300], "seeds": [0, 1, 2, 3]}
    listed, verdict = judged(fake_study, tmp_path / "listed", **small)
    names = [arm.label for arm in six_arms["arms"]]
    assert names == ["CNN", "CNN + rot90", "CNN voting", "C2 G-CNN", "p4 G-CNN", "p4m G-CNN"]
    assert [arm.label for arm in listed.arms] == names
    tables = [*measure_tables(listed), cost_table(listed, 300)]
    assert all([row.name for row in table.rows] == names for table in tables)
    assert [len(table.rows) for table in comparison_tables(listed)] == [15, 15]
    assert verdict.caveats == ()
    crossed, _ = judged(fake_study, tmp_path / "crossed", **{**small, "arms": []})
    assert len(crossed.arms) == 10
    for (test, arm, size), mean in listed.means.items():
        assert crossed.means[test, arm, size] == mean
    assert crossed.primary == listed.primary


def test_a_gap_in_a_grid_with_gaps_is_said(fake_study, six_arms, tmp_path):
    findings, verdict = judged(fake_study, tmp_path, skip=(3,), **six_arms, sizes=[100], seeds=[0])
    assert verdict.caveats[0] == "The study is incomplete (of 6 cells: 1 not run yet); the gaps are left out."
    assert [cell.arm.label for cell in findings.study.missing()] == ["C2 G-CNN"]


def test_the_built_in_arm_never_changes_its_mind(findings):
    changed = {row.name: row.entries[-1].value for row in cost_table(findings, findings.largest).rows}
    assert changed["p4 G-CNN"] == "0"
    assert float(changed["CNN"]) > 0
