from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isotypic.data.image_set import ImageSet
from isotypic.data.loading import ArrayDataset, BatchSampler, Normalised, loader
from isotypic.data.normalisation import Normalisation
from isotypic.errors import RequestError

COUNT = 23
IMAGES = np.arange(COUNT * 2 * 3 * 4).reshape(COUNT, 2, 3, 4).astype(np.uint8)
SET = ImageSet("set", IMAGES, np.arange(COUNT) % 3, ("a", "b", "c"))
NORMALISATION = Normalisation((0.5, 0.5), (0.25, 0.25), 255.0)


def dataset(rows=range(COUNT)):
    return ArrayDataset(SET, np.array(rows))


def epochs(loading, count=1):
    return [[(images.clone(), labels.clone()) for images, labels in loading] for _ in range(count)]


def same(one, other):
    flat = [[tensor for epoch in run for batch in epoch for tensor in batch] for run in (one, other)]
    return len(flat[0]) == len(flat[1]) and all(map(torch.equal, *flat))


def test_items_and_batches_agree():
    part = dataset([5, 2, 9])
    images, labels = part[[0, 2]]
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.equal(images, torch.from_numpy(IMAGES[[5, 9]]))
    assert labels.tolist() == [2, 0]
    assert torch.equal(part[2][0], images[1])
    assert part[2][1] == 0
    assert part.labels.tolist() == [2, 2, 0]


def test_batches_are_normalised_where_they_are_used():
    ((images, labels),) = Normalised(loader(dataset([5, 2]), 4, shuffle=False, seed=0), NORMALISATION)
    torch.testing.assert_close(images, (torch.from_numpy(IMAGES[[5, 2]]) / 255 - 0.5) / 0.25)
    assert labels.tolist() == [2, 2]


def test_in_order_without_shuffle():
    (batches,) = epochs(loader(dataset(), 10, shuffle=False, seed=0))
    assert [len(labels) for _, labels in batches] == [10, 10, 3]
    torch.testing.assert_close(torch.cat([images for images, _ in batches]), dataset()[list(range(COUNT))][0])


@pytest.mark.parametrize("steps", [None, 4])
def test_the_same_for_any_number_of_workers_and_any_global_seed(steps):
    runs = []
    for workers in (0, 2):
        torch.manual_seed(workers)
        before = torch.random.get_rng_state()
        runs.append(epochs(loader(dataset(), 6, shuffle=True, seed=3, workers=workers, steps=steps), 2))
        assert torch.equal(before, torch.random.get_rng_state())
    assert same(*runs)
    assert not same(runs[0], epochs(loader(dataset(), 6, shuffle=True, seed=4, steps=steps), 2))
    assert not same(runs[0][:1], runs[0][1:])


counts, sizes, steps = st.integers(1, 40), st.integers(1, 60), st.integers(1, 20)


@settings(max_examples=100)
@given(counts, sizes, steps, st.booleans(), st.integers(0, 99))
def test_steps_give_full_batches_and_every_image_before_any_repeats(count, size, number, shuffle, seed):
    sampler = BatchSampler(count, size, shuffle, seed, number)
    stream = []
    for _ in range(3):
        batches = list(sampler)
        assert [len(batch) for batch in batches] == [size] * number == [size] * len(sampler)
        stream += [position for batch in batches for position in batch]
    for start in range(0, len(stream), count):
        window = Counter(stream[start : start + count])
        assert max(window.values()) == 1
        assert len(stream) < start + count or set(window) == set(range(count))


@settings(max_examples=50)
@given(counts, sizes, st.integers(0, 99))
def test_without_steps_an_epoch_is_one_pass(count, size, seed):
    sampler = BatchSampler(count, size, True, seed)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(position for batch in batches for position in batch) == list(range(count))


def test_drawing_with_replacement_would_repeat_early():
    drawn = np.random.default_rng(0).integers(0, COUNT, COUNT)
    assert max(Counter(drawn.tolist()).values()) > 1


@pytest.mark.parametrize("number", [None, 3])
def test_an_epoch_can_be_resumed_by_its_number(number):
    sampler, resumed = (BatchSampler(COUNT, 5, True, 1, number) for _ in range(2))
    runs = [list(sampler) for _ in range(4)]
    resumed.set_epoch(3)
    assert list(resumed) == runs[3]
    assert runs[2] != runs[3]


@pytest.mark.parametrize("number", [None, 3])
def test_the_stream_can_be_resumed_at_any_batch(number):
    whole = BatchSampler(COUNT, 5, True, 1, number)
    batches = [batch for _ in range(4) for batch in whole]
    for first in range(len(batches)):
        resumed = BatchSampler(COUNT, 5, True, 1, number)
        resumed.start_at(first)
        assert [batch for _ in range(4) for batch in resumed][: len(batches) - first] == batches[first:]


def test_a_broken_off_epoch_does_not_come_again():
    sampler = BatchSampler(COUNT, 5, True, 1)
    first = list(islice(sampler, 2))
    assert list(sampler)[:2] != first


def test_wrong_requests_are_refused():
    with pytest.raises(RequestError, match=r"set: expected at least one index in 0\.\.22, received 0 indices"):
        dataset([])
    with pytest.raises(RequestError, match=r"expected at least one index in 0\.\.22"):
        dataset([0, COUNT])
    with pytest.raises(RequestError, match="expected batch size of at least 1, received 0"):
        loader(dataset(), 0, shuffle=True, seed=0)
    with pytest.raises(RequestError, match="expected steps of at least 1, received 0"):
        loader(dataset(), 1, shuffle=True, seed=0, steps=0)
    with pytest.raises(RequestError, match="expected a seed of at least 0, received -1"):
        loader(dataset(), 1, shuffle=True, seed=-1)
    with pytest.raises(RequestError, match="expected workers of at least 0"):
        loader(dataset(), 1, shuffle=True, seed=0, workers=-1)
