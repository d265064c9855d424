"""Jets on the command line: made, converted, looked into; what is wrong is one line."""

import json

import pytest

pytest.importorskip("pyarrow", reason="needs the extra jets")

MADE = ("--workers", 1, "--set", "data.jets={count: 600, file_rows: 300, particles: 20, kinds: [w, z, t, q]}")


@pytest.fixture
def source(isotypic, tmp_path):
    answer = isotypic("data", "make", "jets", "--out", tmp_path / "jets", "--seed", 3, *MADE)
    assert answer.returncode == 0, answer.stderr
    assert f"600 jets: {tmp_path / 'jets'}" in answer.stdout
    return tmp_path / "jets"


def test_jets_are_made_converted_and_looked_into(isotypic, source, tmp_path):
    again = isotypic("data", "make", "jets", "--out", source, "--seed", 3, *MADE)
    assert "600 jets (600 written before)" in again.stdout
    shards = tmp_path / "shards"
    words = ("data", "convert", "jets", source, shards, "--set", "data.classes=[w,z,t]", "--set", "data.particles=20")
    answer = isotypic(*words)
    assert answer.returncode == 0, answer.stderr
    assert f"450 jets in 1 shards; left out: 150 by class: {shards}" in answer.stdout
    assert "450 jets in 1 shards (1 written before)" in isotypic(*words).stdout
    said = isotypic("data", "inspect", shards).stdout
    for text in ("450 of up to 20 particles", "every jet alone", "every hash is right", "150 by class", "d_eta, d_phi"):
        assert text in said
    record = json.loads(isotypic("data", "inspect", shards, "--json").stdout)
    assert {name: found["jets"] for name, found in record["classes"].items()} == {"w": 150, "z": 150, "t": 150}
    two = isotypic("data", "convert", "jets", source, "--out", tmp_path / "two", *words[5:])
    assert two.returncode == 0, two.stderr


def test_wrong_requests_are_one_line_and_leave_nothing(isotypic, source, tmp_path):
    shards = tmp_path / "shards"
    for words, message in (
        (("convert", "jets", source), "expected isotypic data convert jets SRC DST, received one path; give both"),
        (("convert", "jets", source, source / "in"), "expected a folder outside the sources"),
        (("convert", source, shards), "expected one data set, received 2 paths; jets begin with the word jets"),
        (("convert", "jets", source, shards, "--dataset", "pcam"), "expected --set data.format=... for jets"),
        (("convert", "jets", source, shards, "--set", "data.clases=[w]"), "unknown key 'data.clases': did you mean"),
        (("convert", "jets", source, shards, "--set", "data.classes=[W]"), "unknown class 'W': "),
        (("convert", "jets", tmp_path / "none", shards), "none: no such file or folder"),
        (("make", "jets", "--set", "data.jets.kinds=[x]"), "data.jets.kinds.0: "),
        (("make", "jet"), "unknown generator 'jet': did you mean 'jets'"),
    ):
        answer = isotypic("data", *words)
        assert (answer.returncode, answer.stderr.strip().count("\n")) == (2, 0), answer.stderr
        assert message in answer.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["jets"]


def test_a_damaged_folder_is_named(isotypic, source, tmp_path):
    shards = tmp_path / "shards"
    isotypic("data", "convert", "jets", source, shards)
    (shards / "part-00000.parquet").write_bytes(b"PAR1")
    answer = isotypic("data", "inspect", shards)
    assert (answer.returncode, "part-00000.parquet: has 4 bytes where the manifest says" in answer.stderr) == (2, True)
    assert isotypic("data", "convert", "jets", source, shards).returncode == 0
    assert isotypic("data", "inspect", shards).returncode == 0


def test_events_are_made(isotypic, tmp_path):
    made = "data.events={count: 20, signal: 0.1, file_rows: 20}"
    answer = isotypic("data", "make", "events", "--out", tmp_path / "events", "--workers", 1, "--set", made)
    assert f"20 events: {tmp_path / 'events'}" in answer.stdout, answer.stderr
