"""Measuring cases one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from isotypic.bench.memory import fresh_peak
from isotypic.bench.peers import version
from isotypic.bench.records import Report, Result
from isotypic.bench.setting import Setting
from isotypic.bench.subjects import Subject
from isotypic.bench.timing import Timing, interleave, speed_up


def run(report: Report, cases: Iterable[Any], out: Path | None) -> Iterator[Report]:
    """Measure cases, and yield the report after every one; by then it is on disk.

    Args:
        report: what is there already.
        cases: what is missing.
        out: the file to write, if any.
    """
    for case in cases:
        report = report.with_result(measure(report.subject, case, report.setting))
        if out:
            report.write(out)
        yield report


def measure(subject: Subject, case: Any, setting: Setting) -> Result:
    """Time one case against the plain candidate and the peers, and say what else was found.

    Args:
        subject: what is timed.
        case: one of its cases.
        setting: what the cases share.
    """
    torch.manual_seed(0)
    ours, plain = (subject.make(case, setting, name) for name in ("ours", "plain"))
    calls = {"ours": ours.call, "plain": plain.call}
    calls |= {name: peer.call for name, peer in subject.peers(case, setting).items()}
    times = interleave(calls, setting.seconds, wait=setting.wait)
    facts = subject.facts(case, setting, ours, plain) | _peer_facts(times)
    if setting.memory or subject.memory:
        facts["memory"] = fresh_peak(subject.name, case, setting, "ours")
        facts["plain_memory"] = fresh_peak(subject.name, case, setting, "plain")
    return Result(case, speed_up(times["ours"], times["plain"]), facts)


def _peer_facts(times: dict[str, Timing]) -> dict[str, Any]:
    """Return version, milliseconds and speed-up over the plain layer of every peer; nothing without peers."""
    peers = {}
    for name in times.keys() - {"ours", "plain"}:
        speed = speed_up(times[name], times["plain"])
        peers[name] = {"version": version(name), "ms": speed.ours_ms, "speed_up": speed.speed_up}
    return {"peers": peers} if peers else {}
