"""The isotypic convolution by a compiled kernel: built once for a group and a kernel, kept in the user's cache.

The kernel has a plain C interface, so it depends on no version of torch and compiles in about a second. Without a GCC
that can build it (``CXX`` names another), torch's own functions serve instead, and a warning says so once.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import math
import os
import shutil
import subprocess
import tempfile
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isotypic.groups.finite import FiniteGroup
from isotypic.ops.isotypic.case import Case, patch_basis
from isotypic.ops.isotypic.source import header
from isotypic.ops.layout import CHANNELS_LAST, is_channels_last
from isotypic.ops.resampling import Sizes

LOGGER = logging.getLogger(__name__)
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-shared", "-fPIC", "-Wno-psabi")
LARGEST_PATCH = 2048
"""Entries |G| K of a patch of one field beyond which no kernel is made: its straight-line code would take minutes."""

SHARE = 1 << 19
"""Multiplications that are worth waking another thread for."""

LONG_ROW = 256
"""Samples of a row that is long enough to be transformed at full speed."""

DTYPES = {torch.float32: (), torch.float64: ("-DISOTYPIC_DOUBLE",)}


def serves(x: Tensor, case: Case) -> bool:
    """Whether there is a compiled kernel for a signal."""
    return x.device.type == "cpu" and x.dtype in DTYPES and _kernel(case, x.dtype) is not None


def available(group: FiniteGroup, kernel: Sizes, dtype: torch.dtype) -> bool:
    """Whether the kernel for a group is there or can be built, which takes a second the first time."""
    return group.order * math.prod(kernel) <= LARGEST_PATCH and _library(group, kernel, dtype) is not None


def convolve(x: Tensor, blocks: Tensor, bias: Tensor | None, case: Case) -> Tensor:
    """Convolve ``[B, N |G|, *space]`` by blocks ``[M, N, R]``."""
    x, last = _dense(x)
    made, size = len(blocks), case.output_size(x.shape[2:])
    y = _empty(x, (len(x), made * case.group.order, *size), last)
    blocks, bias = blocks.contiguous(), None if bias is None else bias.contiguous()
    problem = _problem(case, tuple(x.shape), made, (last, last), torch.get_num_threads())
    pointers = (0 if t is None else t.data_ptr() for t in (x, blocks, bias, y))
    _kernel(case, x.dtype).forward(problem, *pointers)
    return y


def correlate(x: Tensor, gradient: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    """Return the gradients of blocks ``[M, N, R]`` and bias ``[M]`` from that of the output."""
    (x, x_last), (gradient, last) = _dense(x), _dense(gradient)
    order, entries = case.group.order, len(case.basis.weight_to_blocks)
    made = gradient.shape[1] // order
    to_blocks, to_bias = x.new_empty(made, x.shape[1] // order, entries), x.new_empty(made)
    problem = _problem(case, tuple(x.shape), made, (x_last, last), torch.get_num_threads())
    pointers = (t.data_ptr() for t in (x, gradient, to_blocks, to_bias))
    _kernel(case, x.dtype).weight_gradient(problem, *pointers)
    return to_blocks, to_bias


def _dense(x: Tensor) -> tuple[Tensor, bool]:
    """Return a signal without gaps and whether its channels come last."""
    last = is_channels_last(x)
    return (x if last else x.contiguous()), last


def _empty(x: Tensor, shape: tuple[int, ...], last: bool) -> Tensor:
    if not last:
        return x.new_empty(shape)
    return torch.empty(shape, dtype=x.dtype, memory_format=CHANNELS_LAST[x.dim()])


@cache
def _kernel(case: Case, dtype: torch.dtype) -> Any:
    """Return the kernel for a case, or None."""
    can = min(case.padding) >= 0 and available(case.group, case.kernel, dtype)
    return _library(case.group, case.kernel, dtype) if can else None


@lru_cache(maxsize=1024)
def _problem(case: Case, shape: tuple[int, ...], made: int, last: tuple[bool, bool], threads: int) -> Any:
    """Return the struct that describes one call; a plane is a volume of one slice."""
    order, seen, size = case.group.order, shape[2:], case.output_size(shape[2:])
    if case.is_pointwise:
        seen = size = _merged(size)
    flat = 3 - len(size)
    axes = [seen, size, *(word[-len(size) :] for word in (case.stride, case.padding, case.dilation, case.kernel))]
    fills = (1, 1, 1, 0, 1, 1)
    numbers = [shape[0], shape[1] // order, made]
    for axis, fill in zip(axes, fills, strict=True):
        numbers += [*([fill] * flat), *axis]
    work = shape[0] * made * (shape[1] // order) * case.basis.multiplications
    for extent in size:
        work *= extent
    numbers += [*map(int, last), max(1, min(threads, work // SHARE))]
    return (ctypes.c_int64 * len(numbers))(*numbers)


def _merged(size: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and samples a row of a signal whose samples are independent: rows of a few hundred."""
    rows, samples = math.prod(size[:-1]), size[-1]
    together = next((r for r in range(1, rows) if rows % r == 0 and r * samples >= LONG_ROW), rows)
    return rows // together, together * samples


@cache
def _library(group: FiniteGroup, kernel: Sizes, dtype: torch.dtype) -> Any:
    """Return the kernel for a group, or None where it cannot be built."""
    compiler = _compiler()
    if compiler is None:
        return None
    files = {**_sources(), "group.h": header(patch_basis(group, kernel))}
    command = [compiler, *FLAGS, *DTYPES[dtype]]
    digest = hashlib.sha256("\0".join([*files.values(), *command, _machine()]).encode()).hexdigest()[:24]
    path = _cache() / f"isotypic-{group.name}-{digest}.so"
    if not path.exists() and not _build(command, files, path):
        return None
    library = ctypes.CDLL(str(path))
    library.forward.argtypes = library.weight_gradient.argtypes = [ctypes.c_void_p] * 5
    library.forward.restype = library.weight_gradient.restype = None
    return library


@cache
def _sources() -> dict[str, str]:
    """Return the text of the kernel, file by file."""
    folder = resources.files("isotypic.ops.isotypic").joinpath("kernel")
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.iterdir(), key=lambda f: f.name)}


def _build(command: list[str], files: dict[str, str], path: Path) -> bool:
    """Compile into the cache, beside and renamed: several processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        made = Path(folder) / "kernel.so"
        whole = [*command, str(Path(folder) / "convolution.cpp"), "-o", str(made)]
        done = subprocess.run(whole, capture_output=True, text=True, check=False)
        if done.returncode:
            _say_once(f"{command[0]} did not build the kernel: {done.stderr.strip().splitlines()[0]}")
            return False
        made.replace(path)
    return True


@cache
def _compiler() -> str | None:
    """Return the C++ compiler, or None after saying so."""
    found = shutil.which(os.environ.get("CXX", "g++"))
    if found is None:
        _say_once("found no C++ compiler (g++, or what CXX names)")
    return found


@cache
def _say_once(reason: str) -> None:
    LOGGER.warning("isotypic: %s; group convolutions run by torch's own functions, which is slower", reason)


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
