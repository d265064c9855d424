"""The order of an epoch: no row twice or lost, the same batches for every number of processes, little read twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotypic.distributed.order import EpochOrder

GROUPS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def order_of(groups, seed=0, epoch=0, lanes=4, window=32):
    return EpochOrder(groups, epoch=epoch, seed=seed, lanes=lanes, window=window)


def rows_of(order, groups, lane):
    """The rows of a lane in their order, as numbers among all."""
    starts = np.cumsum([0, *groups])
    found = []
    for window in order.windows(lane):
        rows = np.concatenate([starts[piece.group] + np.arange(piece.begin, piece.end) for piece in window.pieces])
        found.append(rows[window.order])
    return np.concatenate(found) if found else np.zeros(0, int)


def batches(order, groups, size, world):
    """Every batch as its rows: what the processes have, one after the other."""
    lanes = [rows_of(order, groups, lane) for lane in range(order.lanes)]
    return [
        [
            int(row)
            for rank in range(world)
            for part in order.share(batch, size, rank, world)
            for row in lanes[part.lane][part.begin : part.end]
        ]
        for batch in range(order.batches(size))
    ]


@settings(deadline=None, max_examples=60)
@given(GROUPS, st.integers(1, 9), st.integers(1, 50), st.integers(1, 40), st.integers(0, 5))
def test_every_row_comes_once_and_batches_are_the_same_for_every_number_of_processes(groups, lanes, window, size, epoch):
    order = order_of(groups, epoch=epoch, lanes=lanes, window=window)
    alone = batches(order, groups, size, 1)
    assert sorted(sum(alone, [])) == list(range(sum(groups)))
    assert [len(batch) for batch in alone[:-1]] == [size] * (len(alone) - 1)
    for world in (2, 3, 4, 7):
        assert batches(order, groups, size, world) == alone


def test_lanes_that_follow_the_number_of_processes_would_give_other_batches():
    """The control: the same rows, each once, and yet not the same batches."""
    groups = [40] * 6
    one, two = ([sorted(batch) for batch in batches(order_of(groups, lanes=n), groups, 16, n)] for n in (1, 2))
    assert sorted(sum(one, [])) == sorted(sum(two, []))
    assert one != two


@settings(deadline=None, max_examples=60)
@given(GROUPS, st.integers(1, 40), st.integers(1, 8))
def test_shares_of_a_batch_differ_by_one_at_most(groups, size, world):
    order = order_of(groups)
    for batch in range(order.batches(size)):
        sizes = [sum(part.end - part.begin for part in order.share(batch, size, rank, world)) for rank in range(world)]
        assert max(sizes) - min(sizes) <= 1


@settings(deadline=None, max_examples=60)
@given(GROUPS, st.integers(1, 9), st.integers(1, 60))
def test_a_window_is_as_large_as_is_asked_for_and_a_group_at_most_more(groups, lanes, window):
    order = order_of(groups, lanes=lanes, window=window)
    least = -(-window // lanes)
    for lane in range(lanes):
        sizes = [len(found.order) for found in order.windows(lane)]
        assert all(size >= least for size in sizes[:-1])
        assert all(size < least + max(groups) for size in sizes)


def test_epochs_and_seeds_have_orders_of_their_own():
    groups = [64] * 8

    def whole(**given):
        return sum(batches(order_of(groups, window=256, **given), groups, 64, 1), [])

    first = whole()
    assert first == whole()
    for other in (whole(epoch=1), whole(seed=1)):
        assert np.mean(np.array(first) == other) < 0.05
    assert len(set(np.array(first[:64]) // 64)) >= 4, "a batch mixes row groups that lie apart"


def groups_read(order, size, world):
    """How often each process reads a row group in an epoch."""
    windows = {lane: list(order.windows(lane)) for lane in range(order.lanes)}
    found = []
    for rank in range(world):
        read = []
        for batch in range(order.batches(size)):
            for part in order.share(batch, size, rank, world):
                for place, window in enumerate(windows[part.lane]):
                    if window.begin < part.end and part.begin < window.end and (part.lane, place) not in read:
                        read.append((part.lane, place))
        found.append(sum(len(windows[lane][place].pieces) for lane, place in read))
    return found


@pytest.mark.parametrize("world", [1, 2, 4])
def test_together_processes_read_every_row_group_about_once(world):
    groups = [64] * 64
    order = order_of(groups, lanes=8, window=8 * 128)
    read = groups_read(order, 512, world)
    assert sum(read) <= len(groups) + order.lanes - 1
    assert max(read) <= (len(groups) + order.lanes) / world + 1
    # the control: 3 does not divide the lanes, so that some are read by two processes
    assert sum(groups_read(order, 512, 3)) > len(groups) + order.lanes
