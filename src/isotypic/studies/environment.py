"""What a study ran on: versions, commit and machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import isotypic


def environment() -> dict[str, str]:
    """Return versions, the commit of this package where it is a checkout, and the machine, in words."""
    libraries = ("torch", "lightning", "numpy", "scikit-learn")
    return {
        "isotypic": version("isotypic"),
        "commit": commit(),
        "Python": platform.python_version(),
        **{name: version(name) for name in libraries},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def commit() -> str:
    """Return the git commit of the package's checkout, marked where files changed; or say there is none."""
    folder = Path(isotypic.__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return "installed, no checkout"
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown: git did not answer"
    return answer.stdout.strip()
