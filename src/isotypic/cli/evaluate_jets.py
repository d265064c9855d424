"""The part of ``isotypic evaluate`` that scores clusters of jets."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from isotypic.cli.tables import evaluation_table
from isotypic.data.jets.sets import JetSets
from isotypic.errors import RequestError
from isotypic.inference.run import load_clusters
from isotypic.ops.device import torch_device
from isotypic.studies.records import Scores
from isotypic.studies.systems.jet_judges import Tested, judge_of
from isotypic.studies.systems.jets import ELEMENTS, tested_on


def evaluated_jets(run: Path, sets: JetSets, part: str, device: str) -> tuple[Table, str]:
    """Return the figures of clusters on a part of the jets, and what is said below.

    Raises:
        RequestError: there is no such part, or the jets come from other particles than in training.
    """
    network, recipe, classes = load_clusters(run)
    parts = {"test": sets.test, "validation": sets.validation, "train": sets.train}
    if part not in parts:
        raise RequestError(f"expected --part {', '.join(parts)} for jets, received {part!r}")
    if sets.classes != classes:
        raise RequestError(
            f"expected jets from {', '.join(classes)} as in training, received those from {', '.join(sets.classes)}"
        )
    found = tested_on(network.to(torch_device(device)), parts[part], sets, recipe.training)
    return _table(found, sets, part), _note(found, sets)


def _table(found: Tested, sets: JetSets, part: str) -> Table:
    judge = judge_of(sets.classes)
    shares = [float(judge.shares(found, space).mean()) for space in (found.as_is, found.permuted)]
    tests = {
        ELEMENTS[0]: judge.scores(found, found.as_is),
        ELEMENTS[1]: Scores(figures={judge.measure.name: shares[1]}),
    }
    changed = int((found.clusters(found.as_is) != found.clusters(found.permuted)).sum())
    title = f"{part}: {len(found.as_is.row)} {judge.measure.sample}s"
    return evaluation_table(title, judge.measure, tests, {}, changed)


def _note(found: Tested, sets: JetSets) -> str:
    figures = {name: f"{value:.3g}" for name, value in judge_of(sets.classes).figures(found).items()}
    if figures:
        return "\n".join(f"{name}: {value}" for name, value in figures.items())
    matching = zip(range(found.shape[0]), found.matching, strict=True)
    return "; ".join(f"cluster {k}: {sets.classes[c] if c >= 0 else 'none'}" for k, c in matching)
