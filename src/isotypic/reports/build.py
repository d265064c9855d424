"""From a study's folder to its report."""

from __future__ import annotations

from pathlib import Path

from isotypic.files import write_text
from isotypic.reports.findings import find
from isotypic.reports.page import render
from isotypic.reports.pictures import pictures
from isotypic.studies.folder import StudyRecords

REPORT_FILE = "report.html"


def build_report(study_folder: Path) -> Path:
    """Write ``report.html`` into a study's folder, from its records alone, and return its path.

    It may be called at any time: what has not finished is left out and said.

    Args:
        study_folder: holds ``study.json`` and ``cells/``.

    Raises:
        RequestError: no study there, nothing finished, an unreadable record, or ``isotypic[report]`` missing.
    """
    findings = find(StudyRecords.load(study_folder))
    page = render(findings, pictures(study_folder, findings))
    return write_text(study_folder / REPORT_FILE, page)
