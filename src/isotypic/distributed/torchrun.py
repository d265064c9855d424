"""Starting one command as several processes of one machine, as ``torchrun`` does."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from isotypic.distributed.command import Command, refuse_count, thread_limits, told
from isotypic.errors import RequestError, RunFailed


def by_torchrun(command: Command, processes: int) -> None:
    """Run a command as several processes of this machine, which talk over the loopback interface.

    Args:
        command: what every one of them does.
        processes: how many.

    Raises:
        RequestError: fewer than one process; or what a rank refused, with its number.
        RunFailed: a rank failed otherwise, with its number and the cause.
    """
    refuse_count(processes)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it says is told once, below
    with _environment(thread_limits(processes)):
        try:
            elastic_launch(config, sys.executable)(*command.words)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise _failure_of(rank, failure) from error


def _failure_of(rank: int, failure: ProcessFailure) -> RequestError | RunFailed:
    """Return the error that tells why a rank failed, in one line."""
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        return RunFailed(f"rank {rank} was ended by {name}; the same command goes on from the last checkpoint")
    message = failure.message
    return told(rank, str(message["message"] if isinstance(message, dict) else message))


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """Change the environment for as long as processes start from it."""
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            del os.environ[name]
