"""UCluster: the parameters of the paper, permutations and padding that change nothing, and what does."""

from itertools import product

import pytest
import torch
from jets import jets
from laws import BROKEN, TOLERANCE

from isotypic.errors import RequestError
from isotypic.models.clouds import Output, Pooling
from isotypic.models.deepsets import DeepSets, DeepSetsConfig
from isotypic.models.ucluster import UCluster, UClusterConfig

PARAMETERS = {
    "near": 390,
    "first": 1728,
    "second": 8576,
    "alike": 33798,
    "third": 35584,
    "fourth": 66304,
    "squeeze": 2553,
    "head": 37268,
    "centroids": 9,
}
NETWORKS = {"ucluster": (UClusterConfig, UCluster), "deepsets": (DeepSetsConfig, DeepSets)}


def network(family="ucluster", seed=0, **options):
    torch.manual_seed(seed)
    config, kind = NETWORKS[family]
    made = kind(config(**options)).double()
    batch = jets(40, seed=9, dtype=torch.float64)
    for _ in range(3):  # running statistics that are not those of the beginning
        made(batch.features, batch.mask)
    return made


def moved(batch, seed=3):
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(batch.mask.shape[1], generator=generator) for _ in batch.mask])
    return batch.features.gather(1, order[..., None].expand_as(batch.features)), batch.mask.gather(1, order), order


def difference(one, two):
    return max(float((a - b).detach().abs().max() / a.detach().std()) for a, b in zip(one, two, strict=True))


def test_it_has_the_parameters_of_the_paper_layer_by_layer():
    made = UCluster(UClusterConfig())
    counts = dict.fromkeys(PARAMETERS, 0)
    for name, parameter in made.named_parameters():
        counts[name.split(".")[0]] += parameter.numel()
    assert counts == PARAMETERS
    assert sum(counts.values()) == 186_210


def test_without_norms_it_has_fewer():
    """The control of the count."""
    bare = sum(p.numel() for p in UCluster(UClusterConfig(norm=False)).parameters())
    norms = 2 * (16 + 16 + 1 + 1 + 64 + 128 + 128 + 128 + 1 + 1 + 256 + 256 + 3 + 256 + 128)
    assert bare == 186_210 - norms


CASES = list(product(NETWORKS, (True, False), Pooling, (True, False)))


@pytest.mark.parametrize(("family", "norm", "pooling", "training"), CASES)
def test_no_permutation_of_the_particles_changes_anything(family, norm, pooling, training):
    made, batch = network(family, norm=norm, pooling=pooling).train(training), jets(12, dtype=torch.float64)
    features, mask, _ = moved(batch)
    assert difference(made(batch.features, batch.mask), made(features, mask)) < TOLERANCE["float64"]


def test_a_network_that_looks_at_the_order_is_told_from_it():
    """The control: the first particles of the list alone."""
    made, batch = network().eval(), jets(12, dtype=torch.float64)
    features, mask, _ = moved(batch)
    first = [made(x[:, :5], m[:, :5]) for x, m in ((batch.features, batch.mask), (features, mask))]
    assert difference(*first) > BROKEN


def test_particles_in_cells_do_not_break_it():
    """Distances tie where a calorimeter has cells; so do whole particles."""
    made, batch = network().eval(), jets(12, dtype=torch.float64)
    features = (batch.features * 8).round() / 8
    shaken, mask, _ = moved(batch)
    assert difference(made(features, batch.mask), made((shaken * 8).round() / 8, mask)) < TOLERANCE["float64"]


def padded(batch, places):
    features = torch.cat([batch.features, batch.features.new_zeros(len(batch.mask), places, 8)], 1)
    return features, torch.cat([batch.mask, batch.mask.new_zeros(len(batch.mask), places)], 1)


@pytest.mark.parametrize(("family", "norm", "training"), list(product(NETWORKS, (True, False), (True, False))))
def test_padding_changes_nothing(family, norm, training):
    made, batch = network(family, norm=norm).train(training), jets(12, dtype=torch.float64)
    assert difference(made(batch.features, batch.mask), made(*padded(batch, 9))) < TOLERANCE["float64"]


@pytest.mark.parametrize("family", NETWORKS)
def test_what_stands_in_the_padding_has_no_influence(family):
    made, batch = network(family).eval(), jets(12, dtype=torch.float64)
    written = torch.where(batch.mask[..., None], batch.features, 7.0)
    assert difference(made(batch.features, batch.mask), made(written, batch.mask)) < TOLERANCE["float64"]


def test_pooling_over_places_sees_the_padding():
    """The control."""
    made, batch = network(pooling=Pooling.PLACES).eval(), jets(12, dtype=torch.float64)
    assert difference(made(batch.features, batch.mask), made(*padded(batch, 9))) > BROKEN


@pytest.mark.parametrize("training", [True, False])
def test_a_jet_alone_is_a_jet_in_a_batch_unless_norms_look_at_the_batch(training):
    batch = jets(12, dtype=torch.float64)
    errors = {}
    for norm in (True, False):
        made = network(norm=norm).train(training)
        alone = [made(batch.features[[i]], batch.mask[[i]]) for i in range(12)]
        apart = [torch.cat(parts) for parts in zip(*alone, strict=True)]
        errors[norm] = difference(made(batch.features, batch.mask), apart)
    assert errors[False] < TOLERANCE["float64"]
    assert (errors[True] > BROKEN) == training


def test_few_particles_and_none():
    made = network().eval()
    batch = jets(3, dtype=torch.float64)
    mask = torch.zeros_like(batch.mask)
    mask[0, 0] = mask[1, :2] = True
    latent, logits = made(batch.features, mask)
    assert latent.isfinite().all()
    assert logits.isfinite().all()
    assert not latent[2].any(), "the mean of no particle is zero"
    made.train()(batch.features[:0], mask[:0]).latent.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


def test_every_parameter_learns():
    made, batch = network().train(), jets(12, dtype=torch.float64)
    latent, logits = made(batch.features, batch.mask)
    (latent.square().sum() + logits.square().sum() + made.centroids.square().sum()).backward()
    assert all(p.grad is not None for p in made.parameters()), "processes that train together wait for each gradient"


def test_of_particles_every_one_has_classes():
    made, batch = network(output=Output.PARTICLE).eval(), jets(12, dtype=torch.float64)
    latent, logits = made(batch.features, batch.mask)
    assert logits.shape == (12, 16, 20)
    assert not logits[~batch.mask].any()
    features, mask, order = moved(batch)
    found = made(features, mask)
    wanted = logits.gather(1, order[..., None].expand_as(logits))
    assert difference((latent, wanted), found) < TOLERANCE["float64"]


def test_wrong_shapes_are_refused():
    batch = jets(3)
    with pytest.raises(RequestError, match=r"expected features \[B, P, F\] and a boolean mask"):
        network()(batch.features.double(), batch.mask.float())
