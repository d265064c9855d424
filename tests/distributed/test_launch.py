"""Processes start, find each other and end together; why one failed is told in one line."""

import os
from pathlib import Path

import pytest

from isotypic.distributed.command import Command, thread_limits, told
from isotypic.distributed.launch import Launch, launched
from isotypic.distributed.rank import entry_of, run
from isotypic.distributed.spark import Seen, _difference, _slots, cause_of, run_rank
from isotypic.distributed.torchrun import by_torchrun
from isotypic.errors import RequestError, RunFailed


def test_two_processes_of_this_machine_find_each_other(tmp_path):
    by_torchrun(Command("ranked:total", (str(tmp_path / "sum"),)), 2)
    cores = max(1, os.cpu_count() // 2)
    assert (tmp_path / "sum").read_text() == f"3 {cores}"
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("does", "error", "message"),
    [
        ("refused", RequestError, "^rank 1: expected more, received less: give more$"),
        ("broken", RunFailed, "^rank 1 failed: OSError: no space left$"),
        ("killed", RunFailed, "^rank 1 was ended by SIGKILL; the same command goes on from the last checkpoint$"),
    ],
)
def test_the_others_end_with_the_rank_that_failed_and_the_cause_is_told(does, error, message):
    with pytest.raises(error, match=message):
        by_torchrun(Command(f"ranked:{does}", ()), 2)


def test_a_cause_of_many_lines_is_told_by_its_last():
    assert str(told(3, "RuntimeError: one\ntwo\n\nthree: four\n")) == "rank 3 failed: three: four"
    assert isinstance(told(0, "RequestError: no"), RequestError)


def test_the_rank_that_failed_first_on_a_cluster_is_told_and_nothing_is_left(tmp_path, monkeypatch):
    told_in = tmp_path / ".failed-0"
    for rank, does in (("2", "refused_by_all"), ("0", "broken_by_all")):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises((RequestError, OSError)):
            run_rank(f"ranked:{does}", (), str(told_in))
    assert str(cause_of(told_in, "Py4JJavaError")) == "rank 2: expected more, received less: give more"
    assert not list(tmp_path.iterdir())
    assert str(cause_of(told_in, "Py4JJavaError: x\n  SparkException: lost\n at y")).endswith("SparkException: lost")


def test_an_entry_is_a_function_of_a_module():
    assert entry_of("isotypic.distributed.rank:run") is run


def test_the_cores_are_shared_unless_it_is_said_otherwise(monkeypatch):
    assert thread_limits(2)["OMP_NUM_THREADS"] == str(max(1, os.cpu_count() // 2))
    assert thread_limits(10**6)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in thread_limits(2)


class Session:
    def __init__(self, master):
        self.sparkContext = type("Context", (), {"master": master})()


@pytest.mark.parametrize(
    ("master", "slots"),
    [("local", 1), ("local[3]", 3), ("local[3,2]", 3), ("local-cluster[2,4,1024]", 8), ("spark://host:7077", None)],
)
def test_slots_of_local_masters_are_known_beforehand(master, slots):
    assert _slots(Session(master)) == slots
    assert _slots(Session("local[*]")) == os.cpu_count()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Seen("3.9", "1", True), "expected Python 3.11 on the executors, received 3.9: set PYSPARK_PYTHON"),
        (Seen("3.11", "none (no)", True), r"expected isotypic 1 on the executors, received none \(no\): install it"),
        (Seen("3.11", "1", False), "the executors do not see /out: give --out on a disk that all of them share"),
    ],
)
def test_executors_that_differ_are_refused(answer, says):
    assert _difference(answer, Seen("3.11", "1", True), Path("/out")).args[0].startswith(says.replace("\\", ""))


@pytest.mark.parametrize(
    ("launch", "processes", "master", "says"),
    [
        (Launch.TORCHRUN, 0, None, "expected at least one process, received 0"),
        (Launch.TORCHRUN, 2, "local[2]", "expected --launch spark with --master, received torchrun"),
    ],
)
def test_wrong_requests_are_refused(launch, processes, master, says):
    with pytest.raises(RequestError, match=says):
        launched(launch, Command("ranked:total", ()), processes, master, Path())
