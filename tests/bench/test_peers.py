"""Other libraries are timed where they are installed: tried with modules of the same shape."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from isotypic.bench.layers import LayerCase
from isotypic.bench.peers import SPACES, candidates
from isotypic.bench.runner import measure
from isotypic.bench.setting import Setting
from isotypic.bench.subjects import SUBJECTS

CASE = LayerCase(dim=2, group="D4", kernel=3, channels=16, size=6, batch=2, mode="step")


class Typed:
    """What stands for a GeometricTensor."""

    def __init__(self, tensor, type):
        assert tensor.shape[1] == type.size
        self.tensor, self.type = tensor, type


class R2Conv(nn.Module):
    """What stands for a steerable convolution."""

    def __init__(self, in_type, out_type, kernel_size, padding=0):
        super().__init__()
        self.out_type, self.conv = out_type, nn.Conv2d(in_type.size, out_type.size, kernel_size, padding=padding)

    def forward(self, x):
        return Typed(self.conv(x.tensor), self.out_type)


def field_type(space, representations):
    return SimpleNamespace(size=len(representations) * space.order)


@pytest.fixture(params=SPACES)
def library(request, monkeypatch):
    """Put a module of the same shape where a library would be."""
    name = request.param
    package, spaces, layers = (ModuleType(f"{name}{part}") for part in ("", ".gspaces", ".nn"))
    package.__version__, package.__spec__, package.__path__ = "9.9", ModuleSpec(name, None), []
    for family, space in SPACES[name].items():
        order = {"C": 1, "D": 2}[family]
        setattr(spaces, space, lambda N, order=order: SimpleNamespace(order=order * N, regular_repr="regular"))
    layers.FieldType, layers.GeometricTensor, layers.R2Conv = field_type, Typed, R2Conv
    for module in (package, spaces, layers):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return name


@pytest.mark.parametrize("mode", ["forward", "step"])
@pytest.mark.parametrize("group", ["C4", "D4"])
def test_an_installed_library_is_timed(library, group, mode):
    case = LayerCase(**{**vars(CASE), "group": group, "mode": mode})
    made = candidates(case, Setting())[library]
    assert made.module(made.x).shape == (2, 16, 6, 6)
    assert made.module.training == (mode == "step")
    found = measure(SUBJECTS["layers"], case, Setting(seconds=0.0)).facts["peers"]
    assert found.keys() == {library}
    assert found[library]["version"] == "9.9"
    assert min(found[library]["ms"], found[library]["speed_up"]) > 0


def test_groups_that_it_does_not_have_are_left_out(library):
    assert library not in candidates(LayerCase(**{**vars(CASE), "group": "Cs"}), Setting())
    assert library not in candidates(LayerCase(3, "D4", 3, 16, 6, 1, "step"), Setting())


def test_one_that_does_not_work_here_is_left_out_and_said(library, monkeypatch, caplog):
    def broken(*_, **__):
        raise AttributeError("module 'numpy' has no attribute 'float'")

    monkeypatch.setattr(sys.modules[f"{library}.nn"], "R2Conv", broken)
    assert library not in candidates(CASE, Setting())
    assert f"{library} is left out of D4 step" in caplog.text


def test_without_one_there_are_no_peers(monkeypatch):
    for name in SPACES:
        monkeypatch.setitem(sys.modules, name, None)
    assert candidates(CASE, Setting()) == {}
    assert torch.is_grad_enabled()
