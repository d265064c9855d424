"""A run on disk: what was saved comes back, each task by its own command, and what is broken is said in one line."""

import re

import numpy as np
import pytest
import torch
import yaml
from segmenters import SIDE, recipe, saved, scene, segmenter, trained

from isotypic.data.normalisation import Normalisation, Percentiles
from isotypic.errors import RequestError
from isotypic.inference.run import RunDescription, load_run, load_segmentation_run, save_run
from isotypic.inference.segmenter import Execution, Segmenter
from isotypic.metrics.calibration import Calibration
from isotypic.models import packaged as module
from isotypic.models.catalogue import build
from isotypic.models.packaged import pretrained, run_folder
from isotypic.tasks.recipe import recipe_of

EXACT = Execution(precision="float64")


def classifier(folder, **changes):
    described = recipe_of({"name": "digits", "model": {"family": "convnet", "stages": [[4], [4]]}})
    description = RunDescription(
        version="0",
        recipe=described.model_dump(mode="json"),
        classes=["a", "b"],
        image_shape=(1, 8, 8),
        normalisation=Normalisation((0.5,), (0.2,), 255.0).to_dict(),
        **changes,
    )
    return save_run(folder, build(described.model, 1, 2), description)


def test_a_run_without_a_calibration_calls_a_class_from_one_half_on(tmp_path):
    classifier(tmp_path)
    text = yaml.safe_load((tmp_path / "run.yaml").read_text())
    del text["calibration"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(text))
    found = load_run(tmp_path)
    assert found.calibration == Calibration()
    assert [found.class_of([1 - p, p]) for p in (0.49, 0.5)] == ["a", "b"]


def test_a_calibration_comes_back_and_decides(tmp_path):
    fitted = Calibration(temperature=0.25, threshold=0.8)
    found, plain = load_run(classifier(tmp_path / "a", calibration=fitted)), load_run(classifier(tmp_path / "b"))
    plain.model.load_state_dict(found.model.state_dict())
    assert found.calibration == fitted
    assert [found.class_of([1 - p, p]) for p in (0.79, 0.8)] == ["a", "b"]
    assert (found.threshold_of(1), found.threshold_of(0)) == (0.8, pytest.approx(0.2))
    images = np.random.default_rng(0).integers(0, 255, (4, 1, 8, 8), dtype=np.uint8)
    sharper, logits = found.probabilities(images), plain.probabilities(images).log()
    torch.testing.assert_close(sharper, (logits / 0.25).softmax(1))
    assert [name for name, _ in found.predict(images)] == [found.class_of(row.tolist()) for row in sharper]


@pytest.mark.parametrize("heads", ["offset", "boundary"])
def test_a_segmenter_comes_back(heads, tmp_path):
    found = load_segmentation_run(saved(tmp_path, heads, figures={"Dice": 0.5}))
    assert found.recipe == recipe(heads)
    assert (found.image_shape, found.normaliser, found.figures) == ((1, SIDE, SIDE), Percentiles(), {"Dice": 0.5})
    assert not found.model.training
    weights = trained(heads).model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in found.model.state_dict().items())
    loaded = Segmenter.load(str(tmp_path), EXACT)
    assert loaded.channels == 1
    np.testing.assert_array_equal(loaded.labels(scene(59, 53)), segmenter(heads).labels(scene(59, 53)))


def test_a_segmenter_normalised_by_its_set(tmp_path):
    fitted = Normalisation((0.5,), (0.2,), 255.0)
    assert load_segmentation_run(saved(tmp_path, normalisation=fitted.to_dict())).normaliser == fitted


def test_the_pixel_size_is_that_of_the_run_or_else_of_its_recipe(tmp_path):
    said = recipe().model_dump(mode="json")
    said["data"]["pixel_size"] = 0.3
    assert load_segmentation_run(saved(tmp_path / "a")).pixel_size is None
    assert load_segmentation_run(saved(tmp_path / "b", recipe=said)).pixel_size == 0.3
    assert Segmenter.load(saved(tmp_path / "c", recipe=said, pixel_size=0.2)).pixel_size == 0.2


def test_a_run_without_a_pixel_size_is_still_read(tmp_path):
    saved(tmp_path)
    text = yaml.safe_load((tmp_path / "run.yaml").read_text())
    del text["pixel_size"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(text))
    assert load_segmentation_run(tmp_path).pixel_size is None


def test_each_task_has_its_command(tmp_path):
    one, other = classifier(tmp_path / "one"), saved(tmp_path / "other")
    assert load_run(one).classes == ("a", "b")
    message = f"expected a run of segmentation at {one}, received one of classification; isotypic predict uses it"
    with pytest.raises(RequestError, match=re.escape(message)):
        load_segmentation_run(one)
    message = f"expected a run of classification at {other}, received one of segmentation; isotypic segment uses it"
    with pytest.raises(RequestError, match=re.escape(message)):
        load_run(other)


@pytest.mark.parametrize("load", [load_run, load_segmentation_run])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.yaml", None, "found no run.yaml; isotypic train writes one"),
        ("weights.safetensors", None, "found no weights.safetensors"),
        ("weights.safetensors", b"not weights", "weights.safetensors: cannot be read as a state dict ("),
        ("run.yaml", b"a: [", "run.yaml: not valid YAML: "),
        ("run.yaml", b"[1]", "run.yaml: expected a mapping, found list"),
        ("run.yaml", b"\xff\xfe\xff", "run.yaml: not valid YAML: "),
        ("run.yaml", b"version: '0'", "run.yaml"),
    ],
)
def test_broken_runs(load, name, content, message, tmp_path):
    (classifier if load is load_run else saved)(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_recipe(tmp_path):
    other = recipe().model_dump(mode="json")
    other["model"]["stages"] = [8, 8]
    with pytest.raises(RequestError, match="are of another network"):
        load_segmentation_run(saved(tmp_path, recipe=other))


class TestPretrained:
    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module.resources, "files", lambda name: tmp_path / name)
        return tmp_path / "isotypic.models" / "pretrained"

    def test_by_name(self, package, tmp_path, monkeypatch):
        saved(package / "nuclei")
        assert pretrained("nuclei") == run_folder("nuclei") == package / "nuclei"
        np.testing.assert_array_equal(
            Segmenter.load("nuclei", EXACT).labels(scene(48, 48)), segmenter().labels(scene(48, 48))
        )
        with pytest.raises(RequestError, match=re.escape("unknown pretrained run 'nucli': did you mean 'nuclei'?")):
            pretrained("nucli")

    def test_a_run_on_disk_comes_first_and_a_folder_of_images_does_not(self, package, tmp_path, monkeypatch):
        saved(package / "nuclei")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "nuclei").mkdir()
        assert run_folder("nuclei") == package / "nuclei"
        saved(tmp_path / "nuclei")
        assert str(run_folder("nuclei")) == "nuclei"

    def test_what_to_do_without(self, package):
        with pytest.raises(
            RequestError, match="expected the pretrained run 'nuclei', which this installation does not"
        ):
            pretrained("nuclei")
        with pytest.raises(RequestError, match=r"expected a run .* at nuclei, found no run.yaml"):
            Segmenter.load("nuclei")
