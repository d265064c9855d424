"""Conversion to shards: what is kept is what was there, every start goes on where the last one stopped."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from made_jets import QUIET, shards, write_source

pytest.importorskip("pyarrow", reason="needs the extra jets")

from isotypic.data.jets.config import JetDataConfig, JetSources
from isotypic.distributed import conversion
from isotypic.distributed.manifest import read_manifest, sha256_of
from isotypic.distributed.shards import ShardFile
from isotypic.errors import RequestError

KEPT = {"classes": ("w", "z", "t"), "mass": (10, 200)}


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "source")


def hashes(folder):
    return {path.name: sha256_of(path) for path in folder.glob("*.parquet")}


def request(source, **data):
    return JetSources(paths=(source,), data=JetDataConfig(particles=20, shard_rows=1024, group_rows=512, **data))


def test_the_manifest_says_what_is_in_the_files(source, tmp_path):
    folder = shards(tmp_path / "shards", source, **KEPT)
    manifest = read_manifest(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json", "part-00000.parquet", "part-00001.parquet", "part-00002.parquet", "request.yaml",
    ]  # fmt: skip
    assert manifest.rows + sum(manifest.dropped.values()) == 3000
    assert (manifest.classes, manifest.sources, manifest.particles) == (("w", "z", "t"), ("0.h5", "1.h5"), 20)
    assert manifest.columns["features"].startswith("fixed_size_list<")
    rows, sources = [], []
    for shard in manifest.shards:
        file = ShardFile(folder / shard.file, 20)
        assert (len(file), sha256_of(folder / shard.file)) == (shard.rows, shard.sha256)
        assert all(size == 512 for size in file.groups[:-1])
        found = [file.read(group, ("row_id", "source", "label")) for group in range(len(file.groups))]
        rows += np.concatenate([one["row_id"] for one in found]).tolist()
        sources += np.concatenate([one["source"] for one in found]).tolist()
        labels = np.concatenate([one["label"] for one in found])
        assert np.bincount(labels, minlength=3).tolist() == list(shard.counts)
    assert rows == sorted(set(rows))
    assert [int(name[0]) for name in sources] == [row // 1500 for row in rows]


def test_what_is_there_is_kept_and_what_is_damaged_is_made_again(source, tmp_path):
    folder = shards(tmp_path / "shards", source, **KEPT)
    before, made = hashes(folder), {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    (folder / "part-00001.parquet").write_bytes(b"damaged")
    done = conversion.convert(request(source, **KEPT), folder, QUIET)
    assert (done.before, hashes(folder)) == (2, before)
    for name in ("part-00000.parquet", "part-00002.parquet"):
        assert (folder / name).stat().st_mtime_ns == made[folder / name]


KILLED = """
import sys, time
from pathlib import Path
from isotypic.data.jets.config import JetDataConfig, JetSources
from isotypic.distributed import conversion
make = conversion._make
def slowly(files, folder, place, rows, tell):
    made = make(files, folder, place, rows, tell)
    print(place, flush=True)
    time.sleep(60 if place else 0)
    return made
conversion._make = slowly
config = JetDataConfig(particles=20, shard_rows=1024, group_rows=512, classes=("w", "z", "t"), mass=(10, 200))
conversion.convert(JetSources(paths=(Path(sys.argv[1]),), data=config), Path(sys.argv[2]), lambda done, total: None)
"""


def test_a_killed_conversion_goes_on_with_the_same_bytes(source, tmp_path):
    whole, folder = shards(tmp_path / "whole", source, **KEPT), tmp_path / "shards"
    with subprocess.Popen([sys.executable, "-c", KILLED, source, folder], stdout=subprocess.PIPE) as first:
        while first.stdout.readline().strip() != b"1":
            assert first.poll() is None, "it ended before it could be killed"
        first.kill()
    assert sorted(hashes(folder)) == ["part-00000.parquet", "part-00001.parquet"]
    assert not (folder / "manifest.json").exists()
    (folder / ".part-00002.x.parquet").write_bytes(b"half")
    told = []
    done = conversion.convert(request(source, **KEPT), folder, lambda rows, total: told.append(rows))
    assert (done.before, told[0], told[-1]) == (2, 2048, 3000)
    assert hashes(folder) == hashes(whole)
    assert (folder / "manifest.json").read_text() == (whole / "manifest.json").read_text()
    assert not list(folder.glob(".*"))


def test_a_request_has_a_folder_of_its_own(source, tmp_path):
    folder = shards(tmp_path / "shards", source)
    with pytest.raises(RequestError, match="the folder holds files of another request"):
        shards(folder, source, **KEPT)
    write_source(source, files=1, rows=700)
    time.sleep(0.01)
    with pytest.raises(RequestError, match="the folder holds files of another request"):
        shards(folder, source)


def test_of_no_jets_there_are_no_shards(source, tmp_path):
    with pytest.raises(RequestError, match=r"no jet is kept of 3,000 \(0 by empty, 0 by class, 3,000 by mass\); widen"):
        shards(tmp_path / "shards", source, mass=(1000, 2000))


def test_runs_of_rows_without_jets_leave_no_file(source, tmp_path):
    """A class that only the second file has."""
    from made_jets import rewritten

    labels = np.zeros((1500, 59))
    labels[:, 54] = 1
    rewritten(source / "0.h5", jets=labels)
    folder = shards(tmp_path / "shards", source, classes=("t",))
    manifest = read_manifest(folder)
    assert [shard.rows > 0 for shard in manifest.shards] == [False, True, True]
    assert sorted(hashes(folder)) == ["part-00001.parquet", "part-00002.parquet"]
    assert conversion.convert(request(source, classes=("t",)), folder, QUIET).before == 2


def test_the_hash_of_jets_is_that_of_their_contents(source, tmp_path):
    one, same = (read_manifest(shards(tmp_path / name, source)).digest() for name in ("one", "same"))
    other = read_manifest(shards(tmp_path / "other", source, classes=("w",))).digest()
    assert one == same != other
    assert re.fullmatch("[0-9a-f]{64}", one)
    json.loads((tmp_path / "one" / "manifest.json").read_text())
