"""The kind of error that a user's request can cause, and that of work which failed.

A :class:`RequestError` says in one line what was expected, what came and what to do. The command line prints
that line and exits with code 2; a programme may catch it as a ``ValueError``. A :class:`RunFailed` says in one line
what went wrong with a request that was right; the code is 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class RequestError(ValueError):
    """The request was wrong: bad input, an impossible option, a missing file."""


class RunFailed(RuntimeError):
    """The request was right, and a process that carried it out failed."""


def unknown(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """Return the error for a name that is not in a list, with the nearest name that is.

    Args:
        kind: what the name stands for, in the singular ("recipe", "group").
        name: the name received.
        known: the names that exist.

    >>> str(unknown("group", "p4mm", ["p4", "p4m"]))
    "unknown group 'p4mm': did you mean 'p4m'? Known: p4, p4m"
    """
    names = list(known)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return RequestError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names)}")


def chosen(kind: str, name: str, among: Mapping[str, T]) -> T:
    """Return what a name stands for.

    Args:
        kind: what the name stands for, in the singular.
        name: the name received.
        among: everything there is, by name.

    Raises:
        RequestError: there is no such name.

    >>> chosen("group", "p4", {"p4": 4, "p4m": 8})
    4
    """
    if name not in among:
        raise unknown(kind, name, among)
    return among[name]
