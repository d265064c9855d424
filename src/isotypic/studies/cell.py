"""One cell of a study: its training images drawn, its run carried out by the system, its files written."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from isotypic.studies.environment import environment
from isotypic.studies.folder import cell_folder, read_study, write_record
from isotypic.studies.records import Cell, Record
from isotypic.studies.spec import Plan, plan_from
from isotypic.studies.systems.catalogue import system_of
from isotypic.studies.systems.system import Job, Progress

CACHE_FOLDER = "cache"


def run_cell(study: Path, cell: Cell, *, device: str = "cpu", progress: Progress | None = None) -> Record:
    """Run one cell of a described study and write its files, the record last.

    Args:
        study: the study's folder, with ``study.json``.
        cell: which cell.
        device: where to train and to test.
        progress: told how far it has come.
    """
    plan, material = _opened(study)
    recipe = plan.recipe_for(cell)
    system = system_of(recipe)
    subset = system.subset(material, cell.size, cell.seed)
    group = system.moved_by(recipe, plan.spec.test_group)
    folder = cell_folder(study, cell)
    finished = system.run(Job(recipe, material, subset, group, cell.seed, device, progress), folder)
    record = Record(cell=cell, status="done", outcome=finished.outcome, environment=environment())
    write_record(folder, record, finished.predictions)
    return record


@lru_cache(maxsize=1)
def _opened(study: Path) -> tuple[Plan, Any]:
    """Load a study's plan and material once a process."""
    plan = plan_from(read_study(study))
    return plan, system_of(plan.recipe).material(plan.recipe, study / CACHE_FOLDER)
