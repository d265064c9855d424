"""What every process of a distributed command does, and how its failure is told."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass

from isotypic.errors import RequestError, RunFailed


@dataclass(frozen=True)
class Command:
    """What every rank does.

    Attributes:
        entry: ``module:function``, called with the list of arguments.
        arguments: of the command.
    """

    entry: str
    arguments: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The command of a rank, behind the interpreter."""
        return ("-m", "isotypic.distributed.rank", self.entry, *self.arguments)


def refuse_count(processes: int) -> None:
    """Raise RequestError for fewer than one process."""
    if processes < 1:
        raise RequestError(f"expected at least one process, received {processes}")


def thread_limits(processes: int) -> dict[str, str]:
    """Return the environment that shares the cores of a machine among processes, where it is not set."""
    found = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    if sys.platform == "linux":
        found["GLOO_SOCKET_IFNAME"] = "lo"
    return {name: value for name, value in found.items() if name not in os.environ}


def told(rank: int, message: str) -> RequestError | RunFailed:
    """Return the error of a rank's message, which starts with the name of its exception."""
    kind, _, text = message.partition(": ")
    if kind == RequestError.__name__:
        return RequestError(f"rank {rank}: {text}")
    return RunFailed(f"rank {rank} failed: {_last_line(message)}")


def _last_line(message: str) -> str:
    lines = [line for line in re.split(r"[\r\n]+", message) if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
