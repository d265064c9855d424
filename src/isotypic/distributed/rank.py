"""What every process of a distributed command does: the command itself, its failure told where the launcher reads it.

``python -m isotypic.distributed.rank MODULE:FUNCTION ARGUMENT ...`` calls the function with the list of arguments.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from importlib import import_module

from torch.distributed.elastic.multiprocessing.errors import record

from isotypic.errors import RequestError

FAILURE = re.compile(r"isotypic-rank-failed (\d+) (.*)")
"""What a failed rank prints: its number and the cause."""


def entry_of(entry: str) -> Callable[[list[str]], object]:
    """Return the function that ``module:function`` names."""
    module, _, function = entry.partition(":")
    found: Callable[[list[str]], object] = getattr(import_module(module), function)
    return found


def failed(error: BaseException) -> str:
    """Return the line that tells of a failure, for :data:`FAILURE`."""
    cause = " ".join(f"{type(error).__name__}: {error}".split())
    return f"isotypic-rank-failed {os.environ.get('RANK', '0')} {cause}"


def run(entry: str, arguments: list[str]) -> None:
    """Call a function as a rank of ``torchrun``, which reads of a failure in a file.

    Args:
        entry: ``module:function``.
        arguments: what it is called with, as one list.
    """
    try:
        record(entry_of(entry))(arguments)
    except RequestError:
        sys.exit(2)  # the launcher tells it, once


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
