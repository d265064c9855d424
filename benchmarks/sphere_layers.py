"""How long a spherical network takes against the CNN of as many parameters, forward and for a step of training.

    python benchmarks/sphere_layers.py [--batch 1 32] [--rounds 9] [--n-max 5] [--threads 2]

The S2CNN of 204,073 parameters, exact and with limited orders n, and the CNN of 218,144 run in turns, in one process,
on one input; every time is divided by the CNN's in the same round, and the median of these ratios is printed with the
median time. The error is that of the first layer under a random rotation, on a band-limited image. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from isotypic.groups.so3 import random_rotations
from isotypic.models.hourglass import CNN_218K, Hourglass
from isotypic.models.s2cnn import S2CNN
from isotypic.nn.sphere.transform import RotationTransform, SphericalTransform
from isotypic.tasks.training import keep_freed_memory


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def forward(network: nn.Module, x: Tensor) -> None:
    """Compute the logits."""
    with torch.inference_mode():
        network.eval()(x)


def step(network: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor) -> None:
    """Take a step of training."""
    network.train()
    optimiser.zero_grad()
    nn.functional.cross_entropy(network(x), torch.zeros(len(x), *x.shape[2:], dtype=torch.long)).backward()
    optimiser.step()


def error(network: nn.Module) -> float:
    """Return ``|f(h x) - h f(x)| / |f(x)|`` of the first layer; NaN for a CNN, which has no SO(3) to turn."""
    if not isinstance(network, S2CNN):
        return float("nan")
    bands = network.lift.bandwidths
    into, out = SphericalTransform(bands.into), RotationTransform(bands.out, bands.n_max)
    x = into.synthesise(torch.randn(into.band.entries, 1, 1))
    h = random_rotations(1, seed=0)[0]
    with torch.inference_mode():
        y = network.lift(x)
        return float((network.lift(into.rotate(x, h)) - out.rotate(y, h)).norm() / y.norm())


def table(networks: dict[str, nn.Module], batch: int, rounds: int) -> None:
    """Print the rows of one batch size."""
    x = torch.rand(batch, 1, 100, 100)
    errors = [error(network) for network in networks.values()]
    works: dict[str, list[Callable[[], None]]] = {"forward": [], "training step": []}
    for network in networks.values():
        optimiser = torch.optim.Adam(network.parameters(), 1e-3)
        works["forward"].append(lambda n=network: forward(n, x))
        works["training step"].append(lambda n=network, o=optimiser: step(n, o, x))
    for kind, calls in works.items():
        for call in calls:
            call()  # whatever is done once
        times = np.array([[seconds(call) for call in calls] for _ in range(rounds)])
        ratios, medians = np.median(times / times[:, :1], 0), np.median(times, 0)
        for name, median, ratio, missed in zip(networks, medians, ratios, errors, strict=True):
            print(f"| {name} | {kind} | {batch} | {1e3 * median:.1f} | {ratio:.2f} | {missed:.0e} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--n-max", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    networks = {
        "CNN, 218 k": Hourglass(CNN_218K, 1, 11),
        "S2CNN, 204 k": S2CNN(),
        f"S2CNN, 204 k, n_max {asked.n_max}": S2CNN(n_max=asked.n_max),
    }
    print("| network | what | batch | ms | against the CNN | error of the first layer |")
    print("|---|---|---:|---:|---:|---:|")
    for batch in asked.batch:
        table(networks, batch, asked.rounds)


if __name__ == "__main__":
    main()
