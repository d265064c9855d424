"""One architecture family a module; the trivial group gives the baseline."""

from isotypic.models.convnet import ConvNet, ConvNetConfig
from isotypic.models.matching import Match, matched_fields

__all__ = ["ConvNet", "ConvNetConfig", "Match", "matched_fields"]
