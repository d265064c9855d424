import pickle

import numpy as np
import pytest
from laws import TABLE_GROUPS, TOLERANCE, group_of

from isotypic.errors import RequestError
from isotypic.groups import FiniteGroup, generate, named

ORDERS = {"C1": 1, "Cs": 2, "C4": 4, "D4": 8, "D4h": 16, "T": 12, "O": 24, "Oh": 48}
SUBGROUPS = {("C4", 2): 3, ("D4", 2): 10, ("T", 3): 10, ("O", 3): 30, ("Oh", 3): 98}


def is_group_table(table):
    """The axioms, from the table alone."""
    elements = np.arange(len(table))
    latin = all(
        np.array_equal(np.sort(table, axis), np.sort(np.broadcast_to(elements, table.shape), 1)) for axis in (1,)
    )
    latin = latin and np.array_equal(np.sort(table, 0), np.broadcast_to(elements[:, None], table.shape))
    identity = np.array_equal(table[0], elements) and np.array_equal(table[:, 0], elements)
    associative = np.array_equal(table[table], table[elements[:, None, None], table[None]])
    return latin and identity and associative


@pytest.mark.parametrize("case", TABLE_GROUPS)
def test_the_table_is_a_group(case):
    group = group_of(case)
    assert is_group_table(group.table)
    assert np.array_equal(group.table[np.arange(group.order), group.inverse], np.zeros(group.order))


def test_a_table_with_two_entries_exchanged_is_no_group():
    table = named("D4").table.copy()
    table[2, [3, 4]] = table[2, [4, 3]]
    assert not is_group_table(table)


@pytest.mark.parametrize("case", TABLE_GROUPS)
def test_the_table_is_that_of_the_matrices(case):
    group = group_of(case)
    products = group.matrices[:, None] @ group.matrices[None]
    assert np.abs(products - group.matrices[group.table]).max() < TOLERANCE["table"]


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_orders_in_space(name, order):
    assert named(name, dim=3).order == order


@pytest.mark.parametrize(("case", "count"), SUBGROUPS.items())
def test_all_subgroups_are_found_and_divide_the_order(case, count):
    group = group_of(case)
    assert len(group.subgroups) == count
    for members in group.subgroups:
        assert group.order % len(members) == 0
        assert set(group.table[np.ix_(members, members)].ravel()) == set(members)


@pytest.mark.parametrize("case", [("D4", 2), ("O", 3)])
def test_cosets_partition_the_group(case):
    group = group_of(case)
    for members in group.subgroups:
        cosets = group.left_cosets(members)
        assert sorted(cosets.ravel()) == list(range(group.order))
        for coset in cosets:
            assert set(group.table[coset[0], list(members)]) == set(coset)


def test_cosets_of_a_set_that_is_no_subgroup_are_refused():
    with pytest.raises(RequestError, match=r"expected the elements of a subgroup of D4, received \(0, 1\)"):
        named("D4").left_cosets([0, 1])


@pytest.mark.parametrize(("case", "count"), {("C4", 2): 4, ("D4", 2): 5, ("O", 3): 5, ("Oh", 3): 10}.items())
def test_conjugacy_classes_partition_the_group_and_are_closed(case, count):
    group = group_of(case)
    classes = group.conjugacy_classes
    assert len(classes) == count
    assert sorted(sum(classes, ())) == list(range(group.order))
    for members in classes:
        conjugates = {
            int(group.table[group.table[g, h], group.inverse[g]]) for g in range(group.order) for h in members
        }
        assert conjugates == set(members)


def test_the_four_fold_axis_of_space_is_z():
    for name in ("C4", "D4", "D4h"):
        matrices = named(name, dim=3).matrices
        assert not matrices[:, 0, 1:].any(), name
        assert not matrices[:, 1:, 0].any(), name
    assert named("O", dim=3).matrices[:, 0, 1:].any()


def test_the_generator_of_the_plane_is_rot90():
    image = np.arange(9).reshape(3, 3)
    rotation = named("p4").grid_matrices[1]
    moved = np.empty_like(image)
    for y in range(3):
        for x in range(3):
            to = rotation @ [y - 1, x - 1] + 1
            moved[tuple(to)] = image[y, x]
    assert np.array_equal(moved, np.rot90(image))


def test_elements_are_described():
    group = named("p4m")
    assert [group.describe(g) for g in (0, 1, 4, 5)] == ["0°", "90°", "mirror 0°", "mirror 90°"]
    space = named("Oh", dim=3)
    assert space.describe(0) == "0°"
    assert len({space.describe(g) for g in range(48)}) == 48


def test_equal_and_picklable():
    group = named("O", 3)
    again = pickle.loads(pickle.dumps(group))
    assert again == group
    assert hash(again) == hash(group)
    assert named("D4") != named("D4", dim=3)
    assert group.restrict(group.subgroup([1])).order == 4


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: named("p4mn"), "unknown group of the plane 'p4mn': did you mean 'p4m'"),
        (lambda: named("Ohh", 3), "unknown group of space 'Ohh': did you mean 'Oh'"),
        (lambda: named("D4", 4), r"expected dim 2 \(plane\) or 3 \(space\), received 4"),
        (lambda: generate("g", [[[1, 1], [0, 1]]]), "expected orthogonal generator matrices for g"),
        (
            lambda: generate("g", [[[1, 0]]]),
            r"expected square generator matrices of one size, received shape \(1, 1, 2\)",
        ),
        (lambda: generate("g", [[[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]]]), "not a finite group"),
        (lambda: named("C8").grid_matrices, "expected a group that maps the pixel grid to itself, received C8"),
    ],
)
def test_bad_requests_say_what_to_do(call, text):
    with pytest.raises(RequestError, match=text):
        call()


def test_a_group_can_be_made_of_matrices_of_ones_own():
    group = generate("mirror", [[[-1, 0], [0, 1]]])
    assert isinstance(group, FiniteGroup)
    assert group.order == 2
