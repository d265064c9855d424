"""One Parquet file of jets, read and written a row group at a time.

Columns: ``features``, a fixed-size list of P x 8 float32, particle by particle; ``particles`` int16, how many of the P
there are; ``label`` int16; ``mass`` float32 in GeV; ``row_id`` int64; ``source``, the name of a file. Packed by zstd,
the bytes of numbers split into streams; every page has a checksum, which is compared when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isotypic.data.jets.batch import FEATURES
from isotypic.data.jets.table import JetTable
from isotypic.errors import RequestError

SUFFIX = ".parquet"
STREAMED = ("features", "particles", "label", "mass", "row_id")
"""Columns that training reads."""


def arrow() -> Any:
    """Return pyarrow with its Parquet module.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 (an extra)
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise RequestError("shards of jets are Parquet files: pip install isotypic[jets]") from error
    return pa


def schema(particles: int) -> Any:
    """Return the columns of jets padded to so many particles."""
    pa = arrow()
    features = pa.list_(pa.float32(), particles * len(FEATURES))
    kinds = {"features": features, "particles": pa.int16(), "label": pa.int16(), "mass": pa.float32()}
    return pa.schema({**kinds, "row_id": pa.int64(), "source": pa.dictionary(pa.int32(), pa.string())})


def write_shard(path: Path, tables: Iterable[JetTable], particles: int, group_rows: int) -> None:
    """Write a file of row groups of equal size, but for the last.

    Args:
        path: the file.
        tables: the jets, of which no more than a row group and a table are held at once.
        particles: P of the jets.
        group_rows: jets a row group.

    Raises:
        OSError: what the file system answers.
    """
    columns, parquet = schema(particles), arrow().parquet
    with parquet.ParquetWriter(
        path,
        columns,
        compression="zstd",
        use_dictionary=["source"],
        use_byte_stream_split=["features.list.element", "mass"],
        write_page_checksum=True,
        version="2.6",
    ) as writer:
        for group in in_groups(tables, group_rows):
            writer.write_table(_to_arrow(group, columns), row_group_size=group_rows)


def in_groups(tables: Iterable[JetTable], size: int) -> Iterator[JetTable]:
    """Yield the rows of tables in tables of one size; the last may be smaller."""
    waiting: list[JetTable] = []
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= size:
            joined = JetTable.joined(waiting)
            yield joined.take(slice(size))
            waiting = [joined.take(slice(size, None))]
    if sum(map(len, waiting)):
        yield JetTable.joined(waiting)


class ShardFile:
    """A Parquet file of jets, which is opened when a row group is asked for.

    Args:
        path: the file.
        particles: P of its jets.

    Raises:
        RequestError: it cannot be read as Parquet, or has other columns.
    """

    def __init__(self, path: Path, particles: int) -> None:
        self.path, self.particles = path, particles
        pa = arrow()
        try:
            self._footer = pa.parquet.read_metadata(path)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error
        found, expected = self._footer.schema.to_arrow_schema(), schema(particles)
        for name in expected.names:
            kind = found.field(name).type if name in found.names else None
            if kind is None or not _alike(kind, expected.field(name).type):
                raise RequestError(
                    f"{path}: expected the column {name} of {expected.field(name).type}, received {kind or 'none'}; "
                    "convert the jets again"
                )

    def __len__(self) -> int:
        return int(self._footer.num_rows)

    @property
    def groups(self) -> list[int]:
        """How many jets each row group has."""
        return [self._footer.row_group(place).num_rows for place in range(self._footer.num_row_groups)]

    def read(self, group: int, columns: Iterable[str] = STREAMED) -> dict[str, np.ndarray]:
        """Return columns of a row group; features as ``[n, P, 8]``.

        Raises:
            RequestError: the file cannot be read there, or a checksum differs.
        """
        pa = arrow()
        try:
            with pa.parquet.ParquetFile(
                self.path, metadata=self._footer, page_checksum_verification=True, pre_buffer=False
            ) as file:
                found = file.read_row_group(group, columns=list(columns), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error
        return {name: self._to_numpy(name, found[name].combine_chunks()) for name in columns}

    def table(self, group: int, most: int | None = None) -> JetTable:
        """Return the jets of a row group, of each at most so many particles; their source is left out.

        Raises:
            RequestError: as of :meth:`read`.
        """
        found = self.read(group)
        kept = self.particles if most is None else min(most, self.particles)
        return JetTable(
            features=found["features"][:, :kept],
            particles=np.minimum(found["particles"].astype(np.int64), kept),
            label=found["label"].astype(np.int64),
            mass=found["mass"],
            row=found["row_id"],
            source=np.full(len(found["mass"]), ""),
        )

    def _to_numpy(self, name: str, column: Any) -> np.ndarray:
        if name == "features":
            return column.flatten().to_numpy().reshape(len(column), self.particles, len(FEATURES))
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def _unreadable(self, error: Exception) -> RequestError:
        return RequestError(
            f"{self.path}: cannot be read as Parquet ({' '.join(str(error).split())[:200]}); convert the jets again"
        )


def _to_arrow(table: JetTable, columns: Any) -> Any:
    pa = arrow()
    flat = pa.array(np.ascontiguousarray(table.features, np.float32).reshape(-1))
    arrays = [
        pa.FixedSizeListArray.from_arrays(flat, columns.field("features").type.list_size),
        *(pa.array(values.astype(np.int16)) for values in (table.particles, table.label)),
        pa.array(table.mass.astype(np.float32)),
        pa.array(table.row.astype(np.int64)),
        pa.array(table.source.tolist(), pa.string()).dictionary_encode(),
    ]
    return pa.Table.from_arrays(arrays, schema=columns)


def _alike(found: Any, expected: Any) -> bool:
    """Say whether two types are the same but for the name of a list's values."""
    types = arrow().types
    if types.is_fixed_size_list(expected):
        return (
            types.is_fixed_size_list(found)
            and found.list_size == expected.list_size
            and (found.value_type == expected.value_type)
        )
    return bool(found == expected) or (types.is_dictionary(expected) and types.is_string(found))
