import torch

from isotypic.groups import named
from isotypic.models.averaging import Averaging
from isotypic.models.catalogue import build
from isotypic.models.voxelnet import VoxelNetConfig
from isotypic.ops.action import act

D4H = named("D4h", 3)


def network(**changes):
    torch.manual_seed(0)
    config = VoxelNetConfig(channels=[4, 4, 8, 8], pools=[(1, 2, 2), (2, 2, 2)], **changes)
    return build(config, 1, 3).double().eval()


def volumes():
    return torch.randn(4, 1, 5, 9, 9, dtype=torch.float64)


def largest_change(model, x):
    with torch.no_grad():
        return max(float((model(act(x, g, D4H)) - model(x)).abs().max()) for g in range(D4H.order))


def test_the_mean_of_the_views_is_invariant_and_the_network_alone_is_not():
    averaging, x = network(average="D4h"), volumes()
    assert isinstance(averaging, Averaging)
    assert largest_change(averaging, x) < 1e-12
    assert largest_change(averaging.model, x) > 1e-3


def test_its_probabilities_are_the_mean_of_those_of_the_views():
    averaging, x = network(average="D4h"), volumes()
    views = torch.stack([averaging.model(act(x, g, D4H)).softmax(1) for g in range(D4H.order)])
    assert torch.allclose(averaging(x).softmax(1), views.mean(0), atol=1e-14)


def test_in_training_the_network_is_on_its_own():
    averaging, x = network(average="D4h"), volumes()
    plain = network()
    assert torch.equal(averaging.train()(x), plain.train()(x))
