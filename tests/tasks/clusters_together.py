"""A training of clusters, alone or by processes that torchrun starts, for test_clustering.py."""

import sys
from pathlib import Path

import torch
from jets import jets

from isotypic.data.jets.sets import JetSets
from isotypic.data.jets.source import MemoryJets
from isotypic.tasks.checkpoints import Checkpoint
from isotypic.tasks.clustering import session
from isotypic.tasks.clustering.session import train_clusters
from isotypic.tasks.clustering.task import Clustering
from isotypic.tasks.ranks import leads
from isotypic.tasks.recipe import recipe_of

COUNT, BATCH = 101, 20
"""Six steps an epoch, the last of a single jet: one of two processes has none."""

CASES = {
    "plain": {"model": {"norm": False}},
    "norm": {"model": {"norm": True}, "training": {"pretraining": 1, "joint": 1}},
    "linear": {
        "model": {"norm": False},
        "training": {"scaling": "linear", "batch_size": 10, "pretraining": 1, "joint": 1},
    },
}


class Recorded(Clustering):
    """Remembers the losses of every step."""

    def on_train_batch_end(self, outputs, batch, batch_idx):
        super().on_train_batch_end(outputs, batch, batch_idx)
        STEPS.append((*self.losses, self.schedule.rate(self.seen)))


STEPS = []


def sets(count=COUNT, seed=0):
    train, validation, test = (MemoryJets(jets(n, 12, seed=seed + i)) for i, n in enumerate((count, 40, 41)))
    return JetSets("made", ("W", "Z", "top"), train, validation, test)


def recipe(model=None, **training):
    budget = {"pretraining": 3, "joint": 6, "batch_size": BATCH, "precision": 64, "snapshots": 2, **training}
    return recipe_of(
        {"name": "two", "task": "clustering", "model": {"family": "ucluster", **(model or {})}, "training": budget}
    )


def learn(case, training=None, **options):
    STEPS.clear()
    settings = CASES[case]
    made = recipe(settings["model"], **settings.get("training", {}), **(training or {}))
    trained = train_clusters(made, sets(), seed=1, **options)
    return {
        "steps": list(STEPS),
        "weights": trained.network.state_dict(),
        "curves": vars(trained.curves),
    }


session.Clustering = Recorded

if __name__ == "__main__":
    learned = {case: learn(case) for case in CASES}
    learned["went on"] = learn("plain", checkpoint=Checkpoint(Path(sys.argv[2]), "this"))
    if leads():
        torch.save(learned, sys.argv[1])
