"""What can be timed: a subject says which cases there are, builds the candidates of one, and says what else it found.

A new subject is a module with a case and these functions, and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isotypic.bench import layers, network_cases, peers
from isotypic.bench.candidates import Candidate
from isotypic.bench.layers import Asked
from isotypic.bench.setting import Setting


@dataclass(frozen=True)
class Subject:
    """Something that is timed against something plain.

    Attributes:
        name: what it is called on the command line.
        case: the dataclass of its cases, made of words and numbers.
        select: the cases that are asked for and how many of them were too large.
        make: builds the candidate ``"ours"`` or ``"plain"`` of a case.
        facts: what is said of a case beside its speed.
        peers: what other libraries have for a case, by their names.
        memory: whether memory is measured unasked.
    """

    name: str
    case: type[Any]
    select: Callable[[Asked, int | None, Setting], tuple[list[Any], int]]
    make: Callable[[Any, Setting, str], Candidate]
    facts: Callable[[Any, Setting, Candidate, Candidate], dict[str, Any]]
    peers: Callable[[Any, Setting], dict[str, Candidate]]
    memory: bool


def _no_peers(case: Any, setting: Setting) -> dict[str, Candidate]:
    return {}


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("layers", layers.LayerCase, layers.select, layers.make, layers.facts, peers.candidates, memory=False),
        Subject(
            "networks",
            network_cases.NetworkCase,
            network_cases.select,
            network_cases.make,
            network_cases.facts,
            _no_peers,
            memory=True,
        ),
    )
}
"""The subjects by name."""
