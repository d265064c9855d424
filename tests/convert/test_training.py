"""What a network does in training alone is kept, or refused by name; evaluation does not hide it."""

import random
import warnings

import numpy as np
import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from networks import OWN
from test_equivariant import trained, worst
from torch import nn
from torch.nn import functional

import isotypic
from isotypic.convert.stochastic_depth import StochasticDepth
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.ops.action import act

P = 0.4


class Branch(nn.Module):
    """A residual block whose branch goes through a function, which may look at ``training``."""

    def __init__(self, function, width=8):
        super().__init__()
        self.conv, self.function = nn.Conv2d(width, width, 3, padding=1), function

    def forward(self, x):
        return x + self.function(self.conv(x), self.training)


def net(function):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Branch(function), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )


def _floored(x, training):
    if not training:
        return x
    return x / (1 - P) * torch.floor(torch.rand(len(x), 1, 1, 1) + 1 - P)


def _drawn(x, training):
    if not training:
        return x
    return x * x.new_empty(len(x), 1, 1, 1).bernoulli_(1 - P).div_(1 - P)


def _whole_batch(x, training):
    return x * (torch.empty(1, 1, 1, 1).bernoulli_(1 - P) / (1 - P)) if training else x


@pytest.mark.parametrize(("drop", "whole"), [(_floored, False), (_drawn, False), (_whole_batch, True)])
def test_stochastic_depth_stays_what_it_is(drop, whole):
    torch.manual_seed(0)
    made = isotypic.equivariant(net(drop), "p4m", match="channels")
    kept = [module for module in made.modules() if isinstance(module, StochasticDepth)]
    assert [(module.p, module.whole_batch) for module in kept] == [(pytest.approx(P, abs=1e-5), whole)]
    made = trained(made)
    assert worst(made, named("p4m"), (17, 20)) < TOLERANCE["float64"]
    x = signal(4, 3, 17, 20)
    made.train()
    group = named("p4m")
    for element in range(group.order):
        torch.manual_seed(5)
        upright = made(x)
        torch.manual_seed(5)
        assert (made(act(x, element, group)) - upright).abs().max() / upright.std() < TOLERANCE["float64"]
    assert (made(x) - made.eval()(x)).abs().max() / upright.std() > BROKEN


def test_the_share_of_dropped_samples():
    torch.manual_seed(0)
    layer, x = StochasticDepth(P), torch.ones(4000, 2, 1, 1)
    y = layer.train()(x)
    assert y.unique().tolist() == pytest.approx([0, 1 / (1 - P)])
    assert abs(float((y[:, 0] == 0).double().mean()) - P) < 0.03
    assert torch.equal(y[:, 0], y[:, 1])
    assert torch.equal(layer.eval()(x), x)
    assert StochasticDepth(P, whole_batch=True)(x).unique().numel() == 1
    with pytest.raises(RequestError, match="up to but not 1, received 1"):
        StochasticDepth(1)


DROPOUTS = {
    "always called": lambda x, training: functional.dropout(x, 0.3, training),
    "called in training": lambda x, training: functional.dropout(x, 0.3) if training else x,
    "channels": lambda x, training: functional.dropout2d(x, 0.3) if training else x,
}


@pytest.mark.parametrize("drop", DROPOUTS.values(), ids=DROPOUTS)
def test_dropout_stays_what_it_is(drop):
    torch.manual_seed(0)
    made = isotypic.equivariant(net(drop), "p4", match="channels")
    assert [module.p for module in made.modules() if "Dropout" in type(module).__name__] == [0.3]
    x = torch.randn(4, 3, 16, 16)
    assert not torch.equal(made.train()(x), made(x))
    assert torch.equal(made.eval()(x), made(x))


def test_dropout_and_stochastic_depth_after_each_other():
    made = isotypic.equivariant(net(lambda x, t: _drawn(functional.dropout(x, 0.2) if t else x, t)), "p4")
    assert {type(module).__name__ for module in made.modules()} >= {"GroupDropout", "StochasticDepth"}


def _leaves_out(x, training):
    return x if training else torch.relu(x)


REFUSED = {
    "noise": (lambda x, t: x + torch.randn_like(x) if t else x, "it does randn_like as well"),
    "unscaled": (lambda x, t: x * (torch.rand(len(x), 1, 1, 1) > 0.5).float() if t else x, "it does mul as well"),
    "by position": (lambda x, t: x * torch.rand(len(x), 1, *x.shape[2:]) if t else x, "it does mul as well"),
    "constant": (lambda x, t: 2 * x if t else x, "it does mul|it does rmul"),
    "left out": (_leaves_out, "it leaves out relu"),
    "another number": (lambda x, t: x * (2.0 if t else 1.0), "it leaves out mul, or does it otherwise"),
    "a tensor decides": (
        lambda x, t: x * 0 if t and torch.rand(()) < 0.1 else x,
        r"it reads a tensor's value by bool\(\) and may decide by it",
    ),
    "Python decides": (lambda x, t: x * 0 if t and random.random() < 0.1 else x, "draws random numbers outside torch"),
    "NumPy decides": (lambda x, t: x * 0 if t and np.random.rand() < 0.1 else x, "draws random numbers outside torch"),  # noqa: NPY002
}


@pytest.mark.parametrize(("function", "text"), REFUSED.values(), ids=REFUSED)
def test_what_training_does_without_a_rule_is_refused_by_name(function, text):
    torch.manual_seed(0)
    with pytest.raises(RequestError, match=f"cannot convert Branch at 1: in training .*({text}).*take it out"):
        isotypic.equivariant(net(function), "p4")


def test_another_output_in_training_is_refused():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            y = self.conv(x)
            return (y, y) if self.training else y

    with pytest.raises(RequestError, match="cannot convert the network Auxiliary: in training its output differs"):
        isotypic.equivariant(Auxiliary(), "p4")


def test_a_network_that_does_not_train_is_converted_with_a_warning():
    def fails(x, training):
        if training:
            raise RuntimeError("give targets")
        return x

    with pytest.warns(UserWarning, match=r"does not run in training \(give targets\): only its evaluation"):
        isotypic.equivariant(net(fails), "p4", match="channels")


@pytest.mark.parametrize("name", OWN)
def test_networks_that_do_the_same_in_training_pass_in_silence(name):
    plain = OWN[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = isotypic.equivariant(plain, "p4", match="channels", input_shape=(3, 32, 32))
    assert "in_training" not in dict(made.named_children())
