"""Processes that train together make the steps of one process on the whole batch."""

from itertools import chain
from pathlib import Path

import pytest
from processes import learned_together
from together import learn

from isotypic.data.loading import WHOLE, BatchSampler, Share, Shared
from isotypic.errors import RequestError
from isotypic.tasks.ranks import images_each, leads, share

SCRIPT = Path(__file__).with_name("together.py")


def test_the_shares_make_the_batch():
    whole = list(BatchSampler(30, 7, True, 3, 4))
    parts = [list(Shared(BatchSampler(30, 7, True, 3, 4), Share(rank, 3))) for rank in range(3)]
    assert [list(chain(*shares)) for shares in zip(*parts, strict=True)] == whole
    assert all(parts[0])
    assert list(Shared(BatchSampler(30, 7, True, 3, 4), WHOLE)) == whole


def test_torchrun_says_which_process_this_is(monkeypatch):
    assert share() == WHOLE
    assert leads()
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert share() == Share(2, 4)
    assert not leads()
    assert images_each(12) == 3
    with pytest.raises(RequestError, match=r"training.batch_size as a multiple of the 4 processes, received 10"):
        images_each(10)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes learn: of every case weights and curves."""
    return learned_together(SCRIPT, tmp_path_factory.mktemp("together") / "learned.pt")


def difference(one, two):
    return max((one[name] - two[name]).abs().max().item() for name in one if one[name].is_floating_point())


@pytest.mark.parametrize("case", ["plain", "in parts"])
def test_two_processes_learn_what_one_learns(case, together):
    alone, (weights, curves) = learn("plain"), together[case]
    assert difference(weights, alone.model.state_dict()) < 1e-5
    assert curves["step"] == alone.curves.step
    for name in ("train_loss", "validation_loss"):
        assert curves[name] == pytest.approx(getattr(alone.curves, name), rel=1e-4)


def test_batch_norm_sees_a_share(together):
    """The control: with it the steps are not the same."""
    assert difference(together["norm"][0], learn("norm").model.state_dict()) > 1e-3
