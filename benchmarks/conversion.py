"""Networks that people have, converted: how exact, how fast they are made, and what is refused with which words.

Prints Markdown. Every network is converted with the same total channels, trained for three steps of gradient descent on
noise in float64, and measured under every element of the group on an even and an odd size, beside the network as it
was, trained alike. The error is relative to how much the output differs between images:

    python benchmarks/conversion.py                    # everything, a few minutes
    python benchmarks/conversion.py UNet ResNet-18     # some networks

Needs MONAI for most of the networks.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import isotypic
from isotypic.errors import RequestError
from isotypic.groups import FiniteGroup, named
from isotypic.ops.action import act

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "convert"))

from monai.networks import nets
from networks import OWN

Sizes = tuple[tuple[int, ...], ...]
PLANE_GROUPS, SPACE_GROUPS = ("p4", "p4m"), ("D4", "O")
STEPS = 3


@dataclass(frozen=True)
class Case:
    """One network with the groups and the sizes that it is measured on."""

    name: str
    make: Callable[[], nn.Module]
    groups: tuple[str, ...]
    sizes: Sizes
    channels: int = 1

    @property
    def dim(self) -> int:
        """Axes of space."""
        return len(self.sizes[0])


def resnet(dim: int, blocks: tuple[int, ...], widths: tuple[int, ...]) -> nn.Module:
    """Return MONAI's residual network with basic blocks; with (2, 2, 2, 2) it is ResNet-18."""
    return nets.ResNet("basic", list(blocks), list(widths), spatial_dims=dim, n_input_channels=1, num_classes=3)


def cases() -> list[Case]:
    """Return every network of the table."""
    plane = {
        "UNet": (lambda: nets.UNet(2, 1, 3, (16, 32, 64), (2, 2), num_res_units=2), ((64, 64), (65, 65))),
        "BasicUNet": (lambda: nets.BasicUNet(2, 1, 2, features=(16, 16, 32, 64, 64, 16)), ((64, 64), (65, 65))),
        "DenseNet121": (lambda: nets.DenseNet121(2, 1, 3), ((64, 64), (65, 65))),
        "SegResNet": (lambda: nets.SegResNet(2, init_filters=16, out_channels=2), ((64, 64), (65, 65))),
        "ResNet-18": (lambda: resnet(2, (2, 2, 2, 2), (64, 128, 256, 512)), ((64, 64), (65, 65))),
        "EfficientNet-b0": (
            lambda: nets.EfficientNetBN("efficientnet-b0", False, spatial_dims=2, in_channels=1, num_classes=3),
            ((64, 64), (65, 65)),
        ),
    }
    small, full = ((16,) * 3, (17,) * 3), ((32,) * 3, (33,) * 3)
    mine = [Case(name, make, PLANE_GROUPS, ((64, 64), (65, 65)), 3) for name, make in OWN.items()]
    return [
        *(Case(name, make, PLANE_GROUPS, sizes) for name, (make, sizes) in plane.items()),
        *mine,
        Case("UNet 3-D", lambda: nets.UNet(3, 1, 2, (24, 48), (2,), num_res_units=1), (*SPACE_GROUPS, "Oh"), small),
        Case("ResNet 3-D", lambda: resnet(3, (1, 1, 1, 1), (24, 24, 48, 48)), (*SPACE_GROUPS, "Oh"), small),
        Case("DenseNet121 3-D", lambda: nets.DenseNet121(3, 1, 3), SPACE_GROUPS, full),
    ]


class VisionTransformer(nn.Module):
    """Patches with a learned position each, then attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 32, 8, 8)
        self.position = nn.Parameter(torch.zeros(1, 16, 32))
        self.body = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return one vector an image."""
        return self.body(self.patches(x).flatten(2).transpose(1, 2) + self.position).mean(1)


class Shifted(nn.Module):
    """A cyclic shift, as windows of attention have it."""

    def forward(self, x: Tensor) -> Tensor:
        """Shift by two pixels."""
        return torch.roll(x, (-2, -2), (2, 3))


class Cropped(nn.Module):
    """A crop on one side."""

    def forward(self, x: Tensor) -> Tensor:
        """Leave out the first row and column."""
        return x[..., 1:, 1:]


class Coordinates(nn.Module):
    """The row of every pixel as a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the image and the rows."""
        rows = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1).expand(len(x), 1, -1, x.shape[3])
        return self.conv(torch.cat([x, rows], 1))


def refused() -> dict[str, Callable[[], nn.Module]]:
    """Return networks without an equivariant form, by the name of what they rest on."""

    def then(*layers: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *layers)

    return {
        "ViT (attention over a sequence of patches)": VisionTransformer,
        "Swin (windows shifted to one side)": lambda: then(Shifted()),
        "CoordConv (coordinates as channels)": Coordinates,
        "a crop on one side": lambda: then(Cropped()),
        "ESPCN (channels to pixels)": lambda: then(nn.PixelShuffle(2)),
        "SegNet (unpooling by index)": lambda: then(nn.MaxPool2d(2, return_indices=True)),
        "bicubic upsampling": lambda: then(nn.Upsample(scale_factor=2, mode="bicubic")),
        "local response norm": lambda: then(nn.LocalResponseNorm(5)),
    }


def converted(case: Case, group: str) -> tuple[nn.Module, float]:
    """Return the converted network and the seconds that it took."""
    torch.manual_seed(0)
    model = case.make()
    start = time.perf_counter()
    made = isotypic.equivariant(model, group, match="channels", input_shape=(2, case.channels, *case.sizes[0]))
    return made, time.perf_counter() - start


def signal(*shape: int, seed: int) -> Tensor:
    """Return noise in float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def first(outputs: Any) -> Tensor:
    """Return a network's output, the first where it has several."""
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs


def trained(model: nn.Module, case: Case) -> nn.Module:
    """Take some steps on noise, so that no statistic and no weight is as it was made."""
    model = model.double().train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for step in range(STEPS):
        out = first(model(signal(4, case.channels, *case.sizes[0], seed=step)))
        (out - signal(*out.shape, seed=99)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def rows(case: Case) -> Iterator[str]:
    """Yield a row of the table a group."""
    torch.manual_seed(0)
    plain = trained(case.make(), case)
    sizes = ", ".join("×".join(map(str, size)) for size in case.sizes)
    for name in case.groups:
        made, seconds = converted(case, name)
        model, group = trained(made, case), named(name, case.dim)
        errors = [", ".join(written(worst(net, case, group, size)) for size in case.sizes) for net in (plain, model)]
        yield f"| {case.name} | {name} | {sizes} | {errors[0]} | {errors[1]} | {seconds:.1f} |"


def written(error: float) -> str:
    """Return an error with one digit, or what NaN stands for."""
    return "not taken" if math.isnan(error) else f"{error:.0e}"


def worst(model: nn.Module, case: Case, group: FiniteGroup, size: tuple[int, ...]) -> float:
    """Return ``max |f(g x) - g f(x)|`` over the elements, relative to how much f differs between images.

    NaN where the network does not take the size.
    """
    images = signal(3, case.channels, *size, seed=7)

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            return first(model(x))

    try:
        scale = run(images).std(0).mean()
    except RuntimeError:
        return math.nan
    x = images[:1]
    wanted, found = run(x), [run(act(x, g, group)) for g in range(group.order)]
    moved = [act(wanted, g, group) if wanted.dim() > 2 else wanted for g in range(group.order)]
    return float(max((a - b).abs().max() for a, b in zip(found, moved, strict=True)) / scale)


def refusals() -> Iterator[str]:
    """Yield a row a refused network, with the words of the refusal."""
    for name, make in refused().items():
        try:
            isotypic.equivariant(make(), "p4", input_shape=(2, 1, 32, 32))
        except RequestError as error:
            yield f"| {name} | {error} |"
        else:
            yield f"| {name} | converted |"


class DeepUNet(nn.Module):
    """A U-Net of thirty convolutions: three a block, four at the bottom, a stem and a head."""

    def __init__(self, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        widths = [width * 2 ** min(i, 2) for i in range(depth)]
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        pairs = [*zip([width, *widths], widths, strict=False), (widths[-1], widths[-1])]
        self.down = nn.ModuleList(self.block(a, b, 3) for a, b in pairs[:-1])
        self.bottom = self.block(*pairs[-1], 4)
        backwards = list(zip([widths[-1], *widths[:0:-1]], widths[::-1], strict=True))
        self.up = nn.ModuleList(self.block(a + b, b, 3) for a, b in backwards)
        self.head = nn.Conv2d(width, 2, 1)

    @staticmethod
    def block(before: int, after: int, layers: int) -> nn.Sequential:
        """Return convolutions with batch norm and ReLU."""
        widths = [before, *[after] * layers]
        made = [(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(widths)]
        return nn.Sequential(*(module for triple in made for module in triple))

    def forward(self, x: Tensor) -> Tensor:
        """Return two maps of the image's size."""
        x, skips = self.stem(x), []
        for block in self.down:
            skips.append(block(x))
            x = nn.functional.max_pool2d(skips[-1], 2)
        x = self.bottom(x)
        for block, skip in zip(self.up, skips[::-1], strict=True):
            x = block(torch.cat([nn.functional.interpolate(x, size=skip.shape[2:]), skip], 1))
        return self.head(x)


def construction() -> Iterator[str]:
    """Yield the seconds that a U-Net of thirty convolutions takes to convert."""
    model = DeepUNet()
    layers = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    for group in PLANE_GROUPS:
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            isotypic.equivariant(model, group, match="channels", input_shape=(2, 1, 64, 64))
            seconds.append(time.perf_counter() - start)
        yield f"| U-Net of {layers} convolutions | {group} | {sorted(seconds)[1]:.2f} |"


def main(words: list[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="names from the table; default: all, refusals and construction")
    wanted = parser.parse_args(words).networks
    known = cases()
    missing = sorted(set(wanted) - {case.name for case in known})
    if missing:
        parser.error(f"no network {missing[0]!r}; expected some of {', '.join(case.name for case in known)}")
    print("| network | group | sizes | error before | error converted | built in s |\n|---|---|---|---|---|---|")
    for case in known:
        if not wanted or case.name in wanted:
            for row in rows(case):
                print(row, flush=True)
    if not wanted:
        print("\n| refused | with these words |\n|---|---|", *refusals(), sep="\n", flush=True)
        print("\n| construction | group | seconds |\n|---|---|---|", *construction(), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
