"""The whole networks: they build, their conversions are exact and as wide, and a step of training trains."""

import pytest
import torch
from laws import BROKEN, TOLERANCE

from isotypic.bench.network_cases import NetworkCase, select
from isotypic.bench.networks import NETWORKS
from isotypic.bench.setting import Setting, grid_group
from isotypic.bench.subjects import SUBJECTS
from isotypic.errors import RequestError

SUBJECT = SUBJECTS["networks"]
SIZES = {"resnet18": 32, "densenet": 16, "resnet3d": 8}


@pytest.mark.parametrize(
    ("name", "group"), [(name, group) for name, network in NETWORKS.items() for group in network.groups]
)
def test_a_conversion_is_exact_and_as_wide_as_the_plain_network(name, group):
    setting = Setting(dtype="float64")
    case = NetworkCase(name, group, SIZES[name], 2, "forward")
    ours, plain = (SUBJECT.make(case, setting, which) for which in ("ours", "plain"))
    facts = SUBJECT.facts(case, setting, ours, plain)
    assert facts["error"] < TOLERANCE["float64"]
    assert facts["plain_error"] > BROKEN
    order = grid_group(group, NETWORKS[name].dim).order
    assert 1 < order * facts["parameters"] / facts["plain_parameters"] < 1.2
    assert facts["dense_layers"] >= 1  # the lifting layer


@pytest.mark.parametrize("compute", ["dense", "isotypic"])
def test_layers_compute_as_they_are_told(compute):
    case, setting = NetworkCase("densenet", "C4", 16, 2, "forward"), Setting(compute=compute)
    candidate = SUBJECT.make(case, setting, "ours")
    facts = SUBJECT.facts(case, setting, candidate, candidate)
    lifting = 1
    assert (facts["dense_layers"] > lifting) == (compute == "dense")
    assert (facts["isotypic_layers"] > 0) == (compute == "isotypic")


@pytest.mark.parametrize("which", ["ours", "plain"])
def test_a_step_changes_every_parameter_and_a_forward_pass_none(which):
    for mode in ("step", "forward"):
        candidate = SUBJECT.make(NetworkCase("densenet", "p4", 16, 2, mode), Setting(), which)
        before = [parameter.detach().clone() for parameter in candidate.module.parameters()]
        candidate.call()
        after = list(candidate.module.parameters())
        changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert all(changed) if mode == "step" else not any(changed), mode


def test_each_network_has_its_own_groups_and_sizes():
    cases, left_out = select({}, None, Setting())
    assert left_out == 0
    assert {(c.network, c.group) for c in cases} == {
        *((name, group) for name in ("resnet18", "densenet") for group in ("C4", "D4")),
        ("resnet3d", "O"),
        ("resnet3d", "D4h"),
    }
    assert {(c.size, c.batch) for c in cases if c.network == "resnet18"} == {(64, 8)}
    assert {c.network for c in select({"group": ("O",)}, None, Setting())[0]} == {"resnet3d"}
    assert {c.network for c in select({}, 3, Setting())[0]} == {"resnet3d"}


@pytest.mark.parametrize(
    ("asked", "dim", "text"),
    [
        ({"network": ("resnet81",)}, None, "unknown network 'resnet81': did you mean 'resnet18'"),
        ({"kernel": (3,)}, None, "expected for networks only .*; received --kernel"),
        ({"group": ("p9",)}, None, "unknown group"),
        ({"group": ("Oh",), "network": ("densenet",)}, None, "received Oh, a group of space"),
        ({"size": (-1,)}, None, "expected --size of at least 1, received -1"),
        ({"network": ("densenet",)}, 3, "expected a network of 3 axes of space, received densenet"),
    ],
)
def test_bad_requests_are_refused(asked, dim, text):
    with pytest.raises(RequestError, match=text):
        select({name: tuple(values) for name, values in asked.items()}, dim, Setting())
