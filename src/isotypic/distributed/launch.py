"""Starting one command as several processes, a rank each, and saying why it failed.

Every rank finds its place in the environment, as ``torchrun`` sets it (``RANK``, ``WORLD_SIZE``, ``LOCAL_WORLD_SIZE``,
``MASTER_ADDR``, ``MASTER_PORT``). Where one rank fails the others are ended. Checkpoints are the first rank's, so the
same command, also with another number of processes, goes on from the last of them.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from isotypic.distributed.command import Command
from isotypic.distributed.spark import by_spark
from isotypic.distributed.torchrun import by_torchrun
from isotypic.errors import RequestError


class Launch(str, Enum):
    """What starts the processes."""

    LOCAL = "local"
    """Nothing: this process is the only one."""

    TORCHRUN = "torchrun"
    """This machine."""

    SPARK = "spark"
    """The executors of a Spark cluster."""


def launched(
    launch: Launch, command: Command, processes: int, master: str | None, folder: Path, *, gpu: bool = False
) -> None:
    """Run a command as several processes.

    Args:
        launch: by what; not :attr:`Launch.LOCAL`, which starts nothing.
        command: what every process does.
        processes: how many.
        master: of a Spark cluster.
        folder: where the command writes.
        gpu: whether every process has a GPU.

    Raises:
        RequestError: a master where there is no Spark; or as :func:`by_torchrun` and :func:`by_spark`.
        RunFailed: a process failed.
    """
    if launch is Launch.SPARK:
        by_spark(command, processes, master=master, folder=folder, gpu=gpu)
    elif master is not None:
        raise RequestError(f"expected --launch spark with --master, received {launch.value}")
    else:
        by_torchrun(command, processes)
