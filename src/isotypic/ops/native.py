"""C++ kernels with a plain C interface: built once on first use, and kept in the user's cache.

They depend on no version of torch and compile in about a second. Where no GCC can build them (``CXX`` names another)
torch's own functions serve instead, and a warning says so once.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

LOGGER = logging.getLogger(__name__)
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi")

DTYPES = MappingProxyType({torch.float32: (), torch.float64: ("-DISOTYPIC_DOUBLE",)})
"""What the compiler is told of a dtype that the kernels serve."""

POINTER, INTEGER, REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double

SHARE = 1 << 19
"""Multiplications that are worth waking another thread for."""


def threads(work: int, most: int | None = None) -> int:
    """Return how many threads so many multiplications are worth, of ``most``, or of those that torch may use."""
    return max(1, min(torch.get_num_threads() if most is None else most, work // SHARE))


def library(
    name: str,
    main: str,
    dtype: torch.dtype,
    signatures: Mapping[str, Sequence[Any]],
    generated: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Return a built kernel, or None where it cannot be built.

    Args:
        name: what its file is called in the cache.
        main: the file of ``ops/kernels`` to compile.
        dtype: of the signals, one of :data:`DTYPES`.
        signatures: the C types of each function's arguments; none returns anything.
        generated: further files that it includes, by name.
    """
    compiler = _compiler()
    if compiler is None:
        return None
    files = {**_sources(), **generated}
    command = [compiler, *FLAGS, *DTYPES[dtype]]
    digest = hashlib.sha256("\0".join([main, *files.values(), *command, _machine()]).encode()).hexdigest()[:24]
    path = _cache() / f"{name}-{digest}.so"
    if not path.exists() and not _build(command, main, files, path):
        return None
    built = ctypes.CDLL(str(path))
    for function, arguments in signatures.items():
        entry = getattr(built, function)
        entry.argtypes, entry.restype = arguments, None
    return built


@cache
def _sources() -> dict[str, str]:
    """Return the text of the kernels, file by file."""
    folder = resources.files("isotypic.ops").joinpath("kernels")
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.iterdir(), key=lambda f: f.name)}


def _build(command: list[str], main: str, files: Mapping[str, str], path: Path) -> bool:
    """Compile into the cache, beside and renamed: several processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        made = Path(folder) / "kernel.so"
        whole = [*command, str(Path(folder) / main), "-o", str(made)]
        done = subprocess.run(whole, capture_output=True, text=True, check=False)
        if done.returncode:
            _say_once(f"{command[0]} did not build {main}: {_reason(done.stderr)}")
            return False
        made.replace(path)
    return True


def _reason(said: str) -> str:
    """Return the first line in which a compiler names an error."""
    lines = said.strip().splitlines() or ["it said nothing"]
    return next((line for line in lines if "error" in line), lines[0])


@cache
def _compiler() -> str | None:
    """Return the C++ compiler, or None after saying so."""
    found = shutil.which(os.environ.get("CXX", "g++"))
    if found is None:
        _say_once("found no C++ compiler (g++, or what CXX names)")
    return found


@cache
def _say_once(reason: str) -> None:
    LOGGER.warning("isotypic: %s; group convolutions and norms run by torch's own functions, which is slower", reason)


def _cache() -> Path:
    """Return the folder of built kernels: ``ISOTYPIC_CACHE``, or ``isotypic`` in the user's cache."""
    chosen = os.environ.get("ISOTYPIC_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "isotypic"


@cache
def _machine() -> str:
    """Return what ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return os.uname().machine
    return next((line for line in lines if line.startswith(("flags", "Features"))), os.uname().machine)
