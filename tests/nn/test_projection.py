"""Regular fields to a vector field at every pixel: the 1x1 steerable convolution is the whole space of such maps."""

import pytest
import torch
from laws import BROKEN, PLANE_GROUPS, TOLERANCE, signal
from torch import nn

from isotypic.groups import FieldType, named, regular, regular_fields, scalar_fields, vector
from isotypic.metrics.equivariance import equivariance_error
from isotypic.nn import SteerableConv2d

FIELDS = 3


def projection(name):
    group = named(name)
    return SteerableConv2d(regular_fields(group, FIELDS), FieldType(vector(group), 1), 1).double(), group


def matrix(layer, group):
    """What the layer does to the channels of a pixel, ``[out, fields, |G|]``."""
    with torch.no_grad():
        pixels = torch.eye(FIELDS * group.order, dtype=torch.float64)[..., None, None]
        zero = layer(torch.zeros_like(pixels[:1]))
        return (layer(pixels) - zero)[:, :, 0, 0].T.reshape(-1, FIELDS, group.order)


@pytest.mark.parametrize("name", PLANE_GROUPS)
def test_it_is_a_sum_of_turned_vectors(name):
    """``v = sum_n sum_g rho(g) w_n f[n, g]``, and every w_n in R^2 is reached."""
    layer, group = projection(name)
    rho = torch.as_tensor(group.matrices)
    columns = []
    for unit in torch.eye(len(layer.weight), dtype=torch.float64):
        layer.weight.data.copy_(unit)
        found = matrix(layer, group)
        turned = torch.einsum("gij,jn->ing", rho, found[:, :, 0])
        assert (found - turned).abs().max() < TOLERANCE["table"]
        columns.append(found[:, :, 0].flatten())
    assert len(columns) == torch.linalg.matrix_rank(torch.stack(columns)) == 2 * FIELDS


@pytest.mark.parametrize("name", PLANE_GROUPS)
def test_its_output_turns_as_a_vector(name):
    layer, group = projection(name)
    x = signal(2, FIELDS * group.order, 5, 8)
    moved = {"input_representation": regular(group)}
    error = equivariance_error(layer, x, group, **moved, output_representation=vector(group)).max()
    assert error < TOLERANCE["float64"]
    if group.order > 1:
        assert equivariance_error(layer, x, group, **moved).max() > BROKEN
        plain = nn.Conv2d(FIELDS * group.order, 2, 1).double()
        assert equivariance_error(plain, x, group, **moved, output_representation=vector(group)).max() > BROKEN


def test_with_the_trivial_group_it_is_an_ordinary_convolution():
    layer, group = projection("C1")
    plain = nn.Conv2d(FIELDS, 2, 1).double()
    plain.weight.data.copy_(matrix(layer, group)[:, :, 0, None, None])
    plain.bias.data.copy_(layer.bias.data)
    x = signal(2, FIELDS, 5, 8)
    assert torch.allclose(layer(x), plain(x), atol=TOLERANCE["table"])
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in plain.parameters())


@pytest.mark.parametrize(("name", "components"), [("C1", 2), ("Cs", 1), ("C2", 0), ("p4", 0), ("D2", 0), ("p4m", 0)])
def test_a_bias_has_only_the_components_that_the_group_leaves_alone(name, components):
    bias = projection(name)[0].bias
    assert (0 if bias is None else len(bias)) == components


@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_to_scalars_it_is_the_mean_over_the_group_and_a_convolution(name):
    group = named(name)
    layer = SteerableConv2d(regular_fields(group, FIELDS), scalar_fields(group, 2), 1, bias=False).double()
    mix = matrix(layer, group).mean(2)
    x = signal(2, FIELDS * group.order, 5, 8)
    means = x.unflatten(1, (FIELDS, group.order)).mean(2)
    assert torch.allclose(layer(x), group.order * torch.einsum("cn,bnyx->bcyx", mix, means), atol=TOLERANCE["table"])
