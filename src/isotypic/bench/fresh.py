"""One candidate of one case, alone in a process: prints the peak memory of its call in bytes, as JSON.

What libraries load and keep at their first call is loaded by a small case of the same code first, and does not count.
What the candidate itself keeps does: expanded filters, blocks, gradients, buffers of threads. So two calls are measured
together.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import torch

from isotypic.bench.memory import peak
from isotypic.bench.setting import Setting
from isotypic.bench.subjects import SUBJECTS
from isotypic.nn.compute import Compute


def measured(order: dict[str, Any]) -> int | None:
    """Return the peak memory in bytes of what :func:`isotypic.bench.memory.fresh_peak` orders."""
    torch.set_num_threads(order["threads"])
    subject, setting = SUBJECTS[order["subject"]], Setting(**order["setting"])
    case = subject.case(**order["case"])
    for compute in _ways(setting) if order["name"] == "ours" else (setting.compute,):
        small = subject.make(case.small, replace(setting, compute=compute), order["name"])
        small.call()
        small.call()
        del small
    candidate = subject.make(case, setting, order["name"])

    def calls() -> None:
        candidate.call()
        candidate.call()

    return peak(calls, setting.device)


def _ways(setting: Setting) -> tuple[str, ...]:
    """The ways that the large case may be computed, whichever the small one would take."""
    auto = setting.compute == Compute.AUTO
    return (Compute.DENSE.value, Compute.ISOTYPIC.value) if auto else (setting.compute,)


if __name__ == "__main__":
    print(json.dumps(measured(json.loads(sys.argv[1]))))
