"""The verdict: what the declared comparison found, in sentences that claim no more than the intervals do."""

from __future__ import annotations

from dataclasses import dataclass

from isotypic.reports.findings import Findings
from isotypic.reports.notation import capital, count, ends, enumeration, factor, percent, plain, points
from isotypic.studies.records import ArmRef
from isotypic.studies.statistics import Interval, LabelWorth

FEW_SEEDS = 4
MOST_LISTED = 3
UNBROKEN = 24


@dataclass(frozen=True)
class Verdict:
    """A headline, the sentence with the interval, the worth in labels, and what a reader must know besides."""

    headline: str
    sentence: str
    worth: str
    caveats: tuple[str, ...]


def judge(findings: Findings) -> Verdict:
    """Return the verdict on the declared comparison."""
    overall = findings.primary.overall
    caveats = tuple(_caveats(findings))
    if overall is None:
        sentence = (
            f"{_the(findings.primary.a)} and {_the(findings.primary.b)} have no finished cell in common, "
            "a training-set size and a seed: run the study again to finish it."
        )
        return Verdict("There is no verdict yet.", capital(sentence), "", caveats)
    worth = findings.worth()
    return Verdict(
        headline=_headline(findings, overall),
        sentence=_difference(findings, overall),
        worth=_worth(worth, findings) if worth else "",
        caveats=caveats,
    )


def _headline(findings: Findings, overall: Interval) -> str:
    if overall.contains_zero:
        return "No difference was found."
    if not findings.weighs_augmentation:
        return f"{capital(_the(_winner(findings, overall)[0]))} was better."
    return "Building the symmetry in was better." if overall.estimate > 0 else "Augmenting the data was better."


def _difference(findings: Findings, overall: Interval) -> str:
    primary, over = findings.primary, _over(findings)
    if overall.contains_zero:
        return (
            f"On the {primary.test} {findings.tested()} {_the(primary.a)} and {_the(primary.b)} differ by "
            f"{plain(100 * overall.estimate)} percentage points (95 % interval {points(overall)}), {over}: "
            "the interval contains zero, so neither is shown to be better."
        )
    winner, loser = _winner(findings, overall)
    gain = overall if overall.estimate > 0 else Interval(-overall.estimate, -overall.high, -overall.low)
    return (
        f"On the {primary.test} {findings.tested()} {_the(winner)} {findings.measure.better} than {_the(loser)} by "
        f"{percent(gain.estimate)} percentage points (95 % interval {points(gain)}), {over}."
    )


def _winner(findings: Findings, overall: Interval) -> tuple[ArmRef, ArmRef]:
    a, b = findings.declared
    return (a, b) if overall.estimate > 0 else (b, a)


def _over(findings: Findings) -> str:
    sizes, samples = findings.primary.sizes, f"{findings.measure.sample}s"
    if len(sizes) == 1:
        return f"with {findings.trained(sizes[0])}"
    if len(sizes) <= MOST_LISTED:
        return f"averaged over training sets of {enumeration([count(size) for size in sizes])} {samples}"
    return f"averaged over {len(sizes)} training sets of {count(sizes[0])} to {count(sizes[-1])} {samples}"


def _worth(worth: LabelWorth, findings: Findings) -> str:
    estimate = worth.estimate
    bound = "" if estimate.bound == "equal" else f"{estimate.bound} "
    interval = f"95 % interval {ends(worth)}"
    subject = "The symmetry" if findings.weighs_augmentation else capital(_the(findings.primary.a))
    return (
        f"{subject} was worth {bound}{factor(estimate.factor)} times the labelled {findings.measure.sample}s "
        f"({interval}): {_reaching(worth, findings)}."
    )


def _reaching(worth: LabelWorth, findings: Findings) -> str:
    primary, samples = findings.primary, f"{findings.measure.sample}s"
    estimate, at_size = worth.estimate, count(worth.at_size)
    needed = count(float(f"{estimate.factor * worth.at_size:.2g}"))
    target = f"what {_the(primary.a)} reaches with {at_size}"
    if estimate.bound == "at least":
        return f"with {count(primary.sizes[-1])} {samples} {_the(primary.b)} does not yet reach {target}"
    if estimate.bound == "at most":
        return f"with {count(primary.sizes[0])} {samples} {_the(primary.b)} already exceeds {target}"
    return f"{_the(primary.b)} needs about {needed} {samples} to reach {target}"


def _caveats(findings: Findings) -> list[str]:
    study, primary = findings.study, findings.primary
    total = len(study.info.cells())
    failed, missing = len(study.failed()), len(study.missing())
    unread = sum(record.status == "done" for record in study.records) - len(study.predictions)
    said = []
    if failed or missing or unread:
        gaps = ((failed, "failed"), (missing, "not run yet"), (unread, "without predictions"))
        parts = [f"{number} {word}" for number, word in gaps if number]
        said.append(f"The study is incomplete (of {total} cells: {', '.join(parts)}); the gaps are left out.")
    if primary.overall is not None and set(primary.sizes) != set(study.info.sizes):
        covered = enumeration([count(size) for size in primary.sizes])
        said.append(f"The comparison covers only {covered} {findings.measure.sample}s.")
    if primary.overall is not None and len(primary.seeds) < len(study.info.seeds):
        share = f"{len(primary.seeds)} of {len(study.info.seeds)}"
        said.append(f"The verdict uses the {share} seeds that both arms finished at each of its sizes.")
    return said + _seed_caveat(len(primary.seeds), findings.tested())


def _seed_caveat(seeds: int, tested: str) -> list[str]:
    if seeds == 1:
        return [f"With a single seed the intervals cover the choice of {tested} only, not of training runs."]
    if 1 < seeds < FEW_SEEDS:
        return [f"With {seeds} seeds the intervals are likely to be too narrow where runs vary a lot."]
    return []


def _the(arm: ArmRef) -> str:
    """Return the arm within a sentence; a short name is not broken over two lines."""
    return "the " + (arm.label.replace(" ", "\u00a0") if len(arm.label) < UNBROKEN else arm.label)
