"""The file of a run: what comes back from it, when a run goes on with it, and what counts as slower."""

import json
from dataclasses import replace

import numpy as np
import pytest

from isotypic.bench.layers import LayerCase
from isotypic.bench.network_cases import NetworkCase
from isotypic.bench.records import Change, Report, Result, changes, read, read_for, resumed, warnings
from isotypic.bench.setting import Setting, machine
from isotypic.bench.subjects import SUBJECTS
from isotypic.bench.summary import summarise
from isotypic.bench.timing import SpeedUp, Timing, interleave, speed_up
from isotypic.errors import RequestError

LAYER = LayerCase(dim=2, group="D4", kernel=3, channels=16, size=6, batch=2, mode="forward")
NETWORK = NetworkCase("densenet", "C4", 16, 2, "step")


def speed(ratio, spread=0.02):
    return SpeedUp(ratio, spread, 1.0, ratio)


def report(*results, subject="layers", setting=None):
    made = Report(SUBJECTS[subject], machine("cpu"), setting or Setting())
    for result in results:
        made = made.with_result(result)
    return made


@pytest.mark.parametrize(("subject", "case"), [("layers", LAYER), ("networks", NETWORK)])
def test_a_report_comes_back_as_it_was(tmp_path, subject, case):
    facts = {"error": 1e-6, "way": "dense", "memory": None, "peers": {"escnn": {"ms": 2.0, "speed_up": 0.5}}}
    written = report(Result(case, speed(2.0), facts), subject=subject, setting=Setting(dtype="float64"))
    written.write(tmp_path / "out.json")
    assert read(tmp_path / "out.json") == written
    assert {"cpu", "threads", "torch", "commit"} <= json.loads((tmp_path / "out.json").read_text())["machine"].keys()
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"subject": "layers", "rows": [{}], "setting": {}, "machine": {}}'])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "out.json").write_text(text)
    with pytest.raises(RequestError, match=r"expected a file that `isotypic bench --out` wrote at .*out\.json"):
        read(tmp_path / "out.json")


def test_a_run_goes_on_only_with_its_own_file(tmp_path):
    path, new = tmp_path / "out.json", report()
    assert resumed(None, new) is new
    assert resumed(path, new) is new
    report(Result(LAYER, speed(2.0), {})).write(path)
    assert list(resumed(path, new).results) == [LAYER]
    others = [
        (report(subject="networks"), "subject layers there, networks here"),
        (report(setting=Setting(dtype="float64")), "dtype float32 there, float64 here"),
        (report(setting=Setting(seconds=2.0)), "seconds 1.0 there, 2.0 here"),
        (replace(new, machine={**new.machine, "threads": 77}), "threads .* there, 77 here"),
    ]
    for other, text in others:
        with pytest.raises(RequestError, match=f"measured otherwise .*{text}.*give another --out"):
            resumed(path, other)


@pytest.mark.parametrize(
    ("before", "after", "slower"),
    [
        (speed(2.0), speed(1.0), True),
        (speed(2.0), speed(2.0), False),
        (speed(2.0), speed(4.0), False),
        (speed(2.0, spread=0.3), speed(1.0, spread=0.3), False),
        (speed(2.0), speed(1.93), False),
        (speed(2.0), speed(1.9), True),
    ],
)
def test_slower_is_slower_by_more_than_the_spread(before, after, slower):
    assert Change(LAYER, before, after).is_slower == slower


def test_cases_of_both_runs_are_compared(tmp_path):
    other = replace(LAYER, size=7)
    earlier = report(Result(LAYER, speed(2.0), {}), Result(other, speed(3.0), {}))
    (change,) = changes(earlier, [Result(LAYER, speed(1.0), {})])
    assert (change.case, change.change) == (LAYER, -0.5)
    earlier.write(tmp_path / "earlier.json")
    assert read_for(tmp_path / "earlier.json", SUBJECTS["layers"], [LAYER]) == earlier
    for subject, cases in (("layers", [replace(LAYER, size=8)]), ("networks", [NETWORK])):
        with pytest.raises(RequestError, match=r"expected a case of this run in .*earlier\.json"):
            read_for(tmp_path / "earlier.json", SUBJECTS[subject], cases)


def test_what_is_not_the_same_is_said():
    here = report()
    assert warnings(here, here) == []
    there = replace(here, machine={**here.machine, "torch": "0.1", "commit": "x"}, setting=Setting(compute="dense"))
    found = " ".join(warnings(there, here))
    assert "torch 0.1 there" in found
    assert "compute dense there, auto here" in found
    assert "commit" not in found


def test_the_summary_is_least_geometric_mean_and_count():
    results = [Result(replace(LAYER, size=i), speed(ratio), {}) for i, ratio in enumerate((0.5, 2.0, 8.0, 0.94, 0.95))]
    found = summarise(results)
    assert (found.cases, found.least, found.slower) == (5, 0.5, 2)
    assert found.mean == pytest.approx(float(np.prod([0.5, 2.0, 8.0, 0.94, 0.95]) ** 0.2))


def test_the_speed_up_is_that_of_neighbouring_calls():
    ours, plain = Timing(np.array([1.0, 10.0, 1.0])), Timing(np.array([3.0, 30.0, 3.0]))
    assert speed_up(ours, plain) == SpeedUp(3.0, 0.0, 1000.0, 3000.0)
    assert speed_up(plain, ours).speed_up == pytest.approx(1 / 3)


def test_candidates_take_turns_and_the_device_is_waited_for():
    calls = []
    names = {name: (lambda name=name: calls.append(name)) for name in ("a", "b")}
    times = interleave(names, 0.0, wait=lambda: calls.append("wait"), least=3)
    assert calls == ["a", "a", "b", "b", "wait", *["a", "wait", "b", "wait"] * 3]
    assert [len(times[name].seconds) for name in names] == [3, 3]
