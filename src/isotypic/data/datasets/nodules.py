"""Candidates in synthetic scans: a set in the layout of LUNA16 is made in the cache, and read as LUNA16 is."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from isotypic.data.config import CandidateDataConfig
from isotypic.data.datasets import luna16
from isotypic.data.scans.candidates import CandidateSet
from isotypic.data.scans.extraction import Progress
from isotypic.data.scans.listing import ScanListing
from isotypic.data.synthetic import nodules
from isotypic.errors import RequestError

TEST, VALIDATION = (9,), (8,)
"""Subsets, as the generator's convention is."""


def load(config: CandidateDataConfig, cache: Path, progress: Progress | None = None) -> CandidateSet:
    """Make the scans that are not in the cache yet, and return their candidates.

    Args:
        config: ``nodules`` says what is made; subset 9 is the test and subset 8 the validation set unless others are
            named.
        cache: folder for scans and patches; scans of another request lie beside them.
        progress: told how many scans are made, then of how many the patches are cut out.

    Raises:
        RequestError: a path is given, SimpleITK is missing, or the disk is too small.
    """
    found = luna16.load(_made(config, cache, progress), cache, progress)
    return replace(found, patches=replace(found.patches, name="nodules"))


def listed(config: CandidateDataConfig, cache: Path, progress: Progress | None = None) -> ScanListing:
    """Make the scans that are not in the cache yet, and return what is known of them; arguments as of :func:`load`."""
    return replace(luna16.listed(_made(config, cache, progress)), name="nodules")


def _made(config: CandidateDataConfig, cache: Path, progress: Progress | None) -> CandidateDataConfig:
    """Make the scans, and return the request for their folder.

    Raises:
        RequestError: a path is given, which would be ignored.
    """
    if config.path is not None:
        raise RequestError(
            f"the data set 'nodules' is made and reads no path, received {config.path}; "
            "leave data.path out, or read the folder as luna16"
        )
    digest = sha256(f"{nodules.FORMAT}\0{config.nodules.model_dump_json()}".encode()).hexdigest()[:24]
    folder = cache / f"nodules-{digest}"
    nodules.write(config.nodules, folder, progress or _unheard)
    parts = {
        "test_subsets": config.test_subsets or TEST,
        "validation_subsets": config.validation_subsets or VALIDATION,
    }
    return config.model_copy(update={"path": folder, **parts})


def _unheard(done: int, total: int) -> None:
    """Hear nothing."""
