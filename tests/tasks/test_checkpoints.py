"""A training that was stopped and goes on ends as if it had not been stopped, to the last bit."""

import numpy as np
import pytest
import segmenters
import torch
from resuming import kept, same, stop_after

from isotypic.data.augmentations.catalogue import AUGMENTATIONS
from isotypic.data.image_set import ImageSet
from isotypic.data.splits import Splits
from isotypic.errors import RequestError
from isotypic.tasks.checkpoints import Keeper
from isotypic.tasks.recipe import recipe_of
from isotypic.tasks.segmentation.session import train_segmentation
from isotypic.tasks.session import Material, train

STEPS, INTERVAL = 8, 3
"""Evaluations come after 3, 6 and 8 steps: one interval is cut short."""

PARTS = Splits(np.arange(20), np.arange(20, 26), np.arange(26, 30))


def classify(workers=0, schedule="cosine", augmentation="d4", **how):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 3, 12, 12), dtype=np.uint8)
    material = Material(ImageSet("set", pixels, np.arange(30) % 2, ("a", "b")), PARTS)
    recipe = recipe_of(
        {
            "name": "two",
            "augmentation": augmentation,
            "model": {"family": "convnet", "group": "p4", "stages": [[4], [4]], "dropout": 0.5},
            "training": {
                "steps": STEPS,
                "batch_size": 7,
                "evaluations": 3,
                "schedule": schedule,
                "patience": 0,
                "workers": workers,
            },
        }
    )
    return train(recipe, material, material.splits.train, seed=1, **how)


def segment(**how):
    raw = segmenters.recipe("offset", "p4").model_dump(mode="json")
    training = {"steps": STEPS, "batch_size": 2, "evaluations": 3, "optimizer": "sgd"}
    recipe = recipe_of({**raw, "augmentation": "d4", "intensity": "invert", "training": training})
    material = segmenters.material("offset")
    return train_segmentation(recipe, material, material.splits.train[:5], seed=1, **how)


def stopped(run, folder, step, **how):
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=kept(folder), progress=stop_after(step, STEPS), **how)


@pytest.mark.parametrize("run", [classify, segment])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_stopped_anywhere_it_ends_the_same(run, step, tmp_path):
    """In the middle of an interval, before an evaluation, after the last step."""
    stopped(run, tmp_path, step)
    again = run(checkpoint=kept(tmp_path))
    whole = run()
    assert same(again, whole)
    assert whole.curves.step == [3, 6, 8]


@pytest.mark.parametrize("how", [{"workers": 2}, {"schedule": "plateau"}, {"schedule": "poly"}])
def test_with_processes_that_load_and_with_every_schedule(how, tmp_path):
    for step in (2, 5):
        stopped(classify, tmp_path, step, **how)
    assert same(classify(checkpoint=kept(tmp_path), **how), classify(**how))


@pytest.fixture(scope="module")
def plain():
    return classify(augmentation="none")


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_with_every_augmentation(name, plain, tmp_path):
    stopped(classify, tmp_path, 4, augmentation=name)
    whole = classify(augmentation=name)
    assert same(classify(augmentation=name, checkpoint=kept(tmp_path)), whole)
    assert not same(plain, whole)


def test_what_is_finished_is_not_trained_again(tmp_path):
    first = segment(checkpoint=kept(tmp_path))
    reached = kept(tmp_path).read()
    assert reached.step == STEPS

    def tell(fraction, pace=None):
        raise AssertionError("a step was made")

    again = segment(checkpoint=kept(tmp_path), progress=tell)
    assert same(first, again)
    assert again.effort.seconds > reached.seconds


@pytest.mark.parametrize("forgotten", ["generators", "batches"])
def test_without_its_random_generators_or_its_place_it_ends_otherwise(forgotten, tmp_path, monkeypatch):
    """The control."""
    stopped(segment, tmp_path, 5)
    if forgotten == "generators":
        monkeypatch.setattr(Keeper, "on_train_start", lambda *_: None)
    else:
        monkeypatch.setattr("isotypic.data.labelled.windows.WindowSampler.start_at", lambda *_: None)
    assert not same(segment(checkpoint=kept(tmp_path)), segment())


def test_a_checkpoint_is_written_no_more_often_than_asked(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Keeper, "_write", lambda *_: written.append(1))
    segment(checkpoint=kept(tmp_path, interval=3600))
    assert len(written) == 1, "the end"
    segment(checkpoint=kept(tmp_path))
    assert len(written) > 4


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 torn"])
def test_a_damaged_file_is_named_and_stays(content, tmp_path):
    path = kept(tmp_path).path
    path.write_bytes(content)
    with pytest.raises(RequestError, match="the file is damaged: delete it to train anew"):
        segment(checkpoint=kept(tmp_path))
    assert path.read_bytes() == content


def test_a_checkpoint_of_another_format_is_called_damaged(tmp_path):
    torch.save({"weights": torch.zeros(3)}, kept(tmp_path).path)
    with pytest.raises(RequestError, match="damaged"):
        kept(tmp_path).read()


def test_another_training_does_not_go_on_from_it(tmp_path):
    stopped(segment, tmp_path, 4)
    with pytest.raises(RequestError, match="another recipe, other images or another seed: give another --out"):
        segment(checkpoint=kept(tmp_path, training="that"))
