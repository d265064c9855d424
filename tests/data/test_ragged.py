import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotypic.data.labelled.ragged import Ragged
from isotypic.errors import RequestError

shapes = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=6)


@given(shapes)
def test_what_goes_in_comes_out(sizes):
    generator = np.random.default_rng(0)
    arrays = [generator.random(size) for size in sizes]
    found = Ragged.of(arrays)
    assert len(found) == len(arrays)
    assert found.shapes.tolist() == [list(size) for size in sizes]
    assert all(np.array_equal(one, other) for one, other in zip(found, arrays, strict=True))
    assert np.array_equal(found[-1], arrays[-1])


def test_arrays_are_views_and_iteration_ends():
    found = Ragged.of([np.zeros((2, 2)), np.zeros((1, 3))])
    assert all(np.shares_memory(array, found.values) for array in found)
    with pytest.raises(IndexError):
        found[2]


def test_a_map_travels_as_the_name_of_its_file(tmp_path):
    np.arange(5000, dtype=np.int32).tofile(tmp_path / "a.raw")
    values = np.memmap(tmp_path / "a.raw", dtype=np.int32, mode="r", shape=(5000,))
    mapped, copied = Ragged(values, np.array([[2500], [2500]])), Ragged(np.array(values), np.array([[2500], [2500]]))
    travelled = pickle.dumps(mapped)
    assert len(travelled) < 2000 < len(pickle.dumps(copied))
    assert isinstance(pickle.loads(travelled).values, np.memmap)
    assert np.array_equal(pickle.loads(travelled)[1], copied[1])


def test_wrong_requests_are_refused():
    with pytest.raises(RequestError, match=r"expected 6 values for 1 arrays, received \[5\]"):
        Ragged(np.zeros(5), np.array([[2, 3]]))
    with pytest.raises(RequestError, match="expected arrays of one type and one number of axes, received none"):
        Ragged.of([])
    with pytest.raises(RequestError, match="expected arrays of one type"):
        Ragged.of([np.zeros(2), np.zeros((1, 2))])
