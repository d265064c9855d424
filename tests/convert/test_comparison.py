"""What a network makes of one image under every element: zero where it is equivariant, in the right place where not."""

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from networks import ResNetLike, UNetLike
from torch import nn

import isotypic
from isotypic.convert.comparison import compare
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.ops.action import act

GROUP = named("p4m")


@pytest.mark.parametrize(("make", "dense"), [(ResNetLike, False), (UNetLike, True)])
def test_converted_networks_differ_by_rounding_and_plain_ones_do(make, dense):
    torch.manual_seed(0)
    plain, image = make(), signal(3, 32, 36)
    converted = isotypic.equivariant(plain, GROUP, match="channels")
    found = compare(converted, image, GROUP)
    assert found.is_dense == dense
    assert found.elements[:2] == ("0°", "90°")
    assert all(torch.equal(x, act(image, g, GROUP)) for g, x in enumerate(found.moved))
    assert max(float(d.max()) for d in found.differences) < TOLERANCE["float64"]
    assert max(float(d.max()) for d in compare(plain, image, GROUP).differences) > BROKEN


def test_a_difference_lies_where_the_network_breaks():
    class Corner(nn.Module):
        def forward(self, x):
            mark = torch.zeros_like(x)
            mark[..., 0, 0] = 5 * x.std()
            return x + mark

    found = compare(Corner(), signal(1, 6, 6), named("C2"))
    assert found.differences[0].max() == 0
    assert sorted(map(tuple, found.differences[1].nonzero().tolist())) == [(0, 0), (5, 5)]
    assert float(found.differences[1].max()) == pytest.approx(5 * float(signal(1, 6, 6).std()) / found.scale)


def test_wrong_requests():
    with pytest.raises(RequestError, match=r"does not take an image of shape \[2, 8, 8\]"):
        compare(nn.Conv2d(3, 4, 3), signal(2, 8, 8), GROUP)
    with pytest.raises(RequestError, match=r"expected an output \[batch, classes\].* received shape \[1, 4, 36\]"):
        compare(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2)), signal(3, 8, 8), GROUP)
    with pytest.raises(RequestError, match=r"expected an output \[1, 4, 6, 8\] for a moved image"):
        compare(nn.Conv2d(3, 4, (1, 3), padding=(0, 0)), signal(3, 8, 8), GROUP)
