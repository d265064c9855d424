"""The examples run, and say what they promise."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from laws import BROKEN

FOLDER = Path(__file__).parents[1] / "examples"
FLOAT32 = 1e-4  # an ensemble of float32 networks, relative to the spread of the logits


@pytest.fixture
def symmetrise_digits(monkeypatch):
    name = "symmetrise_digits"
    found = spec_from_file_location(name, FOLDER / f"{name}.py")
    module = module_from_spec(found)
    monkeypatch.setitem(sys.modules, name, module)
    found.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_the_symmetrised_network_is_the_ensemble(symmetrise_digits, capsys):
    assert symmetrise_digits.main(quick=True) < FLOAT32
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == [f"| {name}" for name in symmetrise_digits.NAMES]


def test_the_network_itself_is_not(symmetrise_digits):
    data = symmetrise_digits.load_digits()
    torch.manual_seed(0)
    plain = symmetrise_digits.train(symmetrise_digits.plain_cnn(), data, 1, 1e-2)
    logits = symmetrise_digits.logits_when_turned(plain, data.test_images)
    assert (logits[0] - logits.mean(0)).abs().max() / logits.std() > BROKEN
