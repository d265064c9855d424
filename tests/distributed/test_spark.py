"""The same command on a Spark cluster; too few slots are refused before anything waits for them."""

import shutil
import time

import pytest

from isotypic.distributed.command import Command
from isotypic.distributed.spark import by_spark
from isotypic.errors import RequestError

pyspark = pytest.importorskip("pyspark", reason="needs the extra isotypic[spark]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="needs Java"),
]


@pytest.mark.parametrize("master", ["local[2]", "local-cluster[2,1,1024]"])
def test_two_processes_of_a_cluster_find_each_other(master, tmp_path):
    by_spark(Command("ranked:total", (str(tmp_path / "sum"),)), 2, master=master, folder=tmp_path)
    assert (tmp_path / "sum").read_text().startswith("3 ")
    assert not list(tmp_path.glob(".seen-*"))


def test_what_a_rank_refuses_is_told(tmp_path):
    with pytest.raises(RequestError, match=r"^rank \d: expected more, received less: give more$"):
        by_spark(Command("ranked:refused_by_all", ()), 2, master="local[2]", folder=tmp_path)


def test_too_few_slots_are_refused_within_seconds(tmp_path):
    start = time.monotonic()
    with pytest.raises(RequestError, match=r"Spark cluster local\[1\] has 1 for 2 processes: give --processes 1"):
        by_spark(Command("ranked:total", ("",)), 2, master="local[1]", folder=tmp_path)
    assert time.monotonic() - start < 60


def test_a_master_that_is_none_is_refused(tmp_path):
    with pytest.raises(RequestError, match="Spark cannot be started at nowhere"):
        by_spark(Command("ranked:total", ("",)), 2, master="nowhere", folder=tmp_path)
