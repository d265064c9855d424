"""The page: findings, figures and tables put into the template, as one HTML text with nothing outside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from isotypic.reports import figures, froc, matrices, tables
from isotypic.reports.findings import Findings
from isotypic.reports.notation import capital, count, enumeration
from isotypic.reports.pictures import Pictures
from isotypic.reports.style import missing_extra
from isotypic.reports.verdict import judge
from isotypic.studies.statistics import RESAMPLES

TEMPLATES = Path(__file__).parent / "templates"


def render(findings: Findings, pictures: Pictures) -> str:
    """Return the page.

    Args:
        findings: the figures of the study.
        pictures: those that lie in its folder.

    Raises:
        RequestError: jinja2 or matplotlib is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415
    except ImportError as missing:
        raise missing_extra("jinja2") from missing
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(capital=capital, count=count, enumeration=enumeration)
    return environment.get_template("report.html.jinja").render(contents(findings, pictures))


def contents(findings: Findings, pictures: Pictures) -> dict[str, Any]:
    """Return what the template names: words, tables, and figures as SVG."""
    study, info = findings.study, findings.study.info
    size = findings.finished
    return {
        "info": info,
        "measure": info.measure,
        "findings": findings,
        "verdict": judge(findings),
        "key_figures": tables.key_figures(findings),
        "measure_tables": tables.measure_tables(findings),
        "further_tables": tables.further_tables(findings, size),
        "comparison_tables": tables.comparison_tables(findings),
        "worth_table": tables.worth_table(findings),
        "efficiency_table": tables.efficiency_table(findings),
        "pace_table": tables.pace_table(findings),
        "time_table": tables.time_table(findings),
        "froc_table": froc.froc_table(findings, size),
        "cost_table": tables.cost_table(findings, size),
        "figures": drawings(findings, size),
        "size": size,
        "several": len(info.sizes) > 1,
        "resamples": RESAMPLES,
        "failed": study.failed(),
        "missing": study.missing(),
        "group": next(record.outcome.group for record in study.records if record.outcome),
        "environment": environments(findings),
        "settings": as_yaml(info.settings),
        "data": as_yaml(info.data),
        "pictures": pictures,
    }


def drawings(findings: Findings, size: int) -> dict[str, str]:
    """Return every figure as SVG, by the name that the template gives it."""
    return {
        "measure": figures.measure_by_size(findings),
        "learning": figures.learning_curves(findings),
        "roc": figures.roc_curves(findings),
        "froc": froc.froc_curves(findings),
        "overfitting": figures.overfitting(findings),
        "rotation": figures.measure_by_rotation(findings),
        "declared": figures.declared_comparison(findings) if findings.primary.overall else "",
        "confusion": matrices.confusion_matrices(findings, size),
        "equivariance": matrices.equivariance(findings),
    }


def environments(findings: Findings) -> dict[str, str]:
    """Return what the study and its cells ran on; what differs among them is listed."""
    info = findings.study.info
    found = [info.environment, *(record.environment for record in findings.study.records)]
    names = dict.fromkeys(name for each in found for name in each)
    return {name: "; ".join(dict.fromkeys(each[name] for each in found if name in each)) for name in names}


def as_yaml(settings: dict[str, Any]) -> str:
    r"""Return settings as a reader of recipes knows them: a line a key, small sections on one line.

    >>> as_yaml({"steps": 1500, "optimizer": {"lr": 0.002}})
    'steps: 1500\noptimizer: {lr: 0.002}'
    """
    flat = not any(isinstance(value, (dict, list)) for value in settings.values())
    flow = False if flat else None
    return yaml.safe_dump(settings, sort_keys=False, default_flow_style=flow, allow_unicode=True, width=88).rstrip()
