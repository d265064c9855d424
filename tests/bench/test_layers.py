"""The grid of layers, what is refused, and what is said of a case beside its speed."""

import math

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch import nn

from isotypic.bench.candidates import rounding_error
from isotypic.bench.layers import GRIDS, LARGEST_MACS, LayerCase, select
from isotypic.bench.runner import measure
from isotypic.bench.setting import Setting, resolved_device
from isotypic.bench.subjects import SUBJECTS
from isotypic.errors import RequestError

LAYERS = SUBJECTS["layers"]
TINY = Setting(seconds=0.0)
CASE = LayerCase(dim=2, group="D4", kernel=3, channels=16, size=6, batch=2, mode="forward")


@pytest.mark.parametrize(("dim", "orders"), [(2, {"C4": 4, "D4": 8}), (3, {"O": 24, "D4h": 16, "Oh": 48})])
def test_the_grid_is_every_combination_but_the_large_ones(dim, orders):
    cases, left_out = select({}, dim, TINY)
    assert len(cases) + left_out == math.prod(len(values) for values in GRIDS[dim].values())
    assert len(set(cases)) == len(cases)
    assert {case.group for case in cases} == set(orders)
    assert all(case.channels % orders[case.group] == 0 for case in cases)
    macs = [case.batch * case.size**dim * case.channels**2 * case.kernel**dim for case in cases]
    assert max(macs) <= LARGEST_MACS
    for name in ("kernel", "channels", "size", "batch", "mode"):
        assert {getattr(case, name) for case in cases} == set(GRIDS[dim][name]), name


def test_what_is_asked_for_replaces_an_entry():
    asked = {"group": ("p4m", "D4"), "kernel": (7,), "size": (9, 10), "batch": (3,), "channels": (24,)}
    cases, left_out = select({**asked, "mode": ("step",)}, None, TINY)
    assert cases == [LayerCase(2, "D4", 7, 24, size, 3, "step") for size in (9, 10)]
    assert left_out == 0


@pytest.mark.parametrize(
    ("asked", "dim", "text"),
    [
        ({"channels": (12,)}, 2, "multiples of 8, the order of D4, received 12"),
        ({"group": ("p4n",)}, 2, "unknown group of the plane 'p4n': did you mean 'p4"),
        ({"group": ("Oh",)}, 2, "a group of the plane .* received Oh, a group of space: give --dim 3"),
        ({"group": ("p4m",)}, 3, "a group of space .* received p4m, a group of the plane: give --dim 2"),
        ({"group": ("C8",), "channels": (8,)}, 2, "maps the pixel grid to itself"),
        ({"mode": ("backward",)}, 2, "unknown mode 'backward'"),
        ({"batch": (0,)}, 2, "expected --batch of at least 1, received 0"),
        ({"size": (40_000,)}, 2, "expected a case of at most 1.5e"),
        ({"network": ("resnet18",)}, 2, "expected for layers only --group.*; received --network"),
        ({}, 4, "expected --dim 2 or 3, received 4"),
    ],
)
def test_bad_requests_are_refused(asked, dim, text):
    with pytest.raises(RequestError, match=text):
        select(asked, dim, TINY)


def test_bad_settings_are_refused():
    for words, text in (
        ({"dtype": "float16"}, "unknown dtype 'float16': did you mean 'bfloat16'"),
        ({"compute": "fast"}, "unknown compute 'fast'"),
        ({"match": "fields"}, "unknown match 'fields': Known: channels, parameters"),
    ):
        with pytest.raises(RequestError, match=text):
            Setting(**words)
    with pytest.raises(RequestError, match="unknown device 'gpu'"):
        resolved_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(RequestError, match="expected a machine with CUDA"):
        resolved_device("cuda")
    assert resolved_device("auto") == "cpu"


@pytest.mark.parametrize("compute", ["dense", "isotypic"])
@pytest.mark.parametrize("mode", ["forward", "step"])
def test_a_case_says_way_and_errors(compute, mode):
    case = LayerCase(**{**vars(CASE), "mode": mode})
    result = measure(LAYERS, case, Setting(seconds=0.0, compute=compute))
    assert result.facts["way"] == compute
    assert 0 < result.facts["error"] < TOLERANCE["float32"]
    assert 0 < result.facts["plain_error"] < TOLERANCE["float32"]
    assert min(result.speed.speed_up, result.speed.ours_ms, result.speed.plain_ms) > 0
    assert result.facts.keys().isdisjoint({"peers", "memory"})


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_the_error_is_that_of_the_dtype(dtype):
    case = LayerCase(dim=3, group="O", kernel=3, channels=24, size=4, batch=1, mode="step")
    facts = measure(LAYERS, case, Setting(seconds=0.0, dtype=dtype)).facts
    assert facts["error"] < TOLERANCE[dtype]
    assert (facts["plain_error"] == 0) == (dtype == "float64")


@pytest.mark.parametrize(("match", "ratio"), [("channels", 1 / 8), ("parameters", 1)])
def test_what_is_matched_is_the_same(match, ratio):
    case = LayerCase(**{**vars(CASE), "channels": 64})
    facts = measure(LAYERS, case, Setting(seconds=0.0, match=match)).facts
    assert facts["parameters"] / facts["plain_parameters"] == pytest.approx(ratio, rel=0.1)
    assert (facts["ours_channels"] == facts["plain_channels"]) == (match == "channels")


class Coarse(nn.Conv2d):
    """Right in float64; in float32 off by a little."""

    def forward(self, x):
        return super().forward(x) + (BROKEN if x.dtype == torch.float32 else 0)


class WrongGradient(nn.Conv2d):
    """Right forward; in float32 its gradient is twice as large."""

    def forward(self, x):
        y = super().forward(x)
        return y + (y - y.detach()) if x.dtype == torch.float32 else y


def test_the_error_finds_a_wrong_output_and_a_wrong_gradient():
    x = signal(2, 4, 5, 5, dtype=torch.float32)
    for kind, forward, step in (
        (nn.Conv2d, False, False),
        (Coarse, True, True),
        (WrongGradient, False, True),
    ):
        layer = kind(4, 4, 3)
        assert (rounding_error(layer, x, "forward") > TOLERANCE["float32"]) == forward, kind
        assert (rounding_error(layer, x, "step") > TOLERANCE["float32"]) == step, kind
