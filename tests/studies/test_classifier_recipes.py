"""The recipes of pathology, in small on files laid out as theirs: they train, and their group changes nothing."""

import numpy as np
import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from lookalikes import write_pcam
from PIL import Image

from isotypic.data.datasets.folder import load
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.catalogue import build
from isotypic.studies.spec import model_recipe, settings_of
from isotypic.tasks.classification import invariance_error
from isotypic.tasks.recipe import read_recipe, recipe_of, with_request
from isotypic.tasks.session import evaluation_batches, material, train

QUICK = ["training.steps=3", "training.batch_size=6", "training.evaluations=1", "training.workers=0"]
SMALL = {
    "vgg16": ["model.stages=[[4, 4], [4, 4], [8, 8, 8], [8, 8, 8], [8, 8, 8]]", "model.hidden=[8, 8]"],
    "allconv": ["model.width=0.0125"],
    "convnet": ["model.stages=[[8, 8], [8, 8], [8, 8]]", "model.hidden=[8]"],
    "densenet": ["model.first=6", "model.growth=6"],
}
SINGLE = {
    "allconv": "trivial",
    "all-gconv": "p4",
    "gconv-net": "p4",
    "densenet": "trivial",
    "p4-densenet": "p4",
    "p4m-densenet": "p4m",
}
STUDIES = {
    "oral": "p4",
    "oral-sizes": "p4",
    "oral-weight-decay": "p4",
    "pcam": "p4m",
    "cifar": "p4",
    "pathology": "p4m",
}


@pytest.fixture(scope="module")
def pcam(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pcam")
    write_pcam(folder, {"train": 24, "valid": 8, "test": 8})
    return folder


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Cells of eight patients, of 60 to 80 pixels, in colour."""
    folder, generator = tmp_path_factory.mktemp("cells"), np.random.default_rng(0)
    for patient in range(12):
        place = folder / ("cancer" if patient % 2 else "healthy") / f"patient{patient}"
        place.mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 256, (60 + 2 * patient, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def trained(raw, folder, cache, *settings):
    """Train a recipe in small; return its group, and how much the logits change under that group, or under p4."""
    recipe = recipe_of(with_request(raw, folder, [*QUICK, *settings]))
    found = material(recipe, cache)
    result = train(recipe, found, found.splits.train, seed=0)
    images, _ = next(iter(evaluation_batches(found.images, found.splits.test, result.normalisation)))
    group = recipe.model.group
    assert np.isfinite(result.curves.train_loss).all()
    return group, invariance_error(result.model, images, named("p4" if group == "trivial" else group))


@pytest.mark.parametrize("name", SINGLE)
def test_systems_of_pcam(name, pcam, tmp_path):
    raw = read_recipe(name)
    group, error = trained(raw, pcam, tmp_path, *SMALL[raw["model"]["family"]])
    assert group == SINGLE[name]
    assert error > BROKEN if group == "trivial" else error < TOLERANCE["float64"]


@pytest.mark.parametrize("group", ["trivial", "p4"])
def test_oral_cytology(group, cells, tmp_path):
    found, error = trained(read_recipe("oral"), cells, tmp_path, f"model.group={group}", *SMALL["vgg16"])
    assert found == group
    assert error > BROKEN if group == "trivial" else error < TOLERANCE["float64"]


@pytest.mark.parametrize("name", STUDIES)
def test_every_arm_is_a_recipe_and_the_question_is_the_papers(name):
    recipe, spec = settings_of(read_recipe(name))
    assert spec.test_group == STUDIES[name]
    groups = {
        arm.model: model_recipe(recipe, spec.models[arm.model], arm.augmentation).model.group
        for arm in spec.arms_to_run()
    }
    built, plain = (getattr(spec.question, side).model for side in ("built_in", "augmented"))
    assert groups[built] != "trivial"
    assert groups[plain] == "trivial"
    assert all((group == "trivial") == (not model.startswith(("p4", "GCNN"))) for model, group in groups.items())


def test_the_sweep_changes_the_weight_decay_and_nothing_else():
    recipe, spec = settings_of(read_recipe("oral-weight-decay"))
    made = {name: model_recipe(recipe, changes, "none") for name, changes in spec.models.items()}
    decays = [one.training.weight_decay for name, one in made.items() if name.startswith("GCNN")]
    assert decays == [2.0**k for k in range(-1, 9)]
    others = {one.training.model_copy(update={"weight_decay": 0.0}).model_dump_json() for one in made.values()}
    assert len(others) == 1


def test_a_training_section_of_a_model_is_checked():
    raw = read_recipe("pathology")
    raw["study"]["models"]["CNN"]["training"] = {"learning_rat": 0.1}
    with pytest.raises(RequestError, match="learning_rat"):
        settings_of(raw)


@pytest.mark.parametrize("name", ["inception-frozen", "inception-frozen-augmented"])
def test_without_a_weight_file_the_frozen_network_stops(name, pcam, tmp_path):
    with pytest.raises(RequestError, match=r"torchvision.models:inception_v3.*model.weights"):
        trained(read_recipe(name), pcam, tmp_path, "data.resize=16")


def test_the_class_is_the_patients(cells, tmp_path):
    config = recipe_of(with_request(read_recipe("oral"), cells, [])).data
    assert load(config, tmp_path).images.shape == (36, 1, 80, 80)
    (cells / "healthy" / "patient1").mkdir()
    Image.new("RGB", (80, 80)).save(cells / "healthy" / "patient1" / "0.png")
    try:
        with pytest.raises(RequestError, match="patient 'patient1' has images of cancer and of healthy"):
            load(config, tmp_path)
        assert len(load(config.model_copy(update={"class_of_patient": False}), tmp_path)) == 37, "the control"
    finally:
        (cells / "healthy" / "patient1" / "0.png").unlink()
        (cells / "healthy" / "patient1").rmdir()


def test_images_without_a_patient_have_no_patients_class(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("L", (80, 80)).save(tmp_path / "set" / name / "0.png")
    config = recipe_of(with_request(read_recipe("oral"), tmp_path / "set", [])).data
    with pytest.raises(RequestError, match="expected the patient of every image"):
        load(config, tmp_path / "cache")


def test_imagenets_normalisation_is_of_colours(pcam, tmp_path):
    raw = read_recipe("densenet")
    raw["data"]["normalise"] = "imagenet"
    recipe = recipe_of(with_request(raw, pcam, [*QUICK, *SMALL["densenet"]]))
    found = material(recipe, tmp_path)
    result = train(recipe, found, found.splits.train, seed=0)
    expected = (torch.tensor([255.0, 0, 127.5]) / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    pixel = torch.tensor([255.0, 0, 127.5]).reshape(3, 1, 1)
    assert torch.allclose(result.normalisation.apply(pixel).flatten(), expected)
    grey = recipe_of(with_request(raw, pcam, [*QUICK, *SMALL["densenet"], "data.colour=grey"]))
    with pytest.raises(RequestError, match="expected RGB images to normalise as ImageNet, received 1 channels"):
        train(grey, material(grey, tmp_path), found.splits.train, seed=0)


FULL = {"oral": (1, [(80, 80), (95, 95), (97, 97)])} | {
    name: (3, [(96, 96), (95, 95), (97, 97), *([] if name == "all-gconv" else [(33, 48)])])
    for name, group in SINGLE.items()
    if group != "trivial"
}
"""Channels and sizes; VGG16 takes images from 80 pixels a side on, and All-CNN from 94."""


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_the_logits_are_identical_after_training_at_full_width(name):
    """Under all elements, in float64 and on every size that the network takes; a plain network's are not."""
    channels, sizes = FULL[name]
    raw = read_recipe(name)
    group = raw["model"]["group"] if name in SINGLE else "p4"
    for which in (group, "trivial"):
        torch.manual_seed(0)
        config = recipe_of({**raw, "model": {**raw["model"], "group": which}}).model
        network, updating = fitted(build(config, channels, 2), signal(4, channels, *sizes[0], dtype=torch.float32))
        errors = [
            float(equivariance_error(network, signal(2, channels, *size, seed=1), named(group)).max()) for size in sizes
        ]
        assert updating > 0
        if which == "trivial":
            assert max(errors) > BROKEN, "the control"
        else:
            assert max(errors) < TOLERANCE["float64"]


def fitted(network, images):
    """Make a step of training; return the network in float64, and how far its weights went."""
    before = [weight.detach().clone() for weight in network.parameters()]
    chosen = torch.optim.Adam(network.train().parameters(), 1e-3)
    torch.nn.functional.cross_entropy(network(images), torch.arange(len(images)) % 2).backward()
    chosen.step()
    moved = max((a - b).abs().max().item() for a, b in zip(before, network.parameters(), strict=True))
    return network.double().eval(), moved
