"""``isotypic bench`` as a user runs it: the file, going on, comparing, and what is refused."""

import json
import re

import pytest
import torch

from isotypic.bench import runner
from isotypic.bench.records import Result
from isotypic.bench.timing import SpeedUp

TINY = ("--channels", 8, "--batch", 1, "--kernel", 1, "--group", "C4", "--seconds", 0.0, "--threads", 1)
FACTS = {"way": "dense", "error": 1e-6, "plain_error": 1e-6, "ours_channels": 8, "plain_channels": 8}


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Fake:
    """Stands for measuring: says a speed-up, counts the cases, and can be interrupted."""

    def __init__(self):
        self.cases, self.ratio, self.until = [], 2.0, None

    def __call__(self, subject, case, setting):
        if len(self.cases) == self.until:
            raise KeyboardInterrupt
        self.cases.append(case)
        return Result(case, SpeedUp(self.ratio, 0.02, 1.0, self.ratio), dict(FACTS))


@pytest.fixture
def fake(monkeypatch):
    made = Fake()
    monkeypatch.setattr(runner, "measure", made)
    return made


def rows(path):
    return json.loads(path.read_text())["rows"]


@pytest.mark.parametrize("words", [(*TINY, "--size", 7), ("networks", "--network", "densenet", "--size", 16)])
def test_a_run_says_and_writes_what_it_measured(isotypic, tmp_path, words):
    more = () if "--channels" in words else ("--batch", 2, "--group", "p4", "--seconds", 0, "--mode", "step")
    answer = isotypic("bench", *words, *more, "--out", tmp_path / "out.json")
    assert answer.returncode == 0, answer.stderr
    found = rows(tmp_path / "out.json")
    assert {row["mode"] for row in found} == ({"step"} if more else {"forward", "step"})
    assert all(row["error"] < 1e-4 and row["speed_up"] > 0 and row["spread"] >= 0 for row in found)
    assert all("memory" in row for row in found) == bool(more)
    assert re.search(rf"\[1/{len(found)}\] .*x ± \d+% .*; 0:\d\d:\d\d left", answer.stdout)
    assert re.search(
        rf"speed-up over {len(found)} cases: least [\d.]+, geometric mean [\d.]+, \d under 0.95", answer.stdout
    )


def test_a_table_for_each_group_and_mode(isotypic, fake):
    answer = isotypic("bench", *TINY, "--group", "D4", "--size", 7, "--size", 14)
    assert answer.returncode == 0
    tables = re.findall(r"(C4|D4) (forward|step): speed-up", answer.stdout)
    assert tables == [("C4", "forward"), ("C4", "step"), ("D4", "forward"), ("D4", "step")]
    assert len(re.findall(r"│ +1 │ +1 │ +8 │ 2.00 │ 2.00 │", answer.stdout)) == 4


def test_an_interrupted_run_keeps_what_it_has_and_goes_on(isotypic, fake, tmp_path):
    words = ("bench", *TINY, "--size", 7, "--size", 14, "--out", tmp_path / "out.json")
    fake.until = 3
    stopped = isotypic(*words)
    assert stopped.returncode == 130
    assert "speed-up over 3 cases" in stopped.stdout
    assert len(rows(tmp_path / "out.json")) == 3
    fake.until = None
    resumed = isotypic(*words)
    assert resumed.returncode == 0
    assert "cases: 4, to measure: 1" in resumed.stdout
    assert len(fake.cases) == len(set(fake.cases)) == 4
    assert len(rows(tmp_path / "out.json")) == 4
    other = isotypic(*words, "--dtype", "float64")
    assert other.returncode == 2
    assert "dtype float32 there, float64 here" in other.stderr
    fake.cases.clear()
    assert isotypic(*words[:-2]).returncode == 0
    assert len(fake.cases) == 4


def test_an_interrupted_run_without_a_file_says_that_nothing_is_kept(isotypic, fake):
    fake.until = 1
    answer = isotypic("bench", *TINY, "--size", 7)
    assert answer.returncode == 130
    assert "speed-up over 1 cases" in answer.stdout
    assert "with --out the same command could go on" in answer.stdout


@pytest.mark.parametrize(("ratio", "code", "count"), [(1.5, 1, 2), (1.99, 0, 0), (3.0, 0, 0)])
def test_compare_fails_where_a_case_got_slower(isotypic, fake, tmp_path, ratio, code, count):
    words = ("bench", *TINY, "--size", 7)
    assert isotypic(*words, "--out", tmp_path / "before.json").returncode == 0
    fake.ratio = ratio
    answer = isotypic(*words, "--compare", tmp_path / "before.json")
    assert answer.returncode == code
    assert f"2 cases compared, 0 not in the earlier file, {count} slower by more than their spread" in answer.stdout
    assert f"{ratio / 2 - 1:+.1%}" in answer.stdout
    assert "warning" not in answer.stdout


def test_compare_warns_of_another_machine(isotypic, fake, tmp_path):
    words, path = ("bench", *TINY, "--size", 7), tmp_path / "before.json"
    assert isotypic(*words, "--out", path).returncode == 0
    path.write_text(path.read_text().replace('"torch": "', '"torch": "0.'))
    answer = isotypic(*words, "--compare", path)
    assert answer.returncode == 0
    assert "warning: not the same: torch 0." in answer.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("layer",), "unknown subject 'layer': did you mean 'layers'"),
        (("--channels", 12, "--group", "p4m"), "multiples of 8, the order of D4, received 12"),
        (("--group", "p5"), "unknown group of the plane 'p5'"),
        (("--group", "Oh"), "received Oh, a group of space: give --dim 3"),
        (("--dim", 3, "--group", "D8"), "received D8, a group of the plane: give --dim 2"),
        (("--compare", "nowhere.json"), "expected a file that `isotypic bench --out` wrote at nowhere.json"),
        (
            ("networks", "--channels", 8),
            "expected for networks only --network, --group, --size, --batch, --mode; received --channels",
        ),
        (("--compute", "quick"), "unknown compute 'quick'"),
        (("--out", "one.json", "--compare", "one.json"), "received one.json twice"),
    ],
)
def test_bad_requests_exit_with_2_in_one_line_and_leave_nothing(isotypic, fake, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    answer = isotypic("bench", *words, *(() if "--out" in words else ("--out", "out.json")))
    assert answer.returncode == 2
    assert text in answer.stderr
    assert answer.stderr.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())
    assert fake.cases == []
