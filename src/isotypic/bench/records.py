"""What a run leaves: a JSON file with the machine, the options and a row a case, written again after every case.

A run that finds the file of the same machine and options goes on where that stopped.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from isotypic.bench.setting import DECISIVE, Setting, differing
from isotypic.bench.subjects import SUBJECTS, Subject
from isotypic.bench.timing import SpeedUp
from isotypic.errors import RequestError
from isotypic.files import write_text


@dataclass(frozen=True)
class Result:
    """What was measured of one case.

    Attributes:
        case: of the subject's own kind.
        speed: against the plain candidate.
        facts: what else the subject says, by name.
    """

    case: Any
    speed: SpeedUp
    facts: dict[str, Any]

    def row(self) -> dict[str, Any]:
        """Return case, speed and facts as one flat row."""
        return {**asdict(self.case), **asdict(self.speed), **self.facts}


@dataclass(frozen=True)
class Report:
    """The results of a run, with what they depend on.

    Attributes:
        subject: what was timed.
        machine: what :func:`isotypic.bench.setting.machine` says.
        setting: what all cases share.
        results: in the order in which they were measured.
    """

    subject: Subject
    machine: dict[str, Any]
    setting: Setting
    results: dict[Any, Result] = field(default_factory=dict)

    def with_result(self, result: Result) -> Report:
        """Return the report with one more result."""
        return replace(self, results={**self.results, result.case: result})

    def text(self) -> str:
        """Return the report as JSON."""
        head = {"subject": self.subject.name, "machine": self.machine, "setting": asdict(self.setting)}
        return json.dumps({**head, "rows": [result.row() for result in self.results.values()]}, indent=1)

    def write(self, path: Path) -> None:
        """Write the report beside the file and rename it."""
        write_text(path, self.text() + "\n")


def read(path: Path) -> Report:
    """Read a report.

    Raises:
        RequestError: there is none, or not one that ``isotypic bench --out`` wrote.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        subject = SUBJECTS[raw["subject"]]
        results = [_result(subject, row) for row in raw["rows"]]
        setting = Setting(**raw["setting"])
        return Report(subject, dict(raw["machine"]), setting, {result.case: result for result in results})
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise RequestError(f"expected a file that `isotypic bench --out` wrote at {path}: {reason}") from error


def _result(subject: Subject, row: dict[str, Any]) -> Result:
    facts = dict(row)
    case = subject.case(**{f.name: facts.pop(f.name) for f in fields(subject.case)})
    return Result(case, SpeedUp(**{f.name: facts.pop(f.name) for f in fields(SpeedUp)}), facts)


def read_for(path: Path, subject: Subject, cases: Collection[Any]) -> Report:
    """Read an earlier report to compare with.

    Raises:
        RequestError: there is none, or it has none of the cases.
    """
    report = read(path)
    if report.subject is not subject or not report.results.keys() & set(cases):
        raise RequestError(f"expected a case of this run in {path}, found {len(report.results)} others")
    return report


def resumed(path: Path | None, report: Report) -> Report:
    """Return the report that a file holds, if it is there and goes with a new one; else the new one.

    Raises:
        RequestError: the file holds another subject, or was measured on another machine or with other options.
    """
    if path is None or not path.exists():
        return report
    earlier = read(path)
    names = tuple(f.name for f in fields(Setting))
    differences = [
        *differing({"subject": earlier.subject.name}, {"subject": report.subject.name}, ("subject",)),
        *differing(earlier.machine, report.machine, DECISIVE),
        *differing(asdict(earlier.setting), asdict(report.setting), names),
    ]
    if differences:
        raise RequestError(f"{path} was measured otherwise ({'; '.join(differences)}): give another --out")
    return replace(report, machine=earlier.machine, results=earlier.results)


@dataclass(frozen=True)
class Change:
    """How the speed-up of a case changed.

    Attributes:
        case: the case.
        before: the earlier figure.
        after: the new one.
    """

    case: Any
    before: SpeedUp
    after: SpeedUp

    @property
    def change(self) -> float:
        """Relative; above 0 is faster."""
        return self.after.speed_up / self.before.speed_up - 1

    @property
    def is_slower(self) -> bool:
        """Whether it got slower by more than both spreads together."""
        return self.change < -(self.before.spread + self.after.spread)


def changes(earlier: Report, results: Iterable[Result]) -> Iterator[Change]:
    """Yield the change of every case that both have."""
    for result in results:
        before = earlier.results.get(result.case)
        if before is not None:
            yield Change(result.case, before.speed, result.speed)


def warnings(earlier: Report, report: Report) -> list[str]:
    """Return in words what makes two reports hard to compare."""
    names = tuple(f.name for f in fields(Setting) if f.name not in ("seconds", "memory"))
    return [
        *differing(earlier.machine, report.machine, DECISIVE),
        *differing(asdict(earlier.setting), asdict(report.setting), names),
    ]
