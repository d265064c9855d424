"""Where the jets of a recipe come from: arrays in memory, or a folder of shards that is streamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from isotypic.data.jets.events import PairedJets
from isotypic.data.jets.sets import JetSetConfig, JetSets, load_arrays
from isotypic.data.jets.source import JetSource
from isotypic.distributed.stream import ShardedJets
from isotypic.errors import RequestError, chosen

Loader = Callable[[JetSetConfig, Path], JetSets]


def load_shards(config: JetSetConfig, cache: Path) -> JetSets:
    """Stream a folder of shards; two jets of an event become an event.

    Parts are made of row groups, at random, the same every time.

    Raises:
        RequestError: what :class:`~isotypic.distributed.stream.ShardedJets` refuses, or there is no path.
    """
    folder = config.path
    if folder is None:
        raise RequestError("expected a folder of shards, received none; give --data PATH")
    kept = 1 - config.test_fraction
    trained = kept * (1 - config.validation_fraction)

    def part(share: tuple[float, float], seed: int = 0, verify: bool = False) -> JetSource:
        jets = ShardedJets(folder, particles=config.particles, seed=seed, share=share, verify=verify)
        return PairedJets(jets) if jets.manifest.together == 2 else jets

    whole = ShardedJets(folder, particles=config.particles)  # compares the hash of every file, once
    train, validation, test = (part(share) for share in ((0, trained), (trained, kept), (kept, 1)))
    return JetSets(str(folder), whole.classes, train, validation, test, lambda seed: part((0, trained), seed))


LOADERS: Mapping[str, Loader] = MappingProxyType({"arrays": load_arrays, "shards": load_shards})


def load_jets(config: JetSetConfig, cache: Path) -> JetSets:
    """Load the jets that ``config`` names.

    Args:
        config: the data section of a recipe for jets.
        cache: a folder for what is prepared; may be removed at any time between runs.

    Raises:
        RequestError: the name is unknown, or the data set refuses what it finds.
    """
    return chosen("data set", config.dataset, LOADERS)(config, cache)
