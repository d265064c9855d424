"""Batches of shards: the same for every number of processes, exact when gone on with, and no damaged file is read."""

import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_jets import shards, write_source

pytest.importorskip("pyarrow", reason="needs the extra jets")

from isotypic.data.datasets.jets import JetFiles
from isotypic.data.jets.config import JetDataConfig, JetSources
from isotypic.distributed.inspection import inspect
from isotypic.distributed.shards import ShardFile
from isotypic.distributed.stream import ShardedJets
from isotypic.errors import RequestError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("jets")
    return shards(root / "shards", write_source(root / "source"))


def joined(parts):
    """The batches of several processes, as rows."""
    return [torch.cat([part.row for part in batch]).tolist() for batch in zip(*parts, strict=True)]


def stream(jets, size, world, start=0, epoch=0):
    return joined([list(jets.batches(epoch, size, rank, world, start)) for rank in range(world)])


def rows_in(batches):
    """The rows of batches, one after the other."""
    return [row for batch in batches for row in batch]


@settings(deadline=None, max_examples=12)
@given(
    st.integers(1, 900), st.sampled_from([(1, 2), (2, 4), (4, 1), (1, 3)]), st.integers(0, 2), st.integers(1, 4000),
    st.integers(1, 9),
)  # fmt: skip
def test_no_jet_is_lost_or_twice_and_another_number_of_processes_goes_on(folder, size, worlds, epoch, window, lanes):
    jets = ShardedJets(folder, window=window, lanes=lanes, verify=False)
    before, after = worlds
    whole = stream(jets, size, before, epoch=epoch)
    assert sorted(rows_in(whole)) == list(range(len(jets)))
    middle = len(whole) // 2
    assert stream(jets, size, after, middle, epoch) == whole[middle:]
    assert stream(jets, size, after, len(whole), epoch) == []


def test_a_batch_holds_what_the_source_holds(folder):
    source = JetFiles(JetSources(paths=(folder.parent / "source",), data=JetDataConfig(particles=20)))
    tables = [selected.table.as_batch() for selected in source.read(0, len(source))]
    original = {
        name: torch.cat([getattr(table, name) for table in tables]) for name in ("features", "mask", "label", "mass")
    }
    for batch in ShardedJets(folder, seed=3).batches(1, 700, 1, 2):
        for name, values in original.items():
            assert torch.equal(getattr(batch, name), values[batch.row]), name
            assert not torch.equal(getattr(batch, name), values[batch.row.roll(1)]), "the control"


def test_fewer_particles_are_the_first_ones(folder):
    all_, few = (next(ShardedJets(folder, particles=most).batches(0, 64)) for most in (None, 5))
    assert few.features.shape == (64, 5, 8)
    assert torch.equal(few.features, all_.features[:, :5])
    assert torch.equal(few.mask, all_.mask[:, :5])


def test_shares_part_the_jets(folder):
    """What training and test see: nothing in common, everything together."""
    train, test = (ShardedJets(folder, share=share, seed=seed) for share, seed in (((0, 0.7), 0), ((0.7, 1), 5)))
    rows = [set(rows_in(stream(jets, 256, 1))) for jets in (train, test)]
    assert not rows[0] & rows[1]
    assert len(rows[0] | rows[1]) == 3000
    assert (len(train), len(test)) == tuple(map(len, rows))
    for wrong, message in (((0.5, 0.5), "expected a share such as"), ((0, 0.01), "no row group is in the share")):
        with pytest.raises(RequestError, match=message):
            ShardedJets(folder, share=wrong)


def test_a_row_group_is_read_once_by_all_processes_together(folder, monkeypatch):
    read, table = [], ShardFile.table
    monkeypatch.setattr(
        ShardFile, "table", lambda self, group, most=None: read.append(group) or table(self, group, most)
    )
    jets = ShardedJets(folder, lanes=2, window=1024)
    groups = sum(len(ShardFile(path, 20).groups) for path in folder.glob("*.parquet"))
    counts = []
    for world in (1, 2, 3):
        read.clear()
        stream(jets, 500, world)
        counts.append(len(read))
    assert counts[0] <= groups + 1, "but for the row group at the border of the lanes"
    assert counts[1] <= groups + 1
    assert counts[2] > groups + 1, "three processes share two lanes: the control"


def test_processes_can_tell_that_they_see_the_same(folder, tmp_path):
    jets = ShardedJets(folder)
    assert jets.fingerprint == ShardedJets(folder, verify=False).fingerprint
    other = shards(tmp_path / "other", folder.parent / "source", classes=("w", "z"))
    for different in (ShardedJets(folder, seed=1), ShardedJets(folder, window=7), ShardedJets(other)):
        assert different.fingerprint != jets.fingerprint


def test_numbers_out_of_range_are_refused(folder):
    jets = ShardedJets(folder)
    assert jets.steps(1024) == 3
    for words, message in (
        ((0, 64, 2, 2), "expected a rank from 0 to 1 of 2 processes, received 2"),
        ((0, 64, 0, 1, 48), "expected to start at a batch from 0 to 47, received 48"),
        ((0, 0), "expected a batch size that is a multiple of 1, received 0"),
    ):
        with pytest.raises(RequestError, match=message):
            next(jets.batches(*words))
    with pytest.raises(RequestError, match="expected lanes of at least 1, received 0"):
        ShardedJets(folder, lanes=0)


@pytest.fixture
def copy(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def flipped(path, place=0.3):
    """Change one bit."""
    contents = bytearray(path.read_bytes())
    contents[int(place * len(contents))] ^= 4
    path.write_bytes(bytes(contents))


def edited(change):
    def edit(folder):
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return edit


DAMAGE = {
    "truncated": (lambda f: os.truncate(f / "part-00001.parquet", 9999), r"part-00001\.parquet: has 9,999 bytes where"),
    "missing": (lambda f: (f / "part-00000.parquet").unlink(), r"part-00000\.parquet: is missing; the command"),
    "a bit": (lambda f: flipped(f / "part-00002.parquet"), r"part-00002\.parquet: is not the file that was written"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "expected shards with manifest.json, found none; make"),
    "other rows": (edited(lambda m: m.update(rows=5)), "says 5 jets, and its shards have 3,000"),
    "no number": (edited(lambda m: m.update(rows="many")), r"manifest\.json: rows: .*received 'many'"),
    "other features": (edited(lambda m: m.update(features=["pid"])), "expected the features d_eta, .*received pid"),
    "more particles": (edited(lambda m: m.update(particles=30)), "expected the column features of .*240"),
    "cut manifest": (lambda f: os.truncate(f / "manifest.json", 300), r"manifest\.json: cannot be read as JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_and_refused(damage, message, copy):
    inspect(copy, lambda done, total: None)
    damage(copy)
    with pytest.raises(RequestError, match=message):
        ShardedJets(copy)


def test_a_shard_in_the_place_of_another_is_refused(copy):
    """Its size and hash are those of the manifest, its rows are not."""
    first, second = copy / "part-00000.parquet", copy / "part-00002.parquet"
    first.write_bytes(second.read_bytes())
    edited(lambda m: m["shards"][0].update({k: m["shards"][2][k] for k in ("bytes", "sha256")}))(copy)
    with pytest.raises(RequestError, match=r"part-00000\.parquet: has 952 jets where the manifest says 1,024"):
        ShardedJets(copy)


def test_a_changed_bit_is_met_by_the_checksum_also_where_hashes_are_not_compared(copy):
    flipped(copy / "part-00002.parquet")
    jets = ShardedJets(copy, verify=False)
    with pytest.raises(RequestError, match=r"part-00002\.parquet: cannot be read as Parquet"):
        list(jets.batches(0, 512))


def test_inspection_says_what_is_there(folder):
    seen = inspect(folder, lambda done, total: None)
    assert seen.manifest.rows == 3000
    assert [found.jets for found in seen.classes.values()] == list(seen.manifest.counts.values())
    assert abs(seen.classes["w"].mass[1] - 80) <= 1
    assert abs(seen.classes["t"].mass[1] - 173) <= 2
    assert np.diff(seen.classes["g"].mass).min() > 0
    assert any("have all 20 particles" in text for text in seen.warnings)
    json.dumps(seen.to_dict())
