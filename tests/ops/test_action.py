import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import signal

from isotypic.errors import RequestError
from isotypic.groups import named, regular, trivial, vector
from isotypic.ops.action import act, swaps_axes

SPACES = {2: (5, 7), 3: (4, 5, 6)}
GROUPS = [("p4m", 2), ("C4", 2), ("D2", 2), ("D4h", 3), ("Oh", 3)]


@given(st.sampled_from(GROUPS), st.data())
def test_act_is_a_left_action_to_the_bit(case, data):
    group = named(*case)
    g, h = (data.draw(st.integers(0, group.order - 1)) for _ in range(2))
    rho = data.draw(st.sampled_from([None, trivial(group), regular(group), vector(group)]))
    size = 1 if rho is None else rho.dimension
    x = signal(2, 3 * size, *SPACES[group.dim], seed=g)
    assert torch.equal(act(act(x, h, group, rho), g, group, rho), act(x, int(group.table[g, h]), group, rho))


def test_the_inverse_action_is_no_left_action():
    group = named("p4m")
    x = signal(1, 8, 5, 5)

    def backwards(x, g):
        return act(x, int(group.inverse[g]), group, regular(group))

    assert not torch.equal(backwards(backwards(x, 4), 1), backwards(x, int(group.table[1, 4])))


def test_it_is_numpys_rot90_and_fliplr():
    x = signal(1, 1, 5, 7)
    image = x[0, 0].numpy()
    for k in range(4):
        assert np.array_equal(act(x, k, "p4")[0, 0].numpy(), np.rot90(image, k))
    assert np.array_equal(act(x, 4, "p4m")[0, 0].numpy(), np.fliplr(image))
    assert np.array_equal(act(x, 1, "Cs")[0, 0].numpy(), np.fliplr(image))


def test_a_peak_moves_by_the_matrix():
    group = named("Oh", 3)
    for g in range(group.order):
        x = torch.zeros(1, 1, 5, 5, 5)
        x[0, 0, 4, 3, 2] = 1.0
        wanted = group.grid_matrices[g] @ [2, 1, 0] + 2
        assert act(x, g, group)[0, 0][tuple(wanted)] == 1.0


def test_rectangles_change_shape_as_said():
    group = named("p4")
    assert act(signal(1, 1, 5, 7), 1, group).shape == (1, 1, 7, 5)
    assert [swaps_axes(group, g, (5, 7)) for g in range(4)] == [False, True, False, True]
    assert not any(swaps_axes(group, g, (5, 5)) for g in range(4))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: act(signal(1, 1, 4, 4), 4, "p4"), "expected an element of C4, 0 to 3, received 4"),
        (lambda: act(signal(1, 1, 4, 4), 1, "C8"), "expected a group that maps the pixel grid to itself, received C8"),
        (lambda: act(signal(4), 1, "C4"), r"expected at least 2 axes for C4, received \(4,\)"),
        (
            lambda: act(signal(1, 6, 4, 4), 1, "p4", regular(named("p4"))),
            r"expected channels in fields of 4 \(regular of C4\), received 6",
        ),
    ],
)
def test_bad_requests(call, text):
    with pytest.raises(RequestError, match=text):
        call()
