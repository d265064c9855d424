"""A CSV file that lists images: one row an image, with its class and, where known, patient and part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from isotypic.data.config import DataConfig
from isotypic.errors import RequestError, unknown


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of a table of images, each ``[N]`` of str in the order of the rows.

    Args:
        files: the image files, relative to the table's folder.
        labels: the names of the classes.
        subjects: the patients, or None where the table has no such column.
        split: the names of the parts as written, or None where the table has no such column.
    """

    files: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray | None
    split: np.ndarray | None


def read(path: Path, config: DataConfig) -> Table:
    """Read a table of images; every cell is taken as text, so "01" and "NA" stay what they are.

    Args:
        path: the CSV file.
        config: names the columns. The patient and split columns may be absent under their default names.

    Raises:
        RequestError: the file cannot be read, lacks a column (the nearest is named), has no rows, an empty
            cell, or lists a file twice.
    """
    frame = text_frame(path)
    return Table(
        files=distinct_files(path, frame, config.file_column),
        labels=text_column(path, frame, config.label_column),
        subjects=_optional(path, frame, config, "subject_column"),
        split=_optional(path, frame, config, "split_column"),
    )


def distinct_files(path: Path, frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return the column ``[N]`` of a table that lists each file once.

    Raises:
        RequestError: as of :func:`text_column`, or a file is listed twice.
    """
    files = text_column(path, frame, name)
    names, counts = np.unique(files, return_counts=True)
    if (counts > 1).any():
        raise RequestError(f"{path}: lists {str(names[counts > 1][0])!r} twice; keep one row an image")
    return files


def text_frame(path: Path, of: str = "an image", *, least: int = 1) -> pd.DataFrame:
    """Read a CSV file, every cell as text.

    Args:
        path: the file.
        of: what a row is about, for the error.
        least: rows that it has at least.

    Raises:
        RequestError: the file cannot be read, or has fewer rows.
    """
    try:
        frame = pd.read_csv(
            path,
            dtype=str,
            index_col=False,
            keep_default_na=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
        )
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read as a CSV file ({' '.join(str(error).split())})") from error
    if len(frame) < least:
        raise RequestError(f"{path}: the table has no rows; expected one row {of}")
    return frame


def _optional(path: Path, frame: pd.DataFrame, config: DataConfig, field: str) -> np.ndarray | None:
    name = getattr(config, field)
    by_default = name == DataConfig.model_fields[field].default
    return None if by_default and name not in frame.columns else text_column(path, frame, name)


def text_column(path: Path, frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column ``[N]`` of a table, without blanks around its cells.

    Raises:
        RequestError: there is no such column (the nearest is named), or a cell is empty.
    """
    if name not in frame.columns:
        raise RequestError(f"{path}: {unknown('column', name, [str(column) for column in frame.columns])}")
    values = frame[name].str.strip().to_numpy(dtype=str)
    if (values == "").any():
        row = int(np.flatnonzero(values == "")[0]) + 2
        raise RequestError(f"{path}: line {row} has an empty cell in column {name!r}; fill it or remove the row")
    return values
