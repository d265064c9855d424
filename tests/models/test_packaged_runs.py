"""Runs that come with the package: found by their names in a folder or a zip archive, and complete."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from segmenters import recipe, saved, scene, segmenter

import isotypic
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.inference.ledger import fingerprint
from isotypic.inference.run import load_segmentation_run
from isotypic.inference.segmenter import Execution, Segmenter
from isotypic.metrics.partition import differing_when_moved
from isotypic.models import packaged as module
from isotypic.models.packaged import (
    DEFAULT_RUN,
    packaged_names,
    packaged_root,
    pretrained,
    run_folder,
    run_on_disk,
)

PACKAGE = Path(isotypic.__file__).parent
EXACT = Execution(precision="float64")
LARGEST = 8_000_000
"""Bytes of a run that comes with the package."""

LIST, DIGEST = "data.csv", "data list sha256"
"""The images it was trained, validated and tested on, and where run.yaml has the digest of that file."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs in a folder, and beside them what is none."""
    root = tmp_path_factory.mktemp("package") / "pretrained"
    saved(root / "nuclei")
    saved(root / "borders", "boundary")
    (root / "notes").mkdir()
    (root / "README.md").write_text("What lies here.")
    return root


@pytest.fixture(scope="module", params=["folder", "zip"])
def root(request, folder):
    """The same runs in a folder and in a zip archive."""
    return folder if request.param == "folder" else zipped(folder)


def zipped(folder):
    archive = Path(tempfile.mkdtemp(dir=folder.parent)) / "package.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent))
    return zipfile.Path(archive) / folder.name


class TestLookup:
    def test_names(self, root, tmp_path):
        assert packaged_names(root) == ["borders", "nuclei"]
        (tmp_path / "empty").mkdir()
        for nothing in (tmp_path / "empty", zipped(tmp_path / "empty"), tmp_path / "none"):
            assert packaged_names(nothing) == []

    @pytest.mark.parametrize("name", ["nuclei", "borders"])
    def test_by_name_the_files_of_that_run_are_given(self, root, folder, name):
        with run_on_disk(name, root) as found:
            assert fingerprint(found) == fingerprint(folder / name)
        other = {"nuclei": "borders", "borders": "nuclei"}[name]
        assert fingerprint(folder / name) != fingerprint(folder / other)

    def test_without_a_name_it_is_the_default_whatever_lies_in_the_working_folder(
        self, root, folder, tmp_path, monkeypatch
    ):
        saved(tmp_path / DEFAULT_RUN, "boundary")
        monkeypatch.chdir(tmp_path)
        with run_on_disk(None, root) as found:
            assert fingerprint(found) == fingerprint(folder / DEFAULT_RUN)
        with run_on_disk(DEFAULT_RUN, root) as found:
            assert fingerprint(found) == fingerprint(folder / "borders"), "a run at that path comes first"

    def test_a_folder_is_itself(self, root, folder):
        for path in (folder / "nuclei", str(folder / "nuclei")):
            with run_on_disk(path, root) as found:
                assert found == folder / "nuclei"
            assert found.is_dir()

    def test_a_copy_from_an_archive_is_gone_when_it_has_been_read(self, folder):
        with run_on_disk("nuclei", zipped(folder)) as found:
            assert sorted(path.name for path in found.iterdir()) == ["run.yaml", "weights.safetensors"]
        assert not found.exists()

    def test_one_without_weights_is_said_to_be_so(self, folder, tmp_path):
        half = shutil.copytree(folder, tmp_path / "pretrained")
        (half / "nuclei" / "weights.safetensors").unlink()
        for root in (half, zipped(half)):
            with (
                run_on_disk("nuclei", root) as found,
                pytest.raises(RequestError, match=re.escape(f"at {found}, found no weights.safetensors; isotypic")),
            ):
                load_segmentation_run(found)

    def test_neither_name_nor_folder(self, root):
        known = "unknown pretrained run 'nucli': did you mean 'nuclei'? Known: borders, nuclei"
        with pytest.raises(RequestError) as caught:
            run_folder("nucli", root)
        assert str(caught.value) == f"{known}; or give a folder with run.yaml and weights.safetensors"
        with pytest.raises(RequestError, match=re.escape(known)):
            pretrained("nucli", root)

    def test_a_folder_without_a_run_is_said_to_be_one(self, root, tmp_path):
        assert run_folder(tmp_path, root) == tmp_path
        with pytest.raises(RequestError, match=re.escape(f"at {tmp_path}, found no run.yaml; isotypic train writes")):
            load_segmentation_run(tmp_path)

    def test_where_the_package_has_no_runs_the_message_says_what_to_do(self, tmp_path):
        todo = "; train one with isotypic train and give its folder by --run (run=)"
        for ask, text in (
            (lambda: run_folder("nuclei", tmp_path), "at nuclei, found no run.yaml, and this installation comes with"),
            (lambda: pretrained("nuclei", tmp_path), "'nuclei', which this installation does not have"),
        ):
            with pytest.raises(RequestError, match=re.escape(text)) as caught:
                ask()
            assert str(caught.value).endswith(todo)
            assert "\n" not in str(caught.value)


class TestSegmenter:
    def test_by_name_and_by_default(self, root, monkeypatch):
        monkeypatch.setattr(module, "packaged_root", lambda: root)
        image = scene(59, 53)
        wanted = segmenter().labels(image)
        assert wanted.max() > 1
        np.testing.assert_array_equal(Segmenter.load(execution=EXACT).labels(image), wanted)
        np.testing.assert_array_equal(Segmenter.load("nuclei", EXACT).labels(image), wanted)
        assert (Segmenter.load("borders", EXACT).labels(image) != wanted).any()

    def test_a_package_in_a_zip_archive_segments(self, folder, tmp_path):
        archive = tmp_path / "isotypic.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(PACKAGE.rglob("*")):
                name = path.relative_to(PACKAGE)
                if path.is_file() and "__pycache__" not in name.parts and name.parts[:2] != ("models", "pretrained"):
                    file.write(path, PACKAGE.name / name)
            for path in (folder / "nuclei").iterdir():
                file.write(path, f"{PACKAGE.name}/models/pretrained/nuclei/{path.name}")
        Image.fromarray(scene(59, 53)[0]).save(tmp_path / "photo.png")
        words = ("segment", "photo.png", "--save", "labels", "--precision", "float64")
        done = subprocess.run(
            [sys.executable, "-m", "isotypic.cli.main", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(archive)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        out = tmp_path / "segmentation"
        assert yaml.safe_load((out / "request.yaml").read_text())["run"] == fingerprint(folder / "nuclei")
        found = tifffile.imread(out / "photo_labels.ome.tif")
        np.testing.assert_array_equal(found, segmenter().labels(scene(59, 53)))


def shortcomings(run):
    """Return what is missing from the folder of a run that is to come with the package."""
    found = load_segmentation_run(run)
    listed = run / LIST
    digest = hashlib.sha256(listed.read_bytes()).hexdigest() if listed.is_file() else None
    readme = run / "README.md"
    wrong = {
        f"{LARGEST} bytes or more": sum(path.stat().st_size for path in run.rglob("*")) >= LARGEST,
        "a path of its maker": found.recipe.data.path is not None,
        "no title": not found.recipe.title,
        "no figures": not set(found.figures) - {DIGEST},
        "no list of its data, or another than run.yaml has the digest of": digest is None
        or found.figures.get(DIGEST) != digest,
        "no README.md": not readme.is_file() or not readme.read_text(encoding="utf-8").strip(),
    }
    return [what for what, is_so in wrong.items() if is_so]


class TestComplete:
    @staticmethod
    def make(folder, figures=("AP",), **changes):
        listed = "image,part\na.png,train\n"
        digest = hashlib.sha256(listed.encode()).hexdigest()
        said = {**recipe().model_dump(mode="json"), "title": "Nuclei", **changes}
        saved(folder, recipe=said, figures={**dict.fromkeys(figures, 0.5), DIGEST: digest})
        (folder / LIST).write_text(listed)
        (folder / "README.md").write_text("Made so.")
        return folder

    def test_a_whole_one(self, tmp_path):
        assert shortcomings(self.make(tmp_path)) == []

    @pytest.mark.parametrize(
        ("spoil", "what"),
        [
            (lambda run: os.truncate(run / "README.md", LARGEST), "8000000 bytes or more"),
            (lambda run: (run / "README.md").write_text(" "), "no README.md"),
            (lambda run: (run / "README.md").unlink(), "no README.md"),
            (lambda run: (run / LIST).unlink(), "no list of its data"),
            (lambda run: (run / LIST).write_text("image,part\nb.png,train\n"), "no list of its data"),
        ],
    )
    def test_one_file_wrong(self, tmp_path, spoil, what):
        spoil(self.make(tmp_path))
        (found,) = shortcomings(tmp_path)
        assert found.startswith(what)

    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"figures": ()}, "no figures"),
            ({"title": ""}, "no title"),
            ({"data": {"dataset": "bbbc038", "path": "/home/me/nuclei.zip"}}, "a path of its maker"),
        ],
    )
    def test_the_description_wrong(self, tmp_path, changes, what):
        assert shortcomings(self.make(tmp_path, **changes)) == [what]

    def test_weights_of_another_network(self, tmp_path):
        self.make(tmp_path)
        shutil.copy(saved(tmp_path / "other", "boundary") / "weights.safetensors", tmp_path)
        with pytest.raises(RequestError, match="are of another network"):
            shortcomings(tmp_path)

    def test_what_comes_with_the_package(self):
        assert {name: shortcomings(packaged_root() / name) for name in packaged_names()} == {
            name: [] for name in packaged_names()
        }

    def test_the_package_takes_the_files_of_its_runs_along(self, tmp_path):
        """By the patterns of pyproject.toml, from the folder where they are looked for."""
        text = (PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        patterns = re.findall(r'"([^"]+)"', re.search(r"^isotypic = \[(.*)\]$", text, re.MULTILINE)[1])
        run = self.make(tmp_path / packaged_root().relative_to(PACKAGE) / "nuclei")
        (run / "deeper").mkdir()
        (run / "deeper" / "more.txt").write_text("")
        taken = {path for pattern in patterns for path in tmp_path.glob(pattern)}
        assert {path for path in run.iterdir() if path.is_file()} <= taken
        assert run / "deeper" / "more.txt" not in taken


def test_nuclei_come_with_the_package_and_turn_with_the_image():
    assert packaged_names() == [DEFAULT_RUN]
    (y, x), image = np.mgrid[:75, :96], np.full((1, 75, 96), 20, np.uint8)
    for cy, cx in ((16, 18), (22, 70), (55, 30), (50, 78)):
        image[0, (y - cy) ** 2 + (x - cx) ** 2 < 81] = 160
    labels = Segmenter.load(execution=EXACT).labels
    assert labels(image).max() == 4
    assert differing_when_moved(labels, image, named("p4m")).tolist() == [0] * 8
    assert labels(np.full_like(image, 20)).max() == 0
