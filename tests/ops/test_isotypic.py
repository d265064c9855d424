"""The isotypic convolution against the dense one: values, gradients, strides, sizes, by either engine."""

import logging
import platform

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import signal
from torch.nn import functional

from isotypic.groups import named
from isotypic.nn import GroupConv2d, GroupConv3d
from isotypic.ops import native
from isotypic.ops.isotypic import compiled, stock
from isotypic.ops.isotypic.case import Case, patch_basis
from isotypic.ops.isotypic.convolution import isotypic_convolution, to_blocks
from isotypic.ops.isotypic.program import program

AGREES = {torch.float32: 1e-5, torch.float64: 1e-11}
CASES = [  # group, kernel, stride, padding, dilation, size
    ("C2", (2, 2), 1, 0, 1, (8, 9)),
    ("C4", (3, 3), 1, 0, 1, (12, 12)),
    ("C4", (3, 3), 1, 1, 1, (7, 33)),
    ("C4", (3, 3), 3, 1, 1, (11, 14)),
    ("C4", (2, 2), 3, 0, 1, (8, 10)),
    ("C4", (3, 3), 2, 2, 2, (9, 38)),
    ("Cs", (3, 5), 3, 1, 1, (10, 12)),
    ("D2", (3, 3), 1, 1, 1, (9, 8)),
    ("D4", (1, 1), 1, 0, 1, (20, 20)),
    ("D4", (1, 1), 2, 0, 1, (9, 9)),
    ("D4", (3, 3), 1, 1, 1, (13, 18)),
    ("D4", (3, 3), 2, 1, 1, (13, 13)),
    ("D4", (3, 3), 1, 3, 1, (5, 5)),
    ("D4", (4, 4), 2, 1, 1, (14, 12)),
    ("D4", (4, 4), 2, 3, 1, (9, 10)),
    ("D4", (5, 5), 1, 4, 2, (9, 11)),
    ("D4", (2, 3, 3), 1, 1, 1, (4, 5, 5)),
    ("D4h", (3, 3, 3), 2, 1, 1, (5, 7, 7)),
    ("O", (3, 3, 3), 1, 1, 1, (5, 6, 7)),
    ("O", (3, 3, 3), 2, 2, 1, (5, 6, 8)),
    ("O", (3, 3, 3), 3, 0, 1, (5, 7, 6)),
    ("O", (1, 1, 1), 1, 0, 1, (5, 6, 7)),
    ("Oh", (3, 3, 3), 1, 1, 1, (4, 4, 4)),
]
FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
needs_compiler = pytest.mark.skipif(native._compiler() is None, reason="no C++ compiler on this machine")


def made(name, kernel, stride, padding, dilation):
    axes = len(kernel)
    spread = [(n,) * axes for n in (stride, padding, dilation)]
    return Case(named(name, axes), kernel, *spread)


def layer_for(case, seen, out, dtype):
    kind = GroupConv2d if len(case.kernel) == 2 else GroupConv3d
    window = {"stride": case.stride, "padding": case.padding, "dilation": case.dilation}
    return kind(seen, out, case.kernel, case.group, compute="dense", **window).to(dtype)


def dense_convolution(layer, x, case):
    """By expanded filters, which no parity widens: windows may miss the last samples."""
    made = layer.filters(x, (0,) * len(case.kernel))
    convolve = functional.conv2d if len(case.kernel) == 2 else functional.conv3d
    return convolve(x, made.filters, made.bias, case.stride, case.padding, case.dilation)


@pytest.fixture(params=[pytest.param("compiled", marks=needs_compiler), "stock"])
def engine(request, monkeypatch):
    if request.param == "stock":
        monkeypatch.setattr(compiled, "serves", lambda x, case: False)
    return request.param


def difference(found, wanted):
    return float((found - wanted).detach().abs().max() / wanted.detach().abs().max())


def with_gradients(function, inputs, direction):
    y = function(*inputs)
    return [y, *torch.autograd.grad(y, inputs, direction(y))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_dense_and_isotypic_agree_with_all_gradients(case, last, dtype, engine):
    *window, size = case
    case = made(*window)
    layer = layer_for(case, 3, 5, dtype)
    x = signal(3, 3 * case.group.order, *size, dtype=dtype)
    x = (x.to(memory_format=FORMATS[len(size)]) if last else x).requires_grad_()
    inputs = (x, layer.weight, layer.bias)
    direction = lambda y: signal(*y.shape, seed=1, dtype=dtype)  # noqa: E731
    dense = with_gradients(lambda x, *_: dense_convolution(layer, x, case), inputs, direction)
    isotypic = with_gradients(lambda x, w, b: isotypic_convolution(x, to_blocks(w, case), b, case), inputs, direction)
    for found, wanted in zip(isotypic, dense, strict=True):
        assert difference(found, wanted) < AGREES[dtype]
    assert isotypic[0].is_contiguous(memory_format=FORMATS[len(size)]) == last


STRIDED = [case for case in CASES if case[2] > 1]


def unbalance(case, seen, made, size, blocks_back=lambda blocks: blocks):
    """By how much <g, A x> and <A^T g, x> differ, of the product of the lengths of g and A x."""
    module = compiled if compiled.serves(signal(1), case) else stock
    x, blocks = signal(2, seen * case.group.order, *size), signal(made, seen, case.entries, seed=1)
    y = module.convolve(x, blocks, None, case)
    g = signal(*y.shape, seed=2)
    back = module.transpose(g, blocks_back(blocks), case, size)
    return float((torch.sum(g * y) - torch.sum(back * x)).abs() / (g.norm() * y.norm()))


@pytest.mark.parametrize("case", STRIDED, ids=str)
def test_the_transpose_is_the_transpose(case, engine):
    *window, size = case
    assert unbalance(made(*window), 4, 3, size) < 1e-14


@pytest.mark.parametrize("case", STRIDED, ids=str)
def test_the_transpose_of_other_blocks_is_not(case, engine):
    *window, size = case
    assert unbalance(made(*window), 4, 3, size, lambda blocks: blocks.roll(1, 1)) > 1e-4


def test_samples_that_no_window_sees_have_no_gradient(engine):
    case, size = made("C4", (2, 2), 3, 0, 1), (8, 10)
    blocks = signal(2, 3, case.entries)
    module = compiled if compiled.serves(blocks, case) else stock
    back = module.transpose(signal(1, 8, 3, 3), blocks, case, size)
    seen = torch.zeros(size, dtype=torch.bool)
    for y in range(8):
        for x in range(10):
            seen[y, x] = y % 3 < 2 and x % 3 < 2 and x < 9
    assert bool((back[..., ~seen] == 0).all())
    assert bool((back[..., seen] != 0).all())


def test_blocks_of_another_weight_give_another_signal(engine):
    case = made("D4", (3, 3), 1, 1, 1)
    layer, x = layer_for(case, 2, 2, torch.float64), signal(1, 16, 9, 9)
    wrong = isotypic_convolution(x, to_blocks(layer.weight.roll(1, 1), case), layer.bias, case)
    assert difference(wrong, layer(x)) > 1e-2


@needs_compiler
@pytest.mark.parametrize("fields", [1, 4, 9, 40])
@pytest.mark.parametrize("batch", [1, 2, 3, 9])
def test_any_share_of_work_gives_the_same(batch, fields):
    """Threads share images where there are enough and rows where not; fields come in chunks."""
    case = made("C4", (3, 3), 1, 1, 1)
    layer, x = layer_for(case, fields, 6, torch.float64), signal(batch, 4 * fields, 18, 50)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        many = isotypic_convolution(x, to_blocks(layer.weight, case), layer.bias, case)
        gradients = compiled.correlate(x, many, case)
        back = compiled.transpose(many, to_blocks(layer.weight, case), case, (18, 50))
        torch.set_num_threads(1)
        one = compiled.correlate(x, many, case)
        back_by_one = compiled.transpose(many, to_blocks(layer.weight, case), case, (18, 50))
    finally:
        torch.set_num_threads(threads)
    assert difference(many, layer(x)) < AGREES[torch.float64]
    assert difference(gradients[0], one[0]) < AGREES[torch.float64]
    assert difference(back, back_by_one) < AGREES[torch.float64]


@needs_compiler
def test_fields_are_taken_in_turns_where_their_planes_are_large():
    """Eight fields of 2.5 MB; a thread takes three at once."""
    assert unbalance(made("C2", (2, 2), 2, 0, 1), 8, 1, (400, 400)) < 1e-14


def test_gradients_of_gradients(engine):
    case = made("C4", (3, 3), 2, 1, 1)
    weight, bias = signal(1, 4, 3, 3, seed=1).requires_grad_(), signal(1, seed=2).requires_grad_()
    x = signal(1, 4, 5, 5).requires_grad_()
    convolve = lambda x, w, b: isotypic_convolution(x, to_blocks(w, case), b, case)  # noqa: E731
    assert torch.autograd.gradcheck(convolve, (x, weight, bias))
    assert torch.autograd.gradgradcheck(convolve, (x, weight, bias))


def test_a_signal_with_gaps_is_taken_as_it_is(engine):
    case = made("D4", (3, 3), 1, 1, 1)
    layer, x = layer_for(case, 2, 2, torch.float64), signal(1, 16, 9, 18)[..., ::2]
    assert difference(isotypic_convolution(x, to_blocks(layer.weight, case), layer.bias, case), layer(x)) < 1e-11


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_a_slice_of_the_channels_stays_in_its_layout(last, engine):
    """The gradient of a concatenation is one: were it laid out anew, so would be all that follows."""
    case = made("D4", (3, 3), 1, 1, 1)
    form = FORMATS[2] if last else torch.contiguous_format
    layer, wide = layer_for(case, 2, 2, torch.float64), signal(2, 32, 9, 8).contiguous(memory_format=form)
    x = wide[:, 8:24].requires_grad_()
    y = isotypic_convolution(x, to_blocks(layer.weight, case), layer.bias, case)
    (to_x,) = torch.autograd.grad(y, x, wide[:, 16:])
    assert difference(y, layer(x)) < 1e-11
    assert y.is_contiguous(memory_format=form)
    assert to_x.is_contiguous(memory_format=form)


def test_without_a_compiler_torch_serves_and_it_is_said_once(monkeypatch, caplog):
    case = made("D4", (3, 3), 1, 1, 1)
    x, caches = signal(1, 8, 6, 6), (native._compiler, compiled._library, native._say_once)
    monkeypatch.setenv("CXX", "no-such-compiler")
    for cache in caches:
        cache.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert not compiled.serves(x, case)
    for cache in caches:
        cache.cache_clear()
    assert [record.getMessage() for record in caplog.records] == [
        "isotypic: found no C++ compiler (g++, or what CXX names); "
        "group convolutions and norms run by torch's own functions, which is slower"
    ]


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names instruction sets of x86-64")
@pytest.mark.parametrize("machine", ["haswell", "x86-64"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_smaller_vectors_give_the_same(machine, dtype, monkeypatch):
    """AVX2 and SSE, whatever the machine that runs this has beyond them."""
    flags = [f"-march={machine}" if flag == "-march=native" else flag for flag in native.FLAGS]
    monkeypatch.setattr(native, "FLAGS", tuple(flags))
    compiled._library.cache_clear()
    for name, fields in (("D4", 2), ("C4", 3)):
        case = made(name, (3, 3), 1, 1, 1)
        layer, x = layer_for(case, fields, 4, dtype), signal(2, fields * case.group.order, 9, 13, dtype=dtype)
        for form in (torch.contiguous_format, torch.channels_last):
            y = isotypic_convolution(x.to(memory_format=form), to_blocks(layer.weight, case), layer.bias, case)
            assert difference(y, layer(x)) < AGREES[dtype]
            entries, _ = compiled.correlate(x.to(memory_format=form), y.detach(), case)
            wanted, _ = stock.correlate(x, y.detach(), case)
            assert difference(entries, wanted) < AGREES[dtype]
            strided, blocks = made(name, (3, 3), 2, 1, 1), to_blocks(layer.weight, case).detach()
            g = signal(2, 4 * case.group.order, 5, 7, dtype=dtype).to(memory_format=form)
            back, wanted = (module.transpose(g, blocks, strided, (9, 13)) for module in (compiled, stock))
            assert difference(back, wanted) < AGREES[dtype]
    compiled._library.cache_clear()


@needs_compiler
def test_a_kernel_is_built_once_and_found_again(monkeypatch, tmp_path):
    monkeypatch.setenv("ISOTYPIC_CACHE", str(tmp_path))
    group = named("C2")
    compiled._library.cache_clear()
    assert compiled.available(group, (1, 1), torch.float32)
    (built,) = tmp_path.iterdir()
    stamp = built.stat().st_mtime_ns
    compiled._library.cache_clear()
    assert compiled.available(group, (1, 1), torch.float32)
    assert [file.stat().st_mtime_ns for file in tmp_path.iterdir()] == [stamp]
    compiled._library.cache_clear()


@needs_compiler
def test_a_failed_build_leaves_nothing_and_falls_back(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("ISOTYPIC_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "FLAGS", (*native.FLAGS, "--no-such-flag"))
    compiled._library.cache_clear()
    native._say_once.cache_clear()
    assert not compiled.available(named("C2"), (1, 1), torch.float32)
    compiled._library.cache_clear()
    assert list(tmp_path.iterdir()) == []
    assert "no-such-flag" in caplog.text


@given(st.integers(0, 10**6))
@settings(max_examples=50)
def test_a_program_computes_its_matrix(seed):
    draw = np.random.default_rng(seed)
    shape = draw.integers(1, 9, size=2)
    matrix = draw.choice([-1.0, 0.0, 0.5, 1.0, 3**0.5], size=shape)
    steps, values = program(matrix), list(draw.normal(size=shape[1]))
    wanted = matrix @ np.array(values)
    for step in steps.steps:
        values.append(values[step.left] + step.factor * values[step.right])
    found = [0.0 if o.index is None else o.scale * values[o.index] for o in steps.outputs]
    assert np.allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(("name", "dim", "naive", "shared"), [("D4", 2, 20, 14), ("Oh", 3, 152, 68)])
def test_common_sums_are_made_once(name, dim, naive, shared):
    matrix = patch_basis(named(name, dim), (3,) * dim).patch
    assert np.count_nonzero(matrix) - len(matrix) == naive
    assert len(program(matrix).steps) == shared


def test_the_dense_reference_is_torch_s_convolution():
    case = made("C4", (3, 3), 1, 1, 1)
    layer, x = layer_for(case, 2, 3, torch.float64), signal(1, 8, 6, 6)
    filters = layer.filters(x, (0, 0))
    assert torch.equal(layer(x), functional.conv2d(x, filters.filters, filters.bias, padding=1))
