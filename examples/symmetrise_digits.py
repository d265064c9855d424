"""A trained CNN made equivariant without losing what it learned: its test-time-augmented ensemble as one network.

An ordinary CNN learns upright digits. Converted with ``weights="symmetrise"`` it starts as the mean of itself over the
quarter turns, to rounding error; one epoch on the same upright digits then tunes it. Accuracy is counted on the test
digits as they are, and turned by every multiple of 90 degrees, with 95 % intervals over seeds and images:

    python examples/symmetrise_digits.py            # five seeds, under a minute on two cores
    python examples/symmetrise_digits.py --quick    # one seed and few steps, to see that it runs
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import isotypic
from isotypic.data.config import DataConfig
from isotypic.data.datasets import digits
from isotypic.data.normalisation import Normalisation
from isotypic.data.splits import split
from isotypic.studies.statistics import mean_interval

GROUP = "p4"
SEEDS, EPOCHS = 5, 8
NAMES = ("the CNN", "symmetrised", "symmetrised, one epoch more")


@dataclass(frozen=True)
class Digits:
    """Normalised images ``[n, 1, 8, 8]`` with their labels, to train and to test on."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def load_digits() -> Digits:
    """Return scikit-learn's digits; the validation part is left aside."""
    config = DataConfig()
    whole = digits.load(config, Path())
    parts = split(whole, config)
    normalise = Normalisation.of(whole.images, parts.train)
    images, labels = normalise.apply(torch.from_numpy(whole.images)), torch.from_numpy(whole.labels)
    return Digits(images[parts.train], labels[parts.train], images[parts.test], labels[parts.test])


def plain_cnn() -> nn.Module:
    """Return an ordinary CNN."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def train(network: nn.Module, data: Digits, epochs: int, rate: float) -> nn.Module:
    """Train on the upright digits with Adam; the rate falls to zero along a cosine."""
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(data.images) // 32))
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(data.images)).split(32):
            loss = nn.functional.cross_entropy(network(data.images[rows]), data.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def logits_when_turned(network: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of every image under every quarter turn, ``[4, n, 10]``."""
    return torch.stack([network(torch.rot90(images, turns, (-2, -1))) for turns in range(4)])


def one_seed(data: Digits, seed: int, epochs: int) -> tuple[float, list[Tensor]]:
    """Return the difference from the ensemble, and for each network which images are right, ``[turns, n]``."""
    torch.manual_seed(seed)
    plain = train(plain_cnn(), data, epochs, 1e-2)
    symmetric = isotypic.equivariant(plain, GROUP, weights="symmetrise", input_shape=(1, 8, 8))
    logits = [logits_when_turned(net, data.test_images) for net in (plain, symmetric)]
    difference = float((logits[1][0] - logits[0].mean(0)).abs().max() / logits[0].std())
    tuned = train(symmetric, data, 1, 1e-3)
    logits.append(logits_when_turned(tuned, data.test_images))
    return difference, [(answer.argmax(2) == data.test_labels).double() for answer in logits]


def cell(right: Tensor) -> str:
    """Return an accuracy in percent with its interval, from ``[seeds, images]``."""
    found = mean_interval(right.numpy())
    return f"{100 * found.estimate:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def main(quick: bool = False) -> float:
    """Print the table, and return the largest difference from the ensemble in standard deviations of the logits."""
    torch.set_num_threads(2)
    data = load_digits()
    seeds, epochs = (1, 2) if quick else (SEEDS, EPOCHS)
    differences, right = zip(*(one_seed(data, seed, epochs) for seed in range(seeds)), strict=True)
    print(
        f"symmetrised network against the mean over {GROUP}: {max(differences):.1e} standard deviations of the logits"
    )
    print(f"\n{seeds} seeds, {len(data.test_labels)} test digits, accuracy in % with 95 % intervals\n")
    print("| network | upright | turned |\n|---|---|---|")
    for name, answers in zip(NAMES, zip(*right, strict=True), strict=True):
        stacked = torch.stack(answers)
        print(f"| {name} | {cell(stacked[:, 0])} | {cell(stacked.mean(1))} |")
    return max(differences)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed and two epochs")
    main(parser.parse_args().quick)
