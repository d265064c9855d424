"""Trainings and conversions that are stopped and go on."""

from dataclasses import asdict

import torch

from isotypic.tasks.checkpoints import Checkpoint


def kept(folder, interval=0.0, training="this"):
    """Where a training is kept, behind every step."""
    return Checkpoint(folder / "checkpoint.ckpt", training, interval)


def stop_after(step, steps):
    """What stops a training of so many steps behind one of them, as its progress."""

    def tell(fraction, pace=None):
        if round(fraction * steps) == step:
            raise KeyboardInterrupt

    return tell


def same(one, other):
    """Whether two trainings ended with the same weights and curves, to the last bit."""
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    weights = all(torch.equal(ours[name], theirs[name]) for name in ours)
    return weights and asdict(one.curves) == asdict(other.curves)


def interrupted_after(count):
    """What stops the writing of files behind so many of them, as its progress."""

    def tell(done, total):
        if done >= count:
            raise KeyboardInterrupt

    return tell
