"""A vote over all views commutes with the group, whatever the network; the network itself does not."""

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.models import BoundaryConfig, BoundaryNet, UNet, UNetConfig
from isotypic.models.catalogue import build_dense
from isotypic.models.voting import Voting, unvoted
from isotypic.ops.action import move_space

P4M = named("p4m")


def voted(ballot="majority"):
    """A network that calls about half of the pixels of an image either class."""
    torch.manual_seed(0)
    net = build_dense(BoundaryConfig(width=0.05, vote="p4m", ballot=ballot), 1).double().eval()
    with torch.no_grad():
        logits = net.model(signal(1, 1, 40, 40))
        net.model.predict.bias[1] -= (logits[:, 1] - logits[:, 0]).median()
    return net


@pytest.mark.parametrize("ballot", ["majority", "mean"])
@pytest.mark.parametrize("size", [(40, 40), (37, 41), (33, 48)])
def test_the_vote_commutes_with_every_element(size, ballot):
    net, image = voted(ballot), signal(1, 1, *size)
    upright = net(image)
    alone = net.model(image)
    assert 0 < float((upright[:, 1] > 0).double().mean()) < 1
    broken = []
    for g in range(P4M.order):
        moved = net(move_space(image, g, P4M))
        assert (moved - move_space(upright, g, P4M)).abs().max() < TOLERANCE["float64"]
        broken.append(float((net.model(move_space(image, g, P4M)) - move_space(alone, g, P4M)).detach().abs().max()))
    assert min(broken[1:]) > BROKEN


def views(net, image):
    """The probabilities of class 1 that the eight views give, moved back, ``[8, 1, 1, y, x]``."""
    seen = [net.model(move_space(image, g, P4M)).softmax(1)[:, 1:] for g in range(8)]
    return torch.stack([move_space(view, int(P4M.inverse[g]), P4M) for g, view in enumerate(seen)])


def test_a_majority_gives_the_logit_of_the_share_of_votes():
    net, image = voted(), signal(1, 1, 36, 36)
    votes = (views(net, image) > 0.5).double().sum(0)
    assert torch.allclose(net(image)[:, 1:], ((votes + 0.5) / (8.5 - votes)).log())


def test_a_mean_gives_the_mean_probability_and_ranks_pixels_that_a_majority_ties():
    image = signal(1, 1, 36, 36)
    majority, mean = (voted(ballot)(image).softmax(1)[:, 1:] for ballot in ("majority", "mean"))
    assert torch.allclose(mean, views(voted(), image).mean(0))
    assert len(majority.unique()) <= 9 < len(mean.unique())


def test_certain_views_do_not_overflow():
    net = voted("mean")
    with torch.no_grad():
        net.model.predict.bias[1] += 1e4
    assert net(signal(1, 1, 36, 36)).isfinite().all()


def test_the_network_itself_is_what_is_trained():
    net = voted()
    assert unvoted(net) is net.model
    assert unvoted(net.model) is net.model


def test_without_a_vote_there_is_no_wrapper():
    assert isinstance(build_dense(BoundaryConfig(width=0.05), 1), BoundaryNet)


def test_other_heads_have_no_classes_to_vote_for():
    with pytest.raises(RequestError, match="expected a network of two classes to vote"):
        Voting(UNet(UNetConfig(stages=[2, 2]), 1), P4M)
