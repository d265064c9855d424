"""Which axes a group mixes, and the warning where their spacings differ."""

import warnings

import pytest

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.groups.axes import MixedAxesWarning, groups_for, unlike_axes, warn_of_mixed_axes
from isotypic.groups.catalogue import GRID_GROUPS
from isotypic.ops.action import swaps_axes

LUNG = (1.25, 0.5, 0.5)


@pytest.mark.parametrize("dim", GRID_GROUPS)
def test_unlike_axes_are_those_that_an_element_swaps(dim):
    for name in GRID_GROUPS[dim]:
        group = named(name, dim)
        for sizes in [(2, 2, 2), (1, 2, 2), (2, 1, 2), (2, 2, 1), (1, 2, 3)]:
            given = sizes[:dim]
            swapped = any(swaps_axes(group, g, given) for g in range(group.order))
            assert bool(unlike_axes(group, given)) == swapped, (name, given)


def test_the_named_groups_of_the_grid_come_by_size():
    for dim, names in GRID_GROUPS.items():
        orders = [named(name, dim).order for name in names]
        assert orders == sorted(orders, reverse=True)
        assert all(named(name, dim).is_grid_symmetry for name in names)
    assert groups_for((1, 1, 1)) == GRID_GROUPS[3]
    assert groups_for((1, 2, 3)) == ("Cs",)


@pytest.mark.parametrize(
    ("group", "spacing", "text"),
    [
        ("O", LUNG, r"O mixes .* z with y \(1.25 and 0.5 mm\), z with x \(1.25 and 0.5 mm\): .*: D4h, D4, C4, Cs$"),
        ("T", LUNG, r"T mixes axes of different spacing"),
        (named("Oh", 3), (50.0, 4.6, 4.6), r"Oh mixes .* z with y \(50 and 4.6 mm\)"),
        ("D4h", (1.25, 0.5, 0.7), r"D4h mixes .* y with x \(0.5 and 0.7 mm\): .*: Cs$"),
        ("p4", (0.25, 0.5), r"C4 mixes .* y with x \(0.25 and 0.5 mm\): .*: D2, C2, Cs$"),
        ("C8", (0.25, 0.5), r"C8 mixes .* y with x"),
    ],
)
def test_a_group_that_mixes_axes_of_different_spacing_is_warned_of(group, spacing, text):
    with pytest.warns(MixedAxesWarning, match=text) as caught:
        warn_of_mixed_axes(group, spacing)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("group", "spacing"),
    [
        ("D4h", LUNG),
        ("D4", LUNG),
        ("C4", LUNG),
        ("Z3", (1.0, 2.0, 3.0)),
        ("Cs", (1.0, 2.0, 3.0)),
        ("O", (0.5, 0.5, 0.5)),
        ("Oh", (0.703125, 0.7031, 0.703125)),
        ("D2", (1.0, 2.0)),
    ],
)
def test_one_that_does_not_is_left_in_peace(group, spacing):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_mixed_axes(group, spacing)


def test_the_unit_is_named():
    with pytest.warns(MixedAxesWarning, match=r"50 and 4.6 nm"):
        warn_of_mixed_axes("O", (50.0, 4.6, 4.6), unit="nm")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: warn_of_mixed_axes("O", (1.0, 0.0, 1.0)),
            r"positive spacings, .*received \(1.0, 0.0, 1.0\)",
        ),
        (lambda: warn_of_mixed_axes("O", (1.0,)), "expected 2 or 3 positive spacings"),
        (lambda: warn_of_mixed_axes("O", (1.0, 1.0)), "unknown group of the plane 'O'"),
        (lambda: warn_of_mixed_axes(named("O", 3), (1.0, 1.0)), "acting on 2 axes, received O acting on 3"),
        (lambda: unlike_axes(named("O", 3), (1, 2)), r"expected 3 sizes, one an axis, for O, received \(1, 2\)"),
    ],
)
def test_bad_requests_are_refused(call, text):
    with pytest.raises(RequestError, match=text):
        call()
