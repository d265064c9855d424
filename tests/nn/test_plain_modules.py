"""A symmetric layer is an ordinary module: what torch does with modules works."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from laws import TOLERANCE, signal
from torch import nn

from isotypic.models import ConvNet, ConvNetConfig
from isotypic.nn import GroupBatchNorm, GroupConv2d, GroupConvTranspose2d, InvariantHead

HERE = Path(__file__).parent


def network(group="p4m"):
    torch.manual_seed(0)
    return ConvNet(ConvNetConfig(group=group, stages=[[8], [16, 16]]), 1, 5)


def test_the_state_dict_holds_weights_and_nothing_derived():
    layer = GroupConv2d(2, 3, 3, "p4m")
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert list(GroupConvTranspose2d(2, 3, 2, "p4", stride=2).state_dict()) == ["weight", "bias"]
    norm = set(GroupBatchNorm(3, "p4").state_dict())
    assert norm == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    net = network().eval()
    with torch.no_grad():
        net(torch.zeros(1, 1, 8, 8))
    weights = sum(tensor.numel() for tensor in net.state_dict().values())
    parameters = sum(p.numel() for p in net.parameters())
    statistics = 2 * sum(m.in_type.fields + 0.5 for m in net.modules() if isinstance(m, GroupBatchNorm))
    assert weights == parameters + statistics
    assert not any("bank" in name for name in net.state_dict())


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_give_the_same_output_and_leave_the_kept_filters_behind(clone):
    net = network().eval()
    x = torch.randn(2, 1, 9, 9)
    with torch.no_grad():
        wanted = net(x)
        again = clone(net)
        assert again.features[0].bank._kept is None
        assert torch.equal(again(x), wanted)


def _load(layer, new):
    layer.load_state_dict(new.state_dict())


def _copy_in_place(layer, new):
    with torch.no_grad():
        layer.weight.lerp_(new.weight, 1.0)


def _write_data(layer, new):
    layer.weight.data.copy_(new.weight.data)


def _replace(layer, new):
    layer.weight = nn.Parameter(new.weight.detach().clone())


@pytest.mark.parametrize("write", [_load, _copy_in_place, _write_data, _replace])
def test_kept_filters_follow_the_weight_however_it_is_written(write):
    old, new = (GroupConv2d(2, 2, 3, "p4", bias=False).eval() for _ in range(2))
    x = torch.randn(1, 8, 7, 7)
    with torch.no_grad():
        old(x)
        kept = old.bank._kept
        old(x)
        assert old.bank._kept is kept
        write(old, new)
        assert torch.equal(old(x), new(x))


def test_an_exponential_moving_average_after_eval():
    net = network()
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    x = torch.randn(2, 1, 9, 9)
    for seed in range(3):
        with torch.no_grad():
            average.eval()(x)
            for p in net.parameters():
                p.add_(0.1 * signal(*p.shape, seed=seed, dtype=torch.float32))
        average.update_parameters(net)
    with torch.no_grad():
        assert torch.equal(average(x), copy.deepcopy(average.module)(x))


def test_filters_kept_under_inference_mode_serve_a_gradient_of_the_input():
    layer = GroupConv2d(1, 1, 3, "p4", lift=True).eval().requires_grad_(False)
    x = torch.randn(1, 1, 8, 8)
    with torch.inference_mode():
        layer(x)
    x.requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None


def test_channels_last_gives_the_same_output_and_gradients():
    net = network().double()
    x = signal(3, 1, 17, 16)
    gradients = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        clone = copy.deepcopy(net).to(memory_format=memory_format)
        y = clone(x.to(memory_format=memory_format))
        (y**2).sum().backward()
        gradients.append([y.detach(), *(p.grad for p in clone.parameters())])
    for a, b in zip(*gradients, strict=True):
        assert (a - b).abs().max() < TOLERANCE["float64"] * max(1.0, float(a.abs().max()))
    layer = GroupConv2d(4, 4, 3, "p4", padding=1)
    assert layer(torch.randn(2, 16, 8, 8).to(memory_format=torch.channels_last)).is_contiguous(
        memory_format=torch.channels_last
    )


def test_automatic_mixed_precision():
    net, x = network(), torch.randn(4, 1, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
        y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in net.parameters())
    assert (y.float() - net(x)).abs().max() < TOLERANCE["bfloat16"] * net(x).abs().max()


@pytest.mark.parametrize("training", [True, False])
def test_compiled_as_one_graph(training):
    net = network("p4").train(training)
    compiled = torch.compile(copy.deepcopy(net), backend="aot_eager", fullgraph=True, dynamic=False)
    for size in (8, 9):
        x = torch.randn(2, 1, size, size)
        y, z = net(x), compiled(x)
        assert (y - z).abs().max() < TOLERANCE["float32"] * max(1.0, float(y.detach().abs().max()))
        z.sum().backward()


@pytest.mark.slow
def test_compiled_by_inductor():
    net = network("p4").eval()
    compiled = torch.compile(net, fullgraph=True)
    x = torch.randn(2, 1, 12, 12)
    with torch.no_grad():
        assert (net(x) - compiled(x)).abs().max() < TOLERANCE["float32"] * 10


def test_data_parallel_over_two_processes(tmp_path):
    """Two gloo processes on half a batch each get the gradients of one process on the whole."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "STORE": str(tmp_path / "store"), "RESULT": str(tmp_path)}
    script = str(HERE / "ddp_worker.py")
    workers = [
        subprocess.Popen(
            [sys.executable, script], env={**environment, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for a, b, whole in zip(results[0]["parallel"], results[1]["parallel"], results[0]["whole"], strict=True):
        assert torch.equal(a, b)
        assert (a - whole).abs().max() < TOLERANCE["float64"]


def test_a_module_says_its_types():
    layer = GroupConv2d(3, 16, 3, "p4m", lift=True, stride=2, padding=1)
    assert layer.in_type.channels == 3
    assert layer.out_type.channels == 128
    assert repr(layer) == ("GroupConv2d(3 -> 16 fields, trivial to regular, D4, kernel 3, stride 2, padding 1)")
    assert "mean" in repr(InvariantHead(2, 3, "p4", "mean").pool.reduce)
