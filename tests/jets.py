"""Jets that are made for the tests: two, three or four prongs whose distance gives the mass."""

from __future__ import annotations

import numpy as np
import torch

from isotypic.data.jets.batch import Jets

MASSES = (80.4, 91.2, 172.8)


def jets(count, particles=16, *, seed=0, least=4, dtype=torch.float32):
    """Return jets of three kinds; a heavier one is wider, a top has three prongs."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, count)
    mass = rng.normal(np.array(MASSES)[label], 5.0)
    pt = rng.uniform(800, 1200, count)
    numbers = rng.integers(least, particles + 1, count)
    features = np.zeros((count, particles, 8))
    for i in range(count):
        features[i, : numbers[i]] = _particles(rng, numbers[i], 2 + (label[i] == 2), 2 * mass[i] / pt[i], pt[i])
    mask = torch.arange(particles) < torch.from_numpy(numbers)[:, None]
    return Jets(
        torch.from_numpy(features).to(dtype),
        mask,
        torch.from_numpy(label),
        torch.from_numpy(mass).to(torch.float32),
        torch.arange(count),
    )


def _particles(rng, number, prongs, width, pt):
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(prongs) / prongs
    centre = width / 2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    place = centre[rng.integers(0, prongs, number)] + rng.normal(0, 0.02, (number, 2))
    share = rng.dirichlet(np.ones(number))
    momentum, energy = share * pt, share * pt * np.cosh(place[:, 0])
    distance = np.hypot(*place.T)
    logs = [np.log(momentum), np.log(energy), np.log(share), np.log(energy / energy.sum())]
    return np.stack([*place.T, *logs, distance, np.cos(distance)], 1)
