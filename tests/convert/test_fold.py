"""Folded networks: the same numbers from torch alone, in a process that does not have this library."""

import subprocess
import sys
import textwrap

import pytest
import torch
from laws import TOLERANCE, signal
from networks import OWN, ResNetLike, UNetLike
from test_equivariant import trained
from torch import nn
from turning import CIRCLE

import isotypic
from isotypic.errors import RequestError
from isotypic.groups import FieldType, irreps, named, regular_fields, scalar_fields
from isotypic.groups.circle import O2Fields
from isotypic.models import ConvNet, ConvNetConfig
from isotypic.nn import (
    BlurPool,
    FieldPReLU,
    GatedNonlinearity,
    GroupBatchNorm,
    GroupConv3d,
    GroupInstanceNorm,
    InvariantHead,
    InvariantPool,
    NormNonlinearity,
    Restrict,
    SteerableBatchNorm,
    SteerableConv2d,
    SteerableConvTranspose2d,
)
from isotypic.nn.fieldwise import trivial_fields


def outputs(net, x):
    with torch.no_grad():
        y = net(x)
    return y if isinstance(y, (tuple, list)) else (y,)


def difference(a, b, x):
    return max(float((p - q).abs().max() / p.std()) for p, q in zip(outputs(a, x), outputs(b, x), strict=True))


@pytest.mark.parametrize("size", [(32, 32), (33, 41)])
@pytest.mark.parametrize("name", OWN)
def test_folded_networks_give_the_same(name, size):
    torch.manual_seed(0)
    net = trained(isotypic.equivariant(OWN[name](), "p4m", match="channels"))
    folded = isotypic.fold(net, (2, 3, *size))
    assert difference(net, folded, signal(3, 3, *size)) < TOLERANCE["float64"]
    kinds = {type(module).__module__.split(".")[0] for module in folded.modules()}
    assert kinds == {"torch"}


def test_layers_of_ones_own_fold_too():
    net = trained(ConvNet(ConvNetConfig(group="p4", stages=[[8], [12]]), 3, 5))
    assert difference(net, isotypic.fold(net, (1, 3, 19, 20)), signal(2, 3, 19, 20)) < TOLERANCE["float64"]
    volume = nn.Sequential(
        GroupConv3d(1, 2, 3, "O", lift=True, stride=2),
        GroupInstanceNorm(2, "O", dim=3),
        InvariantHead(2, 3, "O", dim=3),
    ).double()
    assert difference(volume, isotypic.fold(volume, (1, 1, 9, 10, 11)), signal(2, 1, 9, 10, 11)) < TOLERANCE["float64"]


def _finite(group):
    return scalar_fields(group, 2), regular_fields(group, 2), FieldType(irreps(group)[-1], 2)


def steerable(name, subgroup="C4"):
    """Every steerable layer once: all kinds of fields, both directions, blocks of fields, restriction."""
    torch.manual_seed(0)
    circles = {"SO(2)": CIRCLE, "O(2)": tuple(O2Fields(f, 4) for f in range(3))}
    gate = GatedNonlinearity(circles.get(name) or _finite(named(name)))
    restrict = Restrict(gate.out_type, subgroup)
    narrow = regular_fields(named(subgroup), 3)
    return nn.Sequential(
        SteerableConv2d(trivial_fields(gate.out_type, 3), gate.in_type, 5, padding=2, stride=2),
        gate,
        SteerableBatchNorm(gate.out_type),
        BlurPool(2),
        SteerableConv2d(gate.out_type, gate.out_type, 5, padding=2, groups=2, padding_mode="reflect"),
        NormNonlinearity(gate.out_type),
        SteerableConvTranspose2d(gate.out_type, gate.out_type, 3, stride=2, padding=1),
        restrict,
        SteerableConv2d(restrict.out_type, narrow, 3),
        GroupBatchNorm(3, subgroup),
        FieldPReLU(3, subgroup),
        InvariantPool(narrow),
    )


@pytest.mark.parametrize("size", [(40, 40), (33, 46)])
@pytest.mark.parametrize("name", ["C8", "D8", "SO(2)", "O(2)"])
def test_steerable_networks_fold(name, size):
    net = trained(steerable(name))
    folded = isotypic.fold(net, (2, 3, *size))
    assert difference(net, folded, signal(3, 3, *size)) < TOLERANCE["float64"]
    kinds = {type(module).__module__.split(".")[0] for module in folded.modules()}
    assert kinds == {"torch"}
    step = folded.served["step"]
    assert step == (4, 4)
    larger = tuple(n + 2 * s for n, s in zip(size, step, strict=True))
    assert difference(net, folded, signal(1, 3, *larger)) < TOLERANCE["float64"]
    for axis in (0, 1):
        other = tuple(n + (i == axis) for i, n in enumerate(size))
        with pytest.raises(AssertionError, match="fold it again"):
            folded(signal(1, 3, *other))


def test_a_folded_network_keeps_no_weight_that_it_does_not_use():
    net = trained(steerable("C8"))
    folded = isotypic.fold(net, (2, 3, 40, 40))
    read = {node.target for node in folded.graph.find_nodes(op="get_attr") if node.users}
    stored = {name for name, _ in folded.named_buffers()} | {name for name, _ in folded.named_parameters()}
    assert {name for name in stored if not name.startswith("folded.")} == read


def test_it_serves_the_sizes_of_its_parity_and_refuses_others():
    net = trained(isotypic.equivariant(ResNetLike(), "p4", match="channels"))
    folded = isotypic.fold(net, (1, 3, 33, 48))
    step = folded.served["step"]
    assert folded.served["size"] == (33, 48)
    for size in ((33 + step[0], 48), (33, 48 + step[1]), (33 + step[0], 48 + 2 * step[1])):
        assert difference(net, folded, signal(1, 3, *size)) < TOLERANCE["float64"]
    with pytest.raises(AssertionError, match=r"folded for images of 33 \+ \d+ k x 48 \+ \d+ k: fold it again"):
        folded(signal(1, 3, 34, 48))
    fixed = isotypic.fold(isotypic.equivariant(UNetLike(), "p4", match="channels"), (1, 3, 32, 32))
    with pytest.raises(AssertionError, match="folded for images of 32 x 32"):
        fixed(torch.zeros(1, 3, 64, 64))


def converted():
    return isotypic.equivariant(ResNetLike(), "p4", match="channels")


@pytest.mark.parametrize("make", [converted, lambda: steerable("C8")], ids=["converted", "steerable"])
def test_a_process_without_this_library_loads_and_runs_it(make, tmp_path):
    net = trained(make())
    x = signal(2, 3, 33, 33)
    program = torch.export.export(isotypic.fold(net, x.shape), (x,))
    torch.export.save(program, tmp_path / "net.pt2")
    torch.save((x, outputs(net, x)[0]), tmp_path / "pair.pt")
    code = f"""
        import sys
        sys.modules["isotypic"] = None
        import torch
        net = torch.export.load("{tmp_path}/net.pt2").module()
        x, y = torch.load("{tmp_path}/pair.pt", weights_only=True)
        print(float((net(x) - y).abs().max() / y.std()))
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert float(ran.stdout.split()[-1]) < TOLERANCE["float64"]


def test_a_network_that_does_not_take_the_size_is_refused():
    net = isotypic.equivariant(ResNetLike(), "p4", match="channels")
    with pytest.raises(RequestError, match="expected"):
        isotypic.fold(net, (1, 4, 32, 32))
