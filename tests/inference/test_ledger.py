"""What is finished: made of the image as it is, in the formats asked for, by this request, from this folder."""

import os

import pytest
import yaml

from isotypic.errors import RequestError
from isotypic.inference.ledger import ImageRow, Ledger, root, sources
from isotypic.inference.writers.catalogue import Format, paths

ASKED = {"images": "/plates/1", "run": "a", "tile": 512}
LABELS, BOTH = [Format.LABELS], [Format.LABELS, Format.CSV]


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"first")
    return tmp_path / "photos"


def opened(photos, **changes):
    return Ledger(photos.parent / "out", {**ASKED, **changes}, ImageRow)


def files(photos, formats):
    return {each.value: path for each, path in paths(photos.parent / "out" / "a", formats).items()}


def only(photos):
    (source,) = sources(photos, photos.parent / "out")
    return source


def finish(ledger, source, formats):
    for path in paths(ledger.stem(source), formats).values():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a result")
    size, modified_ns = source.state
    saved = " ".join(each.value for each in formats)
    found = {"height": 9, "width": 9, "objects": 1, "seconds": 0.5}
    ledger.add(ImageRow(file=source.name, **found, bytes=size, modified_ns=modified_ns, saved=saved))


def test_formats_saved_of_one_state_add_up(photos):
    finish(opened(photos), only(photos), LABELS)
    assert opened(photos).finished(only(photos), files(photos, LABELS))
    assert not opened(photos).finished(only(photos), files(photos, BOTH))
    finish(opened(photos), only(photos), [Format.CSV])
    assert opened(photos).finished(only(photos), files(photos, BOTH))
    assert not opened(photos).finished(only(photos), files(photos, [Format.ROIS]))


def test_a_format_of_an_older_image_is_not_handed_out(photos):
    finish(opened(photos), only(photos), BOTH)
    (photos / "a.png").write_bytes(b"the second")
    assert not opened(photos).finished(only(photos), files(photos, LABELS))
    finish(opened(photos), only(photos), LABELS)
    assert all(path.is_file() for path in paths(photos.parent / "out" / "a", BOTH).values()), "the old table is there"
    assert opened(photos).finished(only(photos), files(photos, LABELS))
    assert not opened(photos).finished(only(photos), files(photos, BOTH))


@pytest.mark.parametrize("change", ["rewritten", "longer", "one more", "one less"])
def test_an_ome_zarr_image_is_another_when_a_chunk_is(photos, change):
    (photos / "a.png").unlink()
    chunks = photos / "a.ome.zarr" / "0" / "c"
    chunks.mkdir(parents=True)
    (photos / "a.ome.zarr" / "zarr.json").write_text("{}")
    for name in "01":
        (chunks / name).write_bytes(b"chunk")
    before, folders = only(photos).state, [photos / "a.ome.zarr", chunks]
    times = {folder: folder.stat() for folder in folders}
    if change == "one less":
        (chunks / "1").unlink()
    else:
        changed = chunks / ("2" if change == "one more" else "1")
        changed.write_bytes(b"longer" if change == "longer" else b"CHUNK")
        os.utime(changed, ns=(before[1] + (change == "rewritten"),) * 2)
    for folder, time in times.items():  # a chunk rewritten in place does not touch the folders
        os.utime(folder, ns=(time.st_atime_ns, time.st_mtime_ns))
    assert only(photos).state != before


def test_an_image_that_has_gone(photos):
    source = only(photos)
    source.path.unlink()
    with pytest.raises(RequestError, match=r"a.png: cannot be read \(No such file"):
        assert source.state


def test_the_folder_that_names_are_below(photos):
    (photos / "b.zarr").mkdir()
    (photos / "b.zarr" / "zarr.json").write_text("{}")
    assert {root(photos), root(photos / "a.png"), root(photos / "b.zarr")} == {photos}


def test_another_request_is_refused_until_the_table_is_empty(photos):
    finish(opened(photos), only(photos), LABELS)
    for changes, text in (
        ({"images": "/plates/2"}, r"\(images /plates/1 there, /plates/2 here\); give another --out"),
        ({"run": "b"}, r"\(run a there, b here\); give another --out"),
    ):
        with pytest.raises(RequestError, match=f"out: holds results of another request {text}"):
            opened(photos, **changes)
    table, request = (photos.parent / "out" / name for name in ("images.csv", "request.yaml"))
    for run, emptied in (("b", table.unlink), ("c", lambda: table.write_text(table.read_text().splitlines()[0]))):
        emptied()
        for _ in range(2):
            finish(opened(photos, run=run), only(photos), LABELS)
        assert yaml.safe_load(request.read_text()) == {**ASKED, "run": run}
        with pytest.raises(RequestError, match=f"run {run} there, a here"):
            opened(photos)


def test_a_name_that_is_no_utf_8_survives(photos):
    name = os.fsdecode(b"10\xb5m.png")
    (photos / "a.png").rename(photos / name)
    finish(opened(photos), only(photos), LABELS)
    assert list(opened(photos).rows) == [name]
    there = {each.value: path for each, path in paths(opened(photos).stem(only(photos)), LABELS).items()}
    assert opened(photos).finished(only(photos), there)
    assert b"10\xb5m.png" in (photos.parent / "out" / "images.csv").read_bytes()
    assert only(photos).title == r"10\udcb5m.png"
