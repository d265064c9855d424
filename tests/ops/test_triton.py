"""The Triton kernels against torch's own functions, by Triton's interpreter: no GPU is needed.

The interpreter is chosen before Triton is imported, so this file runs itself as a program, in a process of its own that
prints how far every result is from the float64 reference. What the interpreter cannot do (bfloat16, machine code) is
compiled for a Hopper GPU instead, which needs none either.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from laws import BROKEN, signal
from torch import nn

from isotypic.groups import named
from isotypic.nn import GroupConv2d
from isotypic.ops.isotypic import compiled, convolution, stock, triton_kernel
from isotypic.ops.isotypic.case import Case
from isotypic.ops.isotypic.triton_source import kernels

AGREES = {"float32": 1e-5, "float16": 5e-3}
HALF = "C4 in float16"
CASES = {  # group, kernel, stride, padding, dilation, size, fields in and out
    "C4 padded": ("C4", (3, 3), 1, 1, 1, (7, 9), (3, 5)),
    "C4 many fields": ("C4", (3, 3), 1, 0, 1, (5, 4), (18, 34)),
    "Cs odd taps": ("Cs", (3, 5), 3, 1, 1, (10, 12), (2, 1)),
    "D4 padded": ("D4", (3, 3), 1, 1, 1, (6, 8), (3, 5)),
    "D4 strided, dilated, wide border": ("D4", (3, 3), 2, 5, 2, (4, 5), (2, 3)),
    "D4 pointwise strided": ("D4", (1, 1), 2, 0, 1, (7, 8), (3, 3)),
    "O pointwise": ("O", (1, 1, 1), 1, 0, 1, (3, 4, 5), (3, 2)),
    "D4h even": ("D4h", (2, 2, 2), 2, 0, 1, (4, 5, 2), (1, 2)),
}
PARTS = ("convolve", "transpose", "blocks", "bias")
LAYER = ("y", "x", "weight", "bias")

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed; it is for Linux only")


@pytest.fixture(scope="module")
def figures():
    """What this file prints as a program."""
    return json.loads(alone(Path(__file__), TRITON_INTERPRET="1"))


def alone(program, *arguments, **environment):
    tests = str(Path(__file__).parents[1])
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path]), **environment}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program), *arguments],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@needs_triton
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", CASES)
def test_kernels_agree_with_torch_s_own_functions(name, part, figures):
    assert figures[name][part] < AGREES["float32"]


@needs_triton
@pytest.mark.parametrize("part", PARTS)
def test_half_precision_is_off_by_its_rounding(part, figures):
    assert 0 < figures[HALF][part] < AGREES["float16"]


@needs_triton
@pytest.mark.parametrize("part", LAYER)
def test_a_layer_trains_through_the_kernels(part, figures):
    assert figures["layer"][part] < AGREES["float32"]


@needs_triton
@pytest.mark.parametrize("part", ["convolve", "transpose", "blocks"])
def test_one_wrong_sign_is_seen(part, figures):
    assert figures["wrong sign"][part] > BROKEN


@needs_triton
def test_relu_follows_in_the_same_kernel(figures):
    assert figures["relu"] == {"difference": 0.0, "negative before": True}


@needs_triton
def test_both_memory_formats_give_the_same_signal_in_their_own_format(figures):
    assert figures["formats"] == {"channels last kept": True, "difference": 0.0}


@needs_triton
def test_kernels_compile_for_a_hopper_gpu_in_bfloat16():
    multiplies = json.loads(alone(Path(__file__), "compile"))
    assert multiplies == {"transform": False, "convolve": True, "correlate": True}


@pytest.mark.parametrize(
    ("change", "engine"),
    [
        ({}, triton_kernel),
        ({"dtype": torch.float64}, stock),
        ({"kernel": (5, 5)}, stock),
        ({"capability": (8, 0)}, stock),
        ({"installed": False}, stock),
    ],
    ids=["served", "float64", "large patch", "older GPU", "not installed"],
)
def test_a_gpu_takes_triton_where_it_can(change, engine, monkeypatch):
    asked = {"dtype": torch.bfloat16, "kernel": (3, 3), "capability": (9, 0), "installed": True, **change}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: asked["capability"])
    monkeypatch.setattr(triton_kernel, "available", lambda: asked["installed"])
    x = SimpleNamespace(device=torch.device("cuda", 0), dtype=asked["dtype"])
    assert convolution._engine(x, made("D4", asked["kernel"], 1, 1, 1)) is engine


def test_a_cpu_never_takes_triton(monkeypatch):
    monkeypatch.setattr(compiled, "serves", lambda x, case: False)
    assert convolution._engine(torch.zeros(1), made("D4", (3, 3), 1, 1, 1)) is stock


@pytest.mark.parametrize("order", [2, 4, 8, 16, 24, 48])
@pytest.mark.parametrize(("seen", "out"), [(16, 16), (32, 64), (48, 80)])
def test_some_tile_fits_every_number_of_fields(order, seen, out):
    tiles = [SimpleNamespace(kwargs=tile, warps=warps) for tile, warps in triton_kernel._tiles(order, "cuda")]
    kept = triton_kernel._fitting(tiles, {"seen": seen, "made": out})
    assert kept
    for tile in kept:
        assert out % tile.kwargs["MADE"] == seen % tile.kwargs["SEEN"] == 0
        assert tile.kwargs["OUTPUTS"] * order * tile.kwargs["MADE"] <= triton_kernel.SUMS * tile.warps


def made(name, kernel, stride, padding, dilation):
    axes = len(kernel)
    return Case(named(name, axes), kernel, *((n,) * axes for n in (stride, padding, dilation)))


def difference(found, wanted):
    return float((found.double() - wanted.double()).abs().max() / wanted.double().abs().max())


def differences(name, dtype=torch.float32):
    """How far the kernels are from the same in float64."""
    *window, size, (seen, out) = CASES[name]
    case = made(*window)
    order, bias = case.group.order, signal(out, seed=2).to(dtype)
    x = signal(2, seen * order, *size).to(dtype)
    blocks = stock.to_blocks(signal(out, seen * order, *case.kernel, seed=1), case).to(dtype)
    wanted = stock.convolve(x.double(), blocks.double(), bias.double(), case)
    gradient = signal(*wanted.shape, seed=3).to(dtype)
    inputs = (gradient.double(), blocks.double(), case, size)
    to_blocks, to_bias = triton_kernel.correlate(x, gradient, case)
    blocks_wanted, bias_wanted = stock.correlate(x.double(), gradient.double(), case)
    return {
        "convolve": difference(triton_kernel.convolve(x, blocks, bias, case), wanted),
        "transpose": difference(triton_kernel.transpose(gradient, blocks, case, size), stock.transpose(*inputs)),
        "blocks": difference(to_blocks, blocks_wanted),
        "bias": difference(to_bias, bias_wanted),
    }


def layer_differences():
    """How far a step of a layer that computes by the kernels is from the dense one."""
    convolution._engine = lambda x, case: triton_kernel
    found = []
    for compute in ("isotypic", "dense"):
        torch.manual_seed(0)
        layer = GroupConv2d(2, 3, 3, "p4m", stride=2, padding=1, compute=compute)
        nn.init.normal_(layer.bias)
        x = signal(2, 16, 7, 7, dtype=torch.float32).requires_grad_()
        y = layer(x)
        y.backward(signal(*y.shape, seed=1, dtype=torch.float32))
        found.append((y.detach(), x.grad, layer.weight.grad, layer.bias.grad))
    return {part: difference(*pair) for part, pair in zip(LAYER, zip(*found, strict=True), strict=True)}


def format_figures():
    case = made("C4", (3, 3), 1, 1, 1)
    x, blocks = signal(1, 8, 5, 6, dtype=torch.float32), signal(2, 2, case.entries, dtype=torch.float32)
    last = triton_kernel.convolve(x.to(memory_format=torch.channels_last), blocks, None, case)
    kept = last.is_contiguous(memory_format=torch.channels_last) and not last.is_contiguous()
    return {"channels last kept": kept, "difference": difference(last, triton_kernel.convolve(x, blocks, None, case))}


def relu_figures():
    case = made("C4", (1, 1), 1, 0, 1)
    arguments = signal(1, 8, 5, 6), signal(2, 2, case.entries), signal(2), case
    arguments = [a.float() if isinstance(a, torch.Tensor) else a for a in arguments]
    plain = triton_kernel.convolve(*arguments)
    found = triton_kernel.convolve(*arguments, relu=True)
    return {"difference": difference(found, plain.relu()), "negative before": bool((plain < 0).any())}


def with_a_wrong_sign(name):
    """The kernels with the first subtraction of positions made an addition."""
    triton_kernel.kernels = lambda basis, kernel: "\n".join(
        line.replace(" - ", " + ") if line.strip().startswith("v0_") else line
        for line in kernels(basis, kernel).splitlines()
    )
    triton_kernel._kernels.cache_clear()
    triton_kernel._tuned.cache_clear()
    return differences(name)


def multiplies_on_hopper(name):
    """Whether a kernel, compiled for a Hopper GPU, has products by its tensor cores."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(triton_kernel._kernels(named("C2"), (1, 1)), name)
    tile = {"SAMPLES": 32, "OUTPUTS": 64, "MADE": 16, "SEEN": 64, "RELU": True, "SHARE": 0, "PRECISION": "tf32"}
    constants = {argument: tile[argument] for argument in kernel.arg_names if argument in tile}
    pointers = {"x": "*bf16", "f": "*bf16", "weight": "*bf16", "bias": "*bf16", "y": "*bf16", "gradient": "*bf16"}
    kinds = {a: "constexpr" if a in constants else {**pointers, "to": "*fp32"}.get(a, "i32") for a in kernel.arg_names}
    made = triton.compile(ASTSource(kernel, kinds, constants), target=GPUTarget("cuda", 90, 32))
    return "wgmma.mma_async" in made.asm["ptx"]


def main():
    if sys.argv[1:2] == ["compile"]:
        print(json.dumps({name: multiplies_on_hopper(name) for name in ("transform", "convolve", "correlate")}))
        return
    # Memory that nothing was written to is filled with NaN.
    torch.use_deterministic_algorithms(True)
    figures = {name: differences(name) for name in CASES}
    figures |= {
        HALF: differences("C4 padded", torch.float16),
        "formats": format_figures(),
        "layer": layer_differences(),
    }
    figures["relu"] = relu_figures()
    print(json.dumps(figures | {"wrong sign": with_a_wrong_sign("C4 padded")}))


if __name__ == "__main__":
    main()
