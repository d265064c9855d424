"""Starting one command on the executors of a Spark cluster (extra ``spark``), by PySpark's TorchDistributor.

Before anything is trained it is made sure that the cluster has a slot a rank, and that its interpreters have this
library and see the folder that is written to: a barrier stage without slots would wait for ever, and a run whose first
rank writes to a disk of its own would be lost.

Source: https://spark.apache.org/docs/latest/api/python/reference/api/pyspark.ml.torch.distributor.TorchDistributor.html
"""

from __future__ import annotations

import os
import platform
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isotypic import __version__
from isotypic.distributed.command import Command, refuse_count, thread_limits, told
from isotypic.distributed.rank import entry_of
from isotypic.errors import RequestError, RunFailed

QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures": "1",
    "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "2s",
    "spark.stage.maxConsecutiveAttempts": "1",
}
"""Few words, and no second attempts: what a rank refused once it refuses again, and checkpoints are for the rest."""

LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}

_LOCAL = re.compile(r"local(-cluster)?(\[.*\])?")
_SLOTS = re.compile(r"local(?:\[(\d+|\*)(?:,.*)?\])?|local-cluster\[(\d+),(\d+),\d+\]")


def by_spark(command: Command, processes: int, *, master: str | None, folder: Path, gpu: bool = False) -> None:
    """Run a command as a barrier stage of a Spark cluster, a task a rank.

    Args:
        command: what every rank does.
        processes: how many ranks.
        master: of the cluster, such as ``spark://host:7077`` or ``local[2]``; None for what Spark is set up for.
        folder: where the command writes; every rank must see it.
        gpu: whether a rank has a GPU, ``spark.task.resource.gpu.amount`` of them.

    Raises:
        RequestError: fewer than one process, PySpark or Java is missing, there are fewer slots than ranks, or an
            executor has another Python or another isotypic or does not see the folder; or what a rank refused.
        RunFailed: a rank failed otherwise.
    """
    refuse_count(processes)
    with _session(master, processes) as spark:
        slots = _slots(spark)
        if slots is not None and slots < processes:
            raise RequestError(
                f"expected a slot a process, the Spark cluster {spark.sparkContext.master} has {slots} for "
                f"{processes} processes: give --processes {slots}, or more cores"
            )
        _refuse_executors(spark, processes, folder)
        _distribute(command, processes, folder, gpu)


def _distribute(command: Command, processes: int, folder: Path, gpu: bool) -> None:
    from pyspark.ml.torch.distributor import TorchDistributor  # noqa: PLC0415 - an extra

    distributor = TorchDistributor(num_processes=processes, local_mode=False, use_gpu=gpu)
    told_in = folder.resolve() / f".failed-{uuid.uuid4().hex}"
    try:
        distributor.run(run_rank, command.entry, command.arguments, str(told_in))
    except Exception as error:
        raise cause_of(told_in, str(error)) from error


def run_rank(entry: str, arguments: tuple[str, ...], told_in: str) -> None:
    """Do what a rank does; TorchDistributor calls it on an executor.

    Args:
        entry: ``module:function``.
        arguments: of the command.
        told_in: start of the path of the file, on the disk that all share, in which it says why it failed.
    """
    try:
        entry_of(entry)(list(arguments))
    except Exception as error:
        Path(f"{told_in}-{os.environ['RANK']}").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise


def cause_of(told_in: Path, otherwise: str) -> RequestError | RunFailed:
    """Return the error of the rank that failed first, and remove what the ranks wrote.

    Args:
        told_in: start of the paths of their files.
        otherwise: what Spark says, where no rank said anything.
    """
    files = sorted(told_in.parent.glob(f"{told_in.name}-*"), key=lambda file: file.stat().st_mtime_ns)
    causes = [told(int(file.name.rpartition("-")[2]), file.read_text(encoding="utf-8")) for file in files]
    for file in files:
        file.unlink()
    if causes:
        return causes[0]
    lines = [line.strip() for line in otherwise.splitlines() if "Error" in line or "Exception" in line]
    return RunFailed(f"a rank on the Spark cluster failed: {lines[-1] if lines else otherwise.strip()[:500]}")


@contextmanager
def _session(master: str | None, processes: int) -> Iterator[Any]:
    """Give a Spark session, ended afterwards unless it was there before."""
    builder = _builder()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    local = _LOCAL.fullmatch(master or "") is not None
    limits = thread_limits(processes) if local else {}
    os.environ.update(limits)  # of local masters, whose executors start from it
    executors = {f"spark.executorEnv.{name}": value for name, value in limits.items()}
    for name, value in {**QUIET, **executors, **(LOOPBACK if local else {})}.items():
        builder = builder.config(name, value)
    try:
        spark = (builder if master is None else builder.master(master)).getOrCreate()
    except Exception as error:
        raise RequestError(f"Spark cannot be started at {master or 'its default master'}: {_first(error)}") from error
    try:
        yield spark
    finally:
        spark.stop()


def _builder() -> Any:
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RequestError("--launch spark needs PySpark: install isotypic[spark], and Java 17 or later") from error
    return SparkSession.builder.appName("isotypic")


def _slots(spark: Any) -> int | None:
    """Return how many tasks run at once, or None where that is not known beforehand.

    A cluster tells by the cores of its executors; those of ``local-cluster[executors,cores,memory]`` may not have
    registered yet.
    """
    found = _SLOTS.fullmatch(spark.sparkContext.master)
    if found is None:
        return None
    if found[2] is not None:
        return int(found[2]) * int(found[3])
    return (os.cpu_count() or 1) if found[1] == "*" else int(found[1] or 1)


@dataclass(frozen=True)
class Seen:
    """What an executor says of itself.

    Attributes:
        python: version of its interpreter, major and minor.
        library: version of isotypic, or why it cannot be imported.
        folder: whether it sees the folder that is written to.
    """

    python: str
    library: str
    folder: bool


def _refuse_executors(spark: Any, processes: int, folder: Path) -> None:
    """Ask executors for interpreter, library and folder, and refuse what would not work."""
    folder.mkdir(parents=True, exist_ok=True)
    token = folder / f".seen-{uuid.uuid4().hex}"
    token.touch()
    try:
        tasks = spark.sparkContext.parallelize(range(processes), processes)
        answers = [Seen(*answer) for answer in tasks.mapPartitions(_look(str(token.resolve()))).collect()]
    except Exception as error:
        raise RequestError(f"the executors of Spark cannot be asked: {_first(error)}") from error
    finally:
        token.unlink()
    here = Seen(".".join(platform.python_version_tuple()[:2]), __version__, True)
    for answer in answers:
        if answer != here:
            raise _difference(answer, here, folder)


def _difference(answer: Seen, here: Seen, folder: Path) -> RequestError:
    if answer.python != here.python:
        return RequestError(
            f"expected Python {here.python} on the executors, received {answer.python}: set PYSPARK_PYTHON"
        )
    if answer.library != here.library:
        return RequestError(
            f"expected isotypic {here.library} on the executors, received {answer.library}: install it there"
        )
    return RequestError(f"the executors do not see {folder}: give --out on a disk that all of them share")


def _look(token: str) -> Callable[[Iterable[int]], list[tuple[str, str, bool]]]:
    """Return what an executor is asked: an inner function, which travels by value, as isotypic may be missing there."""

    def look(_: Iterable[int]) -> list[tuple[str, str, bool]]:
        import os.path  # noqa: PLC0415 - on the executor
        import platform  # noqa: PLC0415

        try:
            from isotypic import __version__ as version  # noqa: PLC0415
        except ImportError as error:
            version = f"none ({error})"
        return [(".".join(platform.python_version_tuple()[:2]), version, os.path.exists(token))]

    return look


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
