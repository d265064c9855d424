"""Any CNN converted in one call: exact after training, the usual sizes, and symmetrised weights."""

import copy
import pickle

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from networks import OWN, SPACE, ResNetLike, UNetLike, VGGLike
from torch import nn

import isotypic
from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.ops.action import act

SIZES = [(32, 32), (33, 33), (34, 41)]


def trained(net, channels=3, size=(36, 36), steps=3):
    """Three steps on noise, so that no statistic and no weight is as it was made."""
    net = net.double().train()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    for step in range(steps):
        outputs = net(signal(4, channels, *size, seed=step))
        outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
        loss = sum((out - signal(*out.shape, seed=99)).square().mean() for out in outputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def worst(net, group, size, channels=3, output=None):
    x = signal(2, channels, *size, seed=7)

    def run(x):
        return net(x) if output is None else net(x)[output]

    return float(equivariance_error(run, x, group).max())


@pytest.mark.parametrize("group", ["Cs", "C2", "C4", "D2", "D4"])
@pytest.mark.parametrize("name", OWN)
def test_converted_networks_are_exact_after_training(name, group):
    torch.manual_seed(0)
    net = trained(isotypic.equivariant(OWN[name](), group, match="channels"))
    for size in SIZES:
        for output in (0, 1) if name == "UNetLike" else (None,):
            assert worst(net, named(group), size, output=output) < TOLERANCE["float64"], size


@pytest.mark.parametrize("name", OWN)
def test_the_networks_themselves_are_not(name):
    torch.manual_seed(0)
    net = trained(OWN[name]())
    assert worst(net, named("p4"), (33, 33), output=0 if name == "UNetLike" else None) > BROKEN


@pytest.mark.parametrize("name", OWN)
def test_output_sizes_are_the_usual_ones(name):
    plain, net = OWN[name](), isotypic.equivariant(OWN[name](), "p4", match="channels")
    for size in SIZES:
        x = torch.randn(2, 3, *size)
        wanted, found = plain(x), net(x)
        pairs = zip(wanted, found, strict=True) if isinstance(wanted, tuple) else [(wanted, found)]
        assert all(a.shape == b.shape for a, b in pairs)


SYMMETRIC_SIZE = {"ResNetLike": (33, 33), "ConvNeXtLike": (32, 48), "MobileNetLike": (33, 41)}


@pytest.mark.parametrize("group", ["p4", "p4m"])
@pytest.mark.parametrize("name", OWN)
def test_symmetrised_weights_give_the_mean_over_the_group(name, group):
    torch.manual_seed(0)
    elements, net = named(group), trained(OWN[name]())
    converted = isotypic.equivariant(net, group, weights="symmetrise")
    x = signal(2, 3, *SYMMETRIC_SIZE.get(name, (32, 32)))
    found = converted(x)

    def moved(g, output):
        y = net(act(x, g, elements))
        y = y if output is None else y[output]
        return act(y, int(elements.inverse[g]), elements) if y.dim() == 4 else y

    for output in (0, 1) if name == "UNetLike" else (None,):
        ensemble = torch.stack([moved(g, output) for g in range(elements.order)]).mean(0)
        y = found if output is None else found[output]
        assert (y - ensemble).abs().max() / ensemble.std() < TOLERANCE["float64"]
        assert (y - moved(0, output)).abs().max() / ensemble.std() > BROKEN
    trained(converted)
    assert worst(converted, elements, (32, 32), output=0 if name == "UNetLike" else None) < TOLERANCE["float64"]


def test_widths_follow_the_matching():
    def parameters(net):
        return sum(p.numel() for p in net.parameters())

    plain = ResNetLike()
    counts = {m: parameters(isotypic.equivariant(plain, "p4", match=m)) for m in ("fields", "channels", "parameters")}
    assert counts["fields"] > 3.5 * parameters(plain)
    assert counts["channels"] < 0.3 * parameters(plain)
    assert abs(counts["parameters"] / parameters(plain) - 1) < 0.06


def test_the_original_is_left_alone_and_names_stay():
    plain = ResNetLike().train()
    before = copy.deepcopy(plain.state_dict())
    net = isotypic.equivariant(plain, "p4")
    assert all(torch.equal(before[name], tensor) for name, tensor in plain.state_dict().items())
    assert plain.training
    assert net.training
    assert type(net.get_submodule("stages.1.conv1")).__name__ == "GroupConv2d"


def test_a_converted_network_is_an_ordinary_module():
    net = isotypic.equivariant(UNetLike(), "p4", match="channels").eval()
    x = torch.randn(1, 3, 33, 32)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(again(x)[0], net(x)[0])
    other = isotypic.equivariant(UNetLike(), "p4", match="channels").eval()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x)[0], net(x)[0])


SMALLER = [pytest.param(group, marks=pytest.mark.slow) for group in ("Cs", "D4", "O")]
"""Within the others; their kernels are compiled by themselves."""


@pytest.mark.parametrize("group", ["D4h", "Oh", *SMALLER])
@pytest.mark.parametrize("name", SPACE)
def test_converted_networks_of_volumes_are_exact_after_training(name, group):
    torch.manual_seed(0)
    made = isotypic.equivariant(SPACE[name](), group, match="parameters", input_shape=(1, 8, 8, 8))
    net = trained(made, channels=1, size=(6, 6, 6))
    for size in ((8, 8, 8), (7, 7, 7), (6, 7, 9)):
        assert worst(net, named(group, 3), size, channels=1) < TOLERANCE["float64"], size


@pytest.mark.parametrize("name", SPACE)
def test_the_networks_of_volumes_themselves_are_not(name):
    torch.manual_seed(0)
    net = trained(SPACE[name](), channels=1, size=(6, 6, 6))
    for group in ("Cs", "D4", "Oh"):
        assert worst(net, named(group, 3), (8, 8, 8), channels=1) > BROKEN


def test_volumes():
    net = nn.Sequential(
        nn.Conv3d(1, 8, 3, 2, 1), nn.InstanceNorm3d(8, affine=True), nn.PReLU(8), nn.Dropout3d(0.1), nn.MaxPool3d(2),
        nn.Conv3d(8, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip
    for group in ("D4", "Oh"):
        torch.manual_seed(0)
        converted = trained(isotypic.equivariant(net, group, match="parameters"), channels=1, size=(12, 12, 12))
        for size in ((12, 12, 12), (13, 11, 14)):
            assert worst(converted, named(group, 3), size, channels=1) < TOLERANCE["float64"]
    net = trained(net, channels=1, size=(12, 12, 12))
    group, x = named("D4h", 3), signal(1, 1, 15, 15, 15)
    ensemble = torch.stack([net(act(x, g, group)) for g in range(16)]).mean(0)
    converted = isotypic.equivariant(net, group, weights="symmetrise")
    assert (converted(x) - ensemble).abs().max() / ensemble.std() < TOLERANCE["float64"]


class Unconvertible(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 8, 3, padding=1), function

    def forward(self, x):
        return self.function(self.conv(x))


def _writes(x):
    x[:, 0] = 0
    return x


REFUSED = {
    "attention": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2)), "cannot convert PixelShuffle at 1"),
    "function": (lambda: Unconvertible(lambda x: x.cumsum(2)), "the call of cumsum after conv: there is no equiv"),
    "roll": (lambda: Unconvertible(lambda x: torch.roll(x, 1, 3)), "the call of roll after conv: there is no equiv"),
    "crop": (lambda: Unconvertible(lambda x: x[..., 1:]), "takes a part of a tensor"),
    "write": (lambda: Unconvertible(_writes), "writes into a part of a tensor"),
    "reshape": (lambda: Unconvertible(lambda x: x.reshape(2, 4, 2, *x.shape[2:])), "mixes channels, space or images"),
    "permute": (lambda: Unconvertible(lambda x: x.transpose(2, 3)), "which moves space"),
    "mean": (lambda: Unconvertible(lambda x: x.mean(3)), "neither all of space nor the channels"),
    "softmax": (lambda: Unconvertible(lambda x: x.softmax(3)), "a softmax along axis 3, not over the channels"),
    "linear": (lambda: Unconvertible(nn.Linear(64, 4)), "acts on an axis of space"),
    "flatten": (lambda: Unconvertible(lambda x: x.flatten(1)), "was flattened with its space"),
    "one-sided": (
        lambda: Unconvertible(lambda x: nn.functional.pad(x, (0, 1, 0, 1), mode="reflect").relu()),
        "pads one side more than the other",
    ),
    "bicubic": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Upsample(scale_factor=2, mode="bicubic")), "'bicubic'"),
    "indices": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2, return_indices=True)), "indices|parts"),
    "no convolution": (lambda: nn.Linear(3, 3), "received one without convolutions"),
    "mixed": (lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv3d(1, 1, 3)), "received one that has both"),
}


@pytest.mark.parametrize(("make", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(make, text):
    with pytest.raises(RequestError, match=text):
        isotypic.equivariant(make(), "p4")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"group": "C8"}, "expected a group that maps the pixel grid to itself, received C8"),
        ({"group": named("O", 3)}, "expected a group acting on 2 axes, received O acting on 3"),
        ({"group": "p4", "match": "field"}, "unknown match 'field': did you mean 'fields'"),
        ({"group": "p4", "weights": "symmetrize"}, "unknown weights 'symmetrize': did you mean 'symmetrise'"),
        ({"group": "p4", "weights": "symmetrise", "match": "channels"}, "expected match='fields' with"),
        ({"group": "p4", "input_shape": (2, 5, 32, 32)}, r"does not take an input of shape \[2, 5, 32, 32\]"),
    ],
)
def test_wrong_requests_are_refused(options, text):
    with pytest.raises(RequestError, match=text):
        isotypic.equivariant(VGGLike(), **options)


def test_a_network_for_one_size_needs_its_shape():
    fixed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 18 * 18, 5))
    with pytest.raises(RequestError, match=r"took none of the sizes .*; give input_shape"):
        isotypic.equivariant(fixed, "p4")
    net = trained(isotypic.equivariant(fixed, "p4m", input_shape=(3, 20, 20)), size=(20, 20))
    assert worst(net, named("p4m"), (20, 20)) < TOLERANCE["float64"]
