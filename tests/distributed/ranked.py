"""What the ranks of test_launch.py do: the sum over all of them goes to a file, or one of them fails."""

import os
import signal
from pathlib import Path

import torch
from torch import distributed

from isotypic.errors import RequestError


def total(arguments):
    """Write the sum of the ranks' numbers, from 1, and how many threads a rank has."""
    distributed.init_process_group("gloo")
    found = torch.tensor([distributed.get_rank() + 1.0])
    distributed.all_reduce(found)
    if distributed.get_rank() == 0:
        Path(arguments[0]).write_text(f"{int(found)} {os.environ['OMP_NUM_THREADS']}")
    distributed.destroy_process_group()


def refused(arguments):
    if os.environ["RANK"] == "1":
        raise RequestError("expected more, received less: give more")
    signal.pause()


def broken(arguments):
    if os.environ["RANK"] == "1":
        raise OSError("no space left")
    signal.pause()


def killed(arguments):
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def refused_by_all(arguments):
    raise RequestError("expected more, received less: give more")


def broken_by_all(arguments):
    raise OSError("no space left")
