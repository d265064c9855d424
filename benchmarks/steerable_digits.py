"""Rotated digits: steerable networks of C8 and C16 against p4 and a plain CNN of as many parameters.

    python benchmarks/steerable_digits.py [--data DIR] [--steps 600] [--seeds 3]

The digits are scikit-learn's, enlarged to 20 x 20 on 28 x 28, or those of MNIST with ``--data DIR``, a folder that
holds ``*images-idx3-ubyte[.gz]``. They are cut by a disc, so that a rotation loses nothing, and each is turned once by
an angle of its own, in training as in testing: no image is seen under a second angle. All networks have the same
depth, kernels, pools and head, about as many parameters, and take the same batches; the learning rate of each is
chosen on validation images with the first seed. A table in Markdown is printed at the end.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import zoom
from scipy.stats import t as student
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from isotypic.data.config import DataConfig
from isotypic.data.datasets import mnist
from isotypic.errors import RequestError
from isotypic.groups import named, regular_fields, scalar_fields
from isotypic.nn import (
    BlurPool,
    GroupBatchNorm,
    GroupConv2d,
    GroupPool,
    InvariantPool,
    SteerableBatchNorm,
    SteerableConv2d,
)
from isotypic.ops.rotation import rotate

SIZE, DISC, CLASSES, BATCH = 28, 13.5, 10, 64
KERNELS, WIDTHS = (7, 5, 5, 5, 5, 7), (2, 2, 3, 3, 4, 4)
RATES = (0.003, 0.01)
NETWORKS = ("CNN", "p4", "C8", "C16")


@dataclass(frozen=True)
class Part:
    """Images ``[N, 1, 28, 28]`` with their classes ``[N]``."""

    images: Tensor
    labels: Tensor


class DigitsNet(nn.Module):
    """Six convolutions (kernels 7, 5, 5, 5, 5, 7; the last takes its whole input in), two pools, a dense head.

    Args:
        name: ``"CNN"``, ``"p4"``, or a rotation group of the plane such as ``"C8"``.
        width: multiplies the widths 2, 2, 3, 3, 4, 4 of the layers, in fields.
    """

    def __init__(self, name: str, width: float) -> None:
        super().__init__()
        self.name = name
        fields = [max(1, round(width * w)) for w in WIDTHS]
        blocks = [
            _block(name, (before, after), kernel, layer)
            for layer, (before, after, kernel) in enumerate(zip([1, *fields[:-1]], fields, KERNELS, strict=True))
        ]
        self.stem = nn.Sequential(blocks[0], BlurPool(2), *blocks[1:3])
        self.rest = nn.Sequential(BlurPool(2), *blocks[3:])
        self.early, self.late = _pool(name, fields[2]), _pool(name, fields[5])
        self.head = nn.Sequential(nn.Linear(fields[5], 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, CLASSES))

    def maps(self, x: Tensor) -> Tensor:
        """Return the maps behind the third layer, pooled over the group, ``[B, fields, 14, 14]``."""
        return self.early(self.stem(x))

    def features(self, x: Tensor) -> Tensor:
        """Return what the head is given, ``[B, fields]``."""
        return self.late(self.rest(self.stem(x))).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[B, 10]``."""
        return self.head(self.features(x))


def _block(name: str, fields: tuple[int, int], kernel: int, layer: int) -> nn.Sequential:
    """Return a convolution without bias, its norm and relu."""
    before, after = fields
    padding = kernel // 2 if layer < len(KERNELS) - 1 else 0
    first = layer == 0
    if name == "CNN":
        convolution: nn.Module = nn.Conv2d(before, after, kernel, padding=padding, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
    if name == "p4":
        convolution = GroupConv2d(before, after, kernel, "p4", lift=first, padding=padding, bias=False)
        return nn.Sequential(convolution, GroupBatchNorm(after, "p4"), nn.ReLU())
    group = named(name)
    into, out = (scalar_fields if first else regular_fields)(group, before), regular_fields(group, after)
    convolution = SteerableConv2d(into, out, kernel, padding=padding, bias=False)
    return nn.Sequential(convolution, SteerableBatchNorm(out), nn.ReLU())


def _pool(name: str, fields: int) -> nn.Module:
    """Return the maximum over the group."""
    if name == "CNN":
        return nn.Identity()
    return GroupPool(fields, "p4") if name == "p4" else InvariantPool(regular_fields(named(name), fields))


def parameters(net: nn.Module) -> int:
    """Count them."""
    return sum(p.numel() for p in net.parameters())


def matched(name: str, budget: int) -> float:
    """Return the width with which a network has the number of parameters nearest to the budget."""
    widths = np.arange(1, 641) / 32
    counts: dict[float, int] = {}
    for width in widths:
        counts[width] = parameters(DigitsNet(name, width))
        if counts[width] > 1.5 * budget:
            break
    return min(counts, key=lambda width: abs(counts[width] - budget))


def upright(data: Path | None) -> Part:
    """Return all digits as they were scanned, cut by the disc, from 0 to 1."""
    if data is None:
        scans, labels = load_digits(return_X_y=True)
        fine = zoom(scans.reshape(-1, 8, 8) / 16, (1, 2.5, 2.5), order=3, grid_mode=True, mode="grid-constant")
        images = np.pad(fine.clip(0, 1), [(0, 0), (4, 4), (4, 4)])
    else:
        whole = mnist.load(DataConfig(dataset="mnist", path=data), data)
        images, labels = np.asarray(whole.images)[:, 0], np.asarray(whole.labels)
        images = images / (255 if images.dtype == np.uint8 else 1)
    pixels = torch.as_tensor(images, dtype=torch.float32)[:, None]
    return Part(pixels * disc(SIZE), torch.as_tensor(labels, dtype=torch.long))


def disc(size: int) -> Tensor:
    """Return one inside the disc that a rotation keeps, and zero outside, ``[size, size]``."""
    axis = torch.arange(size) - (size - 1) / 2
    return ((axis[:, None] ** 2 + axis**2).sqrt() < DISC * size / SIZE).float()


def turned(digits: Part, sizes: Sequence[int], seed: int) -> list[Part]:
    """Draw disjoint parts and turn every digit once; scale by the mean and deviation of the first part."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(digits.labels), generator=generator)[: sum(sizes)]
    angles = 360 * torch.rand(len(chosen), generator=generator)
    images = torch.cat(
        [rotate(digits.images[i : i + 1], float(angle)) for i, angle in zip(chosen.tolist(), angles, strict=True)]
    )
    images = images * disc(SIZE)
    first = images[: sizes[0]]
    images = (images - first.mean()) / first.std()
    labels = digits.labels[chosen]
    return [Part(*pair) for pair in zip(images.split(list(sizes)), labels.split(list(sizes)), strict=True)]


def train(net: nn.Module, part: Part, steps: int, rate: float, seed: int) -> None:
    """Take some steps of Adam on batches of 64, the rate rising for a tenth and falling to zero by a cosine."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    net.train()
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(part.labels), generator=generator)
        batch, order = order[:BATCH], order[BATCH:]
        step(net, optimiser, part.images[batch], part.labels[batch])
        schedule.step()


def step(net: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """Take one step."""
    optimiser.zero_grad()
    functional.cross_entropy(net(images), labels).backward()
    optimiser.step()


def accuracy(net: nn.Module, part: Part) -> float:
    """Return the percentage of right answers."""
    net.eval()
    with torch.no_grad():
        right = [
            (net(x).argmax(1) == y).sum() for x, y in zip(part.images.split(250), part.labels.split(250), strict=True)
        ]
    return 100 * float(sum(right)) / len(part.labels)


def errors(net: DigitsNet, images: Tensor) -> tuple[float, float, float]:
    """Return the relative error (2-norms) under 45 degrees of the maps inside the disc, the features and the logits."""
    net.eval()
    with torch.no_grad():
        moved = rotate(images, 45, interpolation="fourier")
        maps, inside = net.maps(images), disc(14)
        wanted = rotate(maps * inside, 45, interpolation="fourier") * disc(14)
        pairs = (
            (net.maps(moved) * inside, wanted),
            (net.features(moved), net.features(images)),
            (net(moved), net(images)),
        )
        maps_error, features, logits = (float((a - b).norm() / b.norm()) for a, b in pairs)
    return maps_error, features, logits


@dataclass(frozen=True)
class Result:
    """What one trained network gave."""

    accuracy: float
    errors: tuple[float, float, float]


def run(net: DigitsNet, parts: Sequence[Part], steps: int, rate: float, seed: int) -> float:
    """Train one network; return its validation accuracy."""
    start = time.perf_counter()
    train(net, parts[0], steps, rate, seed)
    found = accuracy(net, parts[1])
    said = f"{net.name}, seed {seed}, rate {rate:g}: validation {found:.2f} %, {time.perf_counter() - start:.0f} s"
    print(said, file=sys.stderr, flush=True)
    return found


def results(name: str, width: float, sets: Sequence[Sequence[Part]], steps: int) -> list[Result]:
    """Train with every seed, at the rate that validates best with the first."""
    first = {rate: started(name, width, 0) for rate in RATES}
    validated = {rate: run(net, sets[0], steps, rate, 0) for rate, net in first.items()}
    best = max(RATES, key=validated.__getitem__)
    nets = [first[best], *(started(name, width, seed) for seed in range(1, len(sets)))]
    for seed in range(1, len(sets)):
        run(nets[seed], sets[seed], steps, best, seed)
    tests = [parts[2] for parts in sets]
    return [Result(accuracy(net, t), errors(net, t.images[:200])) for net, t in zip(nets, tests, strict=True)]


def started(name: str, width: float, seed: int) -> DigitsNet:
    """Return a network with the initial weights of a seed."""
    torch.manual_seed(seed)
    return DigitsNet(name, width)


def step_times(widths: dict[str, float], part: Part, rounds: int = 15) -> dict[str, float]:
    """Return milliseconds a training step, the median of rounds in which every network takes its turn."""
    nets = {name: DigitsNet(name, width) for name, width in widths.items()}
    optimisers = {name: torch.optim.AdamW(net.parameters()) for name, net in nets.items()}
    times: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(rounds):
        for name, net in nets.items():
            start = time.perf_counter()
            step(net, optimisers[name], part.images[:BATCH], part.labels[:BATCH])
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def interval(values: Sequence[float]) -> str:
    """Say the mean and half its 95 % interval (Student)."""
    if len(values) < 2:
        return f"{values[0]:.1f}"
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):.1f} ± {half:.1f}"


def row(name: str, count: int, found: Sequence[Result], relative: float) -> str:
    """Return one line of the table."""
    means = [100 * statistics.mean(values) for values in zip(*(r.errors for r in found), strict=True)]
    figures = " | ".join(f"{value:.0f} %" for value in means)
    return f"| {name} | {count} | {interval([r.accuracy for r in found])} | {figures} | {relative:.1f} |"


HEAD = """| network | parameters | test accuracy, % | maps | features | logits | time a step |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all networks and print the table."""
    options = parsed(arguments)
    torch.set_num_threads(options.threads)
    digits = upright(options.data)
    sizes = (1000, 297, 500) if options.data is None else (3000, 1000, 6000)
    sets = [turned(digits, sizes, seed) for seed in range(options.seeds)]
    widths = {name: matched(name, options.parameters) for name in NETWORKS}
    times = step_times(widths, sets[0][0])
    rows = []
    for name, width in widths.items():
        found = results(name, width, sets, options.steps)
        rows.append(row(name, parameters(DigitsNet(name, width)), found, times[name] / times["CNN"]))
        print(rows[-1], file=sys.stderr, flush=True)
    print(HEAD, *rows, sep="\n")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's files; default: scikit-learn's digits")
    parser.add_argument("--steps", type=_count, default=600, help="training steps of 64 images")
    parser.add_argument("--seeds", type=_count, default=3, help="splits, rotations and initial weights")
    parser.add_argument("--parameters", type=_count, default=30_000, help="what every network has, about")
    parser.add_argument("--threads", type=_count, default=1, help="processor threads")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    """Read a whole number of at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, received {text!r}")
    return int(text)


if __name__ == "__main__":
    try:
        main()
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
