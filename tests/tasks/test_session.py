"""A session ends at its last step, can be stopped, and refuses labels that its heads are not for."""

from dataclasses import replace

import numpy as np
import pytest
import segmenters
import torch

from isotypic.data.labelled.ragged import Ragged
from isotypic.errors import RequestError
from isotypic.tasks.recipe import recipe_of
from isotypic.tasks.segmentation import objectives, session
from isotypic.tasks.segmentation.seed_loss import seed_loss
from isotypic.tasks.segmentation.session import labelled_material, train_segmentation


def recipe(heads="offset", **changes):
    raw = segmenters.recipe(heads, "trivial").model_dump(mode="json")
    raw["training"] |= changes.pop("training", {})
    return recipe_of({**raw, **changes})


@pytest.mark.parametrize(("steps", "points"), [(6, [2, 4, 6]), (7, [3, 6, 7]), (2, [1, 2])])
def test_the_last_point_of_the_curves_is_the_end(steps, points):
    wanted, found = recipe(training={"steps": steps, "evaluations": 3}), segmenters.material("offset")
    curves = train_segmentation(wanted, found, found.splits.train[:4], seed=0).curves
    assert curves.step == points
    assert np.isfinite(curves.validation_loss).all()
    assert np.isfinite(curves.train_loss).all()


def test_a_stopped_session_says_that_it_was_stopped():
    def stop(fraction, pace=None):
        raise KeyboardInterrupt

    wanted, found = recipe(training={"steps": 4}), segmenters.material("offset")
    with pytest.raises(KeyboardInterrupt):
        train_segmentation(wanted, found, found.splits.train[:4], seed=0, progress=stop)


@pytest.mark.parametrize(
    ("heads", "classes", "message"),
    [
        ("boundary", None, "expected labels for boundary heads, received instances"),
        ("offset", ("inside", "membrane"), "expected labels for offset heads, received the classes inside, membrane"),
    ],
)
def test_labels_for_other_heads_are_refused_before_training(heads, classes, message, monkeypatch, tmp_path):
    found = segmenters.material("offset").labelled
    monkeypatch.setattr(session, "load_labelled", lambda *_: replace(found, classes=classes))
    with pytest.raises(RequestError, match=message):
        labelled_material(recipe(heads, merit="dice"), tmp_path)


@pytest.mark.parametrize("share", [0, 1])
def test_a_test_image_of_one_class_has_no_roc_curve_and_is_named(share, monkeypatch, tmp_path):
    found, wanted = segmenters.material("boundary").labelled, recipe("boundary", merit="auc")
    monkeypatch.setattr(session, "load_labelled", lambda *_: found)
    test = labelled_material(wanted, tmp_path).splits.test
    labels = [np.array(each) for each in found.labels]
    labels[test[-1]][:] = share
    monkeypatch.setattr(session, "load_labelled", lambda *_: replace(found, labels=Ragged.of(labels)))
    with pytest.raises(RequestError, match=rf"received {share:.0%} boundary in {found.origins.names[test[-1]]}"):
        labelled_material(wanted, tmp_path)
    assert labelled_material(recipe("boundary", merit="dice"), tmp_path).splits.test.tolist() == test.tolist()


def weights(trained):
    return torch.cat([each.detach().flatten() for each in trained.model.parameters()])


@pytest.mark.parametrize("begun", [True, False])
def test_training_begins_with_the_weights_of_a_run(begun, tmp_path):
    run = segmenters.saved(tmp_path, group="trivial")
    slow = {"steps": 1, "learning_rate": 1e-9}
    wanted, found = recipe(training=slow, start=str(run) if begun else None), segmenters.material()
    made = train_segmentation(wanted, found, found.splits.train[:4], seed=5)
    apart = (weights(made) - weights(segmenters.trained(group="trivial"))).abs().max()
    assert (apart < 1e-6) == begun


def test_the_loss_is_computed_in_single_precision_whatever_the_network_is_computed_in(monkeypatch):
    seen = set()

    def looked_at(output, labels, **rest):
        seen.update(each.dtype for each in output.values())
        return seed_loss(output, labels, **rest)

    monkeypatch.setattr(objectives, "seed_loss", looked_at)
    wanted, found = recipe(training={"steps": 2, "precision": "bf16-mixed"}), segmenters.material()
    made = train_segmentation(wanted, found, found.splits.train[:4], seed=0)
    assert seen == {torch.float32}
    assert np.isfinite(made.curves.train_loss).all()
