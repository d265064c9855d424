"""The filter bank against the definition, written out as a sum over the group."""

import itertools

import numpy as np
import pytest
import torch
from laws import TOLERANCE, signal

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.nn import GroupConv2d
from isotypic.ops.expansion import FilterShape, expand, gather_index, inverse_permutations, moved_positions


def bank(group, weight, channels_last=False):
    shape = FilterShape(group, weight.shape[1], weight.shape[2], tuple(weight.shape[3:]))
    index = gather_index(shape, channels_last=channels_last)
    tables = (torch.as_tensor(index).reshape(-1), torch.as_tensor(inverse_permutations(index)).reshape(-1))
    return expand(weight.flatten(1, 2), shape, *tables, channels_last=channels_last)


def direct(group, weight, table):
    """``bank[m, g, n, h, x] = weight[m, n, g^-1 h, g^-1 x]``, one entry after another."""
    m_fields, n_fields, components, *kernel = weight.shape
    result = torch.zeros(m_fields, group.order, n_fields, components, *kernel, dtype=weight.dtype)
    centre = (np.array(kernel) - 1) / 2
    for g, h, *x in itertools.product(range(group.order), range(components), *map(range, kernel)):
        back = np.rint(group.matrices[group.inverse[g]] @ (np.array(x) - centre) + centre).astype(int)
        component = table[group.inverse[g], h] if components > 1 else 0
        result[(slice(None), g, slice(None), h, *x)] = weight[(slice(None), slice(None), component, *back)]
    return result.flatten(0, 1).flatten(1, 2)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("lift", [False, True])
@pytest.mark.parametrize(
    ("name", "dim", "kernel"),
    [("p4m", 2, (3, 3)), ("p4", 2, (4, 4)), ("D2", 2, (3, 2)), ("D4h", 3, (2, 3, 3)), ("Oh", 3, (3, 3, 3))],
)
def test_expansion_is_the_definition(name, dim, kernel, lift, channels_last):
    group = named(name, dim)
    weight = signal(2, 3, 1 if lift else group.order, *kernel)
    assert torch.equal(bank(group, weight, channels_last), direct(group, weight, group.table))


def test_the_definition_with_g_h_in_place_of_its_inverse_is_another_bank():
    group = named("p4m")
    weight = signal(2, 3, 8, 3, 3)
    assert not torch.equal(bank(group, weight), direct(group, weight, group.table[group.inverse]))


def test_the_layer_is_the_sum_over_the_group():
    """One output value, summed by hand over group, kernel and fields."""
    group = named("p4m")
    layer = GroupConv2d(2, 3, 3, group).double()
    x = signal(1, 16, 5, 5)
    y = layer(x)
    fields = x[0].reshape(2, 8, 5, 5)
    m, g, centre = 1, 5, 1
    total = layer.bias[m]
    for n, h, dy, dx in itertools.product(range(2), range(8), range(3), range(3)):
        by, bx = group.grid_matrices[group.inverse[g]] @ [dy - 1, dx - 1] + centre
        total = total + fields[n, h, 1 + dy, 2 + dx] * layer.weight[m, n * 8 + group.table[group.inverse[g], h], by, bx]
    assert abs(y[0, m * 8 + g, 1, 2] - total) < TOLERANCE["float64"]


@pytest.mark.parametrize("channels_last", [False, True])
def test_first_and_second_derivatives(channels_last):
    group = named("p4")
    weight = signal(2, 2, 4, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: bank(group, w, channels_last), weight)
    assert torch.autograd.gradgradcheck(lambda w: bank(group, w, channels_last) ** 2, weight)


def test_a_kernel_that_the_group_does_not_keep_is_refused():
    with pytest.raises(RequestError, match="expected a kernel that C4 maps to itself, received 3x5"):
        moved_positions(named("p4"), (3, 5))
