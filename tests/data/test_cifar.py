"""CIFAR in its four forms gives what was written; damaged batches, and pickles that would run code, are refused."""

import pickle
import re

import numpy as np
import pytest
from lookalikes import CIFAR_EACH, write_cifar

from isotypic.data.catalogue import load, recognise
from isotypic.data.config import DataConfig
from isotypic.data.datasets.cifar import FORMS
from isotypic.errors import RequestError


def loaded(folder, **config):
    return load(DataConfig(dataset="cifar", path=folder, **config), folder)


@pytest.mark.parametrize("name", list(FORMS))
def test_every_form_gives_what_was_written(name, tmp_path):
    images, labels = write_cifar(tmp_path, name)
    found = loaded(tmp_path)
    assert recognise(tmp_path) == "cifar"
    assert np.array_equal(found.images, images)
    assert found.labels.tolist() == labels
    assert found.name == name.partition(",")[0]
    assert found.classes[:2] == ("class0", "class1")
    assert found.split.tolist() == ["train"] * (len(labels) - CIFAR_EACH) + ["test"] * CIFAR_EACH
    assert loaded(tmp_path, colour="grey").shape == (1, 32, 32)


class Evil:
    def __reduce__(self):
        return print, ("it ran",)


def cut(path):
    path.write_bytes(path.read_bytes()[:99])


def pickled(content):
    return lambda folder: (folder / "test_batch").write_bytes(pickle.dumps(content))


WRONG = {
    "a batch is missing": ("cifar-10", lambda f: (f / "data_batch_3").unlink(), "data_batch_3: no such batch"),
    "a pickle that runs": ("cifar-10", pickled({b"data": Evil()}), "it asks for builtins.print"),
    "a pickle cut short": ("cifar-10", lambda f: cut(f / "test_batch"), "cannot be read as a batch of CIFAR"),
    "no dictionary": ("cifar-10", pickled([1]), "expected a dictionary, received list"),
    "other keys": ("cifar-10", pickled({b"x": 1}), "expected data [n, 3072]"),
    "half a row": ("cifar-100, binary", lambda f: (f / "test.bin").write_bytes(bytes(3075)), "received 3075 bytes"),
    "no names": ("cifar-10", lambda f: (f / "batches.meta").unlink(), "batches.meta: no such file; it names the"),
}


@pytest.mark.parametrize(("name", "spoil", "message"), WRONG.values(), ids=WRONG)
def test_wrong_batches_are_named(name, spoil, message, tmp_path, capsys):
    write_cifar(tmp_path, name)
    spoil(tmp_path)
    with pytest.raises(RequestError, match=re.escape(message)):
        loaded(tmp_path)
    assert "it ran" not in capsys.readouterr().out


def test_a_folder_without_batches(tmp_path):
    with pytest.raises(RequestError, match="no batches of CIFAR"):
        loaded(tmp_path)
    with pytest.raises(RequestError, match="needs the folder with its batches"):
        loaded(None)
