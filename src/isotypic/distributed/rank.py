"""What every process of a distributed command does: the command itself, its failure told where the launcher reads it.

``python -m isotypic.distributed.rank MODULE:FUNCTION ARGUMENT ...`` calls the function with the list of arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from torch.distributed.elastic.multiprocessing.errors import record

from isotypic.errors import RequestError


def entry_of(entry: str) -> Callable[[list[str]], object]:
    """Return the function that ``module:function`` names."""
    module, _, function = entry.partition(":")
    found: Callable[[list[str]], object] = getattr(import_module(module), function)
    return found


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
