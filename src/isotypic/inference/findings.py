"""What there is to find in scans, and what of it candidates reach, by the rules of LUNA16; no network is needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isotypic.data.scans.candidates import Points, places
from isotypic.metrics.froc import MISSED, Findings, Marks, judge


def reached(candidates: Points, nodules: Points) -> NDArray[np.bool_]:
    """Return which nodules ``[n]`` some candidate hits by the rules of LUNA16, however many candidates a scan has.

    Their share is the highest sensitivity that a classifier of these candidates can have.
    """
    scans = tuple(dict.fromkeys(nodules.scan.tolist()))
    if not scans:
        return np.zeros(0, dtype=bool)
    mine = candidates[places(candidates.scan, scans) >= 0]
    order = np.argsort(places(nodules.scan, scans), kind="stable")
    marks = Marks(mine.scan, mine.position, np.zeros(len(mine)))
    judged = judge(marks, findings(nodules[order], scans), scans=scans, most=max(len(mine), 1))
    hit = np.empty(len(nodules), dtype=bool)
    hit[order] = judged.nodule_probability > MISSED
    return hit


def findings(points: Points, scans: tuple[str, ...]) -> Findings:
    """Return what there is to find in some scans, of points whose value is a diameter in millimetres."""
    there = np.isin(points.scan, scans)
    return Findings(points.scan[there], points.position[there], points.value[there])
