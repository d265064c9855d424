"""``isotypic data`` as a user runs it: what is printed, what is left on disk, and what is refused."""

import json
import os
import re
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from lookalikes import name, pack, write_pcam
from PIL import Image

from isotypic.data.catalogue import load, recognise_either
from isotypic.data.config import DataConfig


@pytest.fixture
def pcam(tmp_path):
    folder = tmp_path / "pcam"
    folder.mkdir()
    write_pcam(folder, {"train": 60, "valid": 20, "test": 20}, side=24)
    return folder


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_pcam_becomes_a_folder_that_reads_as_the_same_set(isotypic, pcam, tmp_path):
    out = tmp_path / "png"
    answer = isotypic("data", "convert", pcam, "--out", out)
    assert answer.returncode == 0, answer.stderr
    assert f"100 files: {out}" in answer.stdout
    assert sorted(path.name for path in out.iterdir()) == ["images.csv", "request.yaml", "test", "train", "validation"]
    original = load(DataConfig(dataset="pcam", path=pcam), tmp_path)
    back = load(DataConfig(dataset="folder", path=out), tmp_path)
    assert np.array_equal(original.images[:], back.images)
    for column in ("labels", "subjects", "split"):
        assert getattr(original, column).tolist() == getattr(back, column).tolist()
    again = isotypic("data", "convert", pcam, "--out", out)
    assert "100 files (100 written before)" in again.stdout
    other = isotypic("data", "convert", pcam, "--out", out, "--set", "data.colour=grey")
    assert (other.returncode, "files of another request" in other.stderr) == (2, True)
    assert isotypic("data", "convert", "--dataset", "digits", "--out", tmp_path / "digits").returncode == 0


def test_inspect_says_the_same_of_both(isotypic, pcam, tmp_path):
    isotypic("data", "convert", pcam, "--out", tmp_path / "png")
    records = [json.loads(isotypic("data", "inspect", path, "--json").stdout) for path in (pcam, tmp_path / "png")]
    assert [record.pop("dataset") for record in records] == ["pcam", "folder"]
    assert [record.pop("name") for record in records] == ["pcam", "png"]
    assert records[0] == records[1]
    assert records[0]["parts"]["train"] == {
        "images": 60, "classes": records[0]["parts"]["train"]["classes"], "patients": 3, "given": True
    }  # fmt: skip
    assert records[0]["shape"] == [3, 24, 24]


def test_inspect_prints_a_table_and_draws_a_picture(isotypic, pcam, tmp_path):
    answer = isotypic("data", "inspect", pcam, "--picture", tmp_path / "sheet.png")
    assert answer.returncode == 0, answer.stderr
    for text in ("100 of 24 x 24 pixels, RGB, uint8", "train, validation, test: the set's own", "none is in two parts",
                 "grey-level AUC", "normal", "tumor"):  # fmt: skip
        assert text in answer.stdout
    assert Image.open(tmp_path / "sheet.png").width == 1440
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pcam", "sheet.png"]


def test_inspect_warns_of_copies_and_of_brightness(isotypic, tmp_path):
    generator, root = np.random.default_rng(0), tmp_path / "photos"
    for label, level in (("dark", 50), ("bright", 180)):
        for part, count in (("train", 9), ("test", 5)):
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(level, level + 20, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{number}.png")
    (root / "test" / "dark" / "3.png").write_bytes((root / "train" / "dark" / "8.png").read_bytes())
    said = isotypic("data", "inspect", root).stdout
    assert "2 images have a copy in another part" in said
    assert re.search(r"train/dark/8\.png \(\w+, dark\) = test/dark/3\.png|test/dark/3\.png.* = train/dark/8\.png", said)
    assert "AUC of 1.000" in said
    assert "validation: made with data.split_seed=0" in said


KILLED_SLOWLY = """
import time
from isotypic.cli.main import main
from isotypic.data.writers import image_folder, output_folder
encode, output_folder._BLOCK = image_folder.png, 1
image_folder.png = lambda pixels: time.sleep(0.02) or encode(pixels)
main()
"""


def test_a_killed_conversion_goes_on(isotypic, pcam, tmp_path):
    """SIGKILL while packed files are converted; then the same command, and every image is whole."""
    for path in list(pcam.glob("*.h5")):
        pack(path)
    out, words = tmp_path / "png", ("data", "convert", str(pcam), "--out", str(tmp_path / "png"))
    with subprocess.Popen([sys.executable, "-c", KILLED_SLOWLY, *words]) as first:
        while len(list(out.rglob("*.png"))) < 5:
            assert first.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        first.kill()
    there = {path: path.stat().st_mtime_ns for path in out.rglob("[0-9]*.png")}
    assert 5 <= len(there) < 100
    refused = isotypic("data", "inspect", out)
    assert (refused.returncode, "no such image file" in refused.stderr) == (2, True)
    answer = isotypic(*words)
    assert f"100 files ({len(there)} written before)" in answer.stdout
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert not list(out.rglob(".*"))
    original, back = (
        load(DataConfig(dataset=kind, path=path), tmp_path / "cache")
        for kind, path in (("pcam", pcam), ("folder", out))
    )
    assert np.array_equal(original.images[:], back.images)


def leaking(folder):
    path = folder / "camelyonpatch_level_2_split_test_meta.csv"
    path.write_text(path.read_text().replace("camelyon16_test_20", "camelyon16_train_00"))


def cut(folder):
    path = folder / name("train", "x")
    os.truncate(path, 3000)


def cut_pack(folder):
    pack(folder / name("test", "x"))
    path = folder / f"{name('test', 'x')}.gz"
    os.truncate(path, path.stat().st_size - 2000)


def rewritten(part, key, **datasets):
    def spoil(folder):
        with h5py.File(folder / name(part, key), "w") as file:
            for dataset, values in datasets.items():
                file[dataset] = values

    return spoil


def exchanged(folder):
    """The images and labels of validation and test under each other's names."""
    for key in ("x", "y"):
        one, other, beside = folder / name("valid", key), folder / name("test", key), folder / "beside"
        for source, target in ((one, beside), (other, one), (beside, other)):
            source.rename(target)


def none(folder):
    pass


BAD = {
    "a part is missing": (lambda f: (f / name("valid", "x")).unlink(), (), "no camelyonpatch_level_2_split_valid_x.h5"),
    "HDF5 cut short": (cut, (), "cannot be read as HDF5"),
    "gzip cut short": (cut_pack, (), "cannot be unpacked"),
    "a slide in two parts": (leaking, (), "the split leaks: patient 'camelyon16_train_00' is in test and train"),
    "no x": (rewritten("test", "x", images=np.zeros((20, 24, 24, 3), np.uint8)), (), "received none; it has images"),
    "x of floats": (rewritten("test", "x", x=np.zeros((20, 24, 24, 3))), (), "received [20, 24, 24, 3] of float64"),
    "fewer labels": (rewritten("test", "y", y=np.ones((19, 1, 1, 1), np.uint8)), (), "20 images, and 19 labels in"),
    "a label of 2": (rewritten("test", "y", y=np.full((20, 1, 1, 1), 2)), (), "expected labels 0 and 1, received 2"),
    "swapped": (
        exchanged,
        (),
        "the labels of valid are not what its table says; they are those of test: the files are",
    ),
    "an unknown set": (none, ("--dataset", "pcan"), "unknown data set 'pcan': did you mean 'pcam'"),
    "another reader": (none, ("--dataset", "cifar"), "no batches of CIFAR"),
    "an unknown key": (none, ("--set", "data.colr=grey"), "unknown key 'colr': did you mean 'colour'"),
    "no key of data": (none, ("--set", "model.group=p4"), "expected --set data.key=value, received the key 'model'"),
    "a colour that is none": (none, ("--set", "data.colour=blue"), "colour: "),
}


@pytest.mark.parametrize("what", ["inspect", "convert"])
@pytest.mark.parametrize(("spoil", "words", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_nothing_is_written(what, spoil, words, message, isotypic, pcam, tmp_path):
    spoil(pcam)
    before = files(tmp_path)
    out = ("--out", tmp_path / "out") if what == "convert" else ("--picture", tmp_path / "out.png")
    answer = isotypic("data", what, pcam, *words, *out)
    assert (answer.returncode, answer.stderr.strip().count("\n")) == (2, 0), answer.stderr
    assert message in answer.stderr
    assert files(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_requests_without_a_place_are_refused(isotypic, pcam, tmp_path):
    for words, message in (
        (("inspect",), "expected the path of a data set, or --dataset digits"),
        (("inspect", "--dataset", "cifar"), "the data set 'cifar' needs a path; give it as the first argument"),
        (("inspect", tmp_path / "nowhere"), "nowhere: no such file or folder; give the path"),
        (("inspect", pcam, "--dataset", "digits"), "comes with scikit-learn and reads no path"),
        (("convert", pcam, "--out", pcam / "png"), "expected --out outside the data set"),
        (("convert", pcam, "--out", pcam), "expected --out outside the data set"),
        (("convert", "--dataset", "digits", "--out", pcam), "found 'camelyonpatch_level_2_split_test_meta.csv'"),
    ):
        before = files(tmp_path)
        answer = isotypic("data", *words)
        assert (answer.returncode, answer.stderr.strip().count("\n")) == (2, 0), answer.stderr
        assert message in answer.stderr
        assert files(tmp_path) == before


SMALL = ("--set", "data.sticks={size: 48, train_images: 4, validation_images: 2, test_images: 2, width: 48, count: 2}")


def test_sticks_are_made_by_their_seed_and_are_a_data_set(isotypic, tmp_path):
    contents = []
    for folder, seed in (("one", 3), ("same", 3), ("other", 4)):
        words = ("--out", tmp_path / folder, *SMALL, "--set", f"data.sticks.seed={seed}")
        assert isotypic("data", "make", "sticks", *words).returncode == 0
        contents.append([path.read_bytes() for path in sorted((tmp_path / folder).rglob("*.png"))])
    assert len(contents[0]) == 8
    assert contents[0] == contents[1] != contents[2]
    said = isotypic("data", "inspect", tmp_path / "one", "--picture", tmp_path / "sheet.png").stdout
    for text in ("one, read as labelled_folder", "8 of 48 x 48 pixels, grey, uint8", "2 objects an image", "set's own"):
        assert text in said
    assert Image.open(tmp_path / "sheet.png").width == 1440
    assert json.loads(isotypic("data", "inspect", tmp_path / "one", "--json").stdout)["parts"]["train"]["objects"] == 8
    copy = isotypic("data", "convert", tmp_path / "one", "--out", tmp_path / "copy")
    assert f"16 files: {tmp_path / 'copy'}" in copy.stdout
    wrong = isotypic("data", "make", "stick", "--out", tmp_path / "none")
    assert (wrong.returncode, "unknown generator 'stick': did you mean 'sticks'" in wrong.stderr) == (2, True)


def test_scans_with_nodules_are_made_and_added_to(isotypic, tmp_path):
    pytest.importorskip("SimpleITK", reason="needs the extra volumes")
    few = "data.nodules={size: [24, 40, 40], nodules: [1, 1], distractors: [1, 2], scans: 2, test_scans: 1}"
    words = ("data", "make", "nodules", "--out", tmp_path / "scans", "--set", few)
    answer = isotypic(*words, "--set", "data.nodules.seed=3")
    assert answer.returncode == 0, answer.stderr
    assert f"3 scans: {tmp_path / 'scans'}" in answer.stdout
    assert len(list((tmp_path / "scans").glob("subset*/train-3-*.mhd"))) == 2
    more = isotypic(*words, "--set", "data.nodules.seed=3", "--set", "data.nodules.scans=3")
    assert "4 scans (3 written before)" in more.stdout
    for wrong, message in (
        ("data.nodules.scan=3", "unknown key 'data.nodules.scan': did you mean 'scans'?"),
        ("data.nodules=3", "data.nodules: "),
        ("training.steps=3", "unknown key 'training'"),
        ("data.nodules.seed=4", "holds files of another request"),
    ):
        refused = isotypic(*words, "--set", wrong)
        assert (refused.returncode, message in refused.stderr) == (2, True), refused.stderr


def test_what_is_both_is_told_by_its_folders(tmp_path):
    """A table says that folders named images and masks are classes."""
    for files, reader in (
        (("images/a.png", "labels/a.tif"), "labelled_folder"),
        (("train/images/a.png", "train/masks/a.png"), "labelled_folder"),
        (("a.png", "a_labels.png"), "labelled_folder"),
        (("raw/0.png", "membranes/0.png"), "stack"),
        (("raw/0.png", "mitochondria/0.png"), "mitochondria"),
        (("volume.hdf",), "cremi"),
        (("images/a.png", "masks/a.png", "list.csv"), "folder"),
        (("cat/a.png", "dog/a.png"), "folder"),
        (("a/images/a.png", "a/masks/0.png"), "touching"),
        (("camelyonpatch_level_2_split_test_x.h5",), "pcam"),
    ):
        root = tmp_path / f"{reader}-{len(files)}-{files[0].replace('/', '-')}"
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
        assert recognise_either(root) == reader, files


@pytest.mark.parametrize("what", ["inspect", "convert", "make"])
def test_every_command_of_data_has_help_with_an_example(isotypic, what):
    assert f"Example: isotypic data {what}" in " ".join(isotypic("data", what, "--help").stdout.split())


def test_names_in_brackets_are_printed_as_they_are(isotypic, tmp_path):
    for label in ("[red]", "[bold]"):
        for number in range(6):
            (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 10 * number + len(label)).save(tmp_path / "set" / label / f"{number}.png")
    answer = isotypic("data", "inspect", tmp_path / "set")
    assert answer.returncode == 0, answer.stderr
    assert "2: [bold], [red]" in answer.stdout


def test_without_a_terminal_lines_say_how_far_it_is(isotypic, tmp_path, monkeypatch):
    monkeypatch.setattr("isotypic.cli.data_request._EVERY", 0.0)
    said = isotypic("data", "convert", "--dataset", "digits", "--out", tmp_path / "digits").stdout.splitlines()
    assert re.fullmatch(r"writing: 64 of 1,797; \d+:\d\d:\d\d left", said[0])
    assert said[-2:] == ["writing: 1,797 of 1,797; 0:00:00 left", f"1,797 files: {tmp_path / 'digits'}"]
