"""A training step of the group networks of volumes, against the plain network (Z3).

    python benchmarks/volume_steps.py [GROUP ...] [--size 12x72x72] [--batch 30] [--seconds 60] [--match parameters]

The network is Winkels and Cohen's six layers (isotypic.models.voxelnet) with 16, 16, 32, 32, 64, 64 channels, at about
equal parameters and at about equal channels; a GROUP is one of space (default: D4, D4h, O, Oh). Its plain network has
the same pools: 1x2x2, 2x2x2, 2x2x2, or 2x2x2 alone where the group mixes z with y and x. Both make steps (forward,
cross-entropy, backward, Adam) on noise in turns, in one process; the median of the ratios is printed. Memory is the
peak of a first step in a process of its own, weights and Adam's state included. The error is the largest change of the
group network's logits under its group, over their deviation, in float32. Prints Markdown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from isotypic.bench.memory import peak
from isotypic.bench.timing import interleave, speed_up
from isotypic.groups.axes import unlike_axes
from isotypic.groups.catalogue import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.voxelnet import VoxelNet, VoxelNetConfig
from isotypic.nn.matching import MatchWarning
from isotypic.ops.layout import channels_last
from isotypic.tasks.cost import parameter_count
from isotypic.tasks.training import keep_freed_memory

GROUPS = ("D4", "D4h", "O", "Oh")
MATCHES = ("parameters", "channels")
PLAIN = "Z3"
FLAT, CUBE = (1, 2, 2), (2, 2, 2)
LEAST_ROUNDS = 3
ERROR_SIDE = 24
"""Voxels along each axis, at most, of the volumes that are moved by every element."""


def network(group: str, match: str, pools_of: str) -> VoxelNet:
    """Return the network of a group with the pools that another one keeps, freshly initialised."""
    first = CUBE if unlike_axes(named(pools_of, 3), FLAT) else FLAT
    torch.manual_seed(0)
    return VoxelNet(VoxelNetConfig(group=group, match=match, pools=[first, CUBE, CUBE]), 1, 2)


def stepper(net: nn.Module, size: tuple[int, ...], batch: int) -> Callable[[], object]:
    """Return what makes one training step."""
    volumes, labels = channels_last(torch.randn(batch, 1, *size)), torch.arange(batch) % 2
    updating = torch.optim.Adam(net.train().parameters(), 1e-4)

    def step() -> None:
        updating.zero_grad()
        cross_entropy(net(volumes), labels).backward()
        updating.step()

    return step


def error(net: nn.Module, group: str, size: tuple[int, ...]) -> float:
    """Return how much the logits change under a group."""
    volumes = torch.randn(4, 1, *(min(n, ERROR_SIDE) for n in size))
    return float(equivariance_error(net.eval(), volumes, named(group, 3)).max())


def first_peak(arguments: argparse.Namespace) -> float:
    """Return the most gigabytes that making a network and one step of it take; NaN where the system does not say."""
    group, match, pools_of = arguments.peak.split(",")

    def made() -> None:
        stepper(network(group, match, pools_of), arguments.size, arguments.batch)()

    found = peak(made)
    return float("nan") if found is None else found / 1e9


def peaks(arguments: argparse.Namespace, group: str, match: str) -> list[float]:
    """Return the peak memory of the group network's step and of the plain one's, in gigabytes, each in a process."""
    found, size = [], "x".join(map(str, arguments.size))
    for name in (group, PLAIN):
        words = [sys.executable, __file__, "--size", size, "--batch", str(arguments.batch)]
        words.append(f"--peak={name},{match},{group}")
        found.append(float(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout))
    return found


def row(arguments: argparse.Namespace, group: str, match: str) -> str:
    """Return the line of a group."""
    ours, plain = network(group, match, group), network(PLAIN, match, group)
    steps = {"ours": stepper(ours, arguments.size, arguments.batch)}
    steps["plain"] = stepper(plain, arguments.size, arguments.batch)
    times = interleave(steps, arguments.seconds, least=LEAST_ROUNDS)
    speed = speed_up(times["ours"], times["plain"])
    channels = [net.features[0].out_type.channels for net in (ours, plain)]
    memory = " | ".join(f"{gigabytes:.2f}" for gigabytes in peaks(arguments, group, match))
    return (
        f"| {group} | {match} | {channels[0]} | {channels[1]} | {parameter_count(ours):,} | {parameter_count(plain):,} "
        f"| {speed.ours_ms / 1e3:.3f} | {speed.plain_ms / 1e3:.3f} | {speed.speed_up:.2f} ± {speed.spread:.0%} "
        f"| {memory} | {error(ours, group, arguments.size):.0e} |"
    )


def size_of(words: str) -> tuple[int, ...]:
    """Return ``12x72x72`` as numbers."""
    try:
        size = tuple(int(word) for word in words.split("x"))
    except ValueError:
        size = ()
    if len(size) != 3 or min(size) < 8:
        raise argparse.ArgumentTypeError(f"expected three sides of at least 8 voxels, such as 12x72x72, got {words}")
    return size


def main() -> None:
    """Print the table, or the peak memory of one network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", default=GROUPS)
    parser.add_argument("--size", type=size_of, default=(12, 72, 72))
    parser.add_argument("--batch", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each line, at least three rounds")
    parser.add_argument("--match", choices=MATCHES, action="append")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", MatchWarning)  # the table says the channels
    keep_freed_memory()
    if arguments.peak is not None:
        print(first_peak(arguments))
        return
    size = "x".join(map(str, arguments.size))
    print(f"{size} voxels, batch {arguments.batch}, {torch.get_num_threads()} threads\n")
    print("| group | match | channels | plain | weights | plain | step, s | plain | speed-up | GB | plain | error |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for match in arguments.match or MATCHES:
        for group in arguments.groups:
            print(row(arguments, group, match), flush=True)


if __name__ == "__main__":
    main()
