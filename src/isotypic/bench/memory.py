"""Peak memory of a call, beyond what was there before.

On the CPU it is resident memory as Linux counts it: writing 5 to ``/proc/self/clear_refs`` sets the high-water mark
``VmHWM`` of ``/proc/self/status`` back to what is resident now, so that the mark after the call is the call's own. The
``ru_maxrss`` of ``getrusage`` cannot be set back where that file is missing, and then says what importing torch once
took; so elsewhere there is no figure. On a CUDA device it is what torch's allocator handed out at most.

What earlier calls freed may still be resident, and a call that uses it again would seem to take none: so the C library
is first told to return it (``malloc_trim``, where there is one), and figures are taken in a process of its own
(:mod:`isotypic.bench.fresh`).
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from isotypic.bench.setting import Setting

LOGGER = logging.getLogger(__name__)
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(call: Callable[[], object], device: str = "cpu") -> int | None:
    """Return the bytes that a call took at most beyond what was held before, or None where that cannot be measured."""
    gc.collect()
    if device == "cuda":
        return _cuda_peak(call)
    _return_freed()
    if not _cleared():
        return None
    before = _resident("VmRSS")
    call()
    return max(0, _resident("VmHWM") - before)


def _cuda_peak(call: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _return_freed() -> None:
    """Have the C library return what was freed to the system, where it can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _cleared() -> bool:
    """Set the high-water mark back; say whether the system can."""
    try:
        CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _resident(mark: str) -> int:
    found = re.search(rf"^{mark}:\s+(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"expected {mark} in {STATUS}, found none")
    return int(found[1]) * 1024


def fresh_peak(subject: str, case: Any, setting: Setting, name: str) -> int | None:
    """Return the peak memory in bytes of one candidate of one case, measured in a fresh process.

    Args:
        subject: what is timed.
        case: the case.
        setting: what the cases share.
        name: the candidate.

    Returns:
        None where the system has no figure, or where the process failed, which is said in the log.
    """
    order = {
        "subject": subject,
        "case": asdict(case),
        "setting": asdict(setting),
        "name": name,
        "threads": torch.get_num_threads(),
    }
    command = [sys.executable, "-m", "isotypic.bench.fresh", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        LOGGER.warning("no memory figure of %s, %s: %s", case, name, reason)
        return None
    return json.loads(done.stdout)
