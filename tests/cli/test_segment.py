"""``isotypic segment`` as a user runs it: what lies on disk, what goes on after an interruption, and exit codes."""

import csv
import io
import json
import os
import re
import resource
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import yaml
from PIL import Image
from segmenters import saved, scene, segmenter

from isotypic.cli import segment as module
from isotypic.inference.ledger import fingerprint
from isotypic.inference.segmenter import Segmenter
from isotypic.models import packaged as lookup


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("run"))


@pytest.fixture
def photos(tmp_path):
    """Three images in two folders, in one of which nothing is to be found."""
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    Image.fromarray(scene(59, 53)[0]).save(tmp_path / "photos" / "b.png")
    Image.fromarray(np.full((40, 30), 255, np.uint8)).save(tmp_path / "photos" / "blank.png")
    tifffile.imwrite(
        tmp_path / "photos" / "deep" / "a.ome.tif",
        scene(66, 70)[0].astype(np.uint16) * 257,
        metadata={"axes": "YX", **{f"PhysicalSize{axis}": 0.25 for axis in "XY"}},
    )
    return tmp_path / "photos"


@pytest.fixture
def calls(monkeypatch):
    """The images that were segmented."""
    seen, call = [], Segmenter.__call__

    def counted(self, image, **words):
        seen.append(image.source)
        return call(self, image, **words)

    monkeypatch.setattr(Segmenter, "__call__", counted)
    return seen


def names(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def rows(out):
    with (out / "images.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_a_folder_with_everything_saved(isotypic, run, photos, tmp_path):
    out = tmp_path / "out"
    answer = isotypic(
        "segment",
        photos,
        "--run",
        run,
        "--out",
        out,
        "--save",
        "labels,overlay,csv,rois,geojson",
        "--precision",
        "float64",
    )
    assert answer.returncode == 0, answer.stderr
    endings = ("_labels.ome.tif", "_overlay.png", "_regions.csv", "_rois.zip", ".geojson")
    stems = ("b", "blank", "deep/a")
    assert names(out) == sorted(["images.csv", "request.yaml", *(stem + end for stem in stems for end in endings)])
    wanted = segmenter().labels(scene(66, 70))
    assert wanted.max() > 1
    np.testing.assert_array_equal(tifffile.imread(out / "deep" / "a_labels.ome.tif"), wanted)
    regions = pd.read_csv(out / "deep" / "a_regions.csv")
    assert len(regions) == wanted.max()
    assert "area_um2" in regions
    assert len(json.loads((out / "b.geojson").read_text())["features"]) == int(rows(out)["b.png"]["objects"]) > 1
    assert {name: int(row["objects"]) for name, row in rows(out).items()}["blank.png"] == 0
    assert len(pd.read_csv(out / "blank_regions.csv")) == 0
    printed = " ".join(answer.stdout.split())
    assert re.search(r"blank.png . 40 x 30 . 0 ", printed)
    assert re.search(rf"deep/a.ome.tif . 66 x 70 . {wanted.max()} ", printed)
    assert re.search(rf"\[3/3\] deep/a.ome.tif: {wanted.max()} objects, [\d.]+ s; 0:00:00 left", printed)
    assert "3 of 3 images" in printed


def test_one_image(isotypic, run, photos, tmp_path):
    answer = isotypic("segment", photos / "b.png", "--run", run, "--out", tmp_path / "out")
    assert answer.returncode == 0, answer.stderr
    assert names(tmp_path / "out") == [
        "b_labels.ome.tif",
        "b_overlay.png",
        "b_regions.csv",
        "images.csv",
        "request.yaml",
    ]


def test_what_is_finished_is_not_done_again(isotypic, run, photos, tmp_path, calls):
    out = tmp_path / "out"
    words = ("segment", photos, "--run", run, "--out", out, "--save")
    assert isotypic(*words, "labels").returncode == 0
    assert calls == ["b.png", "blank.png", "deep/a.ome.tif"]
    calls.clear()
    again = isotypic(*words, "labels")
    assert calls == []
    assert "(3 finished before)" in again.stdout
    assert "3 of 3 images" in again.stdout

    (out / "deep" / "a_labels.ome.tif").unlink()
    Image.fromarray(scene(48, 48)[0]).save(photos / "b.png")
    Image.fromarray(scene(48, 48)[0]).save(photos / "new.png")
    isotypic(*words, "labels")
    assert calls == ["b.png", "deep/a.ome.tif", "new.png"]
    calls.clear()
    isotypic(*words, "csv")
    assert len(calls) == 4, "another format needs the labels again"


def test_interrupted_and_gone_on(isotypic, run, photos, tmp_path, calls, monkeypatch):
    out, save = tmp_path / "out", module.save

    def interrupted(labels, stem, formats):
        if labels.source == "blank.png":
            raise KeyboardInterrupt
        return save(labels, stem, formats)

    monkeypatch.setattr(module, "save", interrupted)
    answer = isotypic("segment", photos, "--run", run, "--out", out, "--save", "labels")
    assert answer.returncode == 130
    assert names(out) == ["b_labels.ome.tif", "images.csv", "request.yaml"]
    monkeypatch.setattr(module, "save", save)
    calls.clear()
    assert isotypic("segment", photos, "--run", run, "--out", out, "--save", "labels").returncode == 0
    assert calls == ["blank.png", "deep/a.ome.tif"]


def test_results_of_two_requests_are_not_mixed(isotypic, run, photos, tmp_path):
    out, other = tmp_path / "out", saved(tmp_path / "other", "boundary")
    words = ("segment", photos / "b.png", "--out", out, "--save", "csv")
    assert isotypic(*words, "--run", run).returncode == 0
    for changed, key in (
        (("--run", run, "--tile", 100), "tile 512 there, 100 here"),
        (("--run", run, "--pixel-size", "325nm"), "pixel_size None there, 325 nm here"),
        (("--run", other), "run [0-9a-f]+ there, [0-9a-f]+ here"),
    ):
        answer = isotypic(*words, *changed)
        assert answer.returncode == 2
        assert re.search(rf"holds results of another request \({key}\); give another --out", answer.stderr)
    (out / "images.csv").write_text("nothing")
    assert isotypic(*words, "--run", run).returncode == 0
    (out / "request.yaml").write_text("[")
    answer = isotypic(*words, "--run", run)
    assert answer.returncode == 2
    assert "request.yaml or images.csv cannot be read" in answer.stderr


def test_another_folder_of_images_needs_another_out(isotypic, run, tmp_path, calls):
    for plate, image in (("plate1", scene(59, 53)), ("plate2", scene(48, 48))):
        (tmp_path / plate).mkdir()
        Image.fromarray(image[0]).save(tmp_path / plate / "A01.png")
    words = ("--run", run, "--out", tmp_path / "out", "--save", "labels")
    assert isotypic("segment", tmp_path / "plate1", *words).returncode == 0
    before = (tmp_path / "out" / "A01_labels.ome.tif").read_bytes()
    for images in (tmp_path / "plate2", tmp_path / "plate2" / "A01.png"):
        answer = isotypic("segment", images, *words)
        assert answer.returncode == 2
        there, here = (re.escape(str(tmp_path / plate)) for plate in ("plate1", "plate2"))
        text = rf"holds results of another request \(images {there} there, {here} here\); give another --out"
        assert re.search(text, answer.stderr)
    assert (tmp_path / "out" / "A01_labels.ome.tif").read_bytes() == before
    Image.fromarray(scene(48, 48)[0]).save(tmp_path / "plate1" / "A02.png")
    for images in (tmp_path / "plate1", tmp_path / "plate1" / "A01.png", tmp_path / "plate2" / ".." / "plate1"):
        assert isotypic("segment", images, *words).returncode == 0
    assert calls == ["A01.png", "A02.png"]


def test_a_file_that_fails_does_not_stop_the_others(isotypic, run, photos, tmp_path):
    (photos / "broken.png").write_bytes(b"not a picture")
    (photos / "empty.tif").write_bytes(b"")
    Image.fromarray(np.zeros((1, 9), np.uint8)).save(photos / "tiny.png")
    answer = isotypic("segment", photos, "--run", run, "--out", tmp_path / "out")
    assert answer.returncode == 1
    failed = answer.stderr.strip().splitlines()
    assert len(failed) == 3
    for line, text in zip(
        failed, ("broken.png: cannot be read", "empty.tif: the image file is empty", "tiny.png: exp"), strict=True
    ):
        assert line.startswith("failed:")
        assert text in line
    assert set(rows(tmp_path / "out")) == {"b.png", "blank.png", "deep/a.ome.tif"}
    assert "3 of 6 images" in answer.stdout
    assert "broken.png: FAILED, " in answer.stdout


def test_a_damaged_chunk_does_not_stop_the_others(isotypic, run, photos, tmp_path):
    save_zarr(photos / "between.ome.zarr", scene(59, 53)[0])
    (photos / "between.ome.zarr" / "0" / "c" / "1" / "1").write_bytes(b"junk")
    for _ in range(2):
        answer = isotypic("segment", photos, "--run", run, "--out", tmp_path / "out", "--save", "labels")
        assert answer.returncode == 1
        assert re.fullmatch(r"failed: .*between.ome.zarr: cannot be read as an image \(.*\)\n", answer.stderr)
        assert set(rows(tmp_path / "out")) == {"b.png", "blank.png", "deep/a.ome.tif"}
    assert "(3 finished before)" in answer.stdout


def out_of_gpu_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    "taken",
    [lambda: np.empty(1 << 60, np.uint8), lambda: torch.empty(1 << 58), out_of_gpu_memory],
    ids=["np", "cpu", "gpu"],
)
def test_memory_that_runs_out_is_the_failure_of_an_image(isotypic, run, photos, tmp_path, monkeypatch, taken):
    call = Segmenter.__call__

    def greedy(self, image, **words):
        return taken() if image.source == "blank.png" else call(self, image, **words)

    monkeypatch.setattr(Segmenter, "__call__", greedy)
    asked = ("--run", run, "--out", tmp_path / "out", "--save", "labels")
    line = "blank.png: memory ran out in tiles of 512 pixels; give a smaller --tile, and another --out\n"
    for images, code, said in ((photos, 1, "failed"), (photos / "blank.png", 2, "error")):
        answer = isotypic("segment", images, *asked)
        assert answer.returncode == code
        assert re.fullmatch(f"{said}: .*{line}", answer.stderr)
    assert set(rows(tmp_path / "out")) == {"b.png", "deep/a.ome.tif"}


def test_other_errors_of_torch_are_not_taken_for_missing_memory(isotypic, run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(Segmenter, "__call__", lambda *_, **__: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        isotypic("segment", photos, "--run", run, "--out", tmp_path / "out")


def test_a_name_that_is_no_utf_8(isotypic, run, photos, tmp_path, monkeypatch):
    (photos / "b.png").rename(photos / os.fsdecode(b"10\xb5m.png"))
    (photos / os.fsdecode(b"\xb5.png")).write_bytes(b"not a picture")
    for finished in ("", "(3 finished before)"):
        printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)  # as strict as a terminal
        monkeypatch.setattr(sys, "stdout", printed)
        words = ("--run", run, "--out", tmp_path / "out", "--save", "labels,overlay,csv,rois,geojson")
        answer = isotypic("segment", photos, *words)
        shown = printed.buffer.getvalue().decode()
        assert answer.returncode == 1
        assert r"10\udcb5m.png" in shown
        assert finished in shown
    assert (tmp_path / "out" / os.fsdecode(b"10\xb5m.geojson")).is_file()


def test_images_of_every_kind(isotypic, run, tmp_path):
    folder, image = tmp_path / "kinds", scene(59, 53)[0]
    folder.mkdir()
    Image.fromarray(image).convert("RGBA").save(folder / "rgba.png")
    Image.fromarray(image.astype(np.uint16) * 257).save(folder / "sixteen.png")
    tifffile.imwrite(folder / "float.tif", image / np.float32(255))
    tifffile.imwrite(folder / "large.tif", image * np.float32(40) - 1000)
    Image.fromarray(image).save(folder / "eight.png")
    words = ("--precision", "float64", "--save", "labels")
    assert isotypic("segment", folder, "--run", run, "--out", tmp_path / "out", *words).returncode == 0
    wanted = segmenter().labels(image[None])
    for name in ("rgba", "sixteen", "float", "large", "eight"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / f"{name}_labels.ome.tif"), wanted)


def test_a_channel_and_a_plane_are_chosen(isotypic, run, tmp_path):
    image, out = scene(59, 53), tmp_path / "out"
    path, words = tmp_path / "a.ome.tif", ("--precision", "float64", "--save", "labels")
    stack = np.stack([np.concatenate([image // 2 + 9, image[:, ::-1]]), np.concatenate([image[:, ::-1], image])])
    tifffile.imwrite(path, stack, metadata={"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP"]}})
    asked = ("segment", path, "--run", run, *words, "--out", out)
    for more, text in (
        ((), "a.ome.tif: expected one image, received a stack of 2 planes"),
        (("--plane", 1), "expected 1 channel as in training, received 2 (DAPI, GFP); choose one by --channel"),
        (("--plane", 1, "--channel", "DAPY"), "did you mean 'DAPI'"),
    ):
        answer = isotypic(*asked, *more)
        assert answer.returncode == 2
        assert text in answer.stderr
    assert isotypic(*asked, "--plane", 1, "--channel", "GFP").returncode == 0
    np.testing.assert_array_equal(tifffile.imread(out / "a_labels.ome.tif"), segmenter().labels(image))


def test_pixel_sizes(isotypic, tmp_path):
    trained = saved(tmp_path / "run", pixel_size=0.5)
    path = tmp_path / "a.png"
    Image.fromarray(np.kron(scene(48, 48)[0], np.ones((2, 2), np.uint8))).save(path)
    found = {}
    for name, words in {
        "own": (),
        "given": ("--pixel-size", "0.25"),
        "kept": ("--pixel-size", "250nm", "--no-rescale"),
    }.items():
        out = tmp_path / name
        assert isotypic("segment", path, "--run", trained, "--out", out, "--save", "labels,csv", *words).returncode == 0
        found[name] = tifffile.imread(out / "a_labels.ome.tif")
    assert {image.shape for image in found.values()} == {(96, 96)}
    np.testing.assert_array_equal(found["own"], found["kept"])
    assert (found["given"] != found["own"]).any()
    assert "area_nm2" in pd.read_csv(tmp_path / "kept" / "a_regions.csv")


def test_a_scale(isotypic, tmp_path):
    trained = saved(tmp_path / "run", pixel_size=0.5)
    path = tmp_path / "a.png"
    large = np.kron(scene(48, 48), np.ones((1, 2, 2), np.uint8))
    Image.fromarray(large[0]).save(path)
    found, words = {}, ("segment", path, "--run", trained, "--save", "labels", "--precision", "float64", "--out")
    for name, asked in {
        "as it is": (),
        "half": ("--scale", 0.5),
        "sized": ("--pixel-size", "4", "--scale", 0.5),
    }.items():
        assert isotypic(*words, tmp_path / name, *asked).returncode == 0
        found[name] = tifffile.imread(tmp_path / name / "a_labels.ome.tif")
    np.testing.assert_array_equal(found["half"], segmenter()(large, scale=0.5).image)
    np.testing.assert_array_equal(found["half"], found["sized"])
    assert (found["half"] != found["as it is"]).any()
    other = isotypic(*words, tmp_path / "half", "--scale", 0.6)
    assert (other.returncode, "scale 0.5 there, 0.6 here" in other.stderr) == (2, True)
    assert isotypic(*words, tmp_path / "far", "--scale", 17).returncode == 2
    assert not (tmp_path / "far").exists()


@pytest.fixture
def full_disk():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_when_the_disk_is_full_the_old_files_stay(isotypic, run, photos, tmp_path, request):
    out = tmp_path / "out"
    words = ("segment", photos / "b.png", "--run", run, "--out", out, "--save", "labels")
    assert isotypic(*words).returncode == 0
    before = {name: (out / name).read_bytes() for name in names(out)}
    Image.fromarray(scene(48, 48)[0]).save(photos / "b.png")
    request.getfixturevalue("full_disk")
    answer = isotypic(*words)
    assert answer.returncode == 2
    assert re.search(r"b_labels.ome.tif: cannot be written \(.*\); a file of that name stays as it was", answer.stderr)
    assert {name: (out / name).read_bytes() for name in names(out)} == before


def test_wrong_requests_exit_with_2_in_one_line_and_leave_nothing(isotypic, run, photos, tmp_path):
    empty, twice = tmp_path / "empty", tmp_path / "twice"
    for folder in (empty, twice):
        folder.mkdir()
    for name in ("a.png", "a.tif"):
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(twice / name)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    for words, text in (
        ((tmp_path / "none",), "expected an image or a folder of images at .*none, found nothing"),
        ((empty,), "expected images in .*empty .*, found none"),
        ((twice,), "a.png and a.tif would have results of one name; rename one of them"),
        ((tmp_path / "broken.png",), "broken.png: cannot be read as an image"),
        ((photos, "--run", photos), "expected a run .* found no run.yaml"),
        ((photos, "--save", "labels,cvs"), "unknown format 'cvs': did you mean 'csv'"),
        ((photos, "--save", ","), "expected --save with some of labels, overlay"),
        ((photos, "--pixel-size", "small"), "expected --pixel-size such as 0.5 .* received 'small'"),
        ((photos, "--pixel-size", "3 feet"), "expected a pixel size in nm, µm or mm, received 'feet'"),
        ((photos, "--tile", 1), "expected tiles of at least"),
        ((photos, "--device", "gpu"), "unknown device 'gpu'"),
    ):
        chosen = () if "--run" in words else ("--run", run)
        answer = isotypic("segment", *words, *chosen, "--out", tmp_path / "out")
        assert answer.returncode == 2, (words, answer.stderr)
        assert answer.stderr.strip().count("\n") == 0
        assert re.search(text, answer.stderr), (words, answer.stderr)
        assert not (tmp_path / "out").exists(), words


def test_results_never_become_images(isotypic, run, photos, calls):
    words = ("segment", photos, "--run", run, "--save", "labels,overlay", "--out")
    assert isotypic(*words, photos / "results").returncode == 0
    assert isotypic(*words, photos / "results").returncode == 0
    assert len(calls) == 3
    answer = isotypic(*words, photos)
    assert answer.returncode == 2
    assert "expected --out beside the images or in a folder of its own" in answer.stderr


def save_zarr(path, image):
    group = pytest.importorskip("zarr").open_group(path, mode="w")
    group.create_array("0", shape=image.shape, dtype=image.dtype, chunks=(32, 32))[:] = image
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    group.attrs["ome"] = {
        "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    }


def test_ome_zarr(isotypic, run, tmp_path):
    image = scene(59, 53)[0]
    save_zarr(tmp_path / "photos" / "a.ome.zarr", image)
    for path in (tmp_path / "photos", tmp_path / "photos" / "a.ome.zarr"):
        out = tmp_path / f"out {path.name}"
        answer = isotypic("segment", path, "--run", run, "--out", out, "--precision", "float64")
        assert answer.returncode == 0, answer.stderr
        np.testing.assert_array_equal(tifffile.imread(out / "a_labels.ome.tif"), segmenter().labels(image[None]))
        assert "area_um2" in pd.read_csv(out / "a_regions.csv")


def test_without_a_run_the_packages_own_is_used(isotypic, photos, tmp_path, monkeypatch):
    root, out = tmp_path / "pretrained", tmp_path / "out"
    nuclei, borders = saved(root / "nuclei"), saved(root / "borders", "boundary")
    monkeypatch.setattr(lookup, "packaged_root", lambda: root)
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "trained", "boundary")
    words = ("segment", photos / "b.png", "--save", "labels", "--out")
    for asked, found in (
        ((), nuclei),
        (("--run", "nuclei"), nuclei),
        (("--run", "borders"), borders),
        (("--run", "trained"), tmp_path / "trained"),
    ):
        folder = out / "-".join(asked)
        assert isotypic(*words, folder, *asked).returncode == 0
        assert yaml.safe_load((folder / "request.yaml").read_text())["run"] == fingerprint(found)
    assert fingerprint(nuclei) != fingerprint(borders)
    again = isotypic(*words, out, "--run", "nuclei")
    assert "(1 finished before)" in again.stdout


@pytest.mark.parametrize(
    ("packaged", "asked", "text"),
    [
        (("nuclei",), ("--run", "nucli"), "unknown pretrained run 'nucli': did you mean 'nuclei'? Known: nuclei; or"),
        (("borders",), (), "unknown pretrained run 'nuclei': Known: borders"),
        ((), (), "expected the pretrained run 'nuclei', which this installation does not have; train one with"),
        ((), ("--run", "nuclei"), "found no run.yaml, and this installation comes without pretrained runs; train one"),
    ],
)
def test_a_run_that_is_not_there(isotypic, photos, tmp_path, monkeypatch, packaged, asked, text):
    for name in packaged:
        saved(tmp_path / "pretrained" / name)
    monkeypatch.setattr(lookup, "packaged_root", lambda: tmp_path / "pretrained")
    answer = isotypic("segment", photos, "--out", tmp_path / "out", *asked)
    assert answer.returncode == 2
    assert answer.stderr.strip().count("\n") == 0
    assert text in answer.stderr
    assert not (tmp_path / "out").exists()


def test_the_help_says_the_units(isotypic, run):
    printed = re.sub(r"[│\s]+", " ", isotypic("segment", "--help").stdout)
    for text in (
        "Side of a pixel in nm, µm or mm: 325nm, or 0.5 for µm; default the file's.",
        "Enlarge by this factor instead: 0.5 where objects are twice as large, in pixels, as in training.",
        "Channel to use, by its name or its number from 0.",
        "Plane of a stack, its number from 0.",
        "Most pixels of a tile along an axis.",
        "A trained run: the name of one in the package, or a folder; default the package's nuclei.",
    ):
        assert text in printed


def test_a_long_table_is_cut(isotypic, run, tmp_path):
    for i in range(23):
        (tmp_path / "many").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "many" / f"{i:02d}.png")
    answer = isotypic("segment", tmp_path / "many", "--run", run, "--out", tmp_path / "out", "--save", "csv")
    assert "3 more in images.csv" in answer.stdout
    assert "23 of 23 images" in answer.stdout
    assert len(rows(tmp_path / "out")) == 23


def test_on_a_terminal_there_is_a_bar(isotypic, run, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    answer = isotypic("segment", photos, "--run", run, "--out", tmp_path / "out", "--save", "csv", "--tile", 40)
    assert answer.returncode == 0, answer.stderr
    assert "0/3" in answer.stdout
    assert "[1/3]" not in answer.stdout
