"""The part of ``isotypic evaluate`` that scores detectors: the CPM with its interval, and the FROC curve."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from isotypic.errors import RequestError
from isotypic.files import write_text
from isotypic.groups.finite import FiniteGroup
from isotypic.inference.detection_evaluation import DetectionEvaluation, evaluate_detection
from isotypic.inference.run import load_detector
from isotypic.metrics.froc import RATES
from isotypic.ops.device import torch_device
from isotypic.reports.froc import one_curve
from isotypic.studies.records import Froc
from isotypic.studies.systems.detection import at_rate, froc_of
from isotypic.studies.systems.png import can_draw
from isotypic.tasks.detection import DetectionMaterial

CURVE = "froc.svg"


def evaluated_detector(
    run: Path, material: DetectionMaterial, part: str, group: FiniteGroup, device: str
) -> tuple[Table, str]:
    """Return the figures of a detector on a part of its scans, and what is said below; draw its curve beside the run.

    Raises:
        RequestError: there is no such part, or no nodule in it, or the patches are of another size than in training.
    """
    trained = load_detector(run)
    parts = vars(material.splits)
    if part not in parts:
        raise RequestError(f"expected --part {', '.join(parts)} for a detector, received {part!r}")
    trained.accepted(material.candidates.patches.images[:1])
    rows, where = parts[part], torch_device(device)
    found = evaluate_detection(trained.model, material, rows, trained.normalisation, group, device=where)
    froc = froc_of(found.upright)
    return _table(found, froc, part), _note(found, run, froc)


def _table(found: DetectionEvaluation, froc: Froc, part: str) -> Table:
    scans, nodules = len(found.upright.scans), len(found.nodules)
    title = f"{part}: {scans} scans, {nodules} nodules, {len(found.labels)} candidates"
    table = Table(title=title, title_justify="left")
    for column in ("", "%", "95 % interval"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("CPM", f"{froc.cpm:.2%}", _interval(froc.cpm_interval))
    table.add_row("CPM, nearest point", f"{froc.cpm_nearest:.2%}", "")
    table.add_section()
    for rate, value, interval in zip(RATES, found.upright.curve().at(RATES), froc.intervals, strict=True):
        table.add_row(f"{at_rate(rate)} false positives a scan", f"{value:.2%}", _interval(interval))
    table.add_section()
    for element, cpm in zip(found.elements, found.detected.mean(1), strict=True):
        table.add_row(f"CPM, patches moved: {element}", f"{cpm:.2%}", "")
    table.caption = (
        f"{found.upright.found} of {nodules} nodules have a candidate; {found.disagreeing} are called one under some "
        "elements only"
    )
    return table


def _note(found: DetectionEvaluation, run: Path, froc: Froc) -> str:
    said = f"intervals: bootstrap over scans; group {found.group.name}"
    if not can_draw():
        return f"{said}; the curve is drawn where matplotlib is: pip install isotypic[report]"
    curve = write_text(run / CURVE, one_curve(froc, f"CPM {froc.cpm:.1%}"))
    return f"{said}\ncurve: {curve.resolve()}"


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.1%} to {ends[1]:.1%}"
