"""``isotypic predict`` on images of several sizes and on slides: what lies on disk, what goes on, and exit codes."""

import re

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from PIL import Image
from slides import saved, slide, write_slide

from isotypic.inference.slide_classifier import SlideClassifier
from isotypic.metrics.calibration import Calibration

FILES = ("_heatmap.ome.tif", "_overlay.png", "_patches.csv")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("run"), calibration=Calibration(temperature=0.5, threshold=0.55))


@pytest.fixture
def images(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number, side in enumerate((32, 32, 40, 32, 40)):
        pixels = generator.integers(0, 255, (side, side, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def slides(tmp_path):
    """Two slides of one patient, and one without tissue of another."""
    for name, pixels in (
        ("p1/a", slide(150, 170)),
        ("p1/b", slide(140, 130, seed=1)),
        ("p2/c", slide(99, 99, tissue=0)),
    ):
        path = tmp_path / "slides" / f"{name}.ome.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_slide(path, pixels)
    return tmp_path / "slides"


@pytest.fixture
def calls(monkeypatch):
    """The slides that were classified."""
    seen, call = [], SlideClassifier.__call__

    def counted(self, slide, *words):
        seen.append(slide.source)
        return call(self, slide, *words)

    monkeypatch.setattr(SlideClassifier, "__call__", counted)
    return seen


class TestImages:
    def test_batches_change_nothing_and_the_threshold_decides(self, isotypic, run, images, tmp_path):
        tables = []
        for size in (1, 64):
            answer = isotypic("predict", images, "--run", run, "--out", tmp_path / "p.csv", "--batch-size", size)
            assert answer.returncode == 0, answer.stderr
            tables.append(pd.read_csv(tmp_path / "p.csv"))
        np.testing.assert_allclose(tables[0]["tumour"], tables[1]["tumour"], rtol=1e-5)
        assert tables[0]["file"].tolist() == [f"{i}.png" for i in range(5)]
        for words, threshold in (((), 0.55), (("--threshold", 0.9), 0.9), (("--threshold", 0.1), 0.1)):
            isotypic("predict", images, "--run", run, "--out", tmp_path / "p.csv", *words)
            table = pd.read_csv(tmp_path / "p.csv")
            assert ((table["class"] == "tumour") == (table["tumour"] >= threshold)).all()

    def test_images_that_cannot_be_read_do_not_stop_the_others(self, isotypic, run, images, tmp_path):
        (images / "1.png").write_bytes(b"not a picture")
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(images / "2.png")
        answer = isotypic("predict", images, "--run", run, "--out", tmp_path / "p.csv")
        assert answer.returncode == 1
        assert pd.read_csv(tmp_path / "p.csv")["file"].tolist() == ["0.png", "3.png", "4.png"]
        first, second = answer.stderr.strip().splitlines()
        assert re.match("failed: .*1.png: cannot be read as an image", first)
        assert re.match(r"failed: .*2.png: expected images \[n, 3, y, x\] as in training, received \[1, 1", second)
        alone = isotypic("predict", images / "1.png", "--run", run, "--out", tmp_path / "other.csv")
        assert alone.returncode == 2
        assert not (tmp_path / "other.csv").exists()


class TestSlides:
    def predict(self, isotypic, run, slides, out, *words):
        return isotypic("predict", slides, "--slides", "--run", run, "--out", out, *words)

    def test_a_folder(self, isotypic, run, slides, tmp_path):
        out = tmp_path / "out"
        answer = self.predict(isotypic, run, slides, out, "--overlap", 0.5)
        assert answer.returncode == 0, answer.stderr
        names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        stems = ("p1/a", "p1/b", "p2/c")
        tables = {"slides.csv", "scores.csv", "patients.csv", "request.yaml"}
        assert names == tables | {stem + end for stem in stems for end in FILES}
        scores = pd.read_csv(out / "scores.csv", index_col="file", keep_default_na=False)
        assert scores.loc["p2/c.ome.tif", ["patches", "score", "class"]].tolist() == [0, "", ""]
        patches = pd.read_csv(out / "p1" / "a_patches.csv")
        assert scores["patches"]["p1/a.ome.tif"] == len(patches) > 10
        top = patches["tumour"].nlargest(-(-len(patches) // 10)).mean()
        assert float(scores["score"]["p1/a.ome.tif"]) == pytest.approx(top, rel=1e-5)
        assert (float(scores["score"]["p1/a.ome.tif"]) >= 0.55) == (scores["class"]["p1/a.ome.tif"] == "tumour")
        patients = pd.read_csv(out / "patients.csv", index_col="patient")
        assert patients["slides"].to_dict() == {"p1": 2, "p2": 1}
        assert np.isnan(tifffile.imread(out / "p2" / "c_heatmap.ome.tif")).all()
        printed = " ".join(answer.stdout.split())
        assert re.search(r"\[3/3\] p2/c.ome.tif: 0 patches, [\d.]+ s; 0:00:00 left", printed)
        assert "no tissue" in printed
        assert "threshold: 0.55" in printed

    def test_what_is_finished_is_not_done_again_and_scores_are_made_anew(self, isotypic, run, slides, tmp_path, calls):
        out = tmp_path / "out"
        assert self.predict(isotypic, run, slides, out).returncode == 0
        assert len(calls) == 3
        first = pd.read_csv(out / "scores.csv")
        calls.clear()
        again = self.predict(isotypic, run, slides, out, "--aggregate", "maximum", "--threshold", 0.01)
        assert calls == []
        assert "(3 finished before)" in again.stdout
        second = pd.read_csv(out / "scores.csv")
        assert (second["score"][:2] >= first["score"][:2]).all()
        assert second["class"][:2].tolist() == ["tumour", "tumour"]
        (out / "p1" / "a_overlay.png").unlink()
        write_slide(slides / "p1" / "b.ome.tif", slide(150, 150, seed=2))
        self.predict(isotypic, run, slides, out)
        assert calls == ["p1/a.ome.tif", "p1/b.ome.tif"]
        other = self.predict(isotypic, run, slides, out, "--overlap", 0.5)
        assert other.returncode == 2
        assert "(overlap 0.0 there, 0.5 here); give another --out" in other.stderr

    def test_interrupted_and_gone_on(self, isotypic, run, slides, tmp_path, monkeypatch, calls):
        from isotypic.cli import predict_slides

        def interrupted(heat, stem):
            raise KeyboardInterrupt

        monkeypatch.setattr(predict_slides, "save_slide", interrupted)
        assert self.predict(isotypic, run, slides, tmp_path / "out").returncode == 130
        monkeypatch.undo()
        assert self.predict(isotypic, run, slides, tmp_path / "out").returncode == 0

    def test_a_slide_that_fails_does_not_stop_the_others(self, isotypic, run, slides, tmp_path):
        (slides / "broken.svs").write_bytes(b"not a slide")
        write_slide(slides / "unsized.ome.tif", slide(99, 99), microns=None)
        answer = isotypic("predict", slides, "--run", run, "--out", tmp_path / "out", "--microns-per-pixel", 0.5)
        assert answer.returncode == 1
        broken, unsized = answer.stderr.strip().splitlines()
        assert re.match(r"failed: .*broken.svs: cannot be read as an image", broken)
        assert re.match(r"failed: unsized.ome.tif: expected a slide that says its microns per pixel", unsized)
        assert len(pd.read_csv(tmp_path / "out" / "scores.csv")) == 3
        alone = isotypic("predict", slides / "broken.svs", "--run", run, "--out", tmp_path / "alone")
        assert alone.returncode == 2
        assert alone.stderr.count("\n") == 1

    def test_patients_and_another_class(self, isotypic, run, slides, tmp_path):
        words = ("--patient-pattern", "[abc]", "--class", "normal", "--pixel-size", "250nm", "--microns-per-pixel", 0.5)
        answer = self.predict(isotypic, run, slides, tmp_path / "out", *words)
        assert answer.returncode == 0, answer.stderr
        assert pd.read_csv(tmp_path / "out" / "patients.csv")["patient"].tolist() == ["a", "b", "c"]
        patches = pd.read_csv(tmp_path / "out" / "p1" / "a_patches.csv")
        assert patches["width"][0] == pytest.approx(64)
        assert patches["microns"][0] == pytest.approx(16)
        assert "threshold: 0.45" in answer.stdout
        assert yaml.safe_load((tmp_path / "out" / "request.yaml").read_text())["microns_per_pixel"] == 0.5

    def test_bad_requests(self, isotypic, run, slides, tmp_path):
        (tmp_path / "patients.csv").write_text("file,patient\np1/a.ome.tif,1\n")
        for words, message in (
            (("--patients", tmp_path / "patients.csv"), "expected a row for the slide p1/b.ome.tif"),
            (
                ("--patients", tmp_path / "patients.csv", "--patient-pattern", "x"),
                "or --patient-pattern, received both",
            ),
            (("--class", "tumor"), "unknown class 'tumor': did you mean 'tumour'"),
            (("--out", slides), "expected --out beside the images"),
        ):
            answer = self.predict(isotypic, run, slides, tmp_path / "out", *words)
            assert answer.returncode == 2, words
            assert message in answer.stderr
            assert not (tmp_path / "out").exists()


def test_training_fits_the_threshold_to_the_validation_images(isotypic, tmp_path):
    generator = np.random.default_rng(0)
    for name, level in (("dark", 110), ("light", 140)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(40):
            pixels = np.clip(generator.normal(generator.normal(level, 15), 20, (16, 16)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    fast = ("training.steps=20", "training.evaluations=2", "model.stages=[[4], [4]]")
    words = [word for each in fast for word in ("--set", each)]
    assert (
        isotypic("train", "classify", "--data", tmp_path / "photos", "--out", tmp_path / "run", *words).returncode == 0
    )
    found = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["calibration"]
    assert 0.1 <= found["temperature"] <= 10
    assert 0 < found["threshold"] < 1
    assert found["threshold"] != 0.5
    answer = isotypic("predict", tmp_path / "photos", "--run", tmp_path / "run", "--out", tmp_path / "p.csv")
    assert answer.returncode == 0
    table = pd.read_csv(tmp_path / "p.csv")
    assert ((table["class"] == "light") == (table["light"] >= found["threshold"])).all()
    assert isotypic("train", "digits", "--out", tmp_path / "ten", *words).returncode == 0
    assert yaml.safe_load((tmp_path / "ten" / "run.yaml").read_text())["calibration"] is None
