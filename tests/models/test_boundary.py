"""The boundary network in all its arms: which of them commute with which elements, trained, on every size."""

import copy
import pickle

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn
from torch.nn import functional

from isotypic.configuration import validated
from isotypic.convert.check import check
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.boundary import BoundaryConfig, BoundaryNet
from isotypic.models.heads import Head, split_heads
from isotypic.nn.copies import Flips
from isotypic.nn.maxout import FlipMaxConv2d, MaxoutConvolution, RotateMaxConv2d
from isotypic.nn.rectangle import GroupRectangleConv2d

SIZES = [(32, 32), (33, 33), (32, 35), (37, 34)]
SMALL = {"width": 0.06, "decoded": 64}


def network(**options):
    torch.manual_seed(0)
    return BoundaryNet(BoundaryConfig(**{**SMALL, **options}), 1)


def trained(net, steps=3):
    net = net.double().train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-2, momentum=0.9)
    for step in range(steps):
        image = signal(2, 1, 34, 34, seed=step)
        loss = functional.cross_entropy(net(image), (image[:, 0] > 1).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def errors(net, group, sizes=SIZES):
    """The worst error of every element over the sizes."""
    return torch.stack([equivariance_error(net, signal(2, 1, *size, seed=9), named(group)) for size in sizes]).amax(0)


EXACT = {
    "p4": ({"group": "p4"}, "C4"),
    "p4m": ({"group": "p4m"}, "D4"),
    "p4m, sum, mean, no norm": ({"group": "p4m", "fuse": "sum", "pool": "mean", "norm": "none"}, "D4"),
    "pmm": ({"group": "pmm"}, "D2"),
    "dihedral": ({"layers": "dihedral_max"}, "D4"),
}


@pytest.mark.parametrize(
    ("options", "group"),
    [pytest.param(*EXACT[name], marks=[pytest.mark.slow] * (name == "pmm"), id=name) for name in EXACT],
)
def test_exact_arms_commute_trained_on_every_size(options, group):
    net = trained(network(**options))
    assert net.group == named(group)
    for training in (True, False):
        assert errors(net.train(training), group).max() < TOLERANCE["float64"]


BROKEN_ARMS = {
    "baseline": {},
    "published": {"layers": "rotate_flip_max"},
    "rotations": {"layers": "rotate_max", "angles": 8},
    "flips of a group": {"layers": "flip_max", "flips": "dihedral"},
    "all responses": {"layers": "rotate_flip_max", "combine": "concat"},
}


@pytest.mark.parametrize("options", BROKEN_ARMS.values(), ids=BROKEN_ARMS)
def test_replacing_two_layers_makes_nothing_equivariant(options):
    """The layers around them are ordinary ones: so says the check of the library, too."""
    net = trained(network(**options)).eval()
    assert net.group.order == 1
    assert errors(net, "D4", SIZES[:1])[1:].min() > BROKEN


def test_the_check_finds_no_break_in_the_exact_arms_and_the_first_convolution_in_the_published():
    for options in ({"group": "p4m"}, {"layers": "dihedral_max"}):
        assert check(network(**options), (1, 1, 33, 34), "p4m").exact
    assert "stem.0.0" in check(network(layers="rotate_flip_max"), (1, 1, 33, 34), "p4m").first_break.place


@pytest.mark.parametrize("size", [(8, 8), (9, 15), (31, 8), (40, 33)])
@pytest.mark.parametrize("options", [{}, {"group": "p4"}, {"layers": "dihedral_max"}])
def test_the_output_has_the_size_of_the_image(options, size):
    net = network(**options).eval()
    output = net(torch.zeros(2, 1, *size))
    assert output.shape == (2, 2, *size)
    assert net.heads == (Head("boundary", 2),)
    assert set(split_heads(output, net.heads)) == {"boundary"}


def kinds(net):
    return [type(m) for m in net.modules() if isinstance(m, MaxoutConvolution)]


def test_which_layers_are_replaced():
    assert kinds(network()) == []
    published = network(layers="rotate_flip_max")
    assert kinds(published) == [RotateMaxConv2d, FlipMaxConv2d]
    rotations, flips = (m for m in published.modules() if isinstance(m, MaxoutConvolution))
    assert (rotations.copies, flips.copies) == (4, 3)
    assert all(
        layer.window.kernel == (3, 3) and layer.out_type.fields == round(96 * 0.06) for layer in (rotations, flips)
    )
    assert kinds(network(layers="rotate_max")) == [RotateMaxConv2d] * 2
    assert kinds(network(layers="flip_max", flips=Flips.KLEIN)) == [FlipMaxConv2d] * 2
    everywhere = network(layers="dihedral_max")
    left = [m for m in everywhere.modules() if isinstance(m, nn.Conv2d) or type(m).__name__ == "GroupConv2d"]
    assert all(tuple(m.weight.shape[2:]) == (1, 1) for m in left)
    assert len(kinds(everywhere)) == 28
    assert sum(isinstance(m, GroupRectangleConv2d) for m in network(group="p4m").modules()) == 16


def test_all_responses_are_as_many_maps_as_copies():
    maps = round(96 * 0.06)
    stem, widened = network(layers="rotate_flip_max").stem, network(layers="rotate_flip_max", combine="concat").stem
    image = torch.zeros(1, 1, 32, 32)
    assert widened(image).shape[1] - stem(image).shape[1] == (4 - 1) * maps + (3 - 1) * maps
    with pytest.raises(
        RequestError, match=r"expected layers rotate_flip_max, .* with combine 'concat', received 'plain'"
    ):
        validated(BoundaryConfig, {"combine": "concat"}, "model")


def test_the_arms_have_as_many_weights():
    """Maxout replaces a convolution by one of the same weights; p4m is matched within 3 %."""
    plain, *others = (
        sum(p.numel() for p in network(width=0.25, decoded=16, **options).parameters())
        for options in ({}, {"layers": "rotate_flip_max"}, {"layers": "dihedral_max"}, {"group": "p4m"})
    )
    assert others[0] == plain
    assert all(abs(count / plain - 1) < 0.03 for count in others)


def test_the_widths_of_the_paper():
    modules = network(width=1.0, decoded=16)
    assert [modules.stem[0][0].out_type.fields, modules.stem[1][0].out_type.fields] == [32, 64]
    assert [up.project[0].in_type.fields for up in modules.upsamplings] == [192, 384, 1024, 1536]


def test_every_weight_learns():
    for options in ({}, {"group": "p4m"}, {"layers": "dihedral_max"}, {"layers": "rotate_flip_max", "norm": "none"}):
        net = network(width=0.1, **options)
        net(torch.randn(2, 1, 33, 33)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("options", [{"group": "p4m"}, {"layers": "dihedral_max"}])
def test_copies_are_the_same_and_the_state_dict_holds_no_tables(options):
    net, x = network(**options).eval(), torch.randn(1, 1, 33, 40)
    with torch.no_grad():
        for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert torch.equal(again(x), net(x))
    assert not any(key.endswith(("moves", "before", "after")) for key in net.state_dict())


def test_exported():
    net, x = network(group="p4m").eval(), torch.randn(1, 1, 33, 40)
    program = torch.export.export(net, (x,))
    assert (program.module()(x) - net(x)).abs().max() < TOLERANCE["float32"]


BAD = {
    "two ways": (
        {"group": "p4", "layers": "dihedral_max"},
        "expected layers 'plain' with group 'p4'.*received 'dihedral_max'",
    ),
    "layers": ({"layers": "rotate"}, "layers: input should be 'plain', 'rotate_flip_max'"),
    "angles": ({"angles": 3}, "angles: input should be 2, 4 or 8, received 3"),
    "flips": ({"flips": "all"}, "flips: input should be 'paper', 'klein' or 'dihedral', received 'all'"),
    "fuse": ({"fuse": "mean"}, "fuse: input should be 'concat' or 'sum', received 'mean'"),
    "width": ({"width": 0}, "width: input should be greater than 0, received 0"),
    "group": ({"group": "p6", "layers": "rotate_max"}, "unknown group of the plane 'p6'"),
}


@pytest.mark.parametrize(("options", "text"), BAD.values(), ids=BAD)
def test_bad_configurations_are_refused(options, text):
    with pytest.raises(RequestError, match=text):
        validated(BoundaryConfig, options, "recipe membranes: model")


def test_bad_images_are_refused():
    net = network(group="p4m")
    with pytest.raises(
        RequestError, match=r"at least 8 pixels a side for this network, received \[1, 1, 7, 64\]: pad it"
    ):
        net(torch.zeros(1, 1, 7, 64))
    with pytest.raises(RequestError, match=r"expected \[batch, 1, y, x\].*received \[1, 3, 64, 64\]"):
        net(torch.zeros(1, 3, 64, 64))
