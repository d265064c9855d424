"""What a request may say about jets: where they come from, which are kept, how they are laid out, how they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from isotypic.configuration import Config

GeV = Annotated[float, Field(ge=0, le=100_000)]
Kind = Literal["g", "q", "w", "z", "t"]


class RootConfig(Config):
    """Which branches of a ROOT file hold the particles of a jet, and its class; the defaults are those of JetClass."""

    tree: str | None = Field(None, description="name of the tree; none: the only one in the file")
    px: str = Field("part_px", description="branch of the momenta of the particles along x, a list a jet, in GeV")
    py: str = Field("part_py", description="along y")
    pz: str = Field("part_pz", description="along the beam")
    e: str = Field("part_energy", description="their energies")
    label: str = Field("label_", description="branches that begin so are classes, 1 for the jet's own")


class LhcoConfig(Config):
    """How jets are found in events of the LHC Olympics."""

    radius: float = Field(1.0, gt=0, le=2, description="R of the anti-kT algorithm")


class JetDataConfig(Config):
    """The ``data`` section of a request to convert jets; an unknown key or a value out of range is refused."""

    format: Literal["hls4ml", "lhco", "root"] | None = Field(
        None, description="of the files; none: by what lies in them"
    )
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="classes that are kept; none: all")
    mass: tuple[GeV, GeV] | None = Field(None, description="jets of low < m < high GeV are kept; none: all")
    particles: int = Field(100, ge=1, le=4096, description="particles of a jet that are kept, the first")
    empty: Literal["drop", "refuse"] = Field(
        "drop", description="jets without particles: leave them out and count them, or refuse the file"
    )
    shard_rows: int = Field(32_768, ge=512, le=2**24, description="jets that are read for one shard")
    group_rows: int = Field(1024, ge=512, le=4096, description="jets in a row group, which is read as a whole")
    root: RootConfig = Field(RootConfig(), description="of ROOT files")
    lhco: LhcoConfig = Field(LhcoConfig(), description="of events of the LHC Olympics")

    @model_validator(mode="after")
    def _sensible(self) -> JetDataConfig:
        if self.mass is not None and not self.mass[0] < self.mass[1]:
            raise ValueError(f"mass: expected [low, high] with low < high, received {list(self.mass)}")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes: expected each once, received {', '.join(self.classes)}")
        if self.shard_rows % 2 or self.group_rows % 2:
            raise ValueError("shard_rows and group_rows: expected even numbers, so that two jets of an event stay")
        return self


class MadeJetsConfig(Config):
    """Jets that are made from a seed, in the layout of HLS4ML."""

    generator: Literal["small", "pythia"] = Field(
        "small", description="small: without a programme of physics, for tests; pythia: Pythia 8 and FastJet"
    )
    count: int = Field(10_000, ge=1, le=10_000_000, description="jets")
    kinds: tuple[Kind, ...] = Field(
        ("w", "z", "t"), min_length=1, description="what they come from; as many of each: g, q, w, z, t"
    )
    file_rows: int = Field(
        2000, ge=1, le=100_000, description="jets a file; what one process makes at once; counts are a multiple of it"
    )
    particles: int = Field(100, ge=1, le=1000, description="particles of a jet that are kept, those of largest pT")
    pt: tuple[GeV, GeV] = Field(
        (800, 1600), description="transverse momenta of the jets in GeV; of the small generator always 800 to 1600"
    )
    underlying: bool = Field(
        False, description="of pythia: other partons of the protons interact too, and widen the peaks of the mass"
    )
    seed: int = Field(0, ge=0, description="seed of the jets; more jets leave the files before them as they are")

    @model_validator(mode="after")
    def _sensible(self) -> MadeJetsConfig:
        if not self.pt[0] < self.pt[1]:
            raise ValueError(f"pt: expected [low, high] with low < high, received {list(self.pt)}")
        _refuse_parts(self.count, self.file_rows)
        return self


class MadeEventsConfig(Config):
    """Events that are made from a seed, in the layout of the LHC Olympics."""

    generator: Literal["small", "pythia"] = Field(
        "small", description="small: without a programme of physics, for tests; pythia: Pythia 8"
    )
    count: int = Field(10_000, ge=1, le=10_000_000, description="events")
    signal: float = Field(0.01, ge=0, le=1, description="share of events with W' -> X Y")
    masses: tuple[GeV, GeV, GeV] = Field((3500, 500, 100), description="of W', X and Y in GeV")
    file_rows: int = Field(2000, ge=1, le=100_000, description="events a file; counts are a multiple of it")
    seed: int = Field(0, ge=0, description="seed of the events; more events leave the files before them as they are")

    @model_validator(mode="after")
    def _whole(self) -> MadeEventsConfig:
        _refuse_parts(self.count, self.file_rows)
        return self


def _refuse_parts(count: int, file_rows: int) -> None:
    if count % file_rows and count > file_rows:
        raise ValueError(f"count: expected a multiple of file_rows = {file_rows}, received {count}")


class JetSources(Config):
    """Files of jets, and the request of what is kept of them.

    Attributes:
        paths: files, or folders of them, read in the order of their names.
    """

    paths: tuple[Path, ...]
    data: JetDataConfig = JetDataConfig()
