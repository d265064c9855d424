"""A training ends where its loss no longer falls, keeps the best weights, fits into memory, and says its pace."""

import time

import numpy as np
import pytest
import torch
from resuming import kept, same, stop_after

from isotypic.bench.memory import peak
from isotypic.data.image_set import ImageSet
from isotypic.data.loading import ArrayDataset, Normalised, loader
from isotypic.data.normalisation import Normalisation
from isotypic.data.splits import Splits
from isotypic.errors import RequestError
from isotypic.models.catalogue import build
from isotypic.tasks.classification import Classification
from isotypic.tasks.memory import step_memory
from isotypic.tasks.optimisation import optimiser
from isotypic.tasks.recipe import recipe_of
from isotypic.tasks.session import Material, stored_batches, train

STEPS = 24
PARTS = Splits(np.arange(20), np.arange(20, 26), np.arange(26, 30))
CONVNET = {"family": "convnet", "group": "p4", "stages": [[4], [4]]}
WITHOUT_NORM = {"family": "allconv", "group": "p4", "stages": [8, 8], "convolutions": 1, "dropout": [], "hidden": 8}


def material():
    """Labels are noise: what is learned is learned by heart."""
    pixels = np.random.default_rng(0).integers(0, 255, (30, 1, 12, 12), dtype=np.uint8)
    return Material(ImageSet("set", pixels, np.random.default_rng(1).integers(0, 2, 30), ("a", "b")), PARTS)


def learn(found=None, model=CONVNET, checkpoint=None, progress=None, **training):
    budget = {"steps": STEPS, "batch_size": 8, "evaluations": 12, "learning_rate": 0.02, "schedule": "constant"}
    recipe = recipe_of({"name": "two", "model": model, "training": {**budget, **training}})
    found = found or material()
    return train(recipe, found, found.splits.train, seed=1, checkpoint=checkpoint, progress=progress)


def validation_loss(trained, found):
    trained.model.eval()
    batches = Normalised(stored_batches(found.images, found.splits.validation), trained.normalisation)
    ((images, labels),) = batches
    return torch.nn.functional.cross_entropy(trained.model(images), labels).item()


@pytest.mark.parametrize("name", ["lost-pixels", "d4+tilt45+light"])
def test_nothing_is_augmented_at_validation(name, monkeypatch):
    """What the network sees are the stored images, normalised; the training images, the control, are none of them."""
    found, seen = material(), {"validated": [], "trained": []}
    step = Classification._step

    def spied(task, images, labels, tally):
        seen["trained" if tally is task.trained else "validated"].append(images)
        return step(task, images, labels, tally)

    monkeypatch.setattr(Classification, "_step", spied)
    recipe = recipe_of({"name": "two", "model": CONVNET, "augmentation": name, "training": {"steps": 6}})
    normalisation = train(recipe, found, found.splits.train, seed=1).normalisation
    stored = normalisation.apply(torch.from_numpy(found.images.images))
    same = {part: [(image == stored).flatten(1).all(1).any() for image in torch.cat(seen[part])] for part in seen}
    assert all(same["validated"])
    assert not any(same["trained"])


def test_the_best_weights_are_kept_if_asked():
    found = material()
    best, last = learn(found, keep="best"), learn(found)
    losses = last.curves.validation_loss
    assert best.curves.validation_loss == losses, "the training is the same"
    assert validation_loss(best, found) == pytest.approx(min(losses), rel=1e-5)
    assert validation_loss(last, found) == pytest.approx(losses[-1], rel=1e-5)
    assert min(losses) < losses[-1] - 0.05, "noise is learned by heart"


def test_it_ends_when_the_loss_no_longer_falls():
    whole, stopped = learn(), learn(stop_after=3)
    losses = whole.curves.validation_loss
    since = [i - int(np.argmin(losses[: i + 1])) for i in range(len(losses))]
    end = since.index(3) + 1
    assert stopped.curves.validation_loss == losses[:end]
    assert end < len(losses)


@pytest.mark.parametrize("step", [2, 5, 7])
@pytest.mark.parametrize("how", [{"stop_after": 3, "keep": "best"}, {"micro_batch": 2}])
def test_it_can_be_stopped_and_goes_on(how, step, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        learn(checkpoint=kept(tmp_path), progress=stop_after(step, STEPS), **how)
    assert same(learn(checkpoint=kept(tmp_path), **how), learn(**how))


def test_what_ended_early_is_not_trained_on(tmp_path):
    first = learn(checkpoint=kept(tmp_path), stop_after=3, keep="best")
    assert kept(tmp_path).read().ended
    assert same(learn(checkpoint=kept(tmp_path), stop_after=3, keep="best"), first)


def test_parts_of_a_batch_make_the_same_step():
    """Without batch norm; with it they do not."""
    results = [learn(model=model, micro_batch=n) for model in (WITHOUT_NORM, CONVNET) for n in (8, 2)]
    differences = [
        max((a - b).abs().max().item() for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
        for one, two in (results[:2], results[2:])
    ]
    assert differences[0] < 1e-5
    assert differences[1] > 1e-3


def test_a_step_that_does_not_fit_is_made_in_parts():
    needed = memory_of(WITHOUT_NORM, 8).of(8)
    assert same(learn(model=WITHOUT_NORM, memory_limit=0.7 * needed / 1e9), learn(model=WITHOUT_NORM, micro_batch=4))
    assert same(learn(model=WITHOUT_NORM, memory_limit=1.1 * needed / 1e9), learn(model=WITHOUT_NORM))


def test_batch_norm_would_see_fewer_images_so_it_is_asked():
    needed = memory_of(CONVNET, 8).of(8)
    with pytest.raises(RequestError, match=r"8 images at a time would take .*set training.micro_batch=4 .*batch norm"):
        learn(memory_limit=0.8 * needed / 1e9)
    with pytest.raises(RequestError, match=r"set a smaller training.batch_size, smaller images or a narrower model"):
        learn(memory_limit=1e-6)


def task_of(model, batch_size, side=12):
    config = {"batch_size": batch_size}
    recipe = recipe_of({"name": "two", "model": model, "training": config})
    pixels = np.random.default_rng(0).integers(0, 255, (batch_size, 1, side, side), dtype=np.uint8)
    images = ImageSet("set", pixels, np.arange(batch_size) % 2, ("a", "b"))
    network = build(recipe.model, 1, 2)
    task = Classification(network, Normalisation((0.5,), (0.25,), 255.0), torch.nn.Identity(), recipe.training)
    return task, loader(ArrayDataset(images, np.arange(batch_size)), batch_size, shuffle=True, seed=0, steps=1)


def memory_of(model, batch_size, side=12):
    task, batches = task_of(model, batch_size, side)
    return step_memory(task, batches, task.config)


def test_the_estimate_is_what_a_step_takes():
    """Resident memory has workspaces beside it, and pages that the allocator keeps."""
    model = {"family": "convnet", "group": "p4", "stages": [[16, 16], [16]], "match": "fields"}
    task, batches = task_of(model, 32, side=96)
    batch, updating = next(iter(batches)), optimiser(task.parameters(), task.config)

    def step():
        task.training_step(task.on_after_batch_transfer(batch, 0), 0).backward()
        updating.step()

    measured = peak(step)
    if measured is None:
        pytest.skip("the system does not say what is resident")
    estimated = step_memory(task, batches, task.config).of(32)
    assert 0.5 * measured < estimated < 1.2 * measured
    assert estimated > 1.5 * step_memory(task, batches, task.config).of(16)


def test_the_estimate_leaves_no_trace():
    torch.manual_seed(3)
    task, batches = task_of({**CONVNET, "dropout": 0.5}, 8)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    state, orders = torch.get_rng_state(), list(batches.sampler)
    batches.sampler.start_at(0)
    step_memory(task, batches, task.config)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(batches.sampler) == orders
    assert all(torch.equal(before[name], value) for name, value in task.state_dict().items())
    assert task.trained.images == 0


@pytest.mark.parametrize(("seconds", "most", "least"), [(0.2, 1.0, 0.5), (0.0, 0.4, 0.0)])
def test_waiting_for_data_is_told(seconds, most, least, monkeypatch):
    read, heard = ArrayDataset.__getitems__, []

    def slowly(part, positions):
        time.sleep(seconds)
        return read(part, positions)

    monkeypatch.setattr(ArrayDataset, "__getitems__", slowly)
    trained = learn(steps=8, progress=lambda fraction, pace=None: heard.append(pace))
    assert least <= trained.effort.pace.waiting <= most
    assert heard[0] is None
    assert heard[-1].images_per_second > 0
    assert f"{heard[-1].waiting:.0%} waiting for data" in str(heard[-1])
    if seconds:
        assert trained.effort.pace.images_per_second < 8 / seconds


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.float32), ("64", torch.float64)])
def test_every_precision_trains(precision, dtype):
    """Mixed precision keeps its weights in 32 bits, and rounds what is computed with them."""
    other, usual = learn(precision=precision, steps=6), learn(steps=6)
    assert {weight.dtype for weight in other.model.parameters()} == {dtype}
    assert other.curves.train_loss == pytest.approx(usual.curves.train_loss, rel=0.05)
    assert other.curves.train_loss != usual.curves.train_loss
