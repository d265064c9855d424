"""Networks of jets are trained from a folder of shards as from memory, stopped and resumed, alone and by shares."""

import numpy as np
import pytest
import torch
from made_jets import shards, write_source

pytest.importorskip("pyarrow", reason="needs the extra jets")

from isotypic.data.jets.sets import JetSetConfig, recognise_jets
from isotypic.data.jets.source import joined
from isotypic.errors import RequestError
from isotypic.studies.systems.jet_sources import load_jets
from isotypic.studies.systems.jets import JetSystem
from isotypic.tasks.checkpoints import Checkpoint
from isotypic.tasks.clustering.session import train_clusters
from isotypic.tasks.recipe import recipe_of

BATCH = 300


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Three parts of a folder of shards."""
    root = tmp_path_factory.mktemp("jets")
    folder = shards(root / "shards", write_source(root / "source"))
    assert recognise_jets(folder) == "shards"
    config = JetSetConfig(dataset="shards", path=folder, test_fraction=0.34, validation_fraction=0.25)
    return load_jets(config, root)


def test_the_parts_share_no_jet_and_are_all(sets):
    rows = [joined(part.batches(0, 256)).row.tolist() for part in (sets.train, sets.validation, sets.test)]
    assert all(rows)
    assert sorted(row for part in rows for row in part) == list(range(3000))


def test_a_seed_is_an_order_of_the_same_jets(sets):
    one, other = (joined(sets.reordered(seed).batches(0, 256)).row for seed in (1, 2))
    assert torch.equal(one.sort()[0], other.sort()[0])
    assert not torch.equal(one, other)


class Stop(Exception):
    """As if the machine went down."""


def trained(sets, **options):
    budget = {"pretraining": 1, "joint": 1, "batch_size": BATCH, "precision": 64, "snapshots": 0}
    model = {"family": "deepsets", "norm": False}
    recipe = recipe_of({"name": "streamed", "task": "clustering", "model": model, "training": budget})
    return train_clusters(recipe, sets, JetSystem().subset(sets, len(sets.train), 0), seed=3, **options)


def test_a_stop_in_the_middle_of_an_epoch_changes_nothing(sets, tmp_path):
    whole = trained(sets)
    path = Checkpoint(tmp_path / "kept.ckpt", "this", interval=0)
    calls = iter(range(100))

    def progress(fraction, pace=None):
        if next(calls) == 2:
            raise Stop

    with pytest.raises(Stop):
        trained(sets, checkpoint=path, progress=progress)
    assert path.read().step == 2
    went_on = trained(sets, checkpoint=path)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(went_on.network.state_dict()[name], value), name
    np.testing.assert_equal(vars(went_on.curves), vars(whole.curves))


def test_a_part_of_a_stream_is_refused(sets):
    recipe = recipe_of({"name": "streamed", "task": "clustering"})
    with pytest.raises(RequestError, match=r"expected all \d+ training jets .* received a part of 7; set study.sizes"):
        train_clusters(recipe, sets, np.arange(7), seed=0)
