"""A vote over all views commutes with the group, whatever the network; the network itself does not."""

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.models import BoundaryConfig, BoundaryNet, UNet, UNetConfig
from isotypic.models.catalogue import build_dense
from isotypic.models.voting import Voting
from isotypic.ops.action import move_space

P4M = named("p4m")


def voted():
    """A network that calls about half of the pixels of an image either class."""
    torch.manual_seed(0)
    net = build_dense(BoundaryConfig(width=0.05, vote="p4m"), 1).double().eval()
    with torch.no_grad():
        logits = net.model(signal(1, 1, 40, 40))
        net.model.predict.bias[1] -= (logits[:, 1] - logits[:, 0]).median()
    return net


@pytest.mark.parametrize("size", [(40, 40), (37, 41), (33, 48)])
def test_the_vote_commutes_with_every_element(size):
    net, image = voted().eval(), signal(1, 1, *size)
    upright = net(image)
    alone = net.model(image)
    assert 0 < float((upright[:, 1] > 0).double().mean()) < 1
    broken = []
    for g in range(P4M.order):
        moved = net(move_space(image, g, P4M))
        assert (moved - move_space(upright, g, P4M)).abs().max() < TOLERANCE["float64"]
        broken.append(float((net.model(move_space(image, g, P4M)) - move_space(alone, g, P4M)).detach().abs().max()))
    assert min(broken[1:]) > BROKEN


def test_the_logit_is_that_of_the_share_of_votes():
    net, image = voted().eval(), signal(1, 1, 36, 36)
    views = [net.model(move_space(image, g, P4M)) for g in range(8)]
    back = [move_space((v[:, 1:] > v[:, :1]).double(), int(P4M.inverse[g]), P4M) for g, v in enumerate(views)]
    votes = torch.stack(back).sum(0)
    assert torch.allclose(net(image)[:, 1:], ((votes + 0.5) / (8.5 - votes)).log())


def test_in_training_the_network_speaks_for_itself():
    net, image = voted().train(), signal(2, 1, 36, 36)
    torch.manual_seed(1)
    assert torch.equal(net(image), net.model(image))


def test_without_a_vote_there_is_no_wrapper():
    assert isinstance(build_dense(BoundaryConfig(width=0.05), 1), BoundaryNet)


def test_other_heads_have_no_classes_to_vote_for():
    with pytest.raises(RequestError, match="expected a network of two classes to vote"):
        Voting(UNet(UNetConfig(stages=[2, 2]), 1), P4M)
