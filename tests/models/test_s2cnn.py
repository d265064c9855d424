"""The spherical segmentation network against the figures of its reference implementation."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from laws import signal

from isotypic.errors import RequestError
from isotypic.groups.so3 import random_rotations
from isotypic.models.s2cnn import S2CNN, S2CNNWidths
from isotypic.nn.sphere.transform import SphericalTransform

REFERENCE = Path(os.environ.get("ISOTYPIC_REFERENCE", Path(__file__).parents[2] / "../shared/reference"))
FIGURES = REFERENCE / "s2cnn-204k.npz"
SMALL = S2CNNWidths((8, 6, 4, 6, 8), (1, 3, 4, 3, 2), (0.5, 0.6, 0.6, 0.5))


def load(net, figures):
    """Copy the reference's weights ``[in, out, points]``."""
    hidden = [f"hidden_layers.{i}" for i in range(len(net.hidden))]
    names = ["input_layer", *hidden, "output_layer"]
    with torch.no_grad():
        for layer, name in zip([net.lift, *net.hidden, net.project], names, strict=True):
            weight = torch.tensor(figures[f"weights/{name}.kernel"]).transpose(0, 1)
            layer.weight.copy_(weight.reshape(layer.weight.shape))
            layer.bias.copy_(torch.tensor(figures[f"weights/{name}.bias"]).flatten())


@pytest.mark.skipif(not FIGURES.exists(), reason=f"no reference figures at {FIGURES}; set ISOTYPIC_REFERENCE")
def test_compat_reproduces_the_reference():
    figures = np.load(FIGURES)
    net = S2CNN(mode="compat").eval()
    assert sum(p.numel() for p in net.parameters()) == 204_073
    load(net, figures)
    expected = torch.tensor(figures["output"])
    with torch.no_grad():
        found = net(torch.tensor(figures["input"]))
        assert (found - expected).norm() / expected.norm() < 1e-5
        net.hidden[0].weight.neg_()
        assert (net(torch.tensor(figures["input"])) - expected).norm() / expected.norm() > 0.1


def smooth_error(net):
    """``|f(h x) - h f(x)| / |f(x)|`` on an image of low degrees."""
    transform = SphericalTransform(SMALL.bandwidths[0]).double()
    spectrum = signal(transform.band.entries, 1, 1)
    spectrum[transform.band.offsets[4] :] = 0
    x = transform.synthesise(spectrum)
    h = random_rotations(1, seed=0)[0]
    with torch.no_grad():
        y = net(x)
        return float((net(transform.rotate(x, h)) - transform.rotate(y, h)).norm() / y.norm())


@pytest.mark.parametrize("n_max", [None, 2])
def test_the_network_is_as_equivariant_as_relu_allows(n_max):
    errors = {}
    for mode in ("band-limited", "compat"):
        torch.manual_seed(0)
        errors[mode] = smooth_error(S2CNN(SMALL, n_max=n_max, mode=mode).double())
    assert errors["band-limited"] < 0.25
    assert errors["band-limited"] < errors["compat"]


def test_the_network_trains():
    torch.manual_seed(0)
    net = S2CNN(SMALL, n_max=2)
    x, target = signal(2, 1, 16, 16, dtype=torch.float32), torch.randint(0, 2, (2, 16, 16))
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(10):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(RequestError, match="received 2 layers, 2 bandwidths, 3 channels"):
        S2CNNWidths((4, 4), (1, 2, 3), (0.5, 0.5))
