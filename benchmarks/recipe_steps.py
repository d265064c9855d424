"""A training step of the group networks of recipes, against the plain network with as many channels.

    python benchmarks/recipe_steps.py [RECIPE ...] [--batch 16] [--rounds 5] [--set model.width=0.5 ...]

A RECIPE is one of the package whose model has a group (default: all-gconv, gconv-net, p4m-densenet, oral); its plain
network is the same with the trivial group. Both make steps (forward, cross-entropy, backward, the recipe's optimiser)
on noise of the recipe's size in turns, in one process; the median of the ratios is printed. Memory is the peak of a
first step in a process of its own, weights and the optimiser's state included. The error is the largest change of the
group network's logits under its group, over their deviation, in float32. Prints Markdown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from isotypic.bench.memory import peak
from isotypic.bench.timing import interleave, speed_up
from isotypic.configuration import assign
from isotypic.groups.catalogue import named
from isotypic.metrics.equivariance import equivariance_error
from isotypic.models.catalogue import build
from isotypic.ops.layout import channels_last
from isotypic.tasks.cost import parameter_count
from isotypic.tasks.optimisation import optimiser
from isotypic.tasks.recipe import Recipe, read_recipe, recipe_of
from isotypic.tasks.training import keep_freed_memory

SHAPES = {"oral": (1, 80)}
PATCH = (3, 96)
RECIPES = ("all-gconv", "gconv-net", "p4m-densenet", "oral")


def recipe(name: str, group: str | None, settings: Iterable[str]) -> Recipe:
    """Return a recipe, with another group if one is given; that of oral cytology is plain, and becomes p4."""
    raw = assign(read_recipe(name), [*(["model.group=p4"] if name == "oral" else []), *settings])
    found = recipe_of(raw | {"model": {**raw["model"], **({"group": group} if group else {})}})
    if not isinstance(found, Recipe):
        raise SystemExit(f"expected a recipe of a classifier, received {name}")
    return found


def stepper(name: str, asked: Recipe, batch: int) -> tuple[nn.Module, Callable[[], object]]:
    """Return a network, and what makes one step of it."""
    torch.manual_seed(0)
    channels, side = SHAPES.get(name, PATCH)
    network = build(asked.model, channels, 2).train()
    images, labels = channels_last(torch.randn(batch, channels, side, side)), torch.arange(batch) % 2
    updating = optimiser(network.parameters(), asked.training)

    def step() -> None:
        updating.zero_grad()
        cross_entropy(network(images), labels).backward()
        updating.step()

    return network, step


def error(name: str, network: nn.Module, group: str) -> float:
    """Return how much the logits change under a group."""
    channels, side = SHAPES.get(name, PATCH)
    return float(equivariance_error(network.eval(), torch.randn(4, channels, side, side), named(group)).max())


def first_peak(name: str, asked: Recipe, batch: int) -> float:
    """Return the most bytes that making a network and one step of it take; NaN where the system does not say."""

    def made() -> None:
        stepper(name, asked, batch)[1]()

    found = peak(made)
    return float("nan") if found is None else float(found)


def peaks(arguments: argparse.Namespace, name: str) -> list[float]:
    """Return the peak memory of the group network's step and of the plain one's, in gigabytes, each in a process."""
    found = []
    for group in ("", "trivial"):
        words = [sys.executable, __file__, name, "--batch", str(arguments.batch), f"--peak={group}"]
        words += [word for setting in arguments.set for word in ("--set", setting)]
        found.append(float(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
    return found


def row(arguments: argparse.Namespace, name: str) -> str:
    """Return the line of a recipe."""
    asked = recipe(name, None, arguments.set)
    ours, our_step = stepper(name, asked, arguments.batch)
    plain, plain_step = stepper(name, recipe(name, "trivial", arguments.set), arguments.batch)
    times = interleave({"ours": our_step, "plain": plain_step}, 0.0, least=arguments.rounds)
    speed, group = speed_up(times["ours"], times["plain"]), asked.model.group
    weights = f"{parameter_count(ours):,} | {parameter_count(plain):,}"
    memory = " | ".join(f"{gigabytes:.2f}" for gigabytes in peaks(arguments, name))
    change = error(name, ours, group)
    return (
        f"| {name} | {group} | {weights} | {speed.ours_ms / 1e3:.2f} | {speed.plain_ms / 1e3:.2f} | "
        f"{speed.speed_up:.2f} ± {speed.spread:.0%} | {memory} | {change:.0e} |"
    )


def main() -> None:
    """Print the table, or the peak memory of one network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.peak is not None:
        (name,) = arguments.recipes
        print(first_peak(name, recipe(name, arguments.peak or None, arguments.set), arguments.batch) / 1e9)
        return
    print("| recipe | group | weights | plain | step, s | plain | speed-up | peak GB | plain | error |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in arguments.recipes:
        print(row(arguments, name), flush=True)


if __name__ == "__main__":
    main()
